//! Every event kind: its bytes, its JSON, and the JSON Schema of all of them.
//!
//! Invariant: each kind has a sample, each sample its two files, and bytes, value
//! and JSON give each other back exactly. How bodies of other versions read is
//! left to `evolution`.

use super::files::{assert_golden, assert_no_others, bytes, hex, read};
use super::samples::{minimal_samples, named_samples, samples};
use crate::{Event, Record, Timestamp};
use std::collections::BTreeSet;

const FOLDER: &str = "golden/v1/event";
const JSON_SCHEMA: &str = "golden/event.schema.json";

fn json(event: &Event) -> String {
    serde_json::to_string_pretty(event).unwrap() + "\n"
}

#[test]
fn every_kind_has_a_sample() {
    let kinds: BTreeSet<u16> = samples().iter().map(Event::kind).collect();
    for (kind, name, _) in Event::KINDS {
        assert!(kinds.contains(kind), "{name} has no sample: add one to golden/samples");
    }
    assert_eq!(samples().len(), Event::KINDS.len(), "one full sample each");
}

#[test]
fn no_number_or_name_is_used_twice() {
    let numbers: BTreeSet<u16> = Event::KINDS.iter().map(|(kind, _, _)| *kind).collect();
    let names: BTreeSet<&str> = Event::KINDS.iter().map(|(_, name, _)| *name).collect();
    assert_eq!((numbers.len(), names.len()), (Event::KINDS.len(), Event::KINDS.len()));
}

/// An optional field shows as `null` in JSON exactly when it is not set.
#[test]
fn full_samples_set_every_field_and_minimal_ones_no_optional_one() {
    let unset = |event: &Event| json(event).contains(": null");
    let (full, minimal) = (samples(), minimal_samples());
    assert!(full.iter().all(|event| !unset(event)), "a full sample leaves a field out");
    for event in &minimal {
        let as_full = full.iter().find(|full| full.kind() == event.kind()).unwrap();
        let optional = json_schema_optional_fields(event.name());
        let left_out = json(event).matches(": null").count();
        assert_eq!(left_out, optional, "{}", event.name());
        assert_ne!(event, as_full);
    }
    let with_options = Event::KINDS.iter().filter(|kind| json_schema_optional_fields(kind.1) > 0);
    assert_eq!(with_options.count(), minimal.len(), "a kind with options has no minimal sample");
}

fn json_schema_optional_fields(name: &str) -> usize {
    optional_fields(&super::paper::body_schema(name), &super::paper::event_schema())
}

/// Those of the bodies that always stand in it, too.
fn optional_fields(body: &serde_json::Value, all: &serde_json::Value) -> usize {
    let fields = body["properties"].as_object().unwrap();
    let required = body["required"].as_array().unwrap();
    let nested = required.iter().filter_map(|name| {
        let path = fields[name.as_str().unwrap()]["$ref"].as_str()?;
        let nested = all.pointer(path.trim_start_matches('#')).unwrap();
        nested["properties"].is_object().then(|| optional_fields(nested, all))
    });
    fields.len() - required.len() + nested.sum::<usize>()
}

#[test]
fn golden_files_are_what_this_build_writes_and_nothing_else_is_there() {
    let mut files = Vec::new();
    for (name, event) in named_samples() {
        files.push((format!("{FOLDER}/{name}.hex"), hex(&event.encode_body())));
        files.push((format!("{FOLDER}/{name}.json"), json(&event)));
    }
    assert_golden(&files);
    assert_no_others(FOLDER, &files);
}

#[test]
fn golden_files_are_read_as_what_was_written() {
    for (name, event) in named_samples() {
        let body = bytes(&format!("{FOLDER}/{name}.hex"));
        assert_eq!(Event::decode(event.kind(), event.version(), &body).as_ref(), Ok(&event));
        let json = read(&format!("{FOLDER}/{name}.json")).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event, "{name}");
    }
}

#[test]
fn every_kind_survives_a_record() {
    for (name, event) in named_samples() {
        let bytes = Record::encode(&event, Timestamp::default()).unwrap();
        let (record, rest) = Record::split(&bytes).unwrap();
        assert_eq!((record.event(), rest), (Ok(event), &[][..]), "{name}");
    }
}

#[test]
fn the_json_schema_is_current() {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Event)).unwrap() + "\n";
    assert_golden(&[(JSON_SCHEMA.into(), schema)]);
}

#[test]
fn every_golden_json_fits_the_json_schema() {
    let schema = serde_json::from_str(&read(JSON_SCHEMA).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, _) in named_samples() {
        let json = read(&format!("{FOLDER}/{name}.json")).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let wrong: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        value["surprise"] = 1.into();
        assert!(!validator.is_valid(&value), "{name}: a field nobody knows fits the schema");
    }
}
