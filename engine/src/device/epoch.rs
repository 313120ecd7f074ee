//! A device's next epoch: opened when the device may be a copy, without rights.
//!
//! Invariant: a new epoch is opened with an empty tail, and hangs on a head that
//! the cloud receipted, on its log's first batch, or on a change of keys since: whatever became of the
//! other copy's history, the cloud holds that, or has it from any copy. Finding a copy that looks like the
//! original is left to the first contact ([`super::divergence`]).

use super::own_log::OwnLog;
use super::{Device, Now, timestamp};
use crate::fold::Replay;
use crate::log::journal::JournalFile;
use crate::log::{epoch_nonce, open_epoch};
use crate::planted::{Bug, planted};
use crate::store::rows::{
    BatchRow, DeviceHistory, DeviceLogs, HeadRow, LogRow, ReceiptRow, Rotation, RotationsRow,
    TipRow, split_epoch_key,
};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::event::log::{EpochOpened, EpochReason, LogClass};
use tallyroll_schema::limits::OWN_EPOCHS_MAX;
use tallyroll_schema::{EpochId, Head, LogId, Position};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Compares what stands outside the store with what stood there when it was
    /// written; opens new epochs if this is a copy.
    pub(super) fn check_anchor(&mut self, now: Now) -> Result<()> {
        let known = self.history()?;
        let anchor = self.config.anchor.or(known.anchor);
        let moved =
            known.anchor.is_some() && known.anchor != anchor && !planted(Bug::AnchorIgnored);
        if known.anchor == anchor {
            return Ok(());
        }
        let mut logs = Vec::new();
        if moved {
            self.seal(now)?;
        }
        let mut rows = Rows::new(self.config.tenant, &self.store);
        for class in [LogClass::Ledger, LogClass::Telemetry].into_iter().filter(|_| moved) {
            let parent = last_common(&rows, self.log(class).epoch)?;
            let reason = EpochReason::AnchorMismatch;
            logs.push(self.next_epoch(&mut rows, now, class, parent, reason, None)?);
        }
        let unconfirmed = known.unconfirmed || moved;
        rows.put(&(), &DeviceHistory { anchor, unconfirmed, ..known });
        self.put_open(&mut rows, &logs);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.go_on_in(now, logs)
    }

    /// Whether the cloud may know more of this device than it does itself: it was
    /// restored or copied and has not asked yet.
    ///
    /// # Errors
    /// Storage failed.
    pub fn is_unconfirmed(&self) -> Result<bool> {
        Ok(self.history()?.unconfirmed)
    }

    /// Whether a cloud has ever told this device of its accounts. The first version's tells nothing of them, does not
    /// give back what it holds of a device, and knows no change of keys.
    ///
    /// # Errors
    /// Storage failed.
    pub fn has_heard_of_accounts(&self) -> Result<bool> {
        Ok(self.history()?.accounts.is_some())
    }

    pub(super) fn history(&self) -> Result<DeviceHistory> {
        Ok(self.rows().get(&())?.unwrap_or_default())
    }

    /// Writes the first batch of a log's next epoch.
    pub(super) fn next_epoch(
        &self,
        rows: &mut Rows<'_, S>,
        now: Now,
        class: LogClass,
        parent: Head,
        reason: EpochReason,
        divergent: Option<Head>,
    ) -> Result<OwnLog> {
        let own = self.log(class);
        debug_assert_eq!(own.tail_count, 0, "the tail belongs to the epoch that ends");
        let log = own.epoch.0;
        let mut newest = own.epoch.1.counter;
        rows.scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, _| {
            newest = newest.max(split_epoch_key(key).map_or(0, |(_, epoch)| epoch.counter));
            Ok(ControlFlow::Continue(()))
        })?;
        if newest >= OWN_EPOCHS_MAX {
            let why = format!(
                "this device was restored or copied {OWN_EPOCHS_MAX} times; find out what copies it, and enrol it anew"
            );
            return Err(Error::Rejected(why));
        }
        let counter = newest + 1;
        let epoch = EpochId { counter, nonce: epoch_nonce(&self.entropy, log, counter) };
        let parent_at = parent.position;
        let opened = EpochOpened {
            epoch,
            parent: parent_at.epoch,
            parent_seq: parent_at.seq,
            parent_hash: parent.hash,
            reason,
            divergent,
        };
        let tip = open_epoch(rows, log, opened, timestamp(self.hybrid, now))?;
        Ok(OwnLog::at(own.genesis.clone(), (log, epoch), tip))
    }

    /// Puts down which epochs are open, once `logs` are.
    pub(super) fn put_open(&self, rows: &mut Rows<'_, S>, logs: &[OwnLog]) {
        let open = |class| {
            let new = logs.iter().find(|log| log.genesis.class == class);
            new.unwrap_or(self.log(class)).epoch
        };
        let (ledger, telemetry) = (open(LogClass::Ledger), open(LogClass::Telemetry));
        rows.put(&(), &DeviceLogs { ledger, telemetry });
    }

    /// Goes on writing in these epochs, whose first batches are durable.
    pub(super) fn go_on_in(&mut self, now: Now, logs: Vec<OwnLog>) -> Result<()> {
        if !logs.is_empty() {
            self.hybrid = timestamp(self.hybrid, now).hybrid; // their first records'
        }
        for log in logs {
            let class = log.genesis.class;
            *self.log_mut(class) = log;
        }
        (self.counts, self.decided) = (Replay::load(&self.rows())?, Replay::load(&self.rows())?);
        Ok(())
    }
}

