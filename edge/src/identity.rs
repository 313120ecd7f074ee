//! Who this device is: its keys, and what it was told when it joined.
//!
//! Invariant: keys are made here, once, and never leave; both files are readable
//! by their owner alone. The keys are written before the first request to join,
//! so that a lost answer can be asked for again with the same keys. New ones lie
//! beside the old until [`crate::rekeying`] has them take over.

use crate::data_dir::DataDir;
use crate::link::tls::{DeviceTls, TlsError};
use crate::secret_file;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::io;
use tallyroll_engine::keys::Signer;
use tallyroll_schema::enrol::Welcome;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::{
    DeviceId, Fingerprint, Hash, JoinUrl, LogId, PublicKey, TenantId, kept_json, read_kept_json,
};
use zeroize::Zeroizing;

/// A device's private keys.
pub struct Keys {
    /// Signs its heads.
    pub signer: Signer,
    /// Proves it to the cloud.
    pub tls: DeviceTls,
    /// Those that are to follow.
    pub next: Option<NextKeys>,
    /// What proved it before, newest first: until the cloud has taken a session with a newer one.
    pub older_tls: Vec<DeviceTls>,
}

/// Keys that are to follow.
pub struct NextKeys {
    /// Signs.
    pub signer: Signer,
    /// Proves.
    pub tls: DeviceTls,
}

/// What a device was told when it joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Enrolment {
    /// The name it was given.
    pub name: String,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub device: DeviceId,
    /// Where its cloud is, `HOST:PORT`.
    pub cloud: String,
    /// The cloud's TCP port, where it is another than the UDP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_port: Option<u16>,
    /// BLAKE3 of the cloud's authority certificate.
    pub authority: Fingerprint,
    /// Signs receipts and decisions.
    pub cloud_key: PublicKey,
    /// Names are sealed to it.
    pub directory_key: PublicKey,
    /// The tenant's public log.
    pub public_log: LogId,
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The device never joined.
    #[error(
        "{0} is no joined device; run the `tallyroll-edge join` command that `tallyroll enroll` printed"
    )]
    NotJoined(String),
    /// It joined already.
    #[error("{0} has joined as {1}; use another --data directory for another device")]
    Joined(String, String),
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is damaged: {why}; restore it from a backup, or join again in a new directory")]
    Damaged {
        /// Which.
        path: String,
        /// How.
        why: String,
    },
    /// Keys could not be made.
    #[error("cannot make keys: {0}")]
    Keys(String),
}

