//! Samples of the events of leases.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{ALIAS, DEVICE, EPOCH, JOB, POSITION, SUBJECT, WALL};
use crate::event::leases::*;
use crate::{Credits, Event};

const fn amount(thousandths: i64) -> Credits {
    Credits::from_thousandths(thousandths)
}

pub(in crate::golden) const BACKING: Backing =
    Backing { right: Right::Lease, credits: amount(98_000) };

pub(super) fn samples() -> Vec<Event> {
    let (spent, returned) = (amount(12_345), amount(27_655));
    vec![
        LeaseRequested { job: Some(JOB), ..requested() }.into(),
        LeaseGranted {
            user: Some(ALIAS),
            epoch: Some(EPOCH),
            answers: Some(POSITION),
            ..granted()
        }
        .into(),
        LeaseRefused {
            answers: POSITION,
            user: ALIAS,
            available: amount(500),
            held: vec![LeaseHeld { device: DEVICE, credits: amount(39_500) }],
            device: DEVICE,
        }
        .into(),
        LeaseRecalled { job: Some(JOB), ..recalled() }.into(),
        LeaseClosed { allocation: 70_000, spent, returned, user: Some(ALIAS) }.into(),
        LeaseWrittenOff {
            device: Some(DEVICE),
            user: Some(ALIAS),
            epoch: Some(EPOCH),
            credits: Some(amount(27_655)),
            ..written_off()
        }
        .into(),
        OfflinePolicyPublished { overdraft: Some(amount(5_000)) }.into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    let (spent, returned) = (amount(12_345), amount(27_655));
    vec![
        requested().into(),
        granted().into(),
        recalled().into(),
        LeaseClosed { allocation: 70_000, spent, returned, user: None }.into(),
        written_off().into(),
        OfflinePolicyPublished { overdraft: None }.into(),
    ]
}

fn requested() -> LeaseRequested {
    LeaseRequested { user: ALIAS, needed: amount(1_000), wanted: amount(40_000), job: None }
}

fn granted() -> LeaseGranted {
    LeaseGranted {
        allocation: 70_000,
        device: DEVICE,
        subject: SUBJECT,
        credits: amount(40_000),
        spend_until: WALL,
        user: None,
        epoch: None,
        answers: None,
    }
}

fn recalled() -> LeaseRecalled {
    LeaseRecalled { device: DEVICE, user: ALIAS, allocation: 70_000, job: None }
}

fn written_off() -> LeaseWrittenOff {
    LeaseWrittenOff {
        allocation: 70_001,
        reason: "device stolen".into(),
        device: None,
        user: None,
        epoch: None,
        credits: None,
    }
}
