//! Events of balances as devices know them: asked for, told, and when they are told.
//!
//! Invariant: what is told names how far the device's ledger is in it, so the device knows which of its
//! own charges still come on top. A device that may not be told now is told to ask, by a flag. What a
//! balance is made of is in `counts`.

use super::{body, words};
use crate::{Credits, DeviceId, Position, UserAlias};

words! {
    /// What the cloud does that has a new balance for a device at which the user's job runs.
    pub enum SyncMode {
        /// It waits for the job's end and tells then.
        #[n(0)]
        Wait,
        /// It sets the sync request flag and is done; the device asks after the job.
        #[n(1)]
        Flag,
    }
}

body! {
    /// A device wants to know a user's balance: somebody logged in, or the flag was set.
    pub struct BalanceAsked {
        /// The user, as the device calls them.
        #[n(0)]
        pub user: UserAlias,
    }

    /// A user's balance as the cloud has it.
    pub struct BalanceTold {
        /// To which device.
        #[n(0)]
        pub device: DeviceId,
        /// The user, as the device calls them.
        #[n(1)]
        pub user: UserAlias,
        /// Granted less settled.
        #[n(2)]
        pub balance: Credits,
        /// Provisionally charged, by jobs that are not decided.
        #[n(3)]
        pub held: Credits,
        /// The balance less what is held.
        #[n(4)]
        pub available: Credits,
        /// The last event of the device's ledger that is in it.
        #[n(5)]
        pub up_to: Position,
    }

    /// The sync request flag: there is a new balance, and the device is to ask for it after its job.
    pub struct BalanceSyncRequested {
        /// Which device.
        #[n(0)]
        pub device: DeviceId,
        /// The user, as the device calls them.
        #[n(1)]
        pub user: UserAlias,
        /// The last event of the device's ledger that the cloud had then: to have asked later clears the flag.
        #[n(2)]
        pub up_to: Position,
    }

    /// How devices that are busy come by new balances. In force from this event on.
    pub struct SyncModePublished {
        /// The mode.
        #[n(0)]
        pub mode: SyncMode,
    }
}
