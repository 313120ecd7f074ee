//! A line of JSON as people and their programs hand it in: an act, an event.
//!
//! Invariant: each key of an object comes once, at any depth: of two with one name nobody knows which is meant. What
//! is wrong with the line is told without the line's number, which is for who counts lines to tell.

use core::fmt;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

/// Reads a line.
///
/// # Errors
/// It is no such JSON, or a key comes twice; in words for who wrote it.
pub fn read_json_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let no_text = |why: core::str::Utf8Error| format!("no UTF-8 at byte {}", why.valid_up_to() + 1);
    let text = core::str::from_utf8(line.trim_ascii_end()).map_err(no_text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = KeysOnce.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    let value = read.map_err(|why| without_line(&why))?;
    T::deserialize(value).map_err(|why| why.to_string())
}

fn without_line(why: &serde_json::Error) -> String {
    let text = why.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", why.column()),
        None => text,
    }
}

/// Any JSON whose objects have each key once.
struct KeysOnce;

impl<'de> DeserializeSeed<'de> for KeysOnce {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeysOnce {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = parts.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = parts.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` comes twice; say it once")));
            }
            let value = parts.next_value_seed(Self)?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &[u8]) -> Result<Value, String> {
        read_json_line(line)
    }

    #[test]
    fn a_key_that_comes_twice_is_named_at_any_depth() {
        for (line, key) in [
            (r#"{"user":"anna","pages":1,"user":"bert"}"#, "user"),
            (r#"{"a":[{"first":1,"first":1}]}"#, "first"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
        ] {
            let why = read(line.as_bytes()).expect_err(line);
            assert!(why.starts_with(&format!("`{key}` comes twice; say it once at ")), "{why}");
        }
        read(br#"{"a":{"b":1},"b":{"a":1}}"#).expect("each object has its own keys");
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#"[null,true,false,1,-1,1.5,18446744073709551615,"a",[],{},{"a":[-2]}]"#;
        assert_eq!(read(text.as_bytes()), Ok(serde_json::from_str(text).expect("is JSON")));
    }

    #[test]
    fn what_is_wrong_is_told_without_a_line() {
        for (line, told) in [
            (&b"nonsense\n"[..], "expected ident at column 2"),
            (b"{\"a\":\n", "EOF while parsing a value at column 5"),
            (b"{} {}", "trailing characters at column 4"),
            (b"{\"a\":\"\xff\"}", "no UTF-8 at byte 7"),
        ] {
            assert_eq!(read(line).expect_err(told), told);
        }
        let why = read_json_line::<u8>(b"300").expect_err("is too large");
        assert!(why.contains("300") && !why.contains("line"), "{why}");
    }

    proptest! {
        #[test]
        fn all_else_is_read_as_ever(text in r#"[\[{]("[ab]{0,2}"|[0-9]{1,3}|-?[0-9]\.[0-9]|null|true|[:,\[\]{}]){0,12}"#) {
            let once = read(text.as_bytes());
            match serde_json::from_str::<Value>(&text) {
                Ok(value) if once.is_ok() => prop_assert_eq!(once, Ok(value)),
                Ok(_) => prop_assert!(once.is_err_and(|why| why.contains("comes twice"))),
                Err(_) => prop_assert!(once.is_err()),
            }
        }
    }
}
