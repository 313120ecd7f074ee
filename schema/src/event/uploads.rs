//! Events of uploads: a scan on its way to a storage service (mission 2).
//!
//! Invariant: an event names an account *reference*; no secret, title or name
//! is ever in it.

use super::{body, words};
use crate::{Hash, JobId, UserAlias, Wall};

words! {
    /// Why an upload attempt was made, which decides whether it counts.
    pub enum AttemptCause {
        /// The first one, after reading.
        #[n(0)]
        First,
        /// Timed; counted.
        #[n(1)]
        Timed,
        /// On the user's next request.
        #[n(2)]
        Requested,
        /// In idle time.
        #[n(3)]
        Idle,
    }

    /// How an attempt ended, if not well.
    pub enum UploadFailure {
        /// Less free space than needed.
        #[n(0)]
        NoSpace,
        /// Could not log in.
        #[n(1)]
        Login,
        /// Not reachable.
        #[n(2)]
        Unreachable,
        /// The storage said no.
        #[n(3)]
        Refused,
    }
}

body! {
    /// A scan ticket was issued.
    pub struct TicketIssued {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Who.
        #[n(1)]
        pub user: UserAlias,
        /// Storage service, by its configured name.
        #[n(2)]
        pub destination: String,
        /// Reference of the account there.
        #[n(3)]
        pub account: String,
        /// Timed retries allowed.
        #[n(4)]
        pub remain_retry_counter: u32,
    }

    /// A scan request was refused.
    pub struct TicketRefused {
        /// Who.
        #[n(0)]
        pub user: UserAlias,
        /// Storage service.
        #[n(1)]
        pub destination: String,
        /// Why, as the user was told.
        #[n(2)]
        pub reason: String,
    }

    /// A ticket's document was read.
    pub struct DocumentRead {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Images captured.
        #[n(1)]
        pub pages: u32,
        /// Size, bytes.
        #[n(2)]
        pub bytes: u64,
        /// BLAKE3 of the data.
        #[n(3)]
        pub blob: Hash,
    }

    /// A processing step could not be carried out.
    pub struct StepFailed {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// The step's name.
        #[n(1)]
        pub step: String,
        /// Why.
        #[n(2)]
        pub reason: String,
        /// Whether the job went on without it (`skip-step`).
        #[n(3)]
        pub skipped: bool,
    }

    /// An upload was tried and failed.
    pub struct UploadAttempted {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Why it was tried.
        #[n(1)]
        pub cause: AttemptCause,
        /// How it failed.
        #[n(2)]
        pub failure: UploadFailure,
        /// Timed retries left.
        #[n(3)]
        pub remain_retry_counter: u32,
        /// Not before.
        #[n(4)]
        pub retry_next_time: Option<Wall>,
    }

    /// An upload arrived.
    pub struct UploadCompleted {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Size, bytes.
        #[n(1)]
        pub bytes: u64,
    }

    /// Data and ticket were kept.
    pub struct UploadKept {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// Size, bytes.
        #[n(1)]
        pub bytes: u64,
        /// Why.
        #[n(2)]
        pub failure: UploadFailure,
    }

    /// Kept data was removed; the user agreed.
    pub struct UploadRemoved {
        /// The job.
        #[n(0)]
        pub job: JobId,
    }
}
