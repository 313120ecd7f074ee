//! Pruning: what the cloud confirmed and the device need not keep any more.
//!
//! Invariant: only what a receipt covers goes, oldest first, telemetry before the ledger; of each
//! epoch its first batch and the last receipted one stay, for other histories hang on them. The
//! commit that deletes batches keeps what they counted, so no figure, place or counted line changes.
//! While the cloud may hold another history of ours than we do, nothing goes. Unreceipted events
//! are never touched. When to prune is asked of the rim; which disk is full is its affair.

use super::imports::keep_line;
use super::{Device, Now};
use crate::fold::Replay;
use crate::log::journal::JournalFile;
use crate::log::open;
use crate::store::rows::{BatchRow, PrunedRow, ReceiptRow, epoch_key, split_epoch_key};
use crate::store::{Row, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use core::time::Duration;
use serde::Serialize;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{EpochId, Hash, LogId, Records, Wall};

/// Looked for at most this often.
const PAUSE: Duration = Duration::from_secs(5);
/// Batches' bytes deleted in one commit: few pages are written anew for many that are freed.
const STEP_BYTES: u64 = 1024 * 1024;
/// What a full disk asks for at a time: the rim's reserve and as much again, and what is wasted
/// between pages.
const ROOM_BYTES: u64 = 4 * 1024 * 1024;

/// How long a device keeps what the cloud confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Telemetry younger than this is kept to heal the cloud, unless there is no room for it. The
    /// ledger is kept until there is none.
    pub keep: Duration,
    /// Bytes in use in the store's file beyond which there is no room.
    pub limit: Option<u64>,
}

/// How a device stands with pruning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pruning {
    retention: Option<Retention>,
    /// Bytes that are to go to be below the limit again.
    owed: u64,
    /// Bytes sealed since the store was measured.
    pub(super) grown: u64,
    /// When it was tried last, by the monotonic clock.
    tried: Option<Duration>,
    /// Whether the store may hold pages that could be given back to a full disk.
    shrinkable: bool,
}

impl Default for Pruning {
    fn default() -> Self {
        Self { retention: None, owed: 0, grown: u64::MAX, tried: None, shrinkable: true }
    }
}

/// What was pruned of an epoch at this device. The cloud has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Bytes their batches took.
    pub bytes: u64,
    /// The seq of the last of them.
    pub up_to_seq: u64,
    /// The time of the newest of them, by the device's clock.
    pub up_to: Wall,
}

impl From<PrunedRow> for Pruned {
    fn from(row: PrunedRow) -> Self {
        let PrunedRow { events, bytes, newest: up_to, .. } = row;
        Self { events, bytes, up_to_seq: row.next_seq.saturating_sub(1), up_to }
    }
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Says what is to be kept. Until it is said everything is.
    pub fn set_retention(&mut self, retention: Retention) {
        self.pruning = Pruning { retention: Some(retention), ..Pruning::default() };
    }

