//! Storage: a small synchronous trait over ordered tables, and typed rows on it.
//!
//! Invariant: [`Store::commit`] is atomic and durable when it returns; nothing is
//! visible before. Every key begins with the tenant. What each table holds is in
//! [`rows`], one file a thing; the whole keyspace is the enum [`Table`].
//! Which bytes lie under redb (a file, a simulated disk) is the caller's.

mod backend;
mod copy;
mod memory;
mod redb;
pub mod rows;

pub use self::copy::{Contents, LogEvents};
pub use self::memory::MemoryStore;
pub use self::redb::{RedbMoment, RedbStore};

use crate::{Error, Result};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use tallyroll_schema::{DecodeError, TenantId};

/// All that is ever stored. Numbers are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Singletons: format version, own logs, journal generation.
    Meta = 0,
    /// A log's genesis.
    Log = 1,
    /// Batches, verbatim, with the chain's value after each.
    Batch = 2,
    /// Each epoch's end.
    Tip = 3,
    /// Signed heads received.
    Head = 4,
    /// The newest receipt of each epoch.
    Receipt = 5,
    /// The cloud's numbering of accepted batches.
    Commit = 6,
    /// Views, as of a cut.
    Snapshot = 7,
    /// Sealed names, at the cloud.
    Directory = 8,
    /// Names and their aliases, at a device.
    Alias = 9,
    /// Page-log lines already counted.
    Import = 10,
    /// Open invitations to join.
    Invite = 11,
    /// How far each spooler job is counted.
    SpoolJob = 12,
    /// Batches of our own that were set aside.
    Evidence = 13,
    /// Which epochs of our own were another history than the cloud's.
    Divergence = 14,
    /// Which epoch closed another one.
    Child = 15,
    /// What is kept apart of what devices brought.
    Quarantine = 16,
    /// Its bursts, verbatim.
    QuarantineBurst = 17,
    /// How far each epoch of our own is pruned.
    Pruned = 18,
    /// What views hold of what was pruned.
    Base = 19,
    /// What this cloud lost and its device pruned.
    Gap = 20,
    /// Where each log's keys were changed.
    Rotations = 21,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 22] = [
        Self::Meta,
        Self::Log,
        Self::Batch,
        Self::Tip,
        Self::Head,
        Self::Receipt,
        Self::Commit,
        Self::Snapshot,
        Self::Directory,
        Self::Alias,
        Self::Import,
        Self::Invite,
        Self::SpoolJob,
        Self::Evidence,
        Self::Divergence,
        Self::Child,
        Self::Quarantine,
        Self::QuarantineBurst,
        Self::Pruned,
        Self::Base,
        Self::Gap,
        Self::Rotations,
    ];
}

/// A set of writes that become visible and durable together. `None` deletes.
pub type Changes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// Called with each key and value of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// Called with each key, without the tenant, and row of a scan.
pub type VisitRow<'a, R> = dyn FnMut(&[u8], R) -> Result<ControlFlow<()>> + 'a;

/// Ordered tables with atomic, durable commits. One writer.
pub trait Store {
    /// A value, verified against its checksum.
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Visits rows with `from <= key < to` in order, until told to stop.
    ///
    /// # Errors
    /// Storage failed, a row is corrupt, or `visit` failed.
    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()>;

    /// The last row with `from <= key < to`.
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>>;

    /// Makes the changes durable, all or none.
    ///
    /// # Errors
    /// [`Error::Full`]: none of them, and the same may succeed once there is room. After any
    /// other error it is unknown which; the caller must not go on with this store.
    fn commit(&mut self, changes: Changes) -> Result<()>;

    /// Bytes of its file; those of which nothing was ever written may take no room on the disk.
    ///
    /// # Errors
    /// Storage failed.
    fn file_bytes(&self) -> Result<u64> {
        Ok(0) // in memory
    }

    /// Of these, bytes in use. Reads all of it.
    ///
    /// # Errors
    /// Storage failed.
    fn used_bytes(&self) -> Result<u64> {
        Ok(0)
    }

