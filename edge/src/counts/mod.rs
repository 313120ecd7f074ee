//! Counts at the rim of a device: usage read from logs that other programs write.
//!
//! Owns the reading of a CUPS `page_log` ([`page_log`] is the pure part: a line in, an entry out), the
//! key that makes reading it again harmless ([`key`]), and the importer that walks files, streams and
//! rotations ([`import`], [`follow`]). Invariant: no line is counted twice, whatever is read again and
//! wherever a reader was killed, because every key is a function of the file's bytes alone.
//! Leaves to others: what a page costs, who a user is, and making an entry durable (a [`Recorder`]).

pub mod follow;
pub mod import;
pub mod key;
pub mod lines;
pub mod page_log;
pub mod rejects;
pub mod rotation;

#[cfg(test)]
mod fixture;

pub use import::{ImportError, Importer, Keyed, Outcome, Recorder, Rejection, Summary};
pub use key::{JobKey, LineKey};
pub use page_log::{Entry, Format, FormatError, Pages, Reject};
pub use rejects::{RejectFile, erase_rejects};
