//! Storage: a small synchronous trait over ordered tables, and typed rows on it.
//!
//! Invariant: [`Store::commit`] is atomic and durable when it returns; nothing is
//! visible before. Every key begins with the tenant. What each table holds is in
//! [`rows`], one file a thing; the whole keyspace is the enum [`Table`].
//! Which bytes lie under redb (a file, a simulated disk) is the caller's.

mod backend;
mod copy;
mod memory;
mod overlay;
mod redb;
pub mod rows;

pub use self::copy::{Contents, LogEvents};
pub use self::memory::MemoryStore;
pub use self::overlay::{Rows, VisitRow};
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
    /// What was discarded of revoked devices.
    Discarded = 22,
    /// Requests of a processing server that were not answered.
    Asked = 23,
    /// By which keys each device's log tells that it is enrolled.
    Told = 24,
    /// Which names are held of each device.
    Names = 25,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 26] = [
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
        Self::Discarded,
        Self::Asked,
        Self::Told,
        Self::Names,
    ];
}

/// A set of writes that become visible and durable together. `None` deletes.
pub type Changes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// Called with each key and value of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

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
    fn file_bytes(&self) -> Result<u64>;

    /// Of these, bytes in use. Reads all of it.
    ///
    /// # Errors
    /// Storage failed.
    fn used_bytes(&self) -> Result<u64>;

    /// Gives what is free within the file back to the disk, as far as nobody reads it. Nothing
    /// that is committed changes.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn shrink(&mut self) -> Result<()>;
}

/// Refuses a store in which only others have logs: those of a tenant that begin anew there would hide the acknowledged
/// ones.
///
/// # Errors
/// [`Error::Corrupt`], if it is one; storage failed.
pub fn refuse_if_anothers<S: Store>(store: &S, tenant: TenantId) -> Result<()> {
    let any = |from: &[u8]| store.last(Table::Log, from, &[from, &[u8::MAX; 64]].concat());
    if any(tenant.as_bytes())?.is_none() && any(&[])?.is_some() {
        let why = "its logs are of another tenant than the identity beside it";
        return Err(Error::corrupt("store", why));
    }
    Ok(())
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
