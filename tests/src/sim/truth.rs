//! What an outside observer knows: everything asked for, and everything that was acknowledged.
//!
//! Invariant: filled from the workload's inputs and from what the engine returned, never from what
//! it stored; so the checkers have something to hold the stored bytes against.

use super::books::Closing;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::{
    Act, CommitPosition, DeviceId, EpochId, Event, Head, JobId, LogId, Position, Receipt, Record,
    SubjectId, UserAlias, Wall,
};

/// An event as it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The event.
    pub event: Event,
    /// The clock then.
    pub wall: Wall,
    /// When: the [moment](super::world::World::moment).
    pub at: u64,
}

impl Noted {
    /// Whether these are its record's bytes.
    pub fn is(&self, record: &[u8]) -> bool {
        Record::split(record).is_ok_and(|(record, _)| {
            record.header.time.wall == self.wall && record.event().as_ref() == Ok(&self.event)
        })
    }
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
    /// As whom and as what it was asked for: a page-log line may be, again, after a restore.
    pub asks: Vec<Ask>,
    /// Whether it counts.
    pub fate: Fate,
    /// The life of the disk that it was asked of, and the moment.
    pub asked: (u64, u64),
}

/// One asking for an input to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Who, as the device called them then.
    pub user: UserAlias,
    /// When, by the clock that decides its month.
    pub at: Wall,
    /// What it counts.
    pub figures: Figures,
}

/// Something done in a job that began.
#[derive(Debug, Clone)]
pub struct Deed {
    /// What was asked for.
    pub act: Act,
    /// The event that was made of it.
    pub event: Event,
    /// Who.
    pub user: UserAlias,
    /// The clock then.
    pub wall: Wall,
}

impl Deed {
    /// Whether these are its record's bytes.
    pub fn is(&self, record: &[u8]) -> bool {
        let (event, wall) = (self.event.clone(), self.wall);
        Noted { event, wall, at: 0 }.is(record)
    }
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

/// Credits of a charge given back.
#[derive(Debug, Clone, Copy)]
pub struct Corrected {
    /// To whom.
    pub subject: SubjectId,
    /// Thousandths of a credit.
    pub thousandths: i64,
    /// Whether it was acknowledged.
    pub fate: Fate,
}

/// How far epochs go, events.
pub type Extents = BTreeMap<(LogId, EpochId), u64>;

/// A device is not believed any more.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// What the cloud had of it by then.
    pub held: Extents,
    /// Whether an administrator lets in what came later.
    pub released: bool,
}

/// The cloud's disk, which is never copied.
pub const CLOUD: u64 = u64::MAX;

/// All an observer knows.
#[derive(Debug, Default)]
pub struct Truth {
    /// Acknowledged events by position, and by the disk's life: copies of a device may each give
    /// a position away. The cloud's life is [`CLOUD`].
    pub acknowledged: BTreeMap<(u64, Position), Noted>,
    /// Devices of which there are or were copies, and how many times they were copied.
    pub copied: BTreeMap<DeviceId, u64>,
    /// How many times the cloud lost its tail.
    pub tails_lost: u64,
    /// The places of decisions that were lost with its tail, and it knew.
    pub given_away: BTreeSet<Position>,
    /// How many times of these nothing told it.
    pub tails_lost_unnoticed: u64,
    /// What it had lent of an account when it did and nothing told it, thousandths.
    pub lent_unknown: BTreeMap<SubjectId, i128>,
    /// Of these, those of which a perfect copy ever ran.
    pub perfectly_copied: BTreeSet<DeviceId>,
    /// Devices whose batches or heads were damaged on their way.
    pub poisoned: BTreeSet<DeviceId>,
    /// Devices revoked.
    pub revoked: BTreeMap<DeviceId, Revocation>,
    /// Acts and page-log lines by job.
    pub inputs: BTreeMap<JobId, Input>,
    /// What was done in jobs that began, each in its order.
    pub jobs: BTreeMap<(DeviceId, JobId), Vec<Deed>>,
    /// How many grants were asked for.
    pub grants_asked: u64,
    /// Grants by their reason, which is unique.
    pub grants: BTreeMap<String, Grant>,
    /// Corrections by their reason, which is unique.
    pub corrections: BTreeMap<String, Corrected>,
    /// The most that was ever laid down for an account to be given each month.
    pub monthly: BTreeMap<SubjectId, i64>,
    /// What an account may have been given of a month; once.
    pub due: BTreeMap<(SubjectId, u32), i64>,
    /// Months closed, as they were then.
    pub closed: BTreeMap<u32, Closing>,
    /// What those who pay from a balance were ever given, or may have been.
    pub funded: BTreeMap<SubjectId, i128>,
    /// Aliases linked, in order; each is asked for until acknowledged.
    pub links: BTreeMap<(DeviceId, UserAlias), SubjectId>,
    /// The newest receipt each device kept.
    pub receipts: BTreeMap<(LogId, EpochId), Receipt>,
    /// Where each epoch of a device's log ended, once the cloud had one that continues it.
    pub ended: BTreeMap<(LogId, EpochId), u64>,
    /// What the receipts sent say of each commit.
    pub commits: BTreeMap<CommitPosition, Head>,
    /// Receipts sent whose signature holds.
    pub verified: BTreeSet<[u8; 64]>,
    /// Aliases whose minting was acknowledged, by which disk's life and at which moment.
    pub minted: BTreeMap<(DeviceId, UserAlias), (u64, u64)>,
}
