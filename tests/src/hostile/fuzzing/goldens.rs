//! The golden files of the schema, as inputs to start from.
//!
//! Invariant: what is read here is frozen and complete: a new golden file is a new input by itself.
//! What they mean is the schema's.

use std::fs;
use std::path::PathBuf;
use tallyroll_schema::Event;
use tallyroll_schema::event::Bytes;

/// An event's body, with its kind and version.
pub(super) type Body = (u16, u8, Vec<u8>);

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schema/golden/v1").join(name)
}

/// The bytes of a file of hex.
pub(super) fn unhex(text: &str) -> Vec<u8> {
    text.split_whitespace().collect::<String>().parse::<Bytes>().expect("is hex").0
}

/// Names, without ending, and texts of a folder's files with this ending, by name.
pub(super) fn texts(of: &str, ending: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder(of)).expect("the schema has golden files");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("reads").file_name().into_string().expect("is text"))
        .collect();
    names.sort();
    let name = |name: &String| name.strip_suffix(ending).map(str::to_owned);
    let read = |stem: String| {
        let text = fs::read_to_string(folder(of).join(format!("{stem}{ending}"))).expect("reads");
        (stem, text)
    };
    names.iter().filter_map(name).map(read).collect()
}

/// A binary one.
pub(super) fn bytes(of: &str, name: &str) -> Vec<u8> {
    unhex(&fs::read_to_string(folder(of).join(format!("{name}.hex"))).expect("reads"))
}

/// Every event's.
pub(super) fn bodies() -> Vec<Body> {
    let body = |(name, text): (String, String)| {
        let name = name.trim_end_matches(".minimal");
        let (kind, _, _) = Event::KINDS.iter().find(|(_, known, _)| *known == name)?;
        Some((*kind, 1, unhex(&text)))
    };
    texts("event", ".hex").into_iter().filter_map(body).collect()
}
