//! Samples of the events of printing.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{ALIAS, DEVICE, HASH, JOB};
use crate::Event;
use crate::event::printing::*;

pub(super) fn samples() -> Vec<Event> {
    vec![
        PrinterRegistered { device: DEVICE, name: "front-desk".into() }.into(),
        PrinterSwitched { enabled: false, mode: Some(DisableMode::Grace) }.into(),
        AcceptingJobsChanged { device: DEVICE, reason: "toner-empty".into(), stands: true }.into(),
        PrinterStatusChanged {
            state: "stopped".into(),
            reasons: vec!["media-empty-error".into(), "toner-low-warning".into()],
        }
        .into(),
        PrintJobCreated {
            job: JOB,
            device: DEVICE,
            user: Some(ALIAS),
            blob: HASH,
            format: "image/pwg-raster".into(),
            copies: 2,
        }
        .into(),
        PrintJobFetched { job: JOB }.into(),
        PrintJobSubmitted { job: JOB, remote_job: 482 }.into(),
        PrintJobEnded {
            job: JOB,
            outcome: PrintOutcome::Unknown,
            impressions: Some(12),
            sheets: Some(6),
        }
        .into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    vec![
        PrinterSwitched { enabled: true, mode: None }.into(),
        PrintJobCreated {
            job: JOB,
            device: DEVICE,
            user: None,
            blob: HASH,
            format: "application/pdf".into(),
            copies: 1,
        }
        .into(),
        PrintJobEnded {
            job: JOB,
            outcome: PrintOutcome::Completed,
            impressions: None,
            sheets: None,
        }
        .into(),
    ]
}
