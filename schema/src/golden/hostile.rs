//! Any bytes at all: what decoders make of damaged, crafted and deeply nested input.
//!
//! Invariant: a decoder answers within its limits, without a panic, without using
//! the stack by depth, and without allocating what a length merely claims. What
//! the parts do with well-formed nonsense is left to the engine.

use super::samples::{TENANT, named_samples};
use crate::wire::Message;
use crate::{Batch, DeviceId, Event, PublicKey, Records, enrol};
use proptest::prelude::*;

const DEEP: usize = 10_000;

fn decode_as_everything(bytes: &[u8]) {
    for (kind, _, _) in Event::KINDS {
        let _ = Event::decode(*kind, 1, bytes);
    }
    for tag in 0..=u8::MAX {
        let _ = Message::decode(tag, bytes.to_vec());
    }
    let _ = enrol::decode_request(bytes);
    let _ = enrol::decode_answer(bytes);
    let _ = Batch::decode(bytes.to_vec());
    let _ = Records::new(bytes).count();
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        decode_as_everything(&bytes);
        decode_as_everything(&[&[0xbf], bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_bodies_are_read_without_panic(
        which: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let samples = named_samples();
        let (_, event) = which.get(&samples);
        let mut body = event.encode_body();
        let at = at.index(body.len());
        body[at] = byte;
        decode_as_everything(&body);
        decode_as_everything(&body[..cut.index(body.len())]);
        if let Ok(read) = Event::decode(event.kind(), 1, &body) {
            let again = Event::decode(read.kind(), 1, &read.encode_body());
            prop_assert_eq!(again, Ok(read));
        }
    }
}

/// Arrays, maps, endless arrays and tags, within each other, below a key nobody knows.
#[test]
fn nesting_takes_no_stack() {
    let nests: [(&[u8], &[u8]); 4] =
        [(&[0x81], &[0]), (&[0xa1, 0], &[0]), (&[0x9f], &[0xff]), (&[0xc1], &[0])];
    for (open, close) in nests {
        let nested = [open.repeat(DEEP), close.repeat(DEEP)].concat();
        for (kind, _, _) in Event::KINDS {
            let _ = Event::decode(*kind, 1, &nested);
            for key in [0, 23] {
                let _ = Event::decode(*kind, 1, &[&[0xa1, key], nested.as_slice()].concat());
            }
        }
        decode_as_everything(&nested);
    }
}

#[test]
fn nested_unknown_keys_are_skipped_whole() {
    let nested = [[0x81].repeat(DEEP), vec![0]].concat();
    let body = [&[0xa2, 0, 7, 23], nested.as_slice()].concat();
    assert_eq!(Event::decode(0x0508, 1, &body), Event::decode(0x0508, 1, &[0xa1, 0, 7]));
}

/// A length of 2⁶⁰ elements or bytes, and nothing behind it.
#[test]
fn a_claimed_length_is_not_believed() {
    for major in [0x5b, 0x7b, 0x9b, 0xbb] {
        let claim = [&[major][..], &(1u64 << 60).to_be_bytes()].concat();
        decode_as_everything(&claim);
        for key in 0..12 {
            decode_as_everything(&[&[0xa1, key], claim.as_slice()].concat());
        }
    }
}

#[test]
fn json_deeper_than_the_parser_allows_is_an_error() {
    let json = format!("{{\"kind\": {}", "[".repeat(DEEP));
    assert!(serde_json::from_str::<Event>(&json).is_err());
}

#[test]
fn a_device_id_is_of_its_tenant_and_key() {
    let id = |key| DeviceId::of_key(TENANT, &PublicKey([key; 32]));
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}
