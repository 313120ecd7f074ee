//! Events of leases: the part of a balance that one device alone may spend.
//!
//! Invariant: credits leave the pool by `lease.granted` before the device has them, and come back
//! only by the device's own word in its gap-free ledger, or by an administrator's. A lease belongs to
//! one user of one device in one epoch of its ledger; grants to the same add up. Source: escrow
//! (Balegas et al. 2015, "Putting Consistency Back into Eventual Consistency").

use super::{body, words};
use crate::{Credits, DeviceId, EpochId, JobId, Position, SubjectId, UserAlias, Wall};

words! {
    /// Which right a device spent.
    pub enum Right {
        /// Its lease.
        #[n(0)]
        Lease,
        /// Nothing: its lease was spent, it was cut off, and the tenant lets it go on for a while.
        #[n(1)]
        Overdraft,
    }
}

body! {
    /// What a device spent for a charge, durably before the page: what it came to at that moment,
    /// conversions that became due included.
    pub struct Backing {
        /// Which right.
        #[n(0)]
        pub right: Right,
        /// How much of it.
        #[n(1)]
        pub credits: Credits,
    }

    /// What a device does that spent its lease while it was cut off. In force from this event on.
    pub struct OfflinePolicyPublished {
        /// Credits that each device may charge beyond its leases in one epoch; none: it stops.
        #[n(0)]
        pub overdraft: Option<Credits>,
    }

    /// A device needs rights.
    pub struct LeaseRequested {
        /// For whom.
        #[n(0)]
        pub user: UserAlias,
        /// What it cannot do without.
        #[n(1)]
        pub needed: Credits,
        /// What it would like to have, by recent use.
        #[n(2)]
        pub wanted: Credits,
        /// The job that cannot go on without. Absent in what was asked for before it was told.
        #[n(3)]
        pub job: Option<JobId>,
    }

    /// Credits left a balance for a device's lease.
    pub struct LeaseGranted {
        /// Numbers the allocations of the tenant.
        #[n(0)]
        pub allocation: u64,
        /// To which device.
        #[n(1)]
        pub device: DeviceId,
        /// Out of whose balance.
        #[n(2)]
        pub subject: SubjectId,
        /// How much.
        #[n(3)]
        pub credits: Credits,
        /// When the device stops spending from it, and from what it had before, by its own clock.
        #[n(4)]
        pub spend_until: Wall,
        /// The user, as the device calls them.
        #[n(5)]
        pub user: Option<UserAlias>,
        /// The epoch of the device's ledger in which it may be spent.
        #[n(6)]
        pub epoch: Option<EpochId>,
        /// The request it answers, if any.
        #[n(7)]
        pub answers: Option<Position>,
    }

    /// A request is not met.
    pub struct LeaseRefused {
        /// The request.
        #[n(0)]
        pub answers: Position,
        /// The user, as the device calls them.
        #[n(1)]
        pub user: UserAlias,
        /// What is in the pool.
        #[n(2)]
        pub available: Credits,
        /// What other devices hold of the same balance.
        #[n(3)]
        pub held: Vec<LeaseHeld>,
        /// The device that asked.
        #[n(4)]
        pub device: DeviceId,
    }

    /// What a device holds of a balance.
    pub struct LeaseHeld {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// How much.
        #[n(1)]
        pub credits: Credits,
    }

    /// A device is to give back what it does not need of a lease.
    pub struct LeaseRecalled {
        /// From which device.
        #[n(0)]
        pub device: DeviceId,
        /// The user, as the device calls them.
        #[n(1)]
        pub user: UserAlias,
        /// Up to which allocation: a later one answers a later need.
        #[n(2)]
        pub allocation: u64,
        /// For what the server is asked to do in this job of the device's: nothing of it is kept for the
        /// job itself.
        #[n(3)]
        pub job: Option<JobId>,
    }

    /// A device gives back of a lease. What it spent before this position stands before it in its
    /// ledger.
    pub struct LeaseClosed {
        /// The last allocation that it knew of.
        #[n(0)]
        pub allocation: u64,
        /// Spent from the lease in this epoch, all in all.
        #[n(1)]
        pub spent: Credits,
        /// Returned to the pool.
        #[n(2)]
        pub returned: Credits,
        /// The user, as the device calls them.
        #[n(3)]
        pub user: Option<UserAlias>,
    }

    /// A lease that will not come back.
    pub struct LeaseWrittenOff {
        /// The last allocation of it.
        #[n(0)]
        pub allocation: u64,
        /// By whom and why.
        #[n(1)]
        pub reason: String,
        /// The device.
        #[n(2)]
        pub device: Option<DeviceId>,
        /// The user, as the device calls them.
        #[n(3)]
        pub user: Option<UserAlias>,
        /// The epoch of the device's ledger.
        #[n(4)]
        pub epoch: Option<EpochId>,
        /// What goes back to the pool; what the device spent of it after all goes to the write-off
        /// account.
        #[n(5)]
        pub credits: Option<Credits>,
    }
}
