//! Events of printing: a cloud printer and its jobs (mission 4).
//!
//! Invariant: a job's outcome is recorded as known or as unknown, never
//! guessed. States and reasons carry IPP's own keywords (RFC 8011, section 5).

use super::{body, words};
use crate::{DeviceId, Hash, JobId, UserAlias};

words! {
    /// What happens to accepting-jobs when a printer is switched off.
    pub enum DisableMode {
        /// No, at once.
        #[n(0)]
        Stop,
        /// Never sent.
        #[n(1)]
        Keep,
        /// The user is asked afterwards.
        #[n(2)]
        Ask,
        /// A check box decides.
        #[n(3)]
        Choose,
        /// After a time.
        #[n(4)]
        Grace,
    }

    /// How a print job ended.
    pub enum PrintOutcome {
        /// `completed`.
        #[n(0)]
        Completed,
        /// `canceled`.
        #[n(1)]
        Canceled,
        /// `aborted`.
        #[n(2)]
        Aborted,
        /// It cannot be known what came out.
        #[n(3)]
        Unknown,
    }
}

body! {
    /// A printer was registered for cloud print.
    pub struct PrinterRegistered {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// Its name in the printer URI.
        #[n(1)]
        pub name: String,
    }

    /// The printer's service was switched.
    pub struct PrinterSwitched {
        /// On or off.
        #[n(0)]
        pub enabled: bool,
        /// The mode at a switch-off.
        #[n(1)]
        pub mode: Option<DisableMode>,
    }

    /// A reason for not accepting jobs came or went.
    pub struct AcceptingJobsChanged {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// The reason, as `disabled`, `toner-empty`.
        #[n(1)]
        pub reason: String,
        /// Whether it stands.
        #[n(2)]
        pub stands: bool,
    }

    /// The printer's status.
    pub struct PrinterStatusChanged {
        /// `idle`, `processing` or `stopped`.
        #[n(0)]
        pub state: String,
        /// `printer-state-reasons`.
        #[n(1)]
        pub reasons: Vec<String>,
    }

    /// A print job was made.
    pub struct PrintJobCreated {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// The printer.
        #[n(1)]
        pub device: DeviceId,
        /// Who.
        #[n(2)]
        pub user: Option<UserAlias>,
        /// BLAKE3 of the print data.
        #[n(3)]
        pub blob: Hash,
        /// `document-format`.
        #[n(4)]
        pub format: String,
        /// `copies`.
        #[n(5)]
        pub copies: u32,
    }

    /// The printer has the data, durably.
    pub struct PrintJobFetched {
        /// The job.
        #[n(0)]
        pub job: JobId,
    }

    /// The mechanism has the job, under its own number, before any data.
    pub struct PrintJobSubmitted {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// The printer's `job-id`.
        #[n(1)]
        pub remote_job: u32,
    }

    /// A print job ended.
    pub struct PrintJobEnded {
        /// The job.
        #[n(0)]
        pub job: JobId,
        /// How.
        #[n(1)]
        pub outcome: PrintOutcome,
        /// `job-impressions-completed`, if known.
        #[n(2)]
        pub impressions: Option<u32>,
        /// `job-media-sheets-completed`, if known.
        #[n(3)]
        pub sheets: Option<u32>,
    }
}
