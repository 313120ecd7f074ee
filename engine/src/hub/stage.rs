//! Staging: what one store commit will hold, and what is folded once it did.
//!
//! Invariant: batches get gap-free commit numbers in the order they are staged,
//! and nothing in memory moves before the commit is durable.

use super::Hub;
use super::behind::Committed;
use crate::device::{Now, create_log, timestamp};
use crate::log::{Checked, Opened, Tip, epoch_nonce, open, open_epoch, seal};
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, CloudLogs, CommitRow, LogRow, TipRow, ToldRow};
use crate::store::{Changes, Rows, Store};
use crate::{Error, Result};
use tallyroll_schema::event::fleet::DeviceEnrolled;
use tallyroll_schema::event::log::{EpochOpened, EpochReason, LogClass, LogOpened};
use tallyroll_schema::{
    CommitPosition, DeviceId, EpochId, Event, HybridTime, LogId, Position, PublicKey, Record,
    Records,
};

/// The part of a commit that is not rows.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) commit: CommitPosition,
    pub(super) hybrid: HybridTime,
    /// Bursts that found their device's quarantine full.
    pub(super) overflow: u64,
    /// Devices whose change of keys is taken in.
    pub(super) rekeyed: Vec<DeviceId>,
    /// What devices brought of our own logs.
    pub(super) given_back: Vec<GivenBack>,
    /// Epochs of our own logs that begin with this commit, and about which devices they are.
    opened: Vec<(Option<DeviceId>, (LogId, EpochId))>,
    folds: Vec<Committed>,
    /// What their records may still take, unpacked, bytes.
    room: usize,
    own: PublicKey,
}

/// Some of one of our own logs, brought by a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenBack {
    pub(super) by: DeviceId,
    /// About which device the log is.
    pub(super) about: Option<DeviceId>,
    pub(super) place: (LogId, EpochId),
}

impl Staged {
    /// Numbers a batch that is in `rows` and folds it after the commit.
    pub(super) fn accept<S: Store>(
        &mut self,
        rows: &mut Rows<'_, S>,
        now: Now,
        genesis: &LogOpened,
        checked: Checked,
    ) -> Result<()> {
        let header = *checked.batch().header();
        if self.folds.is_empty() || !planted(Bug::CommitNumberShared) {
            self.commit.index += 1;
        }
        let row = CommitRow {
            log: header.log,
            epoch: header.epoch,
            first_seq: header.first_seq,
            end_seq: header.end_seq()?,
            received_at: now.wall,
        };
        rows.put(&self.commit, &row);
        if genesis.writer == self.own && genesis.class == LogClass::Device {
            note_told(rows, &*checked.opened()?)?;
        }
        if genesis.writer == self.own {
            // Given back to us: our clock goes on after what we wrote.
            let opened = checked.opened()?;
            let records = Records::new(&opened.records).flatten();
            let newest = records.map(|record| record.header.time.hybrid).max();
            self.hybrid = self.hybrid.max(newest.unwrap_or_default());
        }
        self.folds.push((self.commit, genesis.clone(), checked.within(&mut self.room)));
        Ok(())
    }
}

/// Notes by which keys a device's log tells that it is enrolled.
fn note_told<S: Store>(rows: &mut Rows<'_, S>, opened: &Opened) -> Result<()> {
    let log = opened.batch.header().log;
    for record in Records::new(&opened.records).flatten() {
        let Ok(Event::DeviceEnrolled(told)) = record.event() else { continue };
        let HybridTime { wall, counter } = record.header.time.hybrid;
        let DeviceEnrolled { signing_key, tls_fingerprint, .. } = told;
        let row = ToldRow { signing_key, tls_fingerprint, at: (wall, counter) };
        if rows.get::<ToldRow>(&log)?.is_none_or(|known| known.at < row.at) {
            rows.put(&log, &row);
        }
    }
    Ok(())
}

impl<S: Store> Hub<S> {
    pub(super) fn stage(&self) -> Staged {
        self.stage_at(CommitPosition { epoch: self.logs.commit_epoch, ..self.last_commit })
    }

    /// A commit's first number in a new commit epoch is 1.
    pub(super) fn stage_at(&self, mut commit: CommitPosition) -> Staged {
        if commit.epoch != self.last_commit.epoch {
            commit.index = 0;
        }
        Staged {
            commit,
            hybrid: self.hybrid,
            overflow: 0,
            rekeyed: Vec::new(),
            given_back: Vec::new(),
            opened: Vec::new(),
            folds: Vec::new(),
            room: self.behind.room(),
            own: self.public_key(),
        }
    }

