//! What is committed and not counted yet: receipts need not wait for the figures.
//!
//! Invariant: only what devices brought may wait here, in the order of its commits, and no
//! figure is read meanwhile ([`Hub::counts`] insists). It is bounded: who stores more without
//! [`Hub::catch_up`] is told to by [`Hub::is_far_behind`]. A process that ends before that
//! counts it at its next start, as all that is stored.

use super::Hub;
use crate::Result;
use crate::fold::{Stored, View};
use crate::log::Checked;
use crate::planted::{Bug, planted};
use crate::store::Store;
use std::collections::VecDeque;
use tallyroll_schema::event::log::LogOpened;
use tallyroll_schema::limits::{BEHIND_BYTES_MAX, COMMIT_RECORDS_KEPT_MAX};
use tallyroll_schema::{BatchHeader, CommitPosition};

/// One batch of a commit.
pub(super) type Committed = (CommitPosition, LogOpened, Checked);

#[derive(Debug, Default)]
pub(super) struct Behind {
    batches: VecDeque<Committed>,
    /// As they are stored, bytes.
    stored: usize,
    /// Of their records that are unpacked still, bytes.
    records: usize,
}

impl Behind {
    /// What may be kept unpacked of what comes next, bytes.
    pub(super) fn room(&self) -> usize {
        COMMIT_RECORDS_KEPT_MAX.saturating_sub(self.records)
    }

    fn push(&mut self, committed: Committed) {
        self.stored += committed.2.batch().bytes().len();
        self.records += committed.2.kept_len();
        self.batches.push_back(committed);
    }

    fn pop(&mut self) -> Option<Committed> {
        let committed = self.batches.pop_front()?;
        self.stored -= committed.2.batch().bytes().len();
        self.records -= committed.2.kept_len();
        Some(committed)
    }
}

impl<S: Store> Hub<S> {
    /// Whether something is committed and not counted yet.
    pub fn is_behind(&self) -> bool {
        !self.behind.batches.is_empty()
    }

    /// Whether that is as much as may be: [`Self::catch_up`] comes first now.
    pub fn is_far_behind(&self) -> bool {
        self.behind.stored >= BEHIND_BYTES_MAX
    }

    /// Counts all that is committed.
    ///
    /// # Errors
    /// A batch is corrupt.
    pub fn catch_up(&mut self) -> Result<()> {
        while self.is_behind() {
            self.catch_up_a_batch()?;
        }
        Ok(())
    }

    /// Counts the oldest batch that is committed and not counted yet.
    ///
    /// # Errors
    /// It is corrupt.
    pub fn catch_up_a_batch(&mut self) -> Result<()> {
        let Some((commit, genesis, checked)) = self.behind.pop() else { return Ok(()) };
        let opened = self.closing(checked.opened())?;
        self.counts.fold_batch(self.config.tenant, &genesis, &opened);
        let BatchHeader { log, epoch, first_seq, .. } = *opened.batch.header();
        self.note_past(commit, Stored { log, epoch, first_seq, class: genesis.class });
        self.note_untold(&genesis);
        Ok(())
    }

    /// Has what a commit brought counted: at once, if it holds decisions of our own.
    pub(super) fn count(&mut self, folds: Vec<Committed>) -> Result<()> {
        let own = self.public_key();
        let ours = folds.iter().any(|(_, genesis, _)| genesis.writer == own);
        self.decided += u64::from(ours);
        let counted = if planted(Bug::FirstOfCommitCounted) { 1 } else { folds.len() };
        for (at, committed) in folds.into_iter().enumerate() {
            let (_, genesis, checked) = &committed;
            if <super::Fleet as View>::CLASSES.contains(&genesis.class) {
                let opened = checked.opened();
                self.closed |= opened.is_err();
                self.fleet.fold_batch(self.config.tenant, genesis, &*opened?);
            }
            if at < counted {
                self.behind.push(committed);
            }
        }
        if ours { self.catch_up() } else { Ok(()) }
    }
}
