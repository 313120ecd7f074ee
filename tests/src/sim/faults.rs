//! The faults of the simulated world: their classes, a history's plan of them, and the count of
//! what really happened.
//!
//! Invariant: a class is counted where it takes effect (a message lost, a sector torn), never where
//! it was planned; so the table at the end of a run cannot flatter.

use super::entropy::Entropy;
use core::time::Duration;
use std::collections::BTreeSet;

/// A class of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// Messages under way are lost with their connection.
    Loss,
    /// A burst arrives that is held already.
    Duplication,
    /// A message overtakes one sent before it on another stream of its connection.
    Reordering,
    /// A device cannot reach the cloud.
    Partition,
    /// A device loses its power or its process in the middle of a write.
    CrashDevice,
    /// The cloud does.
    CrashCloud,
    /// Of one write, some sectors survive a power cut and some do not.
    TornWrite,
    /// A sector written and not synced is gone after a power cut.
    LostWrite,
    /// A later write survives a power cut, an earlier one does not.
    ReorderedWrite,
    /// An fsync fails; its pages count as clean and are not durable.
    FailedSync,
    /// There is no room, for a while.
    DiskFull,
    /// A clock is off by years, jumps or stands still.
    BadClock,
    /// A device's disk is replaced by an older copy of it.
    OldCopy,
    /// A copy of a device runs beside it.
    Clone,
    /// The cloud's disk is replaced by an older copy of it.
    TailLost,
    /// A batch or a head reaches the cloud damaged.
    Poison,
    /// A device is revoked that has events the cloud does not.
    Revoked,
}

impl Fault {
    /// All classes, in the order of the table.
    pub const ALL: [Self; 17] = [
        Self::Loss,
        Self::Duplication,
        Self::Reordering,
        Self::Partition,
        Self::CrashDevice,
        Self::CrashCloud,
        Self::TornWrite,
        Self::LostWrite,
        Self::ReorderedWrite,
        Self::FailedSync,
        Self::DiskFull,
        Self::BadClock,
        Self::OldCopy,
        Self::Clone,
        Self::TailLost,
        Self::Poison,
        Self::Revoked,
    ];

    /// The classes in which no disk is ever copied.
    pub fn without_copies() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|fault| !fault.copies() && !fault.keeps_apart())
    }

    /// Whether the cloud keeps something apart. Drawn by themselves: a history without them is the
    /// one that it was before there were any.
    pub fn keeps_apart(self) -> bool {
        matches!(self, Self::Poison | Self::Revoked)
    }

    /// Whether a disk is copied: then what one copy wrote, another may have written otherwise.
    pub fn copies(self) -> bool {
        matches!(self, Self::OldCopy | Self::Clone | Self::TailLost)
    }
}

/// How often each class took effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened([u64; Fault::ALL.len()]);

impl Happened {
    /// It took effect once more.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often it did.
    pub fn times(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// What one history is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which faults may be provoked.
    pub faults: BTreeSet<Fault>,
    /// How many devices.
    pub devices: usize,
    /// How many users pay, where any do.
    pub payers: usize,
    /// Operations before everything heals.
    pub operations: u64,
    /// Virtual time they are spread over.
    pub span: Duration,
    /// Whether the stores are redb over the faulting disk; else memory.
    pub redb: bool,
    /// Whether a device records so much at once that windows fill and views are stored.
    pub bulk: bool,
    /// Whether devices prune what is receipted whenever they seal by themselves. Not where a cloud
    /// loses its tail: then what was pruned is gone, and said to be.
    pub prunes: bool,
    /// Whether devices change their keys.
    pub rekeys: bool,
    /// Whether users pay from balances that are lent to devices.
    pub leases: bool,
    /// Whether the cloud acts in jobs of these users, too.
    pub acts: bool,
    /// Whether these users share a balance, and accounts are given something each month.
    pub accounts: bool,
    /// Whether months are closed and charges corrected.
    pub books: bool,
    /// Bytes of batches an end takes before it gives credit.
    pub window: u32,
    /// One way of a message.
    pub latency: Duration,
    /// What sectors are torn at, bytes.
    pub sector_bytes: usize,
}

impl Plan {
    /// Draws a history's plan; only `allowed` faults are in it.
    pub fn draw(entropy: &mut Entropy, apart: &mut Entropy, allowed: &BTreeSet<Fault>) -> Self {
        let percent = if entropy.percent(5) { 0 } else { 55 };
        let (copies, others): (Vec<_>, Vec<_>) =
            allowed.iter().filter(|fault| !fault.keeps_apart()).partition(|fault| fault.copies());
        let mut faults: BTreeSet<Fault> =
            others.into_iter().filter(|_| entropy.percent(percent)).collect();
        let redb = entropy.percent(9);
        let spans = [20, 120, 1200, 4 * 3600];
        let mut plan = Self {
            faults: BTreeSet::new(),
            devices: entropy.between(3, 5) as usize,
            payers: 3,
            operations: entropy.between(200, 260),
            span: Duration::from_secs(spans[entropy.index(spans.len())]),
            redb,
            bulk: !redb && entropy.percent(3),
            prunes: false,
            rekeys: false,
            leases: false,
            acts: false,
            accounts: false,
            books: false,
            window: [8, 32, 256][entropy.index(3)] * 1024,
            latency: Duration::from_millis([1, 20, 250][entropy.index(3)]),
            sector_bytes: [512, 4096][entropy.index(2)],
        };
        faults.extend(copies.into_iter().filter(|_| entropy.percent(30)));
        let kept_apart = allowed.iter().filter(|fault| fault.keeps_apart());
        faults.extend(kept_apart.filter(|_| apart.percent(30)));
        // What a copy of a revoked device knows, and whether a restored cloud remembers that it is
        // revoked, are stories of their own.
        if faults.contains(&Fault::Revoked) && faults.iter().any(|fault| fault.copies()) {
            let revoked = apart.percent(50) && !faults.contains(&Fault::TailLost);
            faults.retain(|fault| if revoked { !fault.copies() } else { *fault != Fault::Revoked });
        }
        // All of it is sent once more: through the smallest window that takes longer than anybody waits.
        if plan.bulk && faults.iter().any(|fault| fault.copies()) {
            plan.window = 256 * 1024;
        }
        plan.faults = faults;
        plan
    }

    /// Whether this history may have the fault.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
