//! A store on a simulated disk: rows in memory, committed whole, or redb over the database file.
//!
//! Invariant: reads see what this process committed or found at its start; another process, or the
//! next one, sees what is on the disk.

use super::{DatabaseOn, Disk};
use tallyroll_engine::store::{Changes, MemoryStore, RedbStore, Store, Table, Visit};
use tallyroll_engine::{Error, Result};

const CACHE_BYTES: usize = 256 * 1024;

/// A process's view of its machine's store.
#[derive(Debug)]
pub enum SimStore {
    /// Rows in memory; a commit is atomic.
    Memory {
        /// What this process sees.
        rows: MemoryStore,
        /// Where its commits go.
        disk: Disk,
    },
    /// redb, every page of it on the simulated disk.
    Redb(Box<RedbStore>),
}

impl SimStore {
    /// Opens the store of a machine.
    ///
    /// # Errors
    /// What redb finds, or an accident of the disk.
    pub fn open(disk: &Disk, redb: bool) -> Result<Self> {
        disk.drop_clean();
        if redb {
            let backend = DatabaseOn(disk.clone());
            return Ok(Self::Redb(Box::new(RedbStore::open(backend, CACHE_BYTES)?)));
        }
        Ok(Self::Memory { rows: disk.rows(), disk: disk.clone() })
    }
}

impl Store for SimStore {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Memory { rows, .. } => rows.read(table, key),
            Self::Redb(store) => store.read(table, key),
        }
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        match self {
            Self::Memory { rows, .. } => rows.scan(table, from, to, visit),
            Self::Redb(store) => store.scan(table, from, to, visit),
        }
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        match self {
            Self::Memory { rows, .. } => rows.last(table, from, to),
            Self::Redb(store) => store.last(table, from, to),
        }
    }

    fn commit(&mut self, changes: Changes) -> Result<()> {
        match self {
            Self::Memory { rows, disk } => {
                disk.commit_rows(changes.clone()).map_err(commit_error)?;
                rows.commit(changes)
            }
            Self::Redb(store) => store.commit(changes),
        }
    }

    fn file_bytes(&self) -> Result<u64> {
        match self {
            Self::Memory { rows, .. } => rows.file_bytes(),
            Self::Redb(store) => store.file_bytes(),
        }
    }

    fn used_bytes(&self) -> Result<u64> {
        match self {
            Self::Memory { rows, .. } => rows.used_bytes(),
            Self::Redb(store) => store.used_bytes(),
        }
    }

    fn shrink(&mut self) -> Result<()> {
        match self {
            Self::Memory { rows, .. } => rows.shrink(),
            Self::Redb(store) => store.shrink(),
        }
    }
}

fn commit_error(source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull => Error::Full(format!("committing rows: {source}")),
        _ => Error::Storage { doing: "committing rows", source },
    }
}
