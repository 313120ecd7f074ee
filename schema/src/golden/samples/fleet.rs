//! Samples of the events of people and of the fleet.
//!
//! Invariant: the sample of a kind sets every field; no kind here has an optional
//! one. Which files they become is left to the tests above.

use super::{ALIAS, DEVICE, HASH, SUBJECT};
use crate::event::fleet::{DeviceEnrolled, DeviceRetired, DeviceRevoked};
use crate::event::people::{SubjectForgotten, SubjectLinked};
use crate::{Event, PublicKey};

pub(super) fn samples() -> Vec<Event> {
    vec![
        SubjectLinked { device: DEVICE, alias: ALIAS, subject: SUBJECT }.into(),
        SubjectForgotten { subject: SUBJECT }.into(),
        DeviceEnrolled {
            device: DEVICE,
            name: "branch-7".into(),
            signing_key: PublicKey([0x99; 32]),
            tls_fingerprint: HASH,
        }
        .into(),
        DeviceRetired { device: DEVICE, reason: "branch closed".into() }.into(),
        DeviceRevoked { device: DEVICE, reason: "stolen".into() }.into(),
    ]
}
