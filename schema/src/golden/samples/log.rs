//! Samples of the events about logs and of jointly edited documents.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{DEVICE, EPOCH, HASH, LOG, TENANT};
use crate::event::Bytes;
use crate::event::document::DocumentChanged;
use crate::event::log::{
    EpochOpened, EpochReason, EventResubmitted, KeyRotated, LogClass, LogClosed, LogOpened,
};
use crate::{EpochId, Event, Head, Position, PublicKey, Signature};

pub(super) fn samples() -> Vec<Event> {
    vec![
        LogOpened {
            tenant: TENANT,
            class: LogClass::Device,
            writer: PublicKey([0x99; 32]),
            about: Some(DEVICE),
            epoch: EpochId { counter: 0, nonce: [0xaa; 16] },
        }
        .into(),
        EpochOpened {
            epoch: EpochId { counter: 3, nonce: [0xbb; 16] },
            parent: EPOCH,
            parent_seq: 4_821,
            parent_hash: HASH,
            reason: EpochReason::TailLost,
            divergent: Some(Head {
                position: Position { log: LOG, epoch: EPOCH, seq: 5_000 },
                hash: HASH,
            }),
        }
        .into(),
        EventResubmitted {
            resubmitted_from: Position { log: LOG, epoch: EPOCH, seq: 4_900 },
            record: Bytes(vec![0x01, 0x00, 0x00, 0x00, 0xff, 0xa0]),
        }
        .into(),
        LogClosed { decision: Position { log: LOG, epoch: EPOCH, seq: 17 } }.into(),
        KeyRotated {
            writer: PublicKey([0xcc; 32]),
            consent: Signature([0xdd; 64]),
            tls_fingerprint: Some(HASH),
        }
        .into(),
        DocumentChanged {
            document: "address-book".into(),
            change: Bytes(vec![0x85, 0x6f, 0x4a, 0x83, 0x00, 0xff]),
        }
        .into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    vec![
        LogOpened {
            tenant: TENANT,
            class: LogClass::Ledger,
            writer: PublicKey([0x99; 32]),
            about: None,
            epoch: EpochId { counter: 0, nonce: [0xaa; 16] },
        }
        .into(),
        EpochOpened {
            epoch: EpochId { counter: 3, nonce: [0xbb; 16] },
            parent: EPOCH,
            parent_seq: 4_821,
            parent_hash: HASH,
            reason: EpochReason::TailLost,
            divergent: None,
        }
        .into(),
        KeyRotated {
            writer: PublicKey([0xcc; 32]),
            consent: Signature([0xdd; 64]),
            tls_fingerprint: None,
        }
        .into(),
    ]
}
