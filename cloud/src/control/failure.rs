//! Why a question could not be answered, for people, and whether to ask again.
//!
//! Invariant: what may pass by itself is told as such, whoever found it: a full disk, a device that is
//! away, a writer that has stopped. A command's exit code follows from it.

use crate::keeper::Unanswered;
use serde::{Deserialize, Serialize};
use tallyroll_engine::Kind;

/// Why a question could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error("{text}")]
pub struct Failure {
    /// What failed, why, and what to do.
    pub text: String,
    /// Whether the same may succeed later by itself.
    pub temporary: bool,
}

impl Failure {
    /// One that stays until something is changed.
    pub fn lasting(text: impl ToString) -> Self {
        Self { text: text.to_string(), temporary: false }
    }

    /// One that may pass.
    pub fn temporary(text: impl ToString) -> Self {
        Self { text: text.to_string(), temporary: true }
    }
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Self {
        let temporary = match &why {
            Unanswered::Engine(error) => matches!(error.kind(), Kind::Full | Kind::Retry),
            Unanswered::Full | Unanswered::Gone => true,
        };
        Self { text: why.to_string(), temporary }
    }
}
