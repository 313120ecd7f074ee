//! A small file of JSON that must be as it was written: keys, and what was told at the join.
//!
//! Invariant: the file names the BLAKE3 of what else it holds, as compact JSON with sorted keys; a digit that turned
//! into another on the disk is told, not believed. One from before that has no `checksum`, and is taken as it is.

use crate::Hash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

const CHECKSUM: &str = "checksum";

/// The bytes of a file that holds `value`, an object.
///
/// # Errors
/// It is none.
pub fn kept_json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut members: Map<String, Value> = serde_json::from_value(serde_json::to_value(value)?)?;
    let sum = serde_json::to_value(sum_of(&members)?)?;
    members.insert(CHECKSUM.to_owned(), sum);
    serde_json::to_vec_pretty(&members)
}

/// What a file holds.
///
/// # Errors
/// It is not what was written. No word of it is in the text: it may hold a key.
pub fn read_kept_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let place = |why: serde_json::Error| format!("line {}, column {}", why.line(), why.column());
    let mut members: Map<String, Value> = serde_json::from_slice(bytes).map_err(place)?;
    if let Some(noted) = members.remove(CHECKSUM) {
        let sum = sum_of(&members).and_then(serde_json::to_value).map_err(place)?;
        if noted != sum {
            return Err(
                "its checksum is another (who changes it by hand takes `checksum` away)".to_owned()
            );
        }
    }
    // The value's own error may quote it.
    T::deserialize(Value::Object(members))
        .map_err(|_| "it has other members than it should".to_owned())
}

fn sum_of(members: &Map<String, Value>) -> serde_json::Result<Hash> {
    Ok(Hash(*blake3::hash(&serde_json::to_vec(members)?).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Kept {
        tenant: Hash,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }

    fn kept() -> Kept {
        Kept { tenant: Hash([7; 32]), name: "Zürich 2".into(), next: Some(3) }
    }

    #[test]
    fn what_is_kept_is_read_and_no_flipped_bit_is_believed() {
        let bytes = kept_json(&kept()).expect("an object");
        assert_eq!(read_kept_json::<Kept>(&bytes), Ok(kept()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // White space between members, and the case of a digit that is none of the sum's, mean nothing.
            if let Ok(read) = read_kept_json::<Kept>(&flipped) {
                assert_eq!(read, kept(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_file_from_before_is_taken_and_no_error_quotes_one() {
        let old = serde_json::to_vec(&kept()).expect("encodes");
        assert_eq!(read_kept_json::<Kept>(&old), Ok(kept()));
        for damaged in [r#"{"tenant":"secret"}"#, r#"{"secret":1}"#, r#"["secret"]"#, "secret"] {
            let told = read_kept_json::<Kept>(damaged.as_bytes()).expect_err("is none");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
