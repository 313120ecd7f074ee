//! The bytes under a database, held so that another one can be opened on them.
//!
//! Invariant: a sync that failed is remembered for ever. What was written before it
//! is unknown, so nothing is opened on these bytes again; a write that found no
//! room, in contrast, promised nothing.

use redb::{BackendError, StorageBackend};
use std::io::Result;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A handle to the bytes.
#[derive(Debug, Clone)]
pub(super) struct Backend(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    under: Box<dyn StorageBackend>,
    sync_failed: AtomicBool,
}

impl Backend {
    pub(super) fn new(under: impl StorageBackend) -> Self {
        Self(Arc::new(Bytes { under: Box::new(under), sync_failed: AtomicBool::new(false) }))
    }

    pub(super) fn sync_failed(&self) -> bool {
        self.0.sync_failed.load(Ordering::Acquire)
    }
}

type Locked<T> = core::result::Result<T, BackendError>;

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64> {
        self.0.under.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.0.under.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.under.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        let synced = self.0.under.sync_data();
        self.0.sync_failed.fetch_or(synced.is_err(), Ordering::AcqRel);
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.0.under.write(offset, data)
    }

    /// Gives back the locks; the next database takes them again.
    fn close(&self) -> Result<()> {
        self.0.under.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.0.under.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.0.under.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.0.under.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.0.under.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.0.under.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.0.under.query_lock_range(start, end)
    }
}
