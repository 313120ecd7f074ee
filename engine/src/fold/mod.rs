//! Folding: how every count and every state is derived from the logs.
//!
//! Owns the contract of a view and its replay. Invariant: a view is a function
//! of the set of records below its cut and of nothing else: no clock, no order of
//! arrival across logs. A snapshot is a cache of that and dropped when in doubt.
//! What each view means is left to its domain.

mod again;
mod walk;

pub use again::{Again, recorded_again};
pub use walk::{Committed, walk};

use crate::log::{Opened, open};
use crate::planted::{Bug, planted};
use crate::store::rows::{BaseRow, BatchRow, CommitRow, LogRow, PrunedRow, SnapshotRow, TipRow};
use crate::store::rows::{epoch_key, split_epoch_key};
use crate::store::{Row, Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::{
    CommitPosition, DecodeError, DeviceId, EpochId, Hash, LogId, Position, Record, Records,
    TenantId,
};

/// The next seq of each epoch: what lies below has been folded.
pub type Cut = BTreeMap<(LogId, EpochId), u64>;

/// Where a record stands, for a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The device that wrote it; `None` for the cloud.
    pub device: Option<DeviceId>,
    /// Its log's class.
    pub class: LogClass,
    /// Its position.
    pub position: Position,
}

/// A state derived from records.
pub trait View: Default {
    /// Names its snapshots.
    const NAME: &'static str;
    /// Grows when the same records give another state.
    const VERSION: u32;
    /// The logs it reads.
    const CLASSES: &'static [LogClass];

    /// Takes in one record. Records of one epoch come in order, each once; of two places of one event,
    /// that where it was recorded again.
    fn fold(&mut self, origin: &Origin, record: &Record<'_>);

    /// The state as bytes.
    fn archive(&self) -> Vec<u8>;

    /// The state back from bytes, or `None` when this build cannot use them.
    fn restore(archive: &[u8]) -> Option<Self>;

    /// What it knows to be recorded again; nothing, if it reads no such logs.
    fn recorded_again(&self) -> Option<&BTreeSet<Again>> {
        None
    }

    /// What it holds of pruned records, for ever: a view of logs that are pruned has it.
    fn to_base(&self) -> Vec<u8> {
        Vec::new()
    }

    /// That back from its bytes.
    ///
    /// # Errors
    /// When the bytes are none.
    fn from_base(_base: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::default())
    }
}

/// A view and the cut it stands at.
#[derive(Debug, Clone, Default)]
pub struct Replay<V> {
    view: V,
    cut: Cut,
    since_snapshot: u64,
    /// While it is folded anew: what is known to be recorded again further on.
    elsewhere: BTreeSet<Again>,
    /// Recorded again, where the old place had been folded before.
    doubtful: BTreeSet<Again>,
}

/// A view is stored again after so many records: what a restart folds at most.
const SNAPSHOT_RECORDS: u64 = 16 * 1024;

impl<V: View> Replay<V> {
    /// The view at everything committed: from its snapshot, if one fits, or else from what it
    /// holds of pruned batches, and the batches after that.
    ///
    /// # Errors
    /// Storage failed or a batch is corrupt.
    pub fn load<S: Store>(rows: &Rows<'_, S>) -> Result<Self> {
        let snapshot = rows.get::<SnapshotRow>(&V::NAME.into()).ok().flatten();
        let base = Self::base(rows)?;
        let reaches = |replay: &Self| {
            base.cut.iter().all(|(epoch, end)| replay.cut.get(epoch).is_some_and(|at| at >= end))
        };
        let snapshot = snapshot.and_then(Self::from_snapshot).filter(reaches);
        let mut replay = snapshot.unwrap_or(base);
        replay.catch_up_all(rows)?;
        replay.settle(rows)?;
        Ok(replay)
    }

    /// After everything that is stored was folded: folds it anew, if something was counted before it was
    /// found to be recorded again. What was pruned at its old place before that stays counted there, too.
    ///
    /// # Errors
    /// Storage failed or a batch is corrupt.
    pub fn settle<S: Store>(&mut self, rows: &Rows<'_, S>) -> Result<()> {
        if !self.take_doubts(rows)? {
            return Ok(());
        }
        let elsewhere = self.view.recorded_again().cloned().unwrap_or_default();
        let mut replay = Self { elsewhere, ..Self::base(rows)? };
        replay.catch_up_all(rows)?;
        *self = replay.known();
        Ok(())
    }

