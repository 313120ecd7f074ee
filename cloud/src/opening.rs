//! Opening a cloud's files: keys, store, names.
//!
//! Invariant: whoever opens them holds the directory's lock, and `serve` and a
//! command on its own open them by this one path. Nothing is served before every
//! file is whole.

use crate::allocations::{Allocations, AllocationsError};
use crate::authority::{Authority, AuthorityError};
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::identity::{Identity, IdentityError};
use crate::keeper::Replica;
use crate::links::endpoint::EndpointSecret;
use crate::people::People;
use crate::people::sealed::{DirectoryKey, DirectoryKeyError};
use redb::backends::FileBackend;
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tallyroll_engine::hub::{Hub, HubConfig};
use tallyroll_engine::store::{RedbStore, refuse_if_anothers};
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::PublicKey;

/// redb's page cache: the pages that a fleet's heads and receipts change.
const STORE_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Why a cloud's files cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No directory key.
    #[error(transparent)]
    DirectoryKey(#[from] DirectoryKeyError),
    /// A key is gone that the store was made with.
    #[error("{} is missing, but a store is there; restore it from a backup, {why}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// Why no other will do.
        why: &'static str,
    },
    /// The store is gone.
    #[error(
        "{} is missing or empty, but this cloud has been served before: nothing goes on without it; restore a backup \
         (`tallyroll restore FILE --data NEW`) or the file of `backup --identity-only`, which devices refill; with neither, \
         make a new cloud in another directory and enroll the devices anew", path.display()
    )]
    StoreGone {
        /// Where it was.
        path: PathBuf,
    },
    /// The store is not what was written.
    #[error(
        "{} is damaged ({damage}); keep it, and make a new directory of a backup (`tallyroll restore BACKUP --data NEW`) \
         or of the file of `backup --identity-only`: devices bring what they hold since; with neither, make a new cloud in \
         another directory and enroll the devices anew", path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What of it, and how that was noticed.
        damage: String,
    },
    /// What was noted of credits lent to devices.
    #[error(transparent)]
    Allocations(#[from] AllocationsError),
    /// The store.
    #[error("cannot open {path}")]
    Store {
        /// Which.
        path: String,
        /// Why not.
        source: Error,
    },
}

impl OpenError {
    /// Whether the same may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        let Self::Store { source, .. } = self else { return false };
        matches!(source.kind(), Kind::Full | Kind::Retry)
    }
}

/// A cloud's files, opened.
#[derive(Debug)]
pub struct Opened {
    /// Its logs, views and names.
    pub replica: Replica,
    /// The authority that devices trust.
    pub authority: Authority,
    /// For the endpoint that devices connect to.
    pub endpoint: EndpointSecret,
}

/// Opens the cloud in `dir`, or makes one where there is none; the caller holds
/// the directory's lock.
///
/// # Errors
/// A file cannot be used.
pub fn open(dir: &DataDir) -> Result<Opened, OpenError> {
    let Identity { tenant, signer, endpoint } = Identity::open_or_create(dir)?;
    let made = std::fs::metadata(dir.store()).is_ok_and(|store| store.len() > 0);
    let keys = [
        (dir.authority().join(Authority::FILE_NAME), "devices trust no other"),
        (dir.root().join(DirectoryKey::FILE_NAME), "no other key opens the names sealed so far"),
    ];
    if let Some((path, why)) = keys.into_iter().find(|(path, _)| made && !path.exists()) {
        return Err(OpenError::Missing { path, why });
    }
    let allocations = Allocations::of(dir);
    let noted = allocations.noted()?;
    if !made && noted.is_some() {
        return Err(OpenError::StoreGone { path: dir.store() });
    }
    let authority = Authority::open_or_create(&dir.authority(), SystemTime::now())?;
    let key = DirectoryKey::open_or_create(dir.root())?;
    let directory_key = PublicKey(key.public());
    let config = HubConfig { tenant, signer, directory_key, anchor: None };
    let store_error = |source| match source {
        Error::Corrupt { what, why } => {
            OpenError::Damaged { path: dir.store(), damage: format!("corrupt {what}: {why}") }
        }
        source => OpenError::Store { path: dir.store().display().to_string(), source },
    };
    let replica = open_replica(dir, config, key, (allocations, noted)).map_err(store_error)?;
    Ok(Opened { replica, authority, endpoint })
}

fn open_replica(
    dir: &DataDir,
    config: HubConfig,
    key: DirectoryKey,
    (allocations, noted): (Allocations, Option<u64>),
) -> Result<Replica, Error> {
    let file = store_file(&dir.store())?;
    let config = HubConfig { anchor: crate::anchor::read(&file), ..config };
    let store = open_store(file)?;
    refuse_if_anothers(&store, config.tenant)?;
    let mut nonces = [0; 32];
    getrandom::fill(&mut nonces).map_err(|why| storage("asking for entropy", why.into()))?;
    let clock = Clock::start();
    let mut hub = Hub::open(config, store, clock.now(), nonces)?;
    hub.check_allocations(clock.now(), noted)?;
    let replica = Replica::new(hub, People::new(key), clock, allocations, dir.clone())?;
    replica.note_allocations(noted)?;
    Ok(replica)
}

/// Opens the file of a store, or makes an empty one.
pub(crate) fn store_file(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|why| storage("opening the file", why))?;
    // Read is what the disk holds: after a sync that failed the system believes clean what never came there, and who
    // goes on with that loses it much later, with the power.
    match fadvise(&file, 0, None, Advice::DontNeed) {
        Ok(()) | Err(Errno::NOSYS) => Ok(file),
        Err(why) => Err(storage("reading the file anew", why.into())),
    }
}

/// Opens the store in a file.
pub(crate) fn open_store(file: File) -> Result<RedbStore, Error> {
    let backend =
        FileBackend::new(file).map_err(|why| storage("locking the file", io::Error::other(why)))?;
    RedbStore::open(backend, STORE_CACHE_BYTES)
}

fn storage(doing: &'static str, source: io::Error) -> Error {
    Error::Storage { doing, source }
}
