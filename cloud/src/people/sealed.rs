//! Names as devices seal them, and the tenant's directory key, which alone opens them.
//!
//! Invariant: a name opens only for the device and the alias it was sealed for (RFC 9180 base mode, both in the
//! associated data), so a row moved to another alias is refused, not shown.
//! HPKE base mode says nothing of who sealed: that a row came from its device is known from the link it came by.
//! Rows, and what to show for one that does not open, are left to the directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{
    Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _, single_shot_open,
    single_shot_seal,
};
use tallyroll_schema::Hash;
use tallyroll_schema::limits::SEALED_NAME_BYTES_MAX;
use tallyroll_schema::wire::DIRECTORY_INFO;
use zeroize::Zeroizing;

use crate::secret_file;

const ENCAPSULATED_BYTES: usize = 32;
const PADDED_TO: usize = 32;

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type EncapsulatedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Why there is no directory key.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryKeyError {
    /// The file cannot be read or written: mend the disk or its permissions, then start again.
    #[error("cannot read or write {}", .path.display())]
    File {
        /// The key's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, but is no key.
    #[error("{} is damaged: restore it from a backup; no other key opens the names sealed so far", .path.display())]
    Damaged {
        /// The key's file.
        path: PathBuf,
    },
}

/// Why a sealed name was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short or too long for a sealed name.
    #[error("{0} bytes are no sealed name")]
    Length(usize),
    /// Sealed to another key, for another device or alias, or altered.
    #[error("the name was sealed to another key, device or alias, or altered since")]
    Refused,
    /// It opened, but what was sealed is no padded UTF-8 name: the device that sealed it is at fault.
    #[error("what was sealed is not a name")]
    NotAName,
}

/// The tenant's secret key to its directory of names. Overwritten in memory when dropped.
pub struct DirectoryKey(PrivateKey);

impl DirectoryKey {
    /// Its file's.
    pub const FILE_NAME: &str = "directory.key";

    /// Opens the key kept in `directory`, or makes one there when the directory holds none.
    pub fn open_or_create(directory: &Path) -> Result<Self, DirectoryKeyError> {
        let path = directory.join(Self::FILE_NAME);
        let file_error = |source| DirectoryKeyError::File { path: path.clone(), source };
        let kept = match secret_file::read(&path).map_err(file_error)? {
            Some(kept) => kept,
            None => {
                let mut secret = Zeroizing::new(vec![0; PrivateKey::size()]);
                getrandom::fill(&mut secret).map_err(|error| file_error(error.into()))?;
                let sum = blake3::hash(&secret);
                let kept = Zeroizing::new([&**secret, sum.as_bytes()].concat());
                secret_file::write(directory, Self::FILE_NAME, &kept).map_err(file_error)?;
                kept
            }
        };
        // Any bytes of the right number are an X25519 key: BLAKE3 behind it tells its own from others. One from before
        // that stands alone.
        let (secret, sum) = kept.split_at(kept.len().min(PrivateKey::size()));
        let whole = sum.is_empty() || sum == blake3::hash(secret).as_bytes();
        let key = PrivateKey::from_bytes(secret).ok().filter(|_| whole);
        key.map(Self).ok_or(DirectoryKeyError::Damaged { path })
    }

    /// The public half, to which devices seal.
    pub fn public(&self) -> [u8; 32] {
        X25519HkdfSha256::sk_to_pk(&self.0).to_bytes().into()
    }

