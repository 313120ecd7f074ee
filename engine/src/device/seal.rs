//! Sealing: the tail moves from the journal into the store, as batches.
//!
//! Invariant: one store commit holds the batches, the tips, the counted page-log
//! lines, now and then the view, and the journal's next generation; so each event is in
//! exactly one of journal and store, whatever is cut when.

use super::imports::Imports;
use super::{Device, Now};
use crate::log::journal::JournalFile;
use crate::log::{Tip, seal as seal_batch};
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, JournalState, TipRow};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::time::Duration;
use tallyroll_schema::limits::SEAL_BYTES;
use tallyroll_schema::{EpochId, LogId, Records};

/// A tail is sealed at least so often, link or no link.
const SEAL_INTERVAL: Duration = Duration::from_secs(3600);
/// While a link is there, a busy device seals this often; an idle one at once.
const BUSY_LINGER: Duration = Duration::from_secs(1);

impl<F: JournalFile, S: Store> Device<F, S> {
    /// When the tail is to be sealed, by the monotonic clock; `None` without one.
    pub fn seal_due(&self, linked: bool) -> Option<Duration> {
        if !self.has_room() {
            return Some(self.retry_due());
        }
        let tails = [&self.ledger, &self.telemetry];
        let since = tails.iter().filter_map(|log| log.tail_since).min()?;
        if tails.iter().any(|log| log.tail.len() >= SEAL_BYTES) {
            return Some(since);
        }
        if !linked || planted(Bug::LinkIgnoredBySeal) {
            return Some(since.saturating_add(SEAL_INTERVAL));
        }
        let busy_until = self.last_seal.map_or(since, |last| last.saturating_add(BUSY_LINGER));
        Some(busy_until.max(since))
    }

    /// Seals the tail. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Full`]: all is as it was, and the tail stays in the journal. Storage failed;
    /// the device is closed then.
    pub fn seal(&mut self, now: Now) -> Result<bool> {
        self.refuse_if_closed()?;
        let tail = self.ledger.tail_count + self.telemetry.tail_count > 0;
        self.try_room(now, tail)?;
        if !tail {
            return Ok(false);
        }
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let [ledger, telemetry] = [&self.ledger, &self.telemetry]
            .map(|log| seal_records(&mut rows, log.epoch, log.tip, &log.tail));
        let (ledger, telemetry) = (ledger?, telemetry?);
        if !planted(Bug::ImportsNotStored) {
            self.imports.put(&mut rows)?;
        }
        let generation = self.journal_state.generation + 1;
        let journal_state = JournalState { generation, ..self.journal_state };
        if !planted(Bug::GenerationNotStored) {
            rows.put(&(), &journal_state);
        }
        self.counts.snapshot_if_due(&mut rows);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;

        let sealed = self.ledger.tail.len() + self.telemetry.tail.len();
        self.pruning.grown = self.pruning.grown.saturating_add(sealed as u64);
        self.journal_state = journal_state;
        self.journal.reset(generation);
        self.ledger.sealed(ledger);
        self.telemetry.sealed(telemetry);
        self.imports = Imports::default();
        self.last_seal = Some(now.monotonic);
        self.settle_counts()?;
        Ok(true)
    }
}

/// Writes records as batches of about [`SEAL_BYTES`] from a tip on; returns where they end.
pub(super) fn seal_records<S: Store>(
    rows: &mut Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
    mut tip: Tip,
    records: &[u8],
) -> Result<Tip> {
    for (count, records) in split(records)? {
        let batch = seal_batch(log, epoch, tip.next_seq, count, records)?;
        let first_seq = tip.next_seq;
        tip = tip
            .advance(rows.tenant(), &batch, records)
            .unwrap_or_else(|| unreachable!("the batch was made to begin there"));
        rows.put(&(log, epoch, first_seq), &BatchRow { hash: tip.hash, batch });
    }
    rows.put(&(log, epoch), &TipRow::from(tip));
    Ok(tip)
}

/// Cuts records into runs that end at the first record past [`SEAL_BYTES`].
fn split(tail: &[u8]) -> Result<Vec<(u32, &[u8])>> {
    let (mut runs, mut rest, mut count, mut len) = (Vec::new(), tail, 0, 0);
    for record in Records::new(tail) {
        let record = record.map_err(|why| Error::corrupt("tail", why))?;
        count += 1;
        len += record.bytes.len();
        if len >= SEAL_BYTES {
            let (run, after) = rest.split_at(len);
            runs.push((count, run));
            (rest, count, len) = (after, 0, 0);
        }
    }
    if count > 0 && (runs.is_empty() || !planted(Bug::LastRunDropped)) {
        runs.push((count, rest));
    }
    Ok(runs)
}
