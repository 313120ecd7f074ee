//! Opening a device's files: journal, store, anchor.
//!
//! Invariant: whoever opens them holds the directory's lock, and an agent and a command on its
//! own open them by this one path. What is in them is the engine's.

use super::{Clock, DiskDevice};
use crate::data_dir::DataDir;
use crate::identity::{Enrolment, Keys};
use crate::journal_file::DiskFile;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tallyroll_engine::Error;
use tallyroll_engine::device::{Device, DeviceConfig};
use tallyroll_engine::store::RedbStore;

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
    /// A write failed.
    #[error("the device's writer has stopped")]
    Stopped(#[source] Error),
}

/// Opens the replica in `dir`.
///
/// # Errors
/// Storage failed or is damaged.
pub fn open(dir: &DataDir, keys: Keys, enrolment: &Enrolment) -> Result<DiskDevice, KeeperError> {
    open_files(dir, keys, enrolment)
        .map_err(|source| KeeperError::Open { root: dir.root().to_owned(), source })
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
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|source| storage("opening the store", source))
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
