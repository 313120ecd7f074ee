//! A simulated disk: a journal file, a database file and rows in memory, of one machine.
//!
//! Owns the model of what survives. A write lands in the page cache; a sync makes it durable; a
//! power cut keeps an arbitrary subset of the unsynced sectors; a failed sync marks pages clean that
//! are not durable. Invariant: nothing below a sync that returned well is ever lost.
//! Who writes when is the engine's: accidents are armed here and strike at some later write.

mod file;
mod store;

pub use store::SimStore;

use super::entropy::Entropy;
use super::faults::{Fault, Happened};
use file::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_engine::log::journal::JournalFile;
use tallyroll_engine::store::{Changes, MemoryStore, Store};

/// What may strike at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accident {
    /// The machine loses its power.
    PowerCut,
    /// The process is killed; the page cache stays.
    Kill,
    /// The next sync fails; the process lives.
    FailedSync,
}

/// Ways in which a disk, or what drives it, breaks its own promise: planted bugs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broken {
    /// A sync returns without having made anything durable.
    pub forgets_syncs: bool,
    /// A commit of rows reaches the disk only with the next one.
    pub writes_behind: bool,
}

/// A machine's disk. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Clone)]
struct State {
    journal: File,
    database: File,
    rows: MemoryStore,
    behind: Changes,
    broken: Broken,
    entropy: Entropy,
    armed: Option<(u64, Accident)>,
    struck: Option<Accident>,
    full: bool,
    happened: Happened,
}

impl Disk {
    /// An empty disk whose sectors have this size.
    pub fn new(sector_bytes: usize, entropy: Entropy, broken: Broken) -> Self {
        Self(Arc::new(Mutex::new(State {
            journal: File::new(sector_bytes),
            database: File::new(sector_bytes),
            rows: MemoryStore::default(),
            behind: Changes::new(),
            broken,
            entropy,
            armed: None,
            struck: None,
            full: false,
            happened: Happened::default(),
        })))
    }

    /// Lets an accident strike after so many further writes and syncs.
    pub fn arm(&self, after: u64, accident: Accident) {
        self.state().armed = Some((after, accident));
    }

    /// A process that begins has the system forget what it read before, as the rims do.
    pub fn drop_clean(&self) {
        let mut state = self.state();
        state.journal.drop_clean();
        state.database.drop_clean();
    }

    /// Takes back what has not struck yet.
    pub fn disarm(&self) {
        self.state().armed = None;
    }

    /// What has struck since the last recovery.
    pub fn struck(&self) -> Option<Accident> {
        self.state().struck
    }

    /// Whether a process on this machine can still do anything.
    pub fn is_dead(&self) -> bool {
        matches!(self.struck(), Some(Accident::PowerCut | Accident::Kill))
    }

    /// Cuts the power now, between two writes.
    pub fn cut_power(&self) {
        self.state().struck = Some(Accident::PowerCut);
    }

    /// Whether there is no room for anything new.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// The machine is on again: after a power cut only what survived is there.
    pub fn recover(&self) {
        let state = &mut *self.state();
        if state.struck == Some(Accident::PowerCut) {
            for file in [&mut state.journal, &mut state.database] {
                file.lose_power(&mut state.entropy, &mut state.happened);
            }
            state.behind.clear();
        }
        state.struck = None;
    }

    /// A copy of the disk with a life of its own, on which nothing happens.
    pub fn image(&self) -> Self {
        let mut state = self.state().clone();
        (state.armed, state.struck, state.full) = (None, None, false);
        Self(Arc::new(Mutex::new(state)))
    }

    /// What a power cut now would leave at least.
    pub fn durable_image(&self) -> Self {
        let image = self.image();
        image.state().journal.lose_everything_unsynced();
        image.state().database.lose_everything_unsynced();
        image
    }

    /// The rows in memory that are durable.
    pub fn rows(&self) -> MemoryStore {
        self.state().rows.clone()
    }

    /// Reads the durable rows without a copy.
    pub fn with_rows<T>(&self, read: impl FnOnce(&MemoryStore) -> T) -> T {
        read(&self.state().rows)
    }

    /// Changes rows behind everybody's back, as a planted bug does.
    pub fn tamper(&self, change: impl FnOnce(&mut MemoryStore)) {
        change(&mut self.state().rows);
    }