    /// Opens a name that `device` sealed for `alias`.
    pub fn open(
        &self,
        device: &[u8],
        alias: &[u8; 16],
        sealed: &[u8],
    ) -> Result<String, OpenError> {
        let too_long = sealed.len() > SEALED_NAME_BYTES_MAX;
        let Some((encapsulated, ciphertext)) =
            sealed.split_at_checked(ENCAPSULATED_BYTES).filter(|_| !too_long)
        else {
            return Err(OpenError::Length(sealed.len()));
        };
        let encapsulated =
            EncapsulatedKey::from_bytes(encapsulated).map_err(|_| OpenError::Refused)?;
        let padded = single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            DIRECTORY_INFO,
            ciphertext,
            &[device, alias].concat(),
        );
        unpad(&Zeroizing::new(padded.map_err(|_| OpenError::Refused)?))
    }

    /// Seals a name, as a device does, for one that is entered here; `None` if it is too long.
    pub fn seal(&self, device: &[u8], alias: &[u8; 16], name: &str) -> Option<Vec<u8>> {
        let padded_bytes = (1 + name.len()).next_multiple_of(PADDED_TO);
        let mut padded = Zeroizing::new(Vec::with_capacity(padded_bytes));
        padded.push(u8::try_from(name.len()).ok()?);
        padded.extend_from_slice(name.as_bytes());
        padded.resize(padded_bytes, 0);
        self.seal_padded(device, alias, &padded)
    }

    fn seal_padded(&self, device: &[u8], alias: &[u8; 16], padded: &[u8]) -> Option<Vec<u8>> {
        let recipient = X25519HkdfSha256::sk_to_pk(&self.0);
        let row = [device, alias].concat();
        let sealed = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &recipient,
            DIRECTORY_INFO,
            padded,
            &row,
        );
        let (encapsulated, ciphertext) = sealed.ok()?;
        Some([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
    }

    /// By what a forgotten name is recognised, without the name: who has this key can test names.
    pub fn known_by(&self, name: &str) -> Hash {
        let secret = Zeroizing::new(<[u8; 32]>::from(self.0.to_bytes()));
        let key = Zeroizing::new(blake3::derive_key("tallyroll forgotten names v1", &*secret));
        Hash(*blake3::keyed_hash(&key, name.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for DirectoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectoryKey(secret)")
    }
}

/// A padded name is its length in one byte, its bytes, and zeros up to a multiple of 32.
fn unpad(padded: &[u8]) -> Result<String, OpenError> {
    let (&length, rest) = padded.split_first().ok_or(OpenError::NotAName)?;
    let (name, zeros) = rest.split_at_checked(length.into()).ok_or(OpenError::NotAName)?;
    if zeros.iter().any(|&byte| byte != 0) {
        return Err(OpenError::NotAName);
    }
    String::from_utf8(name.to_vec()).map_err(|_| OpenError::NotAName)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &[u8] = b"device";
    const ALIAS: [u8; 16] = [1; 16];

    fn key() -> DirectoryKey {
        DirectoryKey(PrivateKey::from_bytes(&[7; 32]).unwrap())
    }

    fn seal(plaintext: &[u8]) -> Vec<u8> {
        key().seal_padded(DEVICE, &ALIAS, plaintext).unwrap()
    }

    #[test]
    fn a_key_stays_the_same_from_start_to_start() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryKey::open_or_create(directory.path()).unwrap().public();
        assert_eq!(DirectoryKey::open_or_create(directory.path()).unwrap().public(), first);
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DirectoryKey::FILE_NAME);
        let mut flipped = [[7; 32], *blake3::hash(&[7; 32]).as_bytes()].concat();
        flipped[31] ^= 1;
        for damaged in [b"".as_slice(), &[7; 31], &[7; 33], &flipped] {
            std::fs::write(&path, damaged).unwrap();
            let error = DirectoryKey::open_or_create(directory.path()).unwrap_err();
            assert!(matches!(error, DirectoryKeyError::Damaged { .. }), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_name_opens_for_its_row_alone() {
        let sealed = seal(b"\x03ada\0\0\0\0");
        assert_eq!(key().open(DEVICE, &ALIAS, &sealed), Ok("ada".to_owned()));
        assert_eq!(key().open(b"other", &ALIAS, &sealed), Err(OpenError::Refused));
        assert_eq!(key().open(DEVICE, &[2; 16], &sealed), Err(OpenError::Refused));
        let other = DirectoryKey(PrivateKey::from_bytes(&[8; 32]).unwrap());
        assert_eq!(other.open(DEVICE, &ALIAS, &sealed), Err(OpenError::Refused));
    }

    /// Sealed by the first version's device. Directories are kept for years: what it sealed must open for ever.
    #[test]
    fn a_name_sealed_by_the_first_version_opens() {
        let sealed = hex::<80>(
            "200c7622d749debeeffc5c3ba80a89649de299e195f5b07a3d125fef41d73c189dceef84e475ac3f\
             e8766e83d64d889886f248ed8ba4a28aa1ad8eef2df2a2ee2891f370d101ed79980c7974ee2dd540",
        );
        assert_eq!(key().open(DEVICE, &ALIAS, &sealed), Ok("Zoë".to_owned()));
    }

    fn hex<const N: usize>(digits: &str) -> [u8; N] {
        std::array::from_fn(|index| {
            u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap()
        })
    }

    #[test]
    fn any_change_is_noticed() {
        let sealed = seal(b"\x03ada\0\0\0\0");
        // The top bit of an X25519 key is ignored by definition (RFC 7748, 5), but not by HPKE, which hashes the key.
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key().open(DEVICE, &ALIAS, &changed), Err(OpenError::Refused), "bit {bit}");
        }
        for length in ENCAPSULATED_BYTES..sealed.len() {
            assert_eq!(key().open(DEVICE, &ALIAS, &sealed[..length]), Err(OpenError::Refused));
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_is_not_even_tried() {
        assert_eq!(key().open(DEVICE, &ALIAS, &[0; 31]), Err(OpenError::Length(31)));
        let long = vec![0; SEALED_NAME_BYTES_MAX + 1];
        assert_eq!(
            key().open(DEVICE, &ALIAS, &long),
            Err(OpenError::Length(SEALED_NAME_BYTES_MAX + 1))
        );
    }

    #[test]
    fn a_device_that_seals_no_name_is_told_apart() {
        for nonsense in [b"".as_slice(), b"\x04ada", b"\x03ada\0\x01", b"\x01\xff"] {
            assert_eq!(key().open(DEVICE, &ALIAS, &seal(nonsense)), Err(OpenError::NotAName));
        }
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        assert_eq!(format!("{:?}", key()), "DirectoryKey(secret)");
    }
}
