//! Identities and positions: a newtype for each, so that none stands for another.
//!
//! Invariant: every identity and position has one text form (lower-case hex, plain
//! decimal numbers) and only that is read, so that equal texts and equal values are
//! the same thing. Positions order by log, epoch, then sequence.
//! Who mints identities (and with what entropy) is left to the rims.

use crate::cbor;
use core::fmt;
use std::str::FromStr;

/// A text that is not the identity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: expected {expected}")]
pub struct IdParseError {
    what: &'static str,
    expected: String,
    text: String,
}

impl IdParseError {
    pub(crate) fn new(what: &'static str, expected: impl Into<String>, text: &str) -> Self {
        Self { what, expected: expected.into(), text: text.chars().take(200).collect() }
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = hex_byte(pair)?;
    }
    Some(bytes)
}

/// The byte that two lower-case hex digits stand for.
pub(crate) fn hex_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    u8::try_from(hex_digit(*high)? * 16 + hex_digit(*low)?).ok()
}

fn hex_digit(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase())
}

/// A decimal number as it is displayed: no sign, no leading zeros.
fn parse_number<N: FromStr>(text: &str) -> Option<N> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if plain && !leading_zero { text.parse().ok() } else { None }
}

/// Defines a fixed-size identity with its CBOR (byte string), JSON (hex) and text forms.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Its size, bytes.
            pub const LEN: usize = $len;

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first four bytes as hex: enough for a table, never for a decision.
            pub fn short(&self) -> String {
                self.to_string().chars().take(8).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                parse_hex(text).map(Self).ok_or_else(|| {
                    IdParseError::new($what, format!("{} hex digits", $len * 2), text)
                })
            }
        }

        cbor::as_bytes!($name, $len);
        cbor::as_json_text!($name, $what, concat!("^([0-9a-f]{2}){", stringify!($len), "}$"));
    };
}

identity!(/// A tenant: one customer's fleet. Part of every key. 16 random bytes.
    TenantId, 16, "tenant id");
identity!(/// A device. First 16 bytes of BLAKE3 over its first signing key (see `FORMAT.md`).
    DeviceId, 16, "device id");
identity!(/// A log. BLAKE3 of its genesis record, so it names tenant, writer and class.
    LogId, 32, "log id");
identity!(/// A BLAKE3 hash.
    Hash, 32, "hash");
identity!(/// An Ed25519 public key.
    PublicKey, 32, "public key");
identity!(/// What an event calls a user: random, minted by the device that saw the name.
    UserAlias, 16, "user alias");
identity!(/// A person or account that aliases are linked to; minted by the cloud.
    SubjectId, 16, "subject id");
identity!(/// A job, unique within the device that ran it. Not the spooler's job number.
    JobId, 8, "job id");
identity!(/// A request to do something once, however often it is sent; chosen by who asks.
    RequestId, 8, "request id");
identity!(/// An entry of the cloud's quarantine. First 8 bytes of BLAKE3 over what opened it.
    QuarantineId, 8, "quarantine id");

identity!(/// BLAKE3 of a certificate's DER bytes: by it devices pin the authority, and the cloud pins devices.
    Fingerprint, 32, "certificate fingerprint");

impl Fingerprint {
    /// The fingerprint of a certificate, given its DER bytes.
    pub fn of(certificate: &[u8]) -> Self {
        Self(*blake3::hash(certificate).as_bytes())
    }
}

impl Hash {
    /// The chain's value before an epoch's first batch.
    pub const ZERO: Self = Self([0; 32]);
}

/// One epoch of a log: a counter, and 16 random bytes so that two copies of a
/// device that open "the next" epoch apart never open the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct EpochId {
    /// Counts the log's epochs from 0.
    #[n(0)]
    pub counter: u32,
    /// Random.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 16],
}

impl EpochId {
    /// Its size in a batch or a key, bytes.
    pub const LEN: usize = 20;
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.counter)?;
        write_hex(&self.nonce, f)
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochId({self})")
    }
}

