//! One line of a CUPS `page_log`, understood: pure, any bytes in, an [`Entry`] or a [`Reject`] out.
//!
//! Owns the meaning of a line as `cupsdLogPage` (CUPS `scheduler/log.c`, 1.4 to 2.4) writes it.
//! Invariant: a line that could be read in two ways with different figures is rejected, never guessed.
//! The title, the billing text and the host are read over and dropped: they are personal data.
//! Leaves to others: files ([`super::import`]), repeats ([`super::key`]), prices.

mod fault;
mod format;
mod reading;
mod time;

pub use format::{Format, FormatError};

use super::key::JobKey;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The queue's name; bytes that are not UTF-8 are shown as `\xHH`.
    pub printer: String,
    /// Who submitted the job, as CUPS knew them, in the same escaping; it may hold spaces.
    pub user: String,
    /// CUPS's job number. It starts at 1 again when the spool is cleared, so it is no key.
    pub job_number: u32,
    /// The same for all lines of one job; see the engine's `SpoolJob` for what it can and cannot tell.
    pub job: JobKey,
    /// When CUPS wrote the line, in milliseconds since the Unix epoch.
    pub printed_at: i64,
    /// The impressions.
    pub pages: Pages,
    /// The medium asked for, if any was (`iso_a4_210x297mm`).
    pub media: Option<String>,
    /// The `sides` asked for, if any were (`two-sided-long-edge`).
    pub sides: Option<String>,
    /// Whether color was asked for; `None` where the log does not say.
    pub color: Option<bool>,
}

/// The figure a line carries. An impression is one side that passed the marker, blank backs included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Everything the job has marked **so far**, all copies included (CUPS 2.3 and later write one such
    /// line whenever a job stops running; a job that is retried or reprinted has several).
    Total {
        /// Impressions of the whole job.
        impressions: u32,
    },
    /// One page, times its copies (before CUPS 2.3).
    Page {
        /// The page's number within the job.
        number: u32,
        /// How many of it were marked.
        copies: u32,
    },
}

/// Why a line is not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// No bytes at all.
    #[error("empty line")]
    Empty,
    /// More than [`PAGE_LOG_LINE_BYTES_MAX`](tallyroll_schema::limits::files::PAGE_LOG_LINE_BYTES_MAX); only its beginning is kept.
    #[error("line longer than 64 KiB, only its beginning is kept")]
    TooLong,
    /// The part before the free text is not there.
    #[error("does not follow the format; if CUPS has a PageLogFormat, pass it to the import")]
    Mismatch,
    /// A figure that is none, or too large.
    #[error("{what} {found} is not a number from 0 to 4294967295")]
    Number {
        /// Which figure.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// A time that does not exist, or that no act may have.
    #[error(
        "{found} is no time of the years 2000 to 2199 as CUPS writes it, [21/Nov/2026:01:02:03 +0100]"
    )]
    Time {
        /// What stands there.
        found: String,
    },
    /// The part after the free text is not there, and CUPS did not cut the line for length.
    #[error("ends too early for the format; part of the line is missing")]
    Cut,
    /// A user's name or a medium that no event may hold.
    #[error("its user name is over 255 bytes or its medium over 1024")]
    FieldTooLong,
    /// Two readings with different figures.
    #[error("can be read in two ways; log %p %u %j %T %P %C before any %{{attribute}} to avoid it")]
    Ambiguous,
}
