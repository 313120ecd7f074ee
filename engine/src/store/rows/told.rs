//! By which keys a device's log tells that it is enrolled. Key: the log.
//!
//! Invariant: of the newest `device.enrolled` in it that is held, whoever brought it. A log of an
//! earlier version has no such row until something is told in it again.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{Hash, LogId, PublicKey, Wall};

/// The keys, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ToldRow {
    /// Signs its heads.
    #[n(0)]
    pub signing_key: PublicKey,
    /// Of its TLS certificate.
    #[n(1)]
    pub tls_fingerprint: Hash,
    /// The record's hybrid time.
    #[n(2)]
    pub at: (Wall, u16),
}

cbor_row!(ToldRow, Told, LogId, |log| log.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let (signing_key, tls_fingerprint) = (PublicKey([1; 32]), Hash([2; 32]));
        super::super::assert_reads_back(&ToldRow {
            signing_key,
            tls_fingerprint,
            at: (Wall(3), 4),
        });
    }
}
