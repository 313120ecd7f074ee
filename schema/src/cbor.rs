//! CBOR and JSON as this crate uses them: whole values, and the forms of its newtypes.
//!
//! Invariant: a value is all of its bytes, nothing follows it. A byte identity is
//! a CBOR byte string of exact length and a JSON string; what does not fit is an
//! error, never truncated or padded.

use crate::DecodeError;
use minicbor::{Decode, Encode};

/// CBOR of a message or event body. Writing to memory cannot fail.
pub(crate) fn to_cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).unwrap_or_else(|never| unreachable!("writing to memory: {never}"))
}

/// Reads bytes that are one value.
pub(crate) fn from_cbor<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, DecodeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(DecodeError::Malformed("CBOR: bytes after its end"))
    }
}

/// CBOR form of `struct X([u8; N])`: a byte string of exactly N bytes.
macro_rules! as_bytes {
    ($name:ident, $len:literal) => {
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                <[u8; $len]>::try_from(d.bytes()?).map(Self).map_err(|_| {
                    minicbor::decode::Error::message(concat!(
                        "expected ",
                        stringify!($len),
                        " bytes of ",
                        stringify!($name)
                    ))
                })
            }
        }
    };
}

/// JSON form of a type with `Display` and `FromStr`: a string.
macro_rules! as_json_text {
    ($name:ident, $what:literal, $pattern:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(
                    deserializer,
                )?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $what,
                    "pattern": $pattern,
                })
            }
        }
    };
}

pub(crate) use {as_bytes, as_json_text};
