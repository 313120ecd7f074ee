//! The fingerprint of a certificate: how devices pin the authority, and how the cloud pins devices.
//!
//! Invariant: what is shown is what is read, 64 hex digits, all of them; a shortened fingerprint is none.
//! The same in the edge and the cloud. What a fingerprint is trusted for is left to its users.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;

/// BLAKE3 of a certificate's DER bytes: the name by which certificates are pinned. Shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(*blake3::hash(certificate).as_bytes())
    }

    /// A fingerprint kept as its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes to keep.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| NotAFingerprint)
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: give all of its 64 hex digits")]
pub struct NotAFingerprint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let fingerprint = Fingerprint::from_bytes([0xa7; 32]);
        assert_eq!(fingerprint.to_string(), "a7".repeat(32));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }

    #[test]
    fn what_is_shortened_or_mistyped_is_none() {
        for text in ["", "a7", &"a7".repeat(33), &"z".repeat(64)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NotAFingerprint));
        }
    }
}
