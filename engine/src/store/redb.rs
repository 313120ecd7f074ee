//! The store on redb: one transaction a commit, durable, a checksum on each row.
//!
//! Invariant: a value read is the value written for that key, or an error: each
//! row ends in eight bytes of BLAKE3 over table, key and value (redb's own
//! checksums are neither cryptographic nor checked on ordinary reads).
//! Two-phase commit and quick repair are on for every commit. After a write that
//! found no room the database is opened again, as it was; after a failed sync never.

mod contained;
mod space;

use super::backend::Backend;
use super::{Changes, Store, Table, Visit};
use crate::planted::{Bug, planted};
use crate::{Error, Result};
use ::redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    StorageBackend, TableDefinition,
};
use contained::contained;
use core::ops::{ControlFlow, RangeBounds};

/// Tables in a redb database.
#[derive(Debug)]
pub struct RedbStore {
    backend: Backend,
    cache_bytes: usize,
    /// None if it could not be opened again: then nobody knows what its last commit is.
    database: Option<Database>,
}

const CHECKSUM_LEN: usize = 8;
const MAGIC_LEN: usize = 9;

impl RedbStore {
    /// Opens or creates the database on a backend, with a page cache of `cache_bytes`.
    ///
    /// # Errors
    /// Storage failed, or the file is no database or a broken one.
    pub fn open(backend: impl StorageBackend, cache_bytes: usize) -> Result<Self> {
        start_over_if_cut_short(&backend)
            .map_err(|error| Error::storage("looking at the database", error))?;
        let backend = Backend::new(backend);
        let database = Some(open_verified(&backend, cache_bytes)?);
        let mut store = Self { backend, cache_bytes, database };
        if !store.has_tables()? {
            store.commit(Changes::new())?; // the tables exist from the start
        }
        Ok(store)
    }

    /// The rows as they are now, whatever is written from here on.
    ///
    /// # Errors
    /// Storage failed.
    pub fn moment(&self) -> Result<RedbMoment> {
        let read = self.database()?.begin_read().map_err(transaction_error)?;
        Ok(RedbMoment { read })
    }

    fn table(&self, table: Table) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        self.moment()?.table(table)
    }

    /// A full disk is no reason not to start, so nothing is written that is there.
    fn has_tables(&self) -> Result<bool> {
        let there = self.moment()?.read.list_tables().map_err(storage_error)?.count();
        Ok(there == Table::ALL.len())
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or(Error::Closed)
    }

    /// Opens the database on the same bytes: its last commit, without what a later
    /// transaction wrote.
    fn open_again(&mut self) -> Result<()> {
        self.database = None; // it gives back its locks
        let opened = open_database(&self.backend, self.cache_bytes);
        self.database = Some(opened.map_err(database_error)?);
        Ok(())
    }

    fn holds(&self, changes: &Changes) -> Result<bool> {
        for ((table, key), value) in changes {
            if self.read(*table, key)? != *value {
                return Ok(false);
            }
        }
        Ok(!changes.is_empty())
    }
}

/// The rows of one moment, for any thread to read beside what is written. The file
/// keeps them for as long as this lives.
#[derive(Debug)]
pub struct RedbMoment {
    read: ReadTransaction,
}

impl RedbMoment {
    /// Visits all rows of a table in order, until told to stop.
    ///
    /// # Errors
    /// Storage failed, a row is corrupt, or `visit` failed.
    pub fn scan(&self, table: Table, visit: &mut Visit<'_>) -> Result<()> {
        scan_rows(&self.table(table)?, table, .., visit)
    }

    fn table(&self, table: Table) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        self.read.open_table(definition(table)).map_err(table_error)
    }
}

fn scan_rows<'k>(
    rows: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    table: Table,
    range: impl RangeBounds<&'k [u8]> + 'k,
    visit: &mut Visit<'_>,
) -> Result<()> {
    for row in rows.range(range).map_err(storage_error)? {
        let (key, value) = row.map_err(storage_error)?;
        let value = checked(table, key.value(), value.value())?;
        if visit(key.value(), value)? == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(())
}

fn open_database(backend: &Backend, cache_bytes: usize) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(cache_bytes).create_with_backend(backend.clone())
}

/// Opens a database and checks every page of it. redb follows damaged pages where they lead: to
/// rows that are passed over without a word, or to a panic, which ends here as an error.
fn open_verified(backend: &Backend, cache_bytes: usize) -> Result<Database> {
    let open = || {
        let mut database = open_database(backend, cache_bytes)?;
        let clean = database.check_integrity()?;
        Ok((database, clean))
    };
    let opened = contained(open);
    let opened = opened.ok_or_else(|| Error::corrupt("database", "a page leads nowhere"))?;
    match opened.map_err(database_error)? {
        (database, true) => Ok(database),
        (_, false) => Err(Error::corrupt("database", "a page's checksum differs")),
    }
}