/// Where a copy's next epoch hangs: at what the cloud receipted of the open one, or, if its keys were changed since,
/// at that change. Before it only the old key signs, which is worth nothing once the cloud has heard of the
/// change, from whichever copy; and all copies since have it.
fn last_common<S: Store>(rows: &Rows<'_, S>, (log, epoch): (LogId, EpochId)) -> Result<Head> {
    let receipt = receipted(rows, (log, epoch))?;
    let RotationsRow(changes) = rows.get(&log)?.unwrap_or_default();
    let Some(change) = changes.last() else { return Ok(receipt) };
    if is_receipted(rows, (log, epoch), change)? {
        return Ok(receipt);
    }
    // A change ends its burst, whose head is kept; a device starts without it all the same.
    let head: Option<HeadRow> = rows.get(&(log, change.epoch, change.seq))?;
    Ok(head.map_or(receipt, |HeadRow(signed)| signed.head))
}

/// Whether the cloud has a change of a log's keys, whose open epoch is this.
pub(super) fn is_receipted<S: Store>(
    rows: &Rows<'_, S>,
    (log, open): (LogId, EpochId),
    change: &Rotation,
) -> Result<bool> {
    let receipt = rows.get::<ReceiptRow>(&(log, change.epoch))?;
    let there = receipt.is_some_and(|ReceiptRow(held)| held.head.position.seq >= change.seq);
    // An epoch that hangs on it is receipted only after it.
    let later = || Ok::<_, Error>(rows.get::<ReceiptRow>(&(log, open))?.is_some());
    Ok(there || (open != change.epoch && later()?))
}

/// The newest head of an epoch that the cloud receipted; of one that it never did, the log's first
/// batch, which it has whatever else it lost.
pub(super) fn receipted<S: Store>(
    rows: &Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
) -> Result<Head> {
    match rows.get::<ReceiptRow>(&(log, epoch))? {
        Some(ReceiptRow(receipt)) => Ok(receipt.head),
        None => first_batch(rows, log),
    }
}

/// The head of a log's first batch: its genesis, alone.
pub(super) fn first_batch<S: Store>(rows: &Rows<'_, S>, log: LogId) -> Result<Head> {
    let missing = || Error::corrupt("own log", "its first batch is missing");
    let LogRow(genesis) = rows.get(&log)?.ok_or_else(missing)?;
    let row: BatchRow = rows.get(&(log, genesis.epoch, 0))?.ok_or_else(missing)?;
    let seq = u64::from(row.batch.header().count) - 1;
    Ok(Head { position: Position { log, epoch: genesis.epoch, seq }, hash: row.hash })
}
