//! Planted bugs: each breaks one promise, so that its checker can be seen to turn red.
//!
//! Invariant: they live in what drives the engine (disk, network, rim), not in the engine, and each
//! has one checker that must find it and no other may.

use super::disk::Broken;
use super::faults::Plan;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Planted {
    /// The rim acknowledges events it has not committed yet.
    AcknowledgesEarly,
    /// Devices' disks acknowledge syncs and forget them.
    ForgetsSyncs,
    /// The cloud's store acknowledges commits before they are durable.
    WritesBehind,
    /// A view is stored with a cut at which it does not stand.
    StaleSnapshot,
    /// The cloud's store changes a bit of a record that nobody counts by.
    AltersRecord,
    /// A device's disk is copied and the copy runs beside it.
    SilentClone,
    /// The cloud grants sixteen times the window it states.
    WideWindow,
    /// The importer does not ask whether a line is counted already.
    ImportsUnasked,
    /// A device does not connect again after a cut.
    NeverReconnects,
}

impl Planted {
    /// All of them, each with the checker that must find it.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::AcknowledgesEarly, "durable"),
        (Self::ForgetsSyncs, "durable"),
        (Self::WritesBehind, "receipts"),
        (Self::StaleSnapshot, "converges"),
        (Self::AltersRecord, "never-rewrites"),
        (Self::SilentClone, "never-forks"),
        (Self::WideWindow, "bounded"),
        (Self::ImportsUnasked, "conserves"),
        (Self::NeverReconnects, "liveness"),
    ];

    /// Bends a history's plan so that the bug has its occasion.
    pub(super) fn suit(self, plan: &mut Plan) {
        plan.redb = false;
        plan.faults.retain(|fault| !fault.copies());
        plan.bulk |= matches!(self, Self::StaleSnapshot | Self::WideWindow);
        plan.window = plan.window.min(8 * 1024);
    }

    /// How this bug breaks devices' disks.
    pub fn device_disk(self) -> Broken {
        Broken { forgets_syncs: self == Self::ForgetsSyncs, ..Broken::default() }
    }

    /// How this bug breaks the cloud's disk.
    pub fn cloud_disk(self) -> Broken {
        Broken { writes_behind: self == Self::WritesBehind, ..Broken::default() }
    }
}