/// A new database gets its magic number last. A file without one that never names our first table
/// was cut short then: nothing was ever committed to it, and redb would refuse it for ever.
fn start_over_if_cut_short(backend: &impl StorageBackend) -> std::io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let (len, name) = (backend.len()?, b"00-meta");
    let mut magic = [0; MAGIC_LEN];
    let present = usize::try_from(len).unwrap_or(MAGIC_LEN).min(MAGIC_LEN);
    let (magic, _) = magic.split_at_mut(present);
    backend.read(0, magic)?;
    if len == 0 || magic.iter().any(|byte| *byte != 0) {
        return Ok(());
    }
    for start in (0..len).step_by(CHUNK) {
        let end = len.min(start + (CHUNK + name.len()) as u64);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
        backend.read(start, &mut bytes)?;
        if bytes.windows(name.len()).any(|window| window == name) {
            return Ok(()); // there were commits, so this is damage; redb says so
        }
    }
    backend.set_len(0)
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Meta => "00-meta",
        Table::Log => "01-log",
        Table::Batch => "02-batch",
        Table::Tip => "03-tip",
        Table::Head => "04-head",
        Table::Receipt => "05-receipt",
        Table::Commit => "06-commit",
        Table::Snapshot => "07-snapshot",
        Table::Directory => "08-directory",
        Table::Alias => "09-alias",
        Table::Import => "10-import",
        Table::Invite => "11-invite",
        Table::SpoolJob => "12-spool-job",
        Table::Evidence => "13-evidence",
        Table::Divergence => "14-divergence",
        Table::Child => "15-child",
        Table::Quarantine => "16-quarantine",
        Table::QuarantineBurst => "17-quarantine-burst",
        Table::Pruned => "18-pruned",
        Table::Base => "19-base",
        Table::Gap => "20-gap",
        Table::Rotations => "21-rotations",
        Table::Discarded => "22-discarded",
        Table::Asked => "23-asked",
        Table::Told => "24-told",
        Table::Names => "25-names",
    })
}

impl Store for RedbStore {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let rows = self.table(table)?;
        let found = rows.get(key).map_err(storage_error)?;
        found.map(|value| checked(table, key, value.value()).map(<[u8]>::to_vec)).transpose()
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        scan_rows(&self.table(table)?, table, from..to, visit)
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let rows = self.table(table)?;
        let Some(row) = rows.range(from..to).map_err(storage_error)?.next_back() else {
            return Ok(None);
        };
        let (key, value) = row.map_err(storage_error)?;
        let checked = checked(table, key.value(), value.value())?.to_vec();
        Ok(Some((key.value().to_vec(), checked)))
    }

    fn commit(&mut self, changes: Changes) -> Result<()> {
        match write(self.database()?, &changes) {
            Err(Error::Full(why)) if self.backend.sync_failed() => {
                Err(unknown("syncing the database", why))
            }
            Err(Error::Full(why)) => match self.open_again() {
                // The write that failed may have been the last one, and done all the same.
                Ok(()) if self.holds(&changes)? => Ok(()),
                Ok(()) => Err(Error::Full(why)),
                Err(Error::Full(why)) => Err(unknown("opening the database again", why)),
                Err(other) => Err(other),
            },
            done => done,
        }
    }

    fn file_bytes(&self) -> Result<u64> {
        self.file_len()
    }

    fn used_bytes(&self) -> Result<u64> {
        self.allocated()
    }

    fn shrink(&mut self) -> Result<()> {
        self.compact()
    }
}

/// No room, where it leaves open what is durable.
fn unknown(doing: &'static str, why: String) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::StorageFull, why);
    Error::Storage { doing, source }
}

fn write(database: &Database, changes: &Changes) -> Result<()> {
    let mut write = database.begin_write().map_err(transaction_error)?;
    write.set_two_phase_commit(true);
    write.set_quick_repair(true);
    if planted(Bug::RedbUnsynced) {
        let _ = write.set_durability(::redb::Durability::None);
    }
    let mut changes = changes.iter().peekable();
    for table in Table::ALL {
        let mut rows = write.open_table(definition(table)).map_err(table_error)?;
        while let Some(((_, key), value)) = changes.next_if(|((of, _), _)| *of == table) {
            match value {
                Some(value) => {
                    let value = [value, &checksum(table, key, value)[..]].concat();
                    rows.insert(&**key, &*value).map_err(storage_error)?;
                }
                None => {
                    rows.remove(&**key).map_err(storage_error)?;
                }
            }
        }
    }
    write.commit().map_err(|error| match error {
        ::redb::CommitError::Storage(error) => storage_error(error),
        other => Error::corrupt("database", other),
    })
}

fn checksum(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[table as u8]).update(&(key.len() as u64).to_le_bytes());
    hasher.update(key).update(value);
    let mut checksum = [0; CHECKSUM_LEN];
    hasher.finalize_xof().fill(&mut checksum);
    checksum
}

fn checked<'v>(table: Table, key: &[u8], value: &'v [u8]) -> Result<&'v [u8]> {
    match value.split_last_chunk() {
        Some((value, sum)) if *sum == checksum(table, key, value) => Ok(value),
        _ => Err(Error::corrupt(format!("row of table {table:?}"), "its checksum differs")),
    }
}

fn storage_error(error: ::redb::StorageError) -> Error {
    match error {
        ::redb::StorageError::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            Error::corrupt("database", source)
        }
        ::redb::StorageError::Io(source) => Error::storage("using the database", source),
        ::redb::StorageError::PreviousIo => Error::Closed,
        other => Error::corrupt("database", other),
    }
}

fn database_error(error: ::redb::DatabaseError) -> Error {
    match error {
        ::redb::DatabaseError::Storage(error) => storage_error(error),
        other => Error::corrupt("database", other),
    }
}

fn transaction_error(error: ::redb::TransactionError) -> Error {
    match error {
        ::redb::TransactionError::Storage(error) => storage_error(error),
        other => Error::corrupt("database", other),
    }
}

fn table_error(error: ::redb::TableError) -> Error {
    match error {
        ::redb::TableError::Storage(error) => storage_error(error),
        other => Error::corrupt("database", other),
    }
}

#[cfg(test)]
mod tests;
