//! The contract: what Tallyroll writes, stores and sends, as pure data.
//!
//! Owns every byte that leaves a process or survives one: ids, credits, times,
//! records, batches, heads, receipts, wire messages and the event kinds.
//! Invariant: decoding takes any bytes without panic and within the limits of
//! [`limits`]; stored bytes are never re-encoded (see `FORMAT.md`).
//! Leaves all behaviour (chaining, merging, folding) to the engine.

#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod act;
mod batch;
mod cbor;
mod clock;
mod credits;
pub mod enrol;
pub mod event;
#[cfg(test)]
mod golden;
mod head;
mod ids;
mod join_url;
mod json_line;
mod kept_json;
pub mod limits;
mod record;
mod server_act;
pub mod wire;

pub use act::Act;
pub use batch::{Batch, BatchHeader, Compression, batch_hash};
pub use clock::{ClockQuality, HybridTime, Timestamp, Wall};
pub use credits::{Credits, CreditsParseError};
pub use event::{Event, Writer};
pub use head::{Commit, Head, Receipt, Signature, SignedHead};
pub use ids::{
    CommitPosition, DeviceId, EpochId, Fingerprint, Hash, IdParseError, JobId, LogId, Position,
    PublicKey, QuarantineId, RequestId, SubjectId, TenantId, UserAlias,
};
pub use join_url::JoinUrl;
pub use json_line::read_json_line;
pub use kept_json::{kept_json, read_kept_json};
pub use record::{Record, RecordHeader, Records};
pub use server_act::ServerAct;

/// Why bytes are not what they claim to be. Decoders return this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the structure does.
    #[error("truncated: {0} needs more bytes than there are")]
    Truncated(&'static str),
    /// A stated size, count or length is beyond its limit.
    #[error("{what} of {found} is over the limit of {limit}")]
    Limit {
        /// What was too large.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The size allowed.
        limit: u64,
    },
    /// A magic number, version or tag that this build does not read.
    #[error("unknown {what} {found}; a newer Tallyroll may have written it")]
    Unknown {
        /// What was not understood.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// The parts contradict each other.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A CBOR body that does not fit its kind.
    #[error("malformed CBOR body: {0}")]
    Cbor(String),
}

impl From<minicbor::decode::Error> for DecodeError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Cbor(error.to_string())
    }
}
