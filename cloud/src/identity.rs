//! Who this cloud is: its tenant, and the key that signs decisions and receipts.
//!
//! Invariant: made once, on first start, before anything is signed; never made
//! anew beside a store that an earlier identity signed for. Readable by its owner
//! alone. The authority of its links and the directory key are files of their own.

use crate::data_dir::DataDir;
use crate::links::endpoint::EndpointSecret;
use crate::secret_file;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use tallyroll_engine::keys::Signer;
use tallyroll_schema::{Hash, TenantId, kept_json, read_kept_json};
use zeroize::Zeroizing;

/// A cloud's tenant and signing key.
#[derive(Debug)]
pub struct Identity {
    /// The tenant.
    pub tenant: TenantId,
    /// Signs decisions and receipts.
    pub signer: Signer,
    /// For the endpoint's connection ids and resets.
    pub endpoint: EndpointSecret,
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is there, but is not what was written.
    #[error("{} is damaged ({why}); restore it from a backup, devices trust no other key", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        why: String,
    },
    /// The file is gone, the store is not.
    #[error("{} is missing, but a store is there; restore it from a backup, devices trust no other key", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct IdentityFile {
    tenant: TenantId,
    signing_seed: Hash,
}

impl Identity {
    /// Opens the directory's identity, or makes one when nothing was stored yet.
    ///
    /// # Errors
    /// It cannot be read, made or kept, or was lost.
    pub fn open_or_create(dir: &DataDir) -> Result<Self, IdentityError> {
        let path = dir.identity();
        let file_error = |source| IdentityError::File { path: path.clone(), source };
        let file = match secret_file::read(&path).map_err(file_error)? {
            Some(bytes) => read_kept_json(&bytes)
                .map_err(|why| IdentityError::Damaged { path: path.clone(), why })?,
            None if dir.store().exists() => return Err(IdentityError::Missing { path }),
            None => {
                let file = IdentityFile::random().map_err(file_error)?;
                let text = kept_json(&file).map_err(|why| file_error(why.into()))?;
                let text = Zeroizing::new(text);
                secret_file::write(dir.root(), "identity.json", &text).map_err(file_error)?;
                file
            }
        };
        let Hash(seed) = &file.signing_seed;
        let (signer, endpoint) = (Signer::from_seed(seed), EndpointSecret::derive(seed));
        Ok(Self { tenant: file.tenant, signer, endpoint })
    }
}

impl IdentityFile {
    fn random() -> io::Result<Self> {
        let mut random = Zeroizing::new([0; TenantId::LEN + Hash::LEN]);
        getrandom::fill(random.as_mut())?;
        let (tenant, seed) = random.split_at(TenantId::LEN);
        let (mut file_tenant, mut file_seed) = ([0; TenantId::LEN], [0; Hash::LEN]);
        file_tenant.copy_from_slice(tenant);
        file_seed.copy_from_slice(seed);
        Ok(Self { tenant: TenantId(file_tenant), signing_seed: Hash(file_seed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_identity_stays_the_same_and_a_damaged_one_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        let first = Identity::open_or_create(&dir).unwrap();
        let second = Identity::open_or_create(&dir).unwrap();
        assert_eq!(first.tenant, second.tenant);
        assert_eq!(first.signer.public_key(), second.signer.public_key());
        let whole = fs::read(dir.identity()).unwrap();
        fs::write(dir.identity(), &whole[..whole.len() / 2]).unwrap();
        let error = Identity::open_or_create(&dir).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_lost_identity_is_not_made_anew_beside_a_store() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        fs::write(dir.store(), b"").unwrap();
        let error = Identity::open_or_create(&dir).unwrap_err();
        assert!(matches!(error, IdentityError::Missing { .. }), "{error}");
        assert!(!dir.identity().exists());
    }
}