impl IdentityError {
    /// Whether there was no room for a file: the same may succeed later.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::File { source, .. } if [StorageFull, QuotaExceeded].contains(&source.kind()))
    }

    /// Whether it is not known if a file lasts as it is now.
    pub(crate) fn is_unsynced(&self) -> bool {
        matches!(self, Self::File { source, .. } if secret_file::is_unsynced(source))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeyFile {
    signing_seed: Hash,
    tls_certificate: Bytes,
    tls_key: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<NextFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    older_tls: Vec<TlsFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct NextFile {
    signing_seed: Hash,
    tls_certificate: Bytes,
    tls_key: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TlsFile {
    tls_certificate: Bytes,
    tls_key: Bytes,
}

const KEYS: &str = "keys.json";
const ENROLMENT: &str = "enrolment.json";

impl Keys {
    /// The directory's keys; makes them when there are none.
    ///
    /// # Errors
    /// They cannot be read, made or kept.
    pub fn load_or_create(dir: &DataDir) -> Result<Self, IdentityError> {
        if let Some(keys) = Self::load(dir)? {
            return Ok(keys);
        }
        let path = dir.identity().join(KEYS);
        if dir.identity().join(ENROLMENT).exists() {
            let (path, why) = (path.display().to_string(), "it is missing".into());
            return Err(IdentityError::Damaged { path, why });
        }
        let NextFile { signing_seed, tls_certificate, tls_key } = generate()?;
        let (next, older_tls) = (None, Vec::new());
        let file = KeyFile { signing_seed, tls_certificate, tls_key, next, older_tls };
        write(dir, KEYS, &file)?;
        Ok(file.into())
    }

    /// Those that are to follow; makes them when there are none. Durable when it returns.
    ///
    /// # Errors
    /// They cannot be read, made or kept.
    pub(crate) fn prepare_next(dir: &DataDir) -> Result<NextKeys, IdentityError> {
        let missing = || IdentityError::NotJoined(dir.root().display().to_string());
        let mut file = read::<KeyFile>(dir, KEYS)?.ok_or_else(missing)?;
        if file.next.is_none() {
            file.next = Some(generate()?);
        }
        // Those that are there, too: the sync behind them may have failed.
        write(dir, KEYS, &file)?;
        file.next.take().map(NextKeys::from).ok_or_else(missing)
    }

    /// Those that were to follow are the device's from now on. Durable when it returns.
    ///
    /// # Errors
    /// They cannot be read or kept.
    pub(crate) fn promote_next(dir: &DataDir) -> Result<(), IdentityError> {
        let missing = || IdentityError::NotJoined(dir.root().display().to_string());
        let mut file = read::<KeyFile>(dir, KEYS)?.ok_or_else(missing)?;
        let Some(NextFile { signing_seed, tls_certificate, tls_key }) = file.next.take() else {
            return Ok(());
        };
        let old = TlsFile { tls_certificate: file.tls_certificate, tls_key: file.tls_key };
        file.older_tls.insert(0, old);
        let older_tls = file.older_tls;
        write(dir, KEYS, &KeyFile { signing_seed, tls_certificate, tls_key, next: None, older_tls })
    }

    /// The cloud has taken a session with the certificate of this fingerprint: the TLS keys from
    /// before it are nobody's from now on. Durable when it returns.
    ///
    /// # Errors
    /// The keys cannot be read or kept.
    pub(crate) fn drop_before(dir: &DataDir, shown: Fingerprint) -> Result<(), IdentityError> {
        let Some(mut file) = read::<KeyFile>(dir, KEYS)? else { return Ok(()) };
        let is_shown = |certificate: &Bytes| Fingerprint::of(&certificate.0) == shown;
        let first_before = match is_shown(&file.tls_certificate) {
            true => Some(0),
            false => {
                let shown =
                    file.older_tls.iter().position(|older| is_shown(&older.tls_certificate));
                shown.map(|shown| shown + 1)
            }
        };
        let Some(first) = first_before.filter(|first| *first < file.older_tls.len()) else {
            return Ok(());
        };
        for TlsFile { tls_key, .. } in file.older_tls.drain(first..) {
            drop(Zeroizing::new(tls_key.0));
        }
        write(dir, KEYS, &file)
    }

    /// Refuses keys by which no link can be made, or none that the cloud knows.
    ///
    /// # Errors
    /// They are damaged.
    pub fn check(&self, dir: &DataDir) -> Result<(), IdentityError> {
        let damaged =
            |why: TlsError| IdentityError::Damaged { path: path(dir, KEYS), why: why.to_string() };
        self.tls.check().map_err(damaged)
    }

    /// Whether the directory has keys, whole or damaged.
    pub(crate) fn exist(dir: &DataDir) -> bool {
        dir.identity().join(KEYS).exists()
    }

    /// Takes away keys that nobody has seen. What cannot be removed is used the next time.
    pub(crate) fn remove(dir: &DataDir) {
        let _ = std::fs::remove_file(dir.identity().join(KEYS));
        let _ = std::fs::remove_dir(dir.identity());
    }

    fn load(dir: &DataDir) -> Result<Option<Self>, IdentityError> {
        Ok(read::<KeyFile>(dir, KEYS)?.map(Self::from))
    }
}

impl From<KeyFile> for Keys {
    fn from(file: KeyFile) -> Self {
        let older = file.older_tls.into_iter();
        Self {
            signer: Signer::from_seed(&file.signing_seed.0),
            tls: tls(file.tls_certificate, file.tls_key),
            next: file.next.map(NextKeys::from),
            older_tls: older.map(|older| tls(older.tls_certificate, older.tls_key)).collect(),
        }
    }
}

impl From<NextFile> for NextKeys {
    fn from(file: NextFile) -> Self {
        let signer = Signer::from_seed(&file.signing_seed.0);
        Self { signer, tls: tls(file.tls_certificate, file.tls_key) }
    }
}

fn tls(certificate: Bytes, key: Bytes) -> DeviceTls {
    let certificate = CertificateDer::from(certificate.0);
    DeviceTls { certificate, key_pkcs8: Zeroizing::new(key.0) }
}

fn generate() -> Result<NextFile, IdentityError> {
    let tls = DeviceTls::generate().map_err(|why| IdentityError::Keys(why.to_string()))?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|why| IdentityError::Keys(why.to_string()))?;
    Ok(NextFile {
        signing_seed: Hash(*seed),
        tls_certificate: Bytes(tls.certificate.to_vec()),
        tls_key: Bytes(tls.key_pkcs8.to_vec()),
    })
}

impl Enrolment {
    /// What the directory's device was told.
    ///
    /// # Errors
    /// It never joined, or the file cannot be used.
    pub fn load(dir: &DataDir) -> Result<Self, IdentityError> {
        let missing = || match dir.store().metadata() {
            // A device that has not joined has no store.
            Ok(store) if store.len() > 0 => {
                IdentityError::Damaged { path: path(dir, ENROLMENT), why: "it is missing".into() }
            }
            _ => IdentityError::NotJoined(dir.root().display().to_string()),
        };
        read(dir, ENROLMENT)?.ok_or_else(missing)
    }

    /// Refuses a directory whose device has joined.
    ///
    /// # Errors
    /// It has, or the file cannot be used.
    pub fn refuse_if_joined(dir: &DataDir) -> Result<(), IdentityError> {
        match read::<Self>(dir, ENROLMENT)? {
            None => Ok(()),
            Some(old) => Err(IdentityError::Joined(dir.root().display().to_string(), old.name)),
        }
    }

    /// Keeps what the cloud answered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(dir: &DataDir, url: &JoinUrl, welcome: Welcome) -> Result<Self, IdentityError> {
        let Welcome { tenant, device, cloud_key, directory_key, public_log } = welcome;
        let enrolment = Self {
            name: url.name.clone(),
            tenant,
            device,
            cloud: url.address(),
            tls_port: url.tls_port,
            authority: url.authority,
            cloud_key,
            directory_key,
            public_log,
        };
        write(dir, ENROLMENT, &enrolment)?;
        Ok(enrolment)
    }
}

fn path(dir: &DataDir, name: &str) -> String {
    dir.identity().join(name).display().to_string()
}

fn read<T: serde::de::DeserializeOwned>(
    dir: &DataDir,
    name: &str,
) -> Result<Option<T>, IdentityError> {
    let file_error = |source| IdentityError::File { path: path(dir, name), source };
    let Some(bytes) = secret_file::read(&dir.identity().join(name)).map_err(file_error)? else {
        return Ok(None);
    };
    let read = read_kept_json(&bytes);
    read.map(Some).map_err(|why| IdentityError::Damaged { path: path(dir, name), why })
}

fn write<T: Serialize>(dir: &DataDir, name: &str, value: &T) -> Result<(), IdentityError> {
    let file_error = |source| IdentityError::File { path: path(dir, name), source };
    let bytes = Zeroizing::new(kept_json(value).map_err(|why| file_error(why.into()))?);
    secret_file::write(&dir.identity(), name, &bytes).map_err(file_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory whose keys were changed so often, its certificates with it, newest first.
    fn changed(times: usize) -> (tempfile::TempDir, DataDir, Vec<Fingerprint>) {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        let mut shown = vec![Keys::load_or_create(&dir).unwrap().tls.fingerprint()];
        for _ in 0..times {
            shown.insert(0, Keys::prepare_next(&dir).unwrap().tls.fingerprint());
            Keys::promote_next(&dir).unwrap();
        }
        (root, dir, shown)
    }

    fn here(dir: &DataDir) -> Vec<Fingerprint> {
        let keys = Keys::load_or_create(dir).unwrap();
        [keys.tls].iter().chain(&keys.older_tls).map(DeviceTls::fingerprint).collect()
    }

    #[test]
    fn keys_from_before_the_one_that_was_taken_go() {
        let (_root, dir, shown) = changed(3);
        assert_eq!(here(&dir), shown);
        Keys::drop_before(&dir, Fingerprint::of(b"a stranger's")).unwrap();
        assert_eq!(here(&dir), shown);
        Keys::drop_before(&dir, shown[2]).unwrap();
        assert_eq!(here(&dir), shown[..3], "newer ones the cloud may not know yet");
        let bytes = || std::fs::read(dir.identity().join(KEYS)).unwrap();
        let long = bytes().len();
        Keys::drop_before(&dir, shown[0]).unwrap();
        assert_eq!(here(&dir), shown[..1]);
        assert!(bytes().len() < long && !String::from_utf8(bytes()).unwrap().contains("older"));
    }
}