    /// Stages events as one batch of one of the cloud's own logs, in its next epoch where a device may hold
    /// something else at that place.
    pub(super) fn stage_events(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        place: (LogId, EpochId),
        events: &[Event],
    ) -> Result<Position> {
        let missing = |what: &str| Error::corrupt("own log", what);
        let LogRow(genesis) = rows.get(&place.0)?.ok_or_else(|| missing("no genesis row"))?;
        let opened = staged.opened.iter().find(|(_, (log, _))| *log == place.0);
        let (log, epoch) = match opened {
            Some((_, opened)) => *opened,
            None if self.may_be_ahead(place.0, &genesis) => {
                self.stage_epoch(rows, staged, now, place)?
            }
            None => place,
        };
        let mut records = Vec::new();
        for event in events {
            let time = timestamp(staged.hybrid, now);
            staged.hybrid = time.hybrid;
            records.extend_from_slice(&Record::encode(event, time)?);
        }
        let tip: TipRow = rows.get(&(log, epoch))?.ok_or_else(|| missing("no tip row"))?;
        let first_seq = tip.next_seq;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let batch = seal(log, epoch, first_seq, count, &records)?;
        let tip = Tip::from(tip)
            .advance(rows.tenant(), &batch, &records)
            .unwrap_or_else(|| unreachable!("the batch was made to begin there"));
        rows.put(&(log, epoch, first_seq), &BatchRow { hash: tip.hash, batch: batch.clone() });
        rows.put(&(log, epoch), &TipRow::from(tip));
        staged.accept(rows, now, &genesis, Opened { batch, records }.into())?;
        Ok(Position { log, epoch, seq: first_seq })
    }

    /// Stages a new log of the cloud's: its genesis is its first batch.
    pub(super) fn stage_log(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        class: LogClass,
        about: Option<DeviceId>,
        nonce: [u8; 16],
    ) -> Result<(LogId, EpochId)> {
        let time = timestamp(staged.hybrid, now);
        staged.hybrid = time.hybrid;
        let (log, epoch) = create_log(rows, &self.config.signer, class, about, time, nonce)?;
        let missing = || Error::corrupt("own log", "its genesis was not staged");
        let LogRow(genesis) = rows.get(&log)?.ok_or_else(missing)?;
        let row: BatchRow = rows.get(&(log, epoch, 0))?.ok_or_else(missing)?;
        staged.accept(rows, now, &genesis, open(row.batch)?.into())?;
        staged.opened.push((about, (log, epoch)));
        Ok((log, epoch))
    }

    /// Stages the next epoch of one of the cloud's own logs.
    pub(super) fn stage_epoch(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        (log, parent): (LogId, EpochId),
    ) -> Result<(LogId, EpochId)> {
        let missing = |what: &str| Error::corrupt("own log", what);
        let LogRow(genesis) = rows.get(&log)?.ok_or_else(|| missing("no genesis row"))?;
        let tip: TipRow = rows.get(&(log, parent))?.ok_or_else(|| missing("no tip row"))?;
        // After what a lost tail may hold, as the commits are: it holds once it is given back.
        let counter = staged.commit.epoch.max(parent.counter.saturating_add(1));
        let epoch = EpochId { counter, nonce: epoch_nonce(&self.entropy, log, counter) };
        let opened = EpochOpened {
            epoch,
            parent,
            parent_seq: tip.next_seq.saturating_sub(1),
            parent_hash: Tip::from(tip).hash,
            reason: EpochReason::TailLost,
            divergent: None,
        };
        let time = timestamp(staged.hybrid, now);
        staged.hybrid = time.hybrid;
        open_epoch(rows, log, opened, time)?;
        let row: BatchRow = rows.get(&(log, epoch, 0))?.ok_or_else(|| missing("no batch"))?;
        staged.accept(rows, now, &genesis, open(row.batch)?.into())?;
        let mut logs: CloudLogs = rows.get(&())?.unwrap_or(self.logs);
        match genesis.class {
            LogClass::Public => logs.public = (log, epoch),
            LogClass::Accounts => logs.accounts = (log, epoch),
            LogClass::Device | LogClass::Ledger | LogClass::Telemetry => {}
        }
        rows.put(&(), &logs);
        staged.opened.push((genesis.about, (log, epoch)));
        Ok((log, epoch))
    }

    /// Commits what was staged, and has it counted.
    pub(super) fn finish(&mut self, mut changes: Changes, staged: Staged) -> Result<()> {
        // The view as of the commits before this one, if it is time to keep it.
        let mut rows = Rows::new(self.config.tenant, &self.store);
        self.counts.snapshot_if_due(&mut rows);
        changes.extend(rows.into_changes());
        self.commit_changes(changes)?;
        if staged.commit.index > 0 {
            self.last_commit = staged.commit; // rows alone have no number
        }
        self.hybrid = staged.hybrid;
        for (about, place) in &staged.opened {
            match about {
                Some(device) => drop(self.device_logs.insert(*device, *place)),
                None if place.0 == self.logs.public.0 => self.logs.public = *place,
                None => self.logs.accounts = *place,
            }
            self.fresh.insert(place.0);
        }
        self.count(staged.folds)
    }
}
