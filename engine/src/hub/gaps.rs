//! What this cloud lost and cannot get back: its device pruned it after it was receipted.
//!
//! Invariant: told by the device whose log it is, of an epoch that is held here; it lasts until
//! the epoch goes on, by a newer backup. That log waits, all others go on.

use super::{Hub, Standing};
use crate::Result;
use crate::device::Now;
use crate::store::rows::{GapRow, LogRow, TipRow, split_epoch_key};
use crate::store::{Rows, Store};
use core::ops::ControlFlow;
use tallyroll_schema::{DeviceId, EpochId, LogId, Wall};

/// An epoch that cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whose it is.
    pub device: DeviceId,
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// The first seq that is missing.
    pub from: u64,
    /// When the device told so first, by the cloud's clock.
    pub since: Wall,
    /// Whether the device is retired: nothing waits for what is missing any more.
    pub retired: bool,
}

impl<S: Store> Hub<S> {
    /// What devices pruned and is missing here. Of a revoked one nothing more is wanted.
    ///
    /// # Errors
    /// Storage failed.
    pub fn gaps(&self) -> Result<Vec<Gap>> {
        let (rows, mut gaps) = (self.rows(), Vec::new());
        rows.scan::<GapRow>(&[], &[], &mut |key, row| {
            let GapRow { device, from, since } = row;
            let Some((log, epoch)) = split_epoch_key(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            let open = rows.get::<TipRow>(&(log, epoch))?.is_some_and(|tip| tip.next_seq == from);
            let record = self.fleet().device(device);
            if let Some(record) = record.filter(|_| open)
                && record.standing != Standing::Revoked
            {
                let retired = record.standing == Standing::Retired;
                gaps.push(Gap { device, log, epoch, from, since, retired });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(gaps)
    }

    /// A device says that it pruned what comes next in an epoch of its own.
    pub(super) fn note_gap(
        &self,
        rows: &mut Rows<'_, S>,
        now: Now,
        device: DeviceId,
        epoch: (LogId, EpochId),
    ) -> Result<()> {
        let writer = rows.get::<LogRow>(&epoch.0)?.map(|LogRow(genesis)| genesis.writer);
        let own = writer.is_some_and(|key| DeviceId::of_key(self.config.tenant, &key) == device);
        let Some(tip) = rows.get::<TipRow>(&epoch)?.filter(|_| own) else { return Ok(()) };
        let from = tip.next_seq;
        if rows.get::<GapRow>(&epoch)?.is_none_or(|known| known.from != from) {
            rows.put(&epoch, &GapRow { device, from, since: now.wall });
        }
        Ok(())
    }
}
