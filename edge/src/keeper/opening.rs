//! Opening a device's files: journal, store, anchor.
//!
//! Invariant: whoever opens them holds the directory's lock, and an agent and a command on its
//! own open them by this one path. What is in them is the engine's.

use super::{Clock, DiskDevice};
use crate::data_dir::DataDir;
use crate::identity::{Enrolment, Keys};
use crate::journal_file::{DiskFile, open_anew};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tallyroll_engine::Error;
use tallyroll_engine::device::{Device, DeviceConfig};
use tallyroll_engine::log::journal::{JOURNAL_BYTES, JournalFile};
use tallyroll_engine::store::RedbStore;
use tallyroll_schema::DeviceId;

/// redb's page cache: a printer's working set is its newest pages.
const STORE_CACHE_BYTES: usize = 2 * 1024 * 1024;

/// Why there is no replica, or none any more. A diagnostic of its own, so that a command which fails with it
/// can tell by its exit code whether the same may succeed later.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeeperError {
    /// The replica's files cannot be used.
    #[error("cannot open {}", root.display())]
    Open {
        /// The data directory.
        root: PathBuf,
        /// Why not.
        source: Error,
    },
    /// What is there is not what was written.
    #[error(
        "{} is damaged ({damage}); keep it, and restore a backup into a new directory (`tallyroll-edge restore BACKUP \
         --data NEW`): the cloud gives back what it has of this device since; without a backup the device joins anew, in \
         a new directory, by an invitation of `tallyroll enroll`", root.display()
    )]
    Damaged {
        /// The data directory.
        root: PathBuf,
        /// What of it, and how that was noticed.
        damage: String,
    },
    /// A file is gone that cannot be made again.
    #[error("{} is {found}, and {}; {advice}", path.display(), made)]
    Lost {
        /// Which.
        path: PathBuf,
        /// What is there instead.
        found: String,
        /// How that is known.
        made: &'static str,
        /// What to do.
        advice: String,
    },
    /// A write failed.
    #[error("the device's writer has stopped")]
    Stopped(#[source] Error),
}

/// Opens the replica in `dir`.
///
/// # Errors
/// Storage failed or is damaged.
pub fn open(dir: &DataDir, keys: Keys, enrolment: &Enrolment) -> Result<DiskDevice, KeeperError> {
    let failed = |source| {
        let root = dir.root().to_owned();
        match source {
            Error::Corrupt { what, why } => {
                KeeperError::Damaged { root, damage: format!("corrupt {what}: {why}") }
            }
            source => KeeperError::Open { root, source },
        }
    };
    let system = |doing| move |source| failed(Error::storage(doing, source));
    match refuse_if_lost(dir).map_err(system("looking for the store"))? {
        Some(lost) => return Err(lost),
        // Before the store, so that none is without it.
        None if len(&dir.store()).is_ok_and(|len| len == 0) => {
            make_journal(&dir.journal()).map_err(system("making the journal"))?;
        }
        None => {}
    }
    let of_key = DeviceId::of_key(enrolment.tenant, &keys.signer.public_key());
    let device = open_files(dir, keys, enrolment).map_err(failed)?;
    // Written with a key that never joined, it is for the cloud to keep apart.
    let (held, told) = (device.id(), enrolment.device);
    if held != told && held != of_key {
        let damage = format!("the store is of device {held}, the identity of device {told}");
        return Err(KeeperError::Damaged { root: dir.root().to_owned(), damage });
    }
    Ok(device)
}

/// A store that was written to has its journal, whole, and a journal that was written to has its store. What is lost of
/// either is no new device: acknowledged events would be gone without a word, and new ones never counted.
fn refuse_if_lost(dir: &DataDir) -> io::Result<Option<KeeperError>> {
    let (store, journal) = (dir.store(), dir.journal());
    let (store_len, journal_len) = (len(&store)?, len(&journal)?);
    if store_len > 0 && journal_len < JOURNAL_BYTES as u64 {
        let found = format!("{journal_len} bytes of {JOURNAL_BYTES}");
        let advice = format!(
            "put the file back, or restore a backup into a new directory; without either, `truncate -s {JOURNAL_BYTES} {}` \
             goes on with what is whole of it, and without what is gone",
            journal.display()
        );
        let made = "what was acknowledged last stood there";
        return Ok(Some(KeeperError::Lost { path: journal, found, made, advice }));
    }
    if store_len == 0 && journal_len > 0 && std::fs::read(&journal)?.iter().any(|byte| *byte != 0) {
        let made = "this device has written before";
        let advice = "put the file back, or restore a backup into a new directory; without either the device joins anew, \
            in a new directory, by an invitation of `tallyroll enroll`";
        let (found, advice) = ("missing or empty".to_owned(), advice.to_owned());
        return Ok(Some(KeeperError::Lost { path: store, found, made, advice }));
    }
    Ok(None)
}

fn len(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(file.len()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(why) => Err(why),
    }
}

/// Makes an empty journal where none is.
///
/// # Errors
/// The system's.
pub(crate) fn make_journal(path: &Path) -> io::Result<()> {
    let mut file = DiskFile::open(path)?;
    file.write_at(0, &vec![0; JOURNAL_BYTES])?;
    file.sync()
}

fn open_files(dir: &DataDir, keys: Keys, enrolment: &Enrolment) -> Result<DiskDevice, Error> {
    crate::scrub::remove_unfinished(dir)?;
    let file = store_file(&dir.store())?;
    let anchor = crate::anchor::read(&file);
    let store = open_store(file)?;
    let journal =
        DiskFile::open(&dir.journal()).map_err(|source| storage("opening the journal", source))?;
    let mut nonces = [0; 32];
    getrandom::fill(&mut nonces)
        .map_err(|why| storage("asking for entropy", std::io::Error::other(why)))?;
    let config = DeviceConfig {
        tenant: enrolment.tenant,
        signer: keys.signer,
        next_signer: keys.next.map(|next| next.signer),
        cloud_key: enrolment.cloud_key,
        public_log: enrolment.public_log,
        anchor,
    };
    Device::open(config, journal, store, Clock::start().now(), nonces)
}

/// Opens the file of a store, or makes an empty one.
pub(crate) fn store_file(path: &Path) -> Result<File, Error> {
    open_anew(path).map_err(|source| storage("opening the store", source))
}

/// Opens the store in a file.
pub(crate) fn open_store(file: File) -> Result<RedbStore, Error> {
    let backend = redb::backends::FileBackend::new(file)
        .map_err(|why| storage("opening the store", std::io::Error::other(why)))?;
    RedbStore::open(backend, STORE_CACHE_BYTES)
}

fn storage(doing: &'static str, source: std::io::Error) -> Error {
    Error::Storage { doing, source }
}