    /// Whether something may have been counted twice until [`Self::settle`].
    pub fn is_doubtful(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Whether one of the doubtful events was folded at its old place.
    pub(crate) fn take_doubts<S: Store>(&mut self, rows: &Rows<'_, S>) -> Result<bool> {
        again::any_is_held(rows, &core::mem::take(&mut self.doubtful))
    }

    /// All of it is folded: what is recorded again, its view knows.
    fn known(self) -> Self {
        Self { elsewhere: BTreeSet::new(), doubtful: BTreeSet::new(), ..self }
    }

    /// The view at what was pruned, and at nothing else.
    pub(crate) fn base<S: Store>(rows: &Rows<'_, S>) -> Result<Self> {
        let mut epochs = Vec::new();
        rows.scan::<PrunedRow>(&[], &[], &mut |key, row| {
            epochs.extend(split_epoch_key(key).map(|epoch| (epoch, row.next_seq)));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut replay = Self::default();
        for (epoch, end) in epochs {
            if V::CLASSES.contains(&genesis(rows, epoch.0)?.class) {
                replay.cut.insert(epoch, end);
            }
        }
        if let Some(BaseRow { base }) = rows.get(&V::NAME.into())? {
            let corrupt = |why| Error::corrupt("what was kept of pruned events", why);
            replay.view = V::from_base(&base).map_err(corrupt)?;
        }
        Ok(replay)
    }

    /// The same, with what another replay knows to be recorded again.
    pub(crate) fn base_beside<S: Store>(rows: &Rows<'_, S>, known: &Self) -> Result<Self> {
        let elsewhere = known.view.recorded_again().cloned().unwrap_or_default();
        Ok(Self { elsewhere, ..Self::base(rows)? })
    }

    /// Writes the view as what is kept of pruned batches, into the commit that deletes them.
    pub(crate) fn put_base<S: Store>(&self, rows: &mut Rows<'_, S>) {
        rows.put(&V::NAME.into(), &BaseRow { base: self.view.to_base() });
    }

    /// The view at a past commit position, folded from the first one on.
    ///
    /// # Errors
    /// Storage failed, a batch is corrupt, or the position was never reached.
    pub fn at<S: Store>(rows: &Rows<'_, S>, until: CommitPosition) -> Result<Self> {
        let through = |mut replay: Self| {
            replay.fold_through(rows, until, &mut |_, _, _| Ok(()))?;
            Ok::<_, Error>(replay)
        };
        let mut replay = through(Self::default())?;
        if replay.take_doubts(rows)? {
            replay = through(Self::knowing(&replay))?.known();
        }
        Ok(replay)
    }

    /// Nothing folded yet, and what another knows to be recorded again.
    pub(crate) fn knowing(other: &Self) -> Self {
        let elsewhere = other.view.recorded_again().cloned().unwrap_or_default();
        Self { elsewhere, ..Self::default() }
    }

    /// Folds what was committed, in the order of the commits, up to one; `folded` is called after each batch
    /// of a log that the view reads.
    ///
    /// # Errors
    /// Storage failed, a batch is corrupt, the position was never reached, or `folded` failed.
    pub(crate) fn fold_through<S: Store>(
        &mut self,
        rows: &Rows<'_, S>,
        until: CommitPosition,
        folded: &mut dyn FnMut(&mut Self, CommitPosition, Stored) -> Result<()>,
    ) -> Result<()> {
        walk::commits(rows, until, &mut |position, row| {
            let CommitRow { log, epoch, first_seq, .. } = row;
            let class = genesis(rows, log)?.class;
            if !V::CLASSES.contains(&class) {
                return Ok(());
            }
            let stored = Stored { log, epoch, first_seq, class };
            self.fold_stored(rows, stored)?;
            folded(self, position, stored)
        })
    }

    /// The state.
    pub fn view(&self) -> &V {
        &self.view
    }

    /// The state, to be listened to.
    pub(crate) fn view_mut(&mut self) -> &mut V {
        &mut self.view
    }

    /// The state alone.
    pub(crate) fn into_view(self) -> V {
        self.view
    }

    /// What has been folded.
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// Folds a batch that was just admitted or sealed.
    pub fn fold_batch(&mut self, tenant: TenantId, genesis: &LogOpened, opened: &Opened) {
        let header = opened.batch.header();
        self.fold_records(
            tenant,
            genesis,
            (header.log, header.epoch),
            header.first_seq,
            &opened.records,
        );
    }

    /// Folds records from `first_seq` on; what the cut already holds is skipped.
    pub fn fold_records(
        &mut self,
        tenant: TenantId,
        genesis: &LogOpened,
        (log, epoch): (LogId, EpochId),
        first_seq: u64,
        records: &[u8],
    ) {
        if !V::CLASSES.contains(&genesis.class) {
            return;
        }
        let device = writer_device(tenant, genesis);
        let mut next = self.cut.get(&(log, epoch)).copied().unwrap_or(0);
        for (seq, record) in (first_seq..).zip(Records::new(records).flatten()) {
            if seq < next {
                continue;
            }
            debug_assert_eq!(seq, next, "records of an epoch are folded without a gap");
            next = seq + 1;
            self.since_snapshot += 1;
            let position = Position { log, epoch, seq };
            self.fold_record(&Origin { device, class: genesis.class, position }, &record);
        }
        self.cut.insert((log, epoch), next);
    }

    fn fold_record(&mut self, origin: &Origin, record: &Record<'_>) {
        if let Some(known) = self.view.recorded_again() {
            let elsewhere = [known, &self.elsewhere].into_iter();
            let mut elsewhere = elsewhere.filter(|known| !known.is_empty());
            if elsewhere.any(|known| again::counts_elsewhere(known, origin.position, record)) {
                return;
            }
            if let Some(again) =
                again::source(origin.position, record).filter(|again| !known.contains(again))
            {
                let Position { log, epoch, seq } = again.0;
                if self.cut.get(&(log, epoch)).is_some_and(|next| seq < *next) {
                    self.doubtful.insert(again);
                }
            }
        }
        self.view.fold(origin, record);
    }

    /// Writes the view into a commit that makes everything folded durable, if
    /// enough was folded since the last time.
    pub fn snapshot_if_due<S: Store>(&mut self, rows: &mut Rows<'_, S>) {
        if self.since_snapshot < SNAPSHOT_RECORDS || self.is_doubtful() {
            return;
        }
        let cut = self.cut.iter().map(|((log, epoch), next)| (*log, *epoch, *next)).collect();
        let (fingerprint, archive) = (fingerprint::<V>(), self.view.archive());
        rows.put(&V::NAME.into(), &SnapshotRow { fingerprint, cut, archive });
        self.since_snapshot = 0;
    }

    fn from_snapshot(row: SnapshotRow) -> Option<Self> {
        if row.fingerprint != fingerprint::<V>() {
            return None;
        }
        let view = V::restore(&row.archive)?;
        let cut = row.cut.into_iter().map(|(log, epoch, next)| ((log, epoch), next)).collect();
        let cut = if planted(Bug::SnapshotWithoutCut) { Cut::new() } else { cut };
        Some(Self { view, cut, ..Self::default() })
    }

    fn catch_up_all<S: Store>(&mut self, rows: &Rows<'_, S>) -> Result<()> {
        let mut epochs = Vec::new();
        rows.scan::<TipRow>(&[], &[], &mut |key, _| {
            epochs.extend(split_epoch_key(key));
            Ok(ControlFlow::Continue(()))
        })?;
        epochs.into_iter().try_for_each(|(log, epoch)| self.catch_up(rows, log, epoch))
    }

    fn catch_up<S: Store>(&mut self, rows: &Rows<'_, S>, log: LogId, epoch: EpochId) -> Result<()> {
        let genesis = genesis(rows, log)?;
        if !V::CLASSES.contains(&genesis.class) {
            return Ok(());
        }
        let next = self.cut.get(&(log, epoch)).copied().unwrap_or(0);
        let prefix = epoch_key(log, epoch);
        let from = BatchRow::key(&(log, epoch, next));
        rows.scan::<BatchRow>(&prefix, &from, &mut |_, row| {
            let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
            self.fold_batch(rows.tenant(), &genesis, &opened);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Folds one batch that was committed.
    ///
    /// # Errors
    /// Storage failed, or the batch is corrupt.
    pub(crate) fn fold_stored<S: Store>(
        &mut self,
        rows: &Rows<'_, S>,
        Stored { log, epoch, first_seq, .. }: Stored,
    ) -> Result<()> {
        let genesis = genesis(rows, log)?;
        let row: BatchRow = rows
            .get(&(log, epoch, first_seq))?
            .ok_or_else(|| Error::corrupt("batch", "a committed batch is missing"))?;
        let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
        self.fold_batch(rows.tenant(), &genesis, &opened);
        Ok(())
    }
}

/// Where a committed batch is stored, and the class of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) log: LogId,
    pub(crate) epoch: EpochId,
    pub(crate) first_seq: u64,
    pub(crate) class: LogClass,
}

/// The device whose logs this key opened; `None` for the cloud's own logs.
fn writer_device(tenant: TenantId, genesis: &LogOpened) -> Option<DeviceId> {
    match genesis.class {
        LogClass::Ledger | LogClass::Telemetry => Some(DeviceId::of_key(tenant, &genesis.writer)),
        LogClass::Public | LogClass::Accounts | LogClass::Device => None,
    }
}

fn genesis<S: Store>(rows: &Rows<'_, S>, log: LogId) -> Result<LogOpened> {
    rows.get::<LogRow>(&log)?
        .map(|LogRow(genesis)| genesis)
        .ok_or_else(|| Error::corrupt("log", "its genesis row is missing"))
}

/// A snapshot of another name, version or archive layout is of no use.
fn fingerprint<V: View>() -> Hash {
    let text = format!("tallyroll view {} v{} rkyv-0.8 little-endian", V::NAME, V::VERSION);
    Hash(*blake3::hash(text.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests;
