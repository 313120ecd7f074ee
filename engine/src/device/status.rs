//! How far a device's events have come.
//!
//! Invariant: each figure is a count of events of one log's open epoch, and
//! `accepted >= durable_local >= sealed`, `durable_local >= durable_cloud`.

use super::{Device, own_log::OwnLog};
use crate::Result;
use crate::log::journal::JournalFile;
use crate::store::Store;
use crate::store::rows::ReceiptRow;
use serde::Serialize;
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
    /// Its open epoch.
    pub epoch: EpochId,
    /// Events durable at the device.
    pub durable_local: u64,
    /// Of these, in sealed batches.
    pub sealed: u64,
    /// Of these, receipted by the cloud.
    pub durable_cloud: u64,
    /// The newest receipt.
    pub receipt: Option<Receipt>,
}

/// A device's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Its two logs.
    pub logs: Vec<LogStatus>,
    /// Whether a write failed, so that only a restart helps.
    pub closed: bool,
    /// Records this build does not understand.
    pub incomplete: u64,
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// How far the device's events have come.
    ///
    /// # Errors
    /// Storage failed.
    pub fn status(&self) -> Result<Status> {
        let logs = vec![self.log_status(&self.ledger)?, self.log_status(&self.telemetry)?];
        Ok(Status { logs, closed: self.closed, incomplete: self.counts().incomplete() })
    }

    fn log_status(&self, own: &OwnLog) -> Result<LogStatus> {
        let (log, epoch) = own.epoch;
        let receipt = self.rows().get::<ReceiptRow>(&own.epoch)?.map(|ReceiptRow(receipt)| receipt);
        Ok(LogStatus {
            class: own.genesis.class,
            log,
            epoch,
            durable_local: own.next_seq(),
            sealed: own.tip.next_seq,
            durable_cloud: receipt.map_or(0, |receipt| receipt.head.position.seq + 1),
            receipt,
        })
    }
}
