//! Sealing a name to the tenant's directory key, so that only the cloud of the tenant can read it.
//!
//! Invariant: a sealed name (RFC 9180 base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305) opens only with the directory
//! key, and only for the device and the alias it was sealed for; its size tells a name's length no closer than 32.
//! The alias, and when to send the row, are left to the directory.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeS, Serializable as _, single_shot_seal};
use tallyroll_schema::limits::NAME_BYTES_MAX;
use tallyroll_schema::wire::DIRECTORY_INFO;
use zeroize::Zeroizing;

const PADDED_TO: usize = 32;

type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;

/// Why a name was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The name does not fit: shorten it.
    #[error("a name of {0} bytes is too long to seal: at most {NAME_BYTES_MAX}")]
    TooLong(usize),
    /// No name can be sealed to this key: fetch the tenant's directory key again.
    #[error("the directory key is not a usable key")]
    DirectoryKey,
}

/// Seals `name`, which `device` knows by `alias`, to the tenant's public directory key. The result, of at most
/// [`tallyroll_schema::limits::SEALED_NAME_BYTES_MAX`] bytes, is the encapsulated key, the encrypted padded name, and the tag; sealing again gives other bytes.
///
/// # Panics
/// When the system has no randomness to give; nothing secret can be done on such a machine.
pub fn seal_name(
    directory_key: &[u8; 32],
    alias: &[u8; 16],
    device: &[u8],
    name: &str,
) -> Result<Vec<u8>, SealError> {
    let padded = pad(name)?;
    let recipient = PublicKey::from_bytes(directory_key).map_err(|_| SealError::DirectoryKey)?;
    // The alias has a fixed length, so that the two cannot be cut apart at another place.
    let row = [device, alias].concat();
    let (encapsulated, ciphertext) = single_shot_seal::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(
        &OpModeS::Base, &recipient, DIRECTORY_INFO, &padded, &row
    )
    .map_err(|_| SealError::DirectoryKey)?;
    Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
}

/// A padded name is its length in one byte, its bytes, and zeros up to a multiple of 32.
fn pad(name: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let length = u8::try_from(name.len()).map_err(|_| SealError::TooLong(name.len()))?;
    let padded_bytes = (1 + name.len()).next_multiple_of(PADDED_TO);
    // With its room from the start: a vector that grows leaves copies behind.
    let mut padded = Zeroizing::new(Vec::with_capacity(padded_bytes));
    padded.push(length);
    padded.extend_from_slice(name.as_bytes());
    padded.resize(padded_bytes, 0);
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::limits::SEALED_NAME_BYTES_MAX;

    /// The X25519 base point: a valid public key.
    const KEY: [u8; 32] = {
        let mut key = [0; 32];
        key[0] = 9;
        key
    };

    fn sealed_bytes(name: &str) -> usize {
        seal_name(&KEY, &[1; 16], b"device", name).unwrap().len()
    }

    #[test]
    fn names_of_like_length_have_one_size() {
        assert_eq!(sealed_bytes(""), 80);
        assert_eq!(sealed_bytes("ada"), sealed_bytes("konrad.zuse@example.com"));
        assert_eq!(sealed_bytes(&"n".repeat(31)), 80);
        assert_eq!(sealed_bytes(&"n".repeat(32)), 112);
        assert_eq!(sealed_bytes(&"n".repeat(NAME_BYTES_MAX)), SEALED_NAME_BYTES_MAX);
    }

    #[test]
    fn a_name_sealed_twice_shows_no_likeness() {
        let [first, second] =
            [(), ()].map(|()| seal_name(&KEY, &[1; 16], b"device", "ada").unwrap());
        assert_ne!(first[..32], second[..32]);
        assert_ne!(first[32..], second[32..]);
    }

    #[test]
    fn what_cannot_be_sealed_is_refused() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(seal_name(&KEY, &[1; 16], b"device", &long), Err(SealError::TooLong(256)));
        // A point of small order would give a shared secret that everybody knows.
        assert_eq!(seal_name(&[0; 32], &[1; 16], b"device", "ada"), Err(SealError::DirectoryKey));
    }
}
