//! Bytes within an event that this build copies and does not read.
//!
//! Invariant: written as they came, in CBOR as a byte string, in JSON as pairs of hex digits.
//! What they mean is left to the build that knows it.

/// Opaque bytes; hex in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

crate::cbor::as_json_text!(Bytes, "bytes", "^([0-9a-f]{2})*$");

impl core::fmt::Display for Bytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Bytes {
    type Err = crate::IdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(crate::ids::hex_byte).collect();
        bytes.map(Self).ok_or_else(|| crate::IdParseError::new("hex", "pairs of hex digits", text))
    }
}

impl<C> minicbor::Encode<C> for Bytes {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Bytes {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(d.bytes()?.to_vec()))
    }
}
