//! Files whose traffic is counted: the journal's, and those below a store.
//!
//! Invariant: a page is counted once for each sync it is dirty at, which is what the kernel hands to the disk;
//! what a file system writes for itself is not seen from here. Counting changes nothing of what is written.

use redb::StorageBackend;
use redb::backends::FileBackend;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_engine::log::journal::JournalFile;

const PAGE: u64 = 4096;

/// What went to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Pages of 4 KiB that were dirty at a sync.
    pub pages: u64,
    /// Syncs.
    pub syncs: u64,
    /// Bytes written, however small.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counted {
    traffic: Traffic,
    dirty: BTreeSet<u64>,
    /// Place and length of each write since asked for.
    writes: Option<Vec<(u64, usize)>>,
}

/// Counts a file's traffic.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Mutex<Counted>>);

impl Counter {
    /// So far.
    pub fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// Notes writes from here on.
    pub fn note_writes(&self) {
        self.lock().writes = Some(Vec::new());
    }

    /// Those noted.
    pub fn take_writes(&self) -> Vec<(u64, usize)> {
        self.lock().writes.take().unwrap_or_default()
    }

    fn wrote(&self, offset: u64, len: usize) {
        let mut counted = self.lock();
        let end = offset + len as u64;
        counted.dirty.extend(offset / PAGE..end.div_ceil(PAGE));
        counted.traffic.bytes += len as u64;
        if let Some(writes) = &mut counted.writes {
            writes.push((offset, len));
        }
    }

    fn synced(&self) {
        let mut counted = self.lock();
        counted.traffic.pages += counted.dirty.len() as u64;
        counted.traffic.syncs += 1;
        counted.dirty.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journal's file.
#[derive(Debug)]
pub struct Journal {
    file: File,
    counter: Counter,
    /// Whether a sync is one; not while a store is only being made for a measurement.
    durable: bool,
}

impl Journal {
    /// Opens or makes one.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, counter: &Counter) -> io::Result<Self> {
        Ok(Self { file: open(path)?, counter: counter.clone(), durable: true })
    }

    /// One that is fast to fill and not to be trusted.
    ///
    /// # Errors
    /// The system's.
    pub fn open_unsynced(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open(path)?, counter: Counter::default(), durable: false })
    }
}

impl JournalFile for Journal {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.durable {
            self.counter.wrote(offset, bytes.len());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.durable {
            return Ok(());
        }
        self.counter.synced();
        self.file.sync_data()
    }
}

/// A store's file.
#[derive(Debug)]
pub struct StoreFile {
    under: FileBackend,
    counter: Counter,
}

impl StoreFile {
    /// Opens or makes one.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, counter: &Counter) -> crate::Outcome<Self> {
        Ok(Self { under: FileBackend::new(open(path)?)?, counter: counter.clone() })
    }
}

impl StorageBackend for StoreFile {
    fn len(&self) -> io::Result<u64> {
        self.under.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.under.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.under.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counter.synced();
        self.under.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.counter.wrote(offset, data.len());
        self.under.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.under.close()
    }
}

/// Opens or makes a file for reading and writing.
///
/// # Errors
/// The system's.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_once_a_sync_and_one_across_a_border_twice() {
        let counter = Counter::default();
        counter.wrote(0, 100);
        counter.wrote(200, 100);
        counter.synced();
        assert_eq!(counter.traffic(), Traffic { pages: 1, syncs: 1, bytes: 200 });
        counter.wrote(4000, 200);
        counter.synced();
        assert_eq!(counter.traffic(), Traffic { pages: 3, syncs: 2, bytes: 400 });
    }
}
