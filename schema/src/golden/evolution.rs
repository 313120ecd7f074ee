//! How bodies of other versions read: newer ones with more keys, older ones with
//! fewer, kinds nobody here knows.
//!
//! Invariant: a body may grow by integer keys and nothing else; what this build
//! does not understand is either skipped as a whole key or kept as a whole event,
//! never half-read. JSON, which people write, is refused when it holds a surprise.

use super::samples::{JOB, named_samples, samples};
use crate::event::counts::PagesPrinted;
use crate::event::{Bytes, UnknownEvent};
use crate::wire::{ErrorCode, ErrorMessage, Message};
use crate::{Event, Record, Timestamp};

/// A key beyond all that will ever be used here, with a nested value.
const UNKNOWN_KEY: [u8; 12] = [0x19, 0x03, 0xe7, 0x82, 0xa1, 0x00, 0x9f, 0x01, 0xff, 0x43, 1, 2];

fn with_unknown_key(body: &[u8]) -> Vec<u8> {
    let keys = body[0] - 0xa0;
    assert!(keys < 23, "a body's map has a one-byte head");
    [&[0xa0 + keys + 1], &body[1..], &UNKNOWN_KEY, &[3]].concat()
}

#[test]
fn a_key_of_a_newer_version_is_skipped() {
    for (name, event) in named_samples() {
        let body = with_unknown_key(&event.encode_body());
        let newer = event.version() + 1;
        assert_eq!(Event::decode(event.kind(), newer, &body).as_ref(), Ok(&event), "{name}");
    }
}

#[test]
fn a_field_of_a_newer_version_is_absent_in_an_older_body() {
    for (name, event) in named_samples().iter().filter(|(name, _)| name.ends_with(".minimal")) {
        let body = event.encode_body();
        let full = samples().into_iter().find(|full| full.kind() == event.kind()).unwrap();
        // Its first byte counts the keys; those of a body within it make it longer.
        let (keys, all) = ((body[0], body.len()), full.encode_body());
        assert!(keys.0 <= all[0] && keys.1 < all.len(), "{name}: unset fields take no key");
        assert_eq!(Event::decode(event.kind(), event.version(), &body).as_ref(), Ok(event));
    }
}

#[test]
fn an_unknown_kind_survives_bytes_and_json() {
    let body = with_unknown_key(&samples()[0].encode_body());
    let unknown = UnknownEvent { code: 0x7fff, version: 9, body: Bytes(body.clone()) };
    let event = Event::Unknown(unknown);
    let bytes = Record::encode(&event, Timestamp::default()).unwrap();
    let (record, _) = Record::split(&bytes).unwrap();
    assert_eq!((record.body, record.event()), (&*body, Ok(event.clone())));
    let json = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
}

#[test]
fn json_does_not_dress_a_known_kind_as_unknown() {
    let json = r#"{"kind": "unknown", "code": 272, "version": 1, "body": "a0"}"#;
    let error = serde_json::from_str::<Event>(json).unwrap_err().to_string();
    assert!(error.contains("code 272 is the kind `pages.printed`"), "{error}");
}

#[test]
fn json_with_a_field_nobody_knows_is_refused_by_name() {
    let unknown = Event::Unknown(UnknownEvent { code: 9, version: 1, body: Bytes::default() });
    for event in samples().into_iter().chain([unknown]) {
        let mut json = serde_json::to_value(&event).unwrap();
        json["surprise"] = 1.into();
        let error = serde_json::from_value::<Event>(json).unwrap_err().to_string();
        assert!(error.contains("unknown field `surprise`"), "{}: {error}", event.name());
    }
}

#[test]
fn bytes_after_a_body_are_refused() {
    for event in samples() {
        let body = [event.encode_body(), vec![0xf6]].concat();
        assert!(Event::decode(event.kind(), 1, &body).is_err(), "{}", event.name());
    }
}

/// Found while drawing the paper: the derived decoder of an optional enumeration took an
/// index it did not know for a value still to be skipped, and skipped the next key instead.
#[test]
fn a_word_of_a_newer_version_is_an_error_and_never_shifts_the_fields_after_it() {
    let full = samples().into_iter().find_map(|event| match event {
        Event::PagesPrinted(printed) => Some(printed),
        _ => None,
    });
    let printed = PagesPrinted { job: JOB, media: None, ..full.unwrap() };
    let event = Event::from(printed);
    let mut body = event.encode_body();
    let sides = body.windows(2).position(|pair| pair == [5, 1]).unwrap();
    body[sides + 1] = 9;
    let error = Event::decode(event.kind(), 1, &body).unwrap_err().to_string();
    assert!(error.contains("unknown Sides 9"), "{error}");
}

#[test]
fn of_a_key_that_stands_twice_the_last_counts() {
    let [once, twice] = [vec![0xa1, 0, 7], vec![0xa2, 0, 1, 0, 7]];
    assert_eq!(Event::decode(0x0508, 1, &twice), Event::decode(0x0508, 1, &once));
}

#[test]
fn an_error_code_of_a_newer_peer_still_brings_its_text() {
    let known = ErrorMessage {
        code: ErrorCode::Internal,
        retryable: true,
        log: None,
        text: "moved; ask again in a minute".into(),
        epoch: None,
    };
    let (tag, mut payload) = Message::Error(known.clone()).encode();
    assert_eq!(payload[..3], [0xa3, 0, 6]);
    payload[2] = 23;
    assert_eq!(Message::decode(tag, payload), Ok(Message::Error(known)));
}
