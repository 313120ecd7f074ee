//! How far a device's events have come.
//!
//! Invariant: each figure is a count of events of one epoch, and
//! `accepted >= durable_local >= sealed`, `durable_local >= durable_cloud`.

use super::{Device, Pruned, Retirement, own_log::OwnLog};
use crate::Result;
use crate::log::journal::JournalFile;
use crate::store::Store;
use crate::store::rows::{PrunedRow, ReceiptRow, TipRow, split_epoch_key};
use core::ops::ControlFlow;
use serde::Serialize;
use tallyroll_schema::event::counts::SettlementPolicy;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{EpochId, LogId, Receipt};

/// One log's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogStatus {
    /// Which.
    pub class: LogClass,
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// Whether this device is writing it. One that is not ended when the device
    /// was restored or copied, or another copy writes it.
    pub open: bool,
    /// Events durable at the device.
    pub durable_local: u64,
    /// Of these, in sealed batches.
    pub sealed: u64,
    /// Of these, receipted by the cloud.
    pub durable_cloud: u64,
    /// The newest receipt.
    pub receipt: Option<Receipt>,
    /// What is kept here no more; it counts as durable, for the cloud has it.
    pub pruned: Option<Pruned>,
}

/// A device's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Its two logs: the open epochs first, then those that ended.
    pub logs: Vec<LogStatus>,
    /// Whether the cloud may know more of this device than it does itself, because
    /// it was restored or copied. Page logs wait until it was asked.
    pub unconfirmed: bool,
    /// Whether its logs go on where only a key signs that is no longer here: nothing more reaches the cloud.
    pub keys_lost: bool,
    /// Whether new work is refused because there is no room on the disk.
    pub full: bool,
    /// How far it has come with leaving, if it is retired.
    pub retired: Option<Retirement>,
    /// Whether a write failed, so that only a restart helps.
    pub closed: bool,
    /// Records this build does not understand.
    pub incomplete: u64,
    /// The version of the rate card that it prices by.
    pub card: u32,
    /// How jobs settle that begin here now.
    pub settlement: SettlementPolicy,
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// How far the device's events have come.
    ///
    /// # Errors
    /// Storage failed.
    pub fn status(&self) -> Result<Status> {
        let own = [&self.ledger, &self.telemetry];
        let mut logs: Vec<LogStatus> =
            own.iter().map(|own| self.open_status(own)).collect::<Result<_>>()?;
        for own in own {
            let log = own.epoch.0;
            self.rows().scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, tip| {
                if let Some(epoch) = split_epoch_key(key).filter(|epoch| *epoch != own.epoch) {
                    logs.push(self.epoch_status(own, epoch, tip.next_seq, tip.next_seq)?);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let (closed, incomplete) = (self.closed, self.counts().incomplete());
        let (unconfirmed, full) = (self.is_unconfirmed()?, !self.has_room());
        let retired = self.retirement()?;
        let (card, settlement) = (self.card().version, self.counts().settlement_policy());
        let keys_lost = !self.can_sign()?;
        Ok(Status {
            logs,
            unconfirmed,
            keys_lost,
            full,
            retired,
            closed,
            incomplete,
            card,
            settlement,
        })
    }

    pub(super) fn open_status(&self, own: &OwnLog) -> Result<LogStatus> {
        self.epoch_status(own, own.epoch, own.next_seq(), own.tip.next_seq)
    }

    fn epoch_status(
        &self,
        own: &OwnLog,
        (log, epoch): (LogId, EpochId),
        durable_local: u64,
        sealed: u64,
    ) -> Result<LogStatus> {
        let receipt = self.rows().get::<ReceiptRow>(&(log, epoch))?;
        let receipt = receipt.map(|ReceiptRow(receipt)| receipt);
        Ok(LogStatus {
            class: own.genesis.class,
            log,
            epoch,
            open: (log, epoch) == own.epoch,
            durable_local,
            sealed,
            durable_cloud: receipt.map_or(0, |receipt| receipt.head.position.seq + 1),
            receipt,
            pruned: self.rows().get::<PrunedRow>(&(log, epoch))?.map(Pruned::from),
        })
    }
}