    /// How many events of the ledger its own figures hold that are pruned here.
    ///
    /// # Errors
    /// Storage failed.
    pub fn pruned_from_view(&self) -> Result<u64> {
        let (log, mut events) = (self.ledger.epoch.0, 0);
        self.rows().scan::<PrunedRow>(log.as_bytes(), log.as_bytes(), &mut |_, row| {
            events += row.events;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(events)
    }

    /// When [`Device::prune`] may find something, by the monotonic clock; `None` if that depends on
    /// what is recorded.
    pub fn prune_due(&self) -> Option<Duration> {
        let waits = self.pruning.owed > 0 || !self.has_room();
        let next = self.pruning.tried.map_or(Duration::ZERO, |tried| tried.saturating_add(PAUSE));
        (waits && self.pruning.retention.is_some()).then_some(next)
    }

    /// Prunes what need not be kept; returns how many bytes that were.
    ///
    /// # Errors
    /// [`Error::Full`]: there was no room even for that. Storage failed.
    pub fn prune(&mut self, now: Now) -> Result<u64> {
        self.refuse_if_closed()?;
        let Some(retention) = self.pruning.retention else { return Ok(0) };
        let tried = self.pruning.tried;
        if tried.is_some_and(|tried| now.monotonic < tried.saturating_add(PAUSE)) {
            return Ok(0);
        }
        self.pruning.tried = Some(now.monotonic);
        if self.is_unconfirmed()? || !self.pending()?.is_empty() {
            return Ok(0);
        }
        self.measure(retention)?;
        let full = !self.has_room();
        let wanted = if full { self.pruning.owed.max(ROOM_BYTES) } else { self.pruning.owed };
        let mut pruned = 0;
        for class in [LogClass::Telemetry, LogClass::Ledger] {
            while pruned < wanted {
                let bytes = self.prune_some(class, (wanted - pruned).min(STEP_BYTES), None)?;
                if bytes == 0 {
                    break;
                }
                pruned += bytes;
                self.pruning.owed = self.pruning.owed.saturating_sub(bytes);
            }
        }
        let keep = Wall(u64::try_from(retention.keep.as_millis()).unwrap_or(u64::MAX));
        let old = Wall(now.wall.0.saturating_sub(keep.0));
        loop {
            let bytes = self.prune_some(LogClass::Telemetry, STEP_BYTES, Some((old, keep)))?;
            if bytes == 0 {
                break;
            }
            pruned += bytes;
        }
        self.shrink_if(pruned, full, retention)?;
        Ok(pruned)
    }

    /// How far the store is above its limit, once enough was added for that to have changed.
    fn measure(&mut self, retention: Retention) -> Result<()> {
        let Some(limit) = retention.limit else { return Ok(()) };
        if self.pruning.grown < limit / 16 {
            return Ok(());
        }
        let used = match self.store.file_bytes()? {
            file if file > limit => self.store.used_bytes()?,
            file => file,
        };
        let above = used > limit;
        self.pruning.owed = if above { used.saturating_sub(limit / 8 * 7) } else { 0 };
        self.pruning.grown = 0;
        Ok(())
    }

    /// What was freed is used again; others on a full disk only have it when it is given back.
    fn shrink_if(&mut self, pruned: u64, full: bool, retention: Retention) -> Result<()> {
        self.pruning.shrinkable |= pruned > 0;
        let long = |limit: u64| Ok::<_, Error>(self.store.file_bytes()? / 2 > limit);
        let long = retention.limit.filter(|_| pruned > 0).map(long).transpose()?.unwrap_or(false);
        if self.pruning.shrinkable && (full || long) {
            let shrunk = self.store.shrink();
            self.room.full_if(&shrunk);
            self.closing(shrunk)?;
            self.pruning.shrinkable = false;
        }
        Ok(())
    }

    /// Prunes about so many bytes of a log's oldest batches, in one commit; with `older`, only what
    /// was written before then, and so much before the cloud's last word.
    fn prune_some(
        &mut self,
        class: LogClass,
        bytes: u64,
        older: Option<(Wall, Wall)>,
    ) -> Result<u64> {
        let (log, mut receipts) = (self.log(class).epoch.0, Vec::new());
        self.rows().scan::<ReceiptRow>(log.as_bytes(), log.as_bytes(), &mut |key, row| {
            receipts.extend(split_epoch_key(key).map(|epoch| (epoch, row.0)));
            Ok(ControlFlow::Continue(()))
        })?;
        for (epoch, receipt) in receipts {
            // A clock that is years ahead makes nothing old, and neither does one at the cloud.
            let said = receipt.commit.received_at.0;
            let old = older.map(|(old, keep)| old.min(Wall(said.saturating_sub(keep.0))));
            let batches = self.oldest(epoch, receipt.head.position.seq, bytes, old)?;
            if !batches.is_empty() {
                return self.prune_batches(class, epoch, batches);
            }
        }
        Ok(0)
    }

    /// An epoch's oldest batches but the first, that end before the receipted event.
    fn oldest(
        &self,
        (log, epoch): (LogId, EpochId),
        receipted: u64,
        bytes: u64,
        old: Option<Wall>,
    ) -> Result<Vec<BatchRow>> {
        let rows = self.rows();
        let held = rows.get::<PrunedRow>(&(log, epoch))?;
        let from = BatchRow::key(&(log, epoch, held.map_or(1, |row| row.next_seq)));
        let (mut batches, mut taken) = (Vec::new(), 0);
        rows.scan::<BatchRow>(&epoch_key(log, epoch), &from, &mut |_, row| {
            let last = row.batch.header().end_seq()? > receipted;
            let young = |old| Ok::<_, Error>(newest(&row)? >= old);
            if last || taken >= bytes || old.map(young).transpose()?.unwrap_or(false) {
                return Ok(ControlFlow::Break(()));
            }
            taken += row.batch.bytes().len() as u64;
            batches.push(row);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(batches)
    }

    fn prune_batches(
        &mut self,
        class: LogClass,
        epoch: (LogId, EpochId),
        batches: Vec<BatchRow>,
    ) -> Result<u64> {
        let corrupt = |why| Error::corrupt("batch", why);
        let (tenant, genesis) = (self.config.tenant, self.log(class).genesis.clone());
        let mut rows = self.rows();
        let mut base = Replay::base_beside(&rows, &self.counts)?;
        let held = rows.get::<PrunedRow>(&epoch)?;
        if held.is_none()
            && let Some(first) = rows.get::<BatchRow>(&(epoch.0, epoch.1, 0))?
        {
            base.fold_batch(tenant, &genesis, &open(first.batch).map_err(corrupt)?);
        }
        let (hash, newest) = (Hash::ZERO, Wall(0));
        let nothing = PrunedRow { next_seq: 0, hash, events: 0, bytes: 0, newest };
        let (mut row, mut bytes) = (held.unwrap_or(nothing), 0);
        for BatchRow { hash, batch } in batches {
            let opened = open(batch).map_err(corrupt)?;
            let header = *opened.batch.header();
            base.fold_batch(tenant, &genesis, &opened);
            for (seq, record) in (header.first_seq..).zip(Records::new(&opened.records)) {
                let record = record.map_err(corrupt)?;
                row.newest = row.newest.max(record.header.time.wall);
                if class == LogClass::Ledger {
                    keep_line(&mut rows, epoch.1, seq, &record)?;
                }
            }
            rows.delete::<BatchRow>(&(epoch.0, epoch.1, header.first_seq));
            bytes += opened.batch.bytes().len() as u64;
            (row.next_seq, row.hash) = (header.end_seq()?, hash);
            row.events += u64::from(header.count);
        }
        row.bytes += bytes;
        rows.put(&epoch, &row);
        if class == LogClass::Ledger {
            base.put_base(&mut rows);
        }
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        Ok(bytes)
    }
}

fn newest(row: &BatchRow) -> Result<Wall> {
    let opened = open(row.batch.clone()).map_err(|why| Error::corrupt("batch", why))?;
    let walls = Records::new(&opened.records).flatten().map(|record| record.header.time.wall);
    Ok(walls.max().unwrap_or_default())
}
