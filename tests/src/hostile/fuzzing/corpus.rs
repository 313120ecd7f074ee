//! Inputs worth keeping: one for each outcome of each decoder, as files of hex.
//!
//! Invariant: a file is named by what comes of its input and holds the shortest one seen, so that the
//! folder stays small and says what is covered. `tests/fixtures/corpus/DECODER/OUTCOME.hex`.

use super::goldens::unhex;
use std::fs;
use std::io::Result;
use std::path::PathBuf;
use tallyroll_schema::event::Bytes;

/// The longest input that is kept, bytes.
const INPUT_BYTES_MAX: usize = 1024;

fn folder(decoder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus").join(decoder)
}

/// A decoder's inputs, by name.
///
/// # Errors
/// The system's.
pub fn load(decoder: &str) -> Result<Vec<Vec<u8>>> {
    let folder = folder(decoder);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(unhex(&fs::read_to_string(path)?))).collect()
}

/// Keeps an input, unless it is long; returns where.
///
/// # Errors
/// The system's.
pub fn keep(decoder: &str, outcome: &str, input: &[u8]) -> Result<Option<PathBuf>> {
    if input.len() > INPUT_BYTES_MAX {
        return Ok(None);
    }
    let path = folder(decoder).join(format!("{outcome}.hex"));
    fs::create_dir_all(folder(decoder))?;
    let line = |bytes: &[u8]| format!("{}\n", Bytes(bytes.to_vec()));
    fs::write(&path, input.chunks(32).map(line).collect::<String>())?;
    Ok(Some(path))
}