    /// Gives what is free within the file back to the disk, as far as nobody reads it. Nothing
    /// that is committed changes.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn shrink(&mut self) -> Result<()> {
        Ok(())
    }
}

/// One persisted thing: its table, its key, its bytes.
pub trait Row: Sized {
    /// Where it lies.
    const TABLE: Table;
    /// What finds it.
    type Key;

    /// The key's bytes, without the tenant; they order as the keys do.
    fn key(key: &Self::Key) -> Vec<u8>;

    /// The value's bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads a value.
    ///
    /// # Errors
    /// When the bytes are none.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// One tenant's rows: reads through its own pending changes to the store.
pub struct Rows<'a, S> {
    tenant: TenantId,
    store: &'a S,
    changes: Changes,
}

impl<'a, S: Store> Rows<'a, S> {
    /// The rows of a tenant.
    pub fn new(tenant: TenantId, store: &'a S) -> Self {
        Self { tenant, store, changes: Changes::new() }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// A row, pending changes included.
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    pub fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>> {
        let key = self.full_key(&R::key(key));
        match self.changes.get(&(R::TABLE, key.clone())) {
            Some(pending) => pending.as_deref().map(decode).transpose(),
            None => self.store.read(R::TABLE, &key)?.as_deref().map(decode).transpose(),
        }
    }

    /// Writes a row.
    pub fn put<R: Row>(&mut self, key: &R::Key, row: &R) {
        self.changes.insert((R::TABLE, self.full_key(&R::key(key))), Some(row.encode()));
    }

    /// Deletes a row.
    pub fn delete<R: Row>(&mut self, key: &R::Key) {
        self.changes.insert((R::TABLE, self.full_key(&R::key(key))), None);
    }

    /// Visits committed rows whose key begins with `prefix`, from the key `from`
    /// on (both without the tenant). Pending changes are not seen.
    ///
    /// # Errors
    /// Storage failed, a row is corrupt, or `visit` failed.
    pub fn scan<R: Row>(
        &self,
        prefix: &[u8],
        from: &[u8],
        visit: &mut VisitRow<'_, R>,
    ) -> Result<()> {
        let (first, end) = (self.full_key(from), after_prefix(&self.full_key(prefix)));
        self.store.scan(R::TABLE, &first, &end, &mut |key, value| {
            visit(key.get(TenantId::LEN..).unwrap_or_default(), decode(value)?)
        })
    }

    /// The last committed row whose key begins with `prefix`.
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    pub fn last<R: Row>(&self, prefix: &[u8]) -> Result<Option<(Vec<u8>, R)>> {
        let first = self.full_key(prefix);
        let found = self.store.last(R::TABLE, &first, &after_prefix(&first))?;
        found
            .map(|(key, value)| {
                Ok((key.get(TenantId::LEN..).unwrap_or_default().to_vec(), decode(&value)?))
            })
            .transpose()
    }

    /// The last committed row from `prefix` on whose key is before `end` (both
    /// without the tenant).
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    pub fn last_before<R: Row>(&self, prefix: &[u8], end: &[u8]) -> Result<Option<R>> {
        let found = self.store.last(R::TABLE, &self.full_key(prefix), &self.full_key(end))?;
        found.map(|(_, value)| decode(&value)).transpose()
    }

    /// The pending changes, to be committed.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    fn full_key(&self, key: &[u8]) -> Vec<u8> {
        [self.tenant.as_bytes(), key].concat()
    }
}

fn decode<R: Row>(value: &[u8]) -> Result<R> {
    R::decode(value).map_err(|why| Error::corrupt(format!("row of table {:?}", R::TABLE), why))
}

/// The first key after all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0xff; prefix.len() + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_rows_do() {
        assert_eq!(after_prefix(&[1, 2]), [1, 3]);
        assert_eq!(after_prefix(&[1, 0xff]), [2]);
        assert!(after_prefix(&[0xff]) > vec![0xff]);
    }
}