impl FromStr for EpochId {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let parse = || {
            let (counter, nonce) = text.split_once('-')?;
            Some(Self { counter: parse_number(counter)?, nonce: parse_hex(nonce)? })
        };
        parse().ok_or_else(|| IdParseError::new("epoch", "COUNTER-32 hex digits", text))
    }
}

/// Where one event stands, for ever. Also its idempotency key.
/// Text form: `LOG/EPOCH/SEQ`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    minicbor::Encode,
    minicbor::Decode
)]
#[cbor(array)]
pub struct Position {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// The log's epoch.
    #[n(1)]
    pub epoch: EpochId,
    /// Gap-free from 0 within the epoch.
    #[n(2)]
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.log, self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let parse = || {
            let mut parts = text.splitn(3, '/');
            let log = parts.next()?.parse().ok()?;
            let epoch = parts.next()?.parse().ok()?;
            let seq = parse_number(parts.next()?)?;
            Some(Self { log, epoch, seq })
        };
        parse().ok_or_else(|| IdParseError::new("position", "LOG/EPOCH/SEQ", text))
    }
}

/// The cloud's numbering of accepted batches: integrators' cursors and `--at`
/// are these. Text form: `EPOCH.INDEX`, `1.482`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    minicbor::Encode,
    minicbor::Decode
)]
#[cbor(array)]
pub struct CommitPosition {
    /// Grows when a cloud lost its tail and started again from its devices.
    #[n(0)]
    pub epoch: u32,
    /// Gap-free from 1 within the epoch; 0 is before the first batch.
    #[n(1)]
    pub index: u64,
}

impl fmt::Display for CommitPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.index)
    }
}

impl FromStr for CommitPosition {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let parse = || {
            let (epoch, index) = text.split_once('.')?;
            Some(Self { epoch: parse_number(epoch)?, index: parse_number(index)? })
        };
        parse().ok_or_else(|| IdParseError::new("commit position", "EPOCH.INDEX, as 1.482", text))
    }
}

cbor::as_json_text!(EpochId, "epoch", "^(0|[1-9][0-9]*)-[0-9a-f]{32}$");
cbor::as_json_text!(
    Position,
    "position",
    "^[0-9a-f]{64}/(0|[1-9][0-9]*)-[0-9a-f]{32}/(0|[1-9][0-9]*)$"
);
cbor::as_json_text!(CommitPosition, "commit position", "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_read_back() {
        let epoch = EpochId { counter: 7, nonce: [0xab; 16] };
        let position = Position { log: LogId([3; 32]), epoch, seq: 42 };
        assert_eq!(position.to_string().parse(), Ok(position));
        let commit = CommitPosition { epoch: 1, index: 482 };
        assert_eq!(commit.to_string(), "1.482");
        assert_eq!("1.482".parse(), Ok(commit));
        for another_form in ["1,482", "01.482", "+1.482", "1.0482", "1.", "1.482 "] {
            assert!(another_form.parse::<CommitPosition>().is_err(), "{another_form}");
        }
        assert!("AB".repeat(16).parse::<TenantId>().is_err(), "one value, one text");
        assert!("+f".repeat(16).parse::<TenantId>().is_err(), "a sign is no hex digit");
        assert!("é".repeat(16).parse::<TenantId>().is_err(), "bytes, not chars, are counted");
    }

    #[test]
    fn a_shortened_fingerprint_is_none() {
        let fingerprint = Fingerprint::of(b"certificate");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for text in [&fingerprint.short(), "", &"a7".repeat(33), &"z".repeat(64)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }

    #[test]
    fn cbor_form_is_a_byte_string_of_exact_length() {
        let bytes = minicbor::to_vec(JobId([1; 8])).expect("encodes");
        assert_eq!(bytes, [0x48, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert!(minicbor::decode::<JobId>(&[0x47, 1, 1, 1, 1, 1, 1, 1]).is_err());
    }
}