    /// What has taken effect since the last call.
    pub fn take_happened(&self) -> Happened {
        core::mem::take(&mut self.state().happened)
    }

    /// The journal's length, bytes.
    pub fn journal_bytes(&self) -> u64 {
        self.state().journal.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes rows durable, all or none.
    fn commit_rows(&self, changes: Changes) -> io::Result<()> {
        let state = &mut *self.state();
        let outcome = state.before_write(true);
        if outcome.is_err() && state.entropy.percent(50) {
            return outcome; // it struck before the commit; else just after it
        }
        if outcome.is_ok() && state.full {
            state.happened.count(Fault::DiskFull);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let changes = match state.broken.writes_behind {
            true => core::mem::replace(&mut state.behind, changes),
            false => changes,
        };
        let applied = state.rows.commit(changes);
        applied.map_err(io::Error::other).and(outcome)
    }
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Journal,
    Database,
}

impl State {
    fn file(&mut self, which: Which) -> &mut File {
        match which {
            Which::Journal => &mut self.journal,
            Which::Database => &mut self.database,
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.struck {
            Some(Accident::PowerCut | Accident::Kill) => {
                Err(io::Error::other("the machine is off"))
            }
            _ => Ok(()),
        }
    }

    /// Counts a write or a sync; an armed accident strikes when its time has come.
    fn before_write(&mut self, is_sync: bool) -> io::Result<()> {
        self.alive()?;
        let Some((left, accident)) = self.armed else { return Ok(()) };
        if left > 0 {
            self.armed = Some((left - 1, accident));
            return Ok(());
        }
        if accident == Accident::FailedSync && !is_sync {
            return Ok(());
        }
        (self.armed, self.struck) = (None, Some(accident));
        if accident == Accident::FailedSync {
            self.happened.count(Fault::FailedSync);
            return Err(io::Error::other("input/output error"));
        }
        Err(io::Error::other("the machine went off"))
    }

    fn write(&mut self, which: Which, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let outcome = self.before_write(false);
        let struck_now = outcome.is_err() && self.armed.is_none();
        let (full, mut entropy) = (self.full, self.entropy.clone());
        let file = self.file(which);
        if outcome.is_err() {
            if struck_now {
                file.write_some(offset, bytes, &mut entropy);
                self.entropy = entropy;
            }
            return outcome;
        }
        if full && offset + bytes.len() as u64 > file.len() {
            self.happened.count(Fault::DiskFull);
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write(offset, bytes);
        Ok(())
    }

    fn set_len(&mut self, which: Which, len: u64) -> io::Result<()> {
        self.before_write(false)?;
        if self.full && len > self.file(which).len() {
            self.happened.count(Fault::DiskFull);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file(which).set_len(len);
        Ok(())
    }

    fn sync(&mut self, which: Which) -> io::Result<()> {
        let outcome = self.before_write(true);
        let mut entropy = self.entropy.clone();
        let failed = outcome.is_err() && self.struck == Some(Accident::FailedSync);
        let forgets = self.broken.forgets_syncs;
        let file = self.file(which);
        if failed {
            file.fail_sync(&mut entropy);
        } else if outcome.is_ok() && !forgets {
            file.sync();
        }
        self.entropy = entropy;
        outcome
    }
}

/// The journal's file on a disk.
#[derive(Debug)]
pub struct JournalOn(pub Disk);

impl JournalFile for JournalOn {
    fn len(&self) -> io::Result<u64> {
        let state = self.0.state();
        state.alive()?;
        Ok(state.journal.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.0.state();
        state.alive()?;
        state.journal.read(offset, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.state().write(Which::Journal, offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.state().sync(Which::Journal)
    }
}

/// redb's file on a disk.
#[derive(Debug)]
struct DatabaseOn(Disk);

impl redb::StorageBackend for DatabaseOn {
    fn len(&self) -> io::Result<u64> {
        let state = self.0.state();
        state.alive()?;
        Ok(state.database.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.state();
        state.alive()?;
        state.database.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.state().set_len(Which::Database, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.state().sync(Which::Database)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.state().write(Which::Database, offset, data)
    }
}
