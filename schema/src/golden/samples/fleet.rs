//! Samples of the events of the fleet.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{DEVICE, EPOCH, HASH, LOG, POSITION};
use crate::event::fleet::{
    DeviceCertificateUsed, DeviceEnrolled, DeviceKeysRotated, DeviceRetired, DeviceRevoked,
};
use crate::event::quarantine::{QuarantineDiscarded, QuarantineOpened, QuarantineReleased};
use crate::{Event, Head, Position, PublicKey, QuarantineId};

const QUARANTINE: QuarantineId = QuarantineId([0xee; 8]);

pub(super) fn samples() -> Vec<Event> {
    vec![
        enrolled(Some(POSITION), Some(true), Some(true)),
        DeviceRetired { device: DEVICE, reason: "branch closed".into() }.into(),
        DeviceRevoked { device: DEVICE, reason: "stolen".into() }.into(),
        DeviceKeysRotated {
            device: DEVICE,
            signing_key: PublicKey([0xcc; 32]),
            tls_fingerprint: Some(HASH),
            rotation: POSITION,
        }
        .into(),
        DeviceCertificateUsed { device: DEVICE, tls_fingerprint: HASH }.into(),
        QuarantineOpened {
            id: QUARANTINE,
            device: DEVICE,
            log: LOG,
            epoch: EPOCH,
            first_seq: 4_821,
            count: 12,
            hash: HASH,
            reason: "it does not verify: its head is not signed by the log's writer".into(),
        }
        .into(),
        QuarantineReleased {
            id: QUARANTINE,
            device: DEVICE,
            head: Head { position: POSITION, hash: HASH },
            count: 12,
            hash: HASH,
            reason: "the office's own prints".into(),
        }
        .into(),
        QuarantineDiscarded {
            id: QUARANTINE,
            device: DEVICE,
            log: LOG,
            epoch: EPOCH,
            first_seq: 4_821,
            count: 12,
            hash: HASH,
            reason: "a thief's".into(),
        }
        .into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    vec![
        enrolled(None, None, None),
        DeviceKeysRotated {
            device: DEVICE,
            signing_key: PublicKey([0xcc; 32]),
            tls_fingerprint: None,
            rotation: POSITION,
        }
        .into(),
    ]
}

fn enrolled(
    readmitted: Option<Position>,
    processing: Option<bool>,
    renewed: Option<bool>,
) -> Event {
    DeviceEnrolled {
        device: DEVICE,
        name: "branch-7".into(),
        signing_key: PublicKey([0x99; 32]),
        tls_fingerprint: HASH,
        readmitted,
        processing,
        renewed,
    }
    .into()
}
