//! Reading golden files, comparing with them, and writing them when told to.
//!
//! Invariant: without `TALLYROLL_BLESS=1` nothing is written, and a file that is
//! missing, differs or belongs to nothing fails the test with the line that
//! mends it. Bytes are kept as lines of lower-case hex, so that a diff can be read
//! and no editor spoils them (`xxd -r -p` gives them back).
#![expect(clippy::disallowed_methods, reason = "tests read and bless files of this package")]

use std::collections::BTreeSet;
use std::path::PathBuf;

const BLESS: &str = "TALLYROLL_BLESS=1 cargo test --release -p tallyroll-schema golden";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn is_blessing() -> bool {
    std::env::var("TALLYROLL_BLESS").is_ok_and(|value| value == "1")
}

/// The content of a file of this package.
pub(super) fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(path(name)).ok()
}

/// The bytes of a hex file that must be there.
pub(super) fn bytes(name: &str) -> Vec<u8> {
    let text = read(name).unwrap_or_else(|| panic!("{name} is missing; if it is new: {BLESS}"));
    text.split_whitespace()
        .collect::<String>()
        .parse::<crate::event::Bytes>()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .0
}

/// Bytes as the text of a hex file.
pub(super) fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| crate::event::Bytes(bytes.to_vec()).to_string() + "\n";
    bytes.chunks(32).map(line).collect()
}

/// Holds each file against what this build writes.
pub(super) fn assert_golden(expected: &[(String, String)]) {
    let differing: Vec<&(String, String)> =
        expected.iter().filter(|(name, content)| read(name).as_ref() != Some(content)).collect();
    if is_blessing() {
        for (name, content) in differing {
            let path = path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        return;
    }
    let names: Vec<&str> = differing.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        names.is_empty(),
        "missing or not what this build writes: {}\nIf that is new or was never released: {BLESS}\n\
         then read the diff, and run again without. Bytes of a released version must not change: give a new meaning a new kind.",
        names.join(", "),
    );
}

/// Holds that a folder has these files and no others.
pub(super) fn assert_no_others(folder: &str, expected: &[(String, String)]) {
    let named: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let found = std::fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    for entry in found {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(
            named.contains(name.as_str()),
            "{name} is read by no test: was a sample renamed or removed? A frozen kind stays readable for ever."
        );
    }
}
