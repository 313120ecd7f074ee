//! What an outside observer knows: everything asked for, and everything that was acknowledged.
//!
//! Invariant: filled from the workload's inputs and from what the engine returned, never from what
//! it stored; so the checkers have something to hold the stored bytes against.

use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::{DeviceId, EpochId, Event, JobId, LogId, Position, Receipt, SubjectId};
use tallyroll_schema::{UserAlias, Wall};

/// An event as it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The event.
    pub event: Event,
    /// The clock then.
    pub wall: Wall,
}

/// What one act counts, by the prices of mission 1 and not by the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Sides of media marked.
    pub impressions: u64,
    /// Media used.
    pub sheets: u64,
    /// Pages captured.
    pub captured: u64,
    /// Pages converted, once per kind.
    pub converted: u64,
    /// Pages sent, once per destination.
    pub sent: u64,
    /// Pages saved.
    pub saved: u64,
    /// Thousandths of a credit.
    pub charged: i128,
}

/// How sure it is that an input counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// An accident struck while it was recorded: once or not at all.
    Open,
    /// It was acknowledged, or will be asked for until it is: exactly once.
    Certain,
}

/// Something a user did.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where.
    pub device: DeviceId,
    /// Who.
    pub user: UserAlias,
    /// When, by the clock that decides its month.
    pub at: Wall,
    /// What it counts.
    pub figures: Figures,
    /// Whether it does.
    pub fate: Fate,
}

/// Credits given.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// To whom.
    pub subject: SubjectId,
    /// Thousandths of a credit.
    pub thousandths: i64,
    /// Whether it was acknowledged.
    pub fate: Fate,
}

/// All an observer knows.
#[derive(Debug, Default)]
pub struct Truth {
    /// Acknowledged events by position.
    pub acknowledged: BTreeMap<Position, Noted>,
    /// Acts and page-log lines by job.
    pub inputs: BTreeMap<JobId, Input>,
    /// Grants by their reason, which is unique.
    pub grants: BTreeMap<String, Grant>,
    /// Aliases linked, in order; each is asked for until acknowledged.
    pub links: BTreeMap<(DeviceId, UserAlias), SubjectId>,
    /// The newest receipt each device kept.
    pub receipts: BTreeMap<(LogId, EpochId), Receipt>,
    /// Receipts sent whose signature holds.
    pub verified: BTreeSet<[u8; 64]>,
    /// Aliases whose minting was acknowledged.
    pub minted: BTreeSet<(DeviceId, UserAlias)>,
}
