//! An invitation to join. Key: the name it was given for.
//!
//! Invariant: holds a hash of the PIN, never the PIN. Once used it stays, bound
//! to the keys that used it, so that a lost answer can be asked for again.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{Hash, PublicKey, Wall};

/// The keys that used an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Guest {
    /// Signs the device's heads.
    #[n(0)]
    pub signing_key: PublicKey,
    /// Fingerprint of its TLS certificate.
    #[n(1)]
    pub tls_fingerprint: Hash,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InviteRow {
    /// Keyed BLAKE3 of the PIN.
    #[n(0)]
    pub pin_hash: Hash,
    /// Key of that hash.
    #[n(1)]
    pub salt: Hash,
    /// Until when it can be used.
    #[n(2)]
    pub expires_at: Wall,
    /// Wrong PINs still allowed.
    #[n(3)]
    pub tries_left: u8,
    /// Who used it.
    #[n(4)]
    pub guest: Option<Guest>,
    /// Whether who uses it is a processing server.
    #[n(5)]
    pub processing: Option<bool>,
}

cbor_row!(InviteRow, Invite, String, |name| name.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let guest = Guest { signing_key: PublicKey([4; 32]), tls_fingerprint: Hash([5; 32]) };
        super::super::assert_reads_back(&InviteRow {
            pin_hash: Hash([1; 32]),
            salt: Hash([2; 32]),
            expires_at: Wall(3),
            tries_left: 5,
            guest: Some(guest),
            processing: Some(true),
        });
    }
}
