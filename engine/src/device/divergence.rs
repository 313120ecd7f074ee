//! A history of our own that the cloud has otherwise: set aside, then recorded again.
//!
//! Invariant: nothing is dropped and nothing counts twice. One commit moves our
//! batches beyond the last receipt to the evidence and opens the next epoch; when
//! all that the cloud has of our logs is here, one more records again what the old
//! one lacks, but for page-log lines that any of them counts.

use super::epoch::{first_batch, receipted};
use super::imports::Imports;
use super::own_log::OwnLog;
use super::seal::seal_records;
use super::{Device, Now, timestamp};
use crate::counts::Counts;
use crate::fold::View;
use crate::log::journal::JournalFile;
use crate::log::{Opened, Tip, forget_rotations, open};
use crate::merge::Refusal;
use crate::planted::{Bug, planted};
use crate::store::rows::{
    BatchRow, DeviceHistory, DivergenceRow, EvidenceRow, HeadRow, PrunedRow, ReceiptRow,
    SnapshotRow, TipRow, divergence_key, epoch_key, seq_key, split_epoch_key,
};
use crate::store::{Rows, Store};
use crate::sync::Reply;
use crate::{Error, Result};
use core::ops::ControlFlow;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::log::{EpochReason, EventResubmitted, LogClass};
use tallyroll_schema::{EpochId, Event, Hash, LogId, Position, Record, Records};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// The epochs whose history the cloud has otherwise, and is to give us.
    pub(super) fn pending(&self) -> Result<Vec<(LogId, EpochId)>> {
        let mut pending = Vec::new();
        self.rows().scan::<DivergenceRow>(&[], &[], &mut |key, row| {
            pending.extend(split_epoch_key(key).filter(|_| row.pending));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(pending)
    }

    /// The cloud has another history of this epoch of ours: ours is set aside from
    /// the last receipt on, and if we are writing it, the next epoch begins.
    pub(super) fn diverged(&mut self, now: Now, log: LogId, epoch: EpochId) -> Result<Reply> {
        let Some(class) = self.own_class(log) else { return self.follow(now, log, epoch) };
        self.seal(now)?;
        let key = (log, epoch);
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let before: Option<DivergenceRow> = rows.get(&key)?;
        let Some(tip) = rows.get::<TipRow>(&key)?.map(Tip::from) else {
            return Ok(Reply::StartOver);
        };
        // Twice at the same place, or with nothing beyond the receipt: the cloud does not even hold what it
        // receipted; it lost its tail, and another copy of this device was there first.
        let receipt = receipted(&rows, key)?;
        let again = before.is_some_and(|row| row.pending);
        let nothing_new = before.is_some()
            && self.log(class).epoch != key
            && receipt.position == (Position { log, epoch, seq: tip.next_seq.saturating_sub(1) });
        let deeper = again || nothing_new;
        let parent = if deeper { first_batch(&rows, log)? } else { receipt };
        let kept = if parent.position.epoch == epoch {
            Tip { next_seq: parent.position.seq + 1, hash: parent.hash }
        } else {
            Tip::START
        };
        let pruned = rows.get::<PrunedRow>(&key)?.filter(|row| row.next_seq > kept.next_seq);
        if let Some(PrunedRow { next_seq: end, .. }) = pruned {
            let from = kept.next_seq; // what was there can neither be set aside nor sent
            return Ok(Reply::Stays(log, epoch, Refusal::Pruned { from, end }));
        }
        if let Some(row) = before.filter(|_| again) {
            let (number, earlier) = (row.number + 1, row.earlier + 1);
            set_aside(&mut rows, key, number, kept)?;
            rows.delete::<ReceiptRow>(&key);
            let from = row.from.min(kept.next_seq);
            rows.put(&key, &DivergenceRow { number, from, earlier, ..row });
            rows.delete::<SnapshotRow>(&Counts::NAME.to_owned());
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
            self.go_on_in(now, Vec::new())?;
            return Ok(Reply::StartOver);
        }
        let number = before.map_or(0, |row| row.number + 1);
        let divergent = tip.head(log, epoch).filter(|_| tip != kept);
        let mut logs = Vec::new();
        if self.log(class).epoch == key {
            let reason =
                if divergent.is_some() { EpochReason::Cloned } else { EpochReason::Restored };
            logs.push(self.next_epoch(&mut rows, now, class, parent, reason, divergent)?);
        }
        set_aside(&mut rows, key, number, kept)?;
        if deeper {
            rows.delete::<ReceiptRow>(&key);
        }
        let (from, pending, resubmitted, earlier) = (kept.next_seq, true, 0, 0);
        rows.put(&key, &DivergenceRow { number, from, divergent, pending, resubmitted, earlier });
        let unconfirmed = !planted(Bug::DivergedStaysConfirmed);
        rows.put(&(), &DeviceHistory { unconfirmed, ..self.history()? });
        rows.delete::<SnapshotRow>(&Counts::NAME.to_owned());
        self.put_open(&mut rows, &logs);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.go_on_in(now, logs)?;
        Ok(Reply::StartOver)
    }

    /// All that the cloud has of our past is here.
    pub(super) fn surveyed(&mut self) -> Result<Reply> {
        let history = self.history()?;
        if history.unconfirmed && self.pending()?.is_empty() {
            let mut rows = self.rows();
            rows.put(&(), &DeviceHistory { unconfirmed: false, ..history });
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
        }
        Ok(Reply::Done)
    }

    /// The accepted history of an epoch is here, and of those after it: what was set
    /// aside and is not in it is recorded again.
    pub(super) fn caught_up(&mut self, now: Now, log: LogId, epoch: EpochId) -> Result<Reply> {
        let Some(class) = self.own_class(log) else { return Ok(Reply::Done) };
        let key = (log, epoch);
        let Some(row) = self.rows().get::<DivergenceRow>(&key)?.filter(|row| row.pending) else {
            return Ok(Reply::Done);
        };
        self.seal(now)?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let mut imports = Imports::of_history(&rows, self.ledger.epoch.0)?;
        let missing = missing(&rows, key, row, &mut imports)?;
        let (mut records, mut hybrid) = (Vec::new(), self.hybrid);
        let resubmitted = missing.len() as u64;
        for event in missing {
            let time = timestamp(hybrid, now);
            hybrid = time.hybrid;
            records.extend_from_slice(&Record::encode(&event.into(), time)?);
        }
        let OwnLog { epoch: open, tip: before, genesis, .. } = self.log(class);
        let (open, before, genesis) = (*open, *before, genesis.clone());
        let tip = seal_records(&mut rows, open, before, &records)?;
        rows.put(&key, &DivergenceRow { pending: false, resubmitted, ..row });
        imports.put(&mut rows)?;
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.hybrid = hybrid;
        self.log_mut(class).sealed(tip);
        let tenant = self.config.tenant;
        self.counts.fold_records(tenant, &genesis, open, before.next_seq, &records);
        Ok(Reply::Grew(self.offers()?))
    }

    pub(super) fn own_class(&self, log: LogId) -> Option<LogClass> {
        let own = [&self.ledger, &self.telemetry].into_iter().find(|own| own.epoch.0 == log);
        own.map(|own| own.genesis.class)
    }
}

/// Moves an epoch's batches after `kept` to the evidence.
pub(super) fn set_aside<S: Store>(
    rows: &mut Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
    number: u32,
    kept: Tip,
) -> Result<()> {
    let mut batches = Vec::new();
    let from = seq_key(log, epoch, kept.next_seq);
    rows.scan::<BatchRow>(&epoch_key(log, epoch), &from, &mut |_, row| {
        batches.push(row);
        Ok(ControlFlow::Continue(()))
    })?;
    for row in batches {
        let first_seq = row.batch.header().first_seq;
        rows.delete::<BatchRow>(&(log, epoch, first_seq));
        rows.delete::<HeadRow>(&(log, epoch, row.batch.header().end_seq()?.saturating_sub(1)));
        if !planted(Bug::EvidenceDropped) {
            rows.put(&(log, epoch, number, first_seq), &EvidenceRow(row));
        }
    }
    forget_rotations(rows, (log, epoch), kept.next_seq)?;
    if kept == Tip::START {
        rows.delete::<TipRow>(&(log, epoch));
        rows.delete::<ReceiptRow>(&(log, epoch));
    } else {
        rows.put(&(log, epoch), &TipRow::from(kept));
    }
    Ok(())
}

/// What was set aside and is not in the accepted history, in order and each once.
fn missing<S: Store>(
    rows: &Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
    row: DivergenceRow,
    imports: &mut Imports,
) -> Result<Vec<EventResubmitted>> {
    let mut accepted: BTreeMap<u64, Hash> = BTreeMap::new();
    let from = seq_key(log, epoch, row.from);
    rows.scan::<BatchRow>(&epoch_key(log, epoch), &from, &mut |_, row| {
        each_record(row, &mut |seq, record| {
            accepted.insert(seq, hash(record.bytes));
            Ok(())
        })
    })?;
    let (mut missing, mut seen) = (Vec::new(), BTreeSet::new());
    let first = divergence_key(log, epoch, row.number.saturating_sub(row.earlier));
    rows.scan::<EvidenceRow>(&epoch_key(log, epoch), &first, &mut |_, EvidenceRow(row)| {
        each_record(row, &mut |seq, record| {
            let held = accepted.get(&seq) == Some(&hash(record.bytes));
            if held && !planted(Bug::HeldRecordedAgain) {
                return Ok(());
            }
            let (resubmitted_from, bytes) = match record.event() {
                // Said anew where it still holds.
                Ok(
                    Event::EpochOpened(_)
                    | Event::LogOpened(_)
                    | Event::LogClosed(_)
                    | Event::KeyRotated(_),
                ) => return Ok(()),
                // It stands for an event set aside before: that one's place is told.
                Ok(Event::EventResubmitted(again)) => (again.resubmitted_from, again.record.0),
                _ => (Position { log, epoch, seq }, record.bytes.to_vec()),
            };
            let new = seen.insert((resubmitted_from, hash(&bytes)));
            if new && imports.take_in(rows, (epoch, seq), record)? {
                missing.push(EventResubmitted { resubmitted_from, record: Bytes(bytes) });
            }
            Ok(())
        })
    })?;
    Ok(missing)
}

/// Visits the records of a stored batch.
pub(super) fn each_record(
    row: BatchRow,
    visit: &mut dyn FnMut(u64, &Record<'_>) -> Result<()>,
) -> Result<ControlFlow<()>> {
    let first_seq = row.batch.header().first_seq;
    let Opened { records, .. } = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
    for (seq, record) in (first_seq..).zip(Records::new(&records)) {
        visit(seq, &record.map_err(|why| Error::corrupt("batch", why))?)?;
    }
    Ok(ControlFlow::Continue(()))
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}
