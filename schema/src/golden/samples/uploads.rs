//! Samples of the events of uploads.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{ALIAS, HASH, JOB, WALL};
use crate::Event;
use crate::event::uploads::*;

const BYTES: u64 = 12_345_678;

pub(super) fn samples() -> Vec<Event> {
    vec![
        TicketIssued {
            job: JOB,
            user: ALIAS,
            destination: "archive".into(),
            account: "account-3".into(),
            remain_retry_counter: 5,
        }
        .into(),
        TicketRefused {
            user: ALIAS,
            destination: "archive".into(),
            reason: "no account there".into(),
        }
        .into(),
        DocumentRead { job: JOB, pages: 3, bytes: BYTES, blob: HASH }.into(),
        StepFailed {
            job: JOB,
            step: "deskew".into(),
            reason: "page 2 is blank".into(),
            skipped: true,
        }
        .into(),
        UploadAttempted {
            job: JOB,
            cause: AttemptCause::Timed,
            failure: UploadFailure::Unreachable,
            remain_retry_counter: 4,
            retry_next_time: Some(WALL),
        }
        .into(),
        UploadCompleted { job: JOB, bytes: BYTES }.into(),
        UploadKept { job: JOB, bytes: BYTES, failure: UploadFailure::NoSpace }.into(),
        UploadRemoved { job: JOB }.into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    vec![
        UploadAttempted {
            job: JOB,
            cause: AttemptCause::First,
            failure: UploadFailure::Login,
            remain_retry_counter: 0,
            retry_next_time: None,
        }
        .into(),
    ]
}
