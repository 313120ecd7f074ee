//! What can go wrong in the engine, and what the caller is to do about it.
//!
//! Invariant: every error has a [`Kind`] that decides the caller's next step;
//! the text says what failed and why, for people. Bytes from outside never
//! panic; our own broken invariants do.

use crate::merge::Refusal;
use tallyroll_schema::DecodeError;

/// What the caller is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing happened; the same may succeed later.
    Retry,
    /// The input is wrong; the same will fail again.
    Rejected,
    /// Stored bytes are not what was written; stop and restore.
    Corrupt,
    /// Somebody else holds what only one may hold.
    Fenced,
    /// No room; make some and try again.
    Full,
    /// Stop this process and start it again; it replays what is durable.
    Closed,
}

/// The engine's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Storage failed in a way that leaves what is durable unknown.
    #[error(
        "storage failed while {doing}: {source}; stop and start again, what is durable will be replayed"
    )]
    Storage {
        /// The step that failed.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An earlier write failed, so nothing is accepted until a restart.
    #[error("closed since a write failed; stop and start again, what is durable will be replayed")]
    Closed,
    /// No room for new work.
    #[error("no room: {0}")]
    Full(String),
    /// Stored bytes do not verify.
    #[error("corrupt {what}: {why}; keep the files and restore a backup")]
    Corrupt {
        /// Which stored thing.
        what: String,
        /// How it was noticed.
        why: String,
    },
    /// Bytes from outside do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A burst was not admitted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Not now; the text says what has to come first.
    #[error("{0}")]
    NotYet(String),
    /// A command that the rules forbid.
    #[error("{0}")]
    Rejected(String),
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage { .. } | Self::Closed => Kind::Closed,
            Self::NotYet(_) => Kind::Retry,
            Self::Full(_) => Kind::Full,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Decode(_) | Self::Refused(_) | Self::Rejected(_) => Kind::Rejected,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Corrupt { what: what.into(), why: why.to_string() }
    }

    /// What the system said while `doing` something that promised nothing yet. Not for a
    /// sync: whatever its reason, what is durable is unknown after it.
    pub fn storage(doing: &'static str, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::Full(format!("{doing}: {source}; free some space on its disk"))
            }
            _ => Self::Storage { doing, source },
        }
    }
}

/// The engine's result.
pub type Result<T, E = Error> = core::result::Result<T, E>;
