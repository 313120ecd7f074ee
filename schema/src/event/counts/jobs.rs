//! Events of a job as a whole: it begins, it ends, its document is deleted.
//!
//! Invariant: none of them has a charge; what a job comes to follows from all of its events. What is done
//! in a job is in `counts`.

use super::SettlementPolicy;
use crate::event::body;
use crate::{DeviceId, JobId, RequestId, UserAlias};

body! {
    /// A document was deleted, never sent or saved.
    pub struct DocumentDiscarded {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// The device whose job it is, when the cloud discards.
        #[n(1)]
        pub device: Option<DeviceId>,
        /// What the cloud was asked with, so that it does it once.
        #[n(2)]
        pub request: Option<RequestId>,
        /// Whose job it is, when the cloud discards.
        #[n(3)]
        pub user: Option<UserAlias>,
    }

    /// A job began.
    pub struct JobBegun {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// How its provisional charge will settle.
        #[n(2)]
        pub policy: SettlementPolicy,
    }

    /// A job ended.
    pub struct JobEnded {
        /// The job.
        #[n(0)]
        pub job: JobId,
    }
}
