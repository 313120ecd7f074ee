//! A disk without room: what is refused, what still goes in, and how it ends.
//!
//! Invariant: new work is refused from the first write that found no room until
//! there is room again; the end of what runs always goes in, for a part of the
//! journal is kept for it and lies on the disk already. Nothing that was promised
//! is touched. Making room outside the store is the rim's.

use super::{Device, Now};
use crate::log::journal::JournalFile;
use crate::store::{Changes, Store};
use crate::{Error, Kind, Result};
use core::time::Duration;
use tallyroll_schema::Event;

/// A store without room is tried again this often.
const PAUSE: Duration = Duration::from_secs(5);

const REFUSED: &str = "the disk is full, so new work is refused and only the end of what runs is recorded; \
    free some space on it, nothing else needs to be done";

/// How a device stands with its disk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    /// The last write into store or journal found none.
    full: bool,
    /// What the rim keeps aside is used up.
    reserve_spent: bool,
    /// When sealing was tried last, by the monotonic clock.
    tried: Option<Duration>,
}

impl Room {
    /// What came of a write into the store; one that worked found room.
    pub(super) fn note<T>(&mut self, committed: &Result<T>) {
        self.full &= committed.is_err();
        self.full_if(committed);
    }

    /// What came of a write into the journal, which lies on the disk already.
    pub(super) fn full_if<T>(&mut self, written: &Result<T>) {
        self.full |= written.as_ref().is_err_and(|why| why.kind() == Kind::Full);
    }
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Whether new work is taken.
    pub fn has_room(&self) -> bool {
        !self.room.full && !self.room.reserve_spent
    }

    /// Whether the last write found no room.
    pub fn is_full(&self) -> bool {
        self.room.full
    }

    /// The rim keeps some room aside; whether it has it.
    pub fn set_reserve(&mut self, whole: bool) {
        self.room.reserve_spent = !whole;
    }

    /// Whether an event may be recorded now.
    ///
    /// # Errors
    /// [`Error::Full`] for new work while there is no room.
    pub fn refuse_without_room(&self, event: &Event) -> Result<()> {
        if self.has_room() || ends_work(event) { Ok(()) } else { Err(self.refused()) }
    }

    /// What whoever brings new work is told.
    pub fn refused(&self) -> Error {
        Error::Full(REFUSED.into())
    }

    pub(super) fn retry_due(&self) -> Duration {
        self.room.tried.map_or(Duration::ZERO, |tried| tried.saturating_add(PAUSE))
    }

    /// Notes that sealing is tried; without a tail, a full store is tried by itself.
    pub(super) fn try_room(&mut self, now: Now, tail: bool) -> Result<()> {
        self.room.tried = Some(now.monotonic);
        if self.room.full && !tail {
            return self.commit_changes(Changes::new());
        }
        Ok(())
    }
}

/// Whether an event ends something that runs, or the log itself, or tells that something failed.
pub fn ends_work(event: &Event) -> bool {
    matches!(
        event,
        Event::JobEnded(_)
            | Event::DocumentDiscarded(_)
            | Event::LeaseClosed(_)
            | Event::StepFailed(_)
            | Event::UploadCompleted(_)
            | Event::UploadKept(_)
            | Event::PrintJobEnded(_)
            | Event::FaultRaised(_)
            | Event::FaultCleared(_)
            | Event::LogClosed(_)
    )
}
