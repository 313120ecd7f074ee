//! What was discarded of revoked devices: it is not asked for again.
//!
//! Invariant: of an epoch up to one head, which only moves on; remembered by the commit that
//! deletes the bytes. Of devices that are believed nothing is remembered: they may send a
//! sound history in its place.

use super::{Hub, Quarantined};
use crate::device::Now;
use crate::log::Tip;
use crate::store::rows::{DiscardedRow, split_epoch_key};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use serde::Serialize;
use tallyroll_schema::{DeviceId, EpochId, LogId};

/// What was discarded of an epoch, and of whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Discarded {
    /// The revoked device that brought it.
    pub device: DeviceId,
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// How much.
    #[serde(flatten)]
    pub row: DiscardedRow,
}

impl<S: Store> Hub<S> {
    /// What was discarded of revoked devices, by device.
    ///
    /// # Errors
    /// Storage failed.
    pub fn discarded(&self) -> Result<Vec<Discarded>> {
        self.discarded_under(&[])
    }

    /// How far a revoked device's epochs were discarded.
    pub(super) fn discarded_of(&self, device: DeviceId) -> Result<Vec<((LogId, EpochId), Tip)>> {
        let all = self.discarded_under(device.as_bytes())?.into_iter();
        Ok(all.map(|one| ((one.log, one.epoch), end(&one.row))).collect())
    }

    fn discarded_under(&self, prefix: &[u8]) -> Result<Vec<Discarded>> {
        let mut all = Vec::new();
        self.rows().scan::<DiscardedRow>(prefix, prefix, &mut |key, row| {
            let split = key.split_first_chunk().map(|(device, epoch)| (DeviceId(*device), epoch));
            let whose = split.and_then(|(device, epoch)| Some((device, split_epoch_key(epoch)?)));
            let (device, (log, epoch)) = whose
                .ok_or_else(|| Error::corrupt("discarded", "a key that is no device's epoch"))?;
            all.push(Discarded { device, log, epoch, row });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }
}

/// Where what was discarded of a device's epoch ends.
pub(super) fn discarded_end<S: Store>(
    rows: &Rows<'_, S>,
    device: DeviceId,
    (log, epoch): (LogId, EpochId),
) -> Result<Option<Tip>> {
    Ok(rows.get::<DiscardedRow>(&(device, log, epoch))?.as_ref().map(end))
}

/// An entry of a revoked device's is deleted.
pub(super) fn remember<S: Store>(
    rows: &mut Rows<'_, S>,
    now: Now,
    Quarantined { device, entry }: &Quarantined,
    reason: &str,
) -> Result<()> {
    let key = (*device, entry.log, entry.epoch);
    let before: Option<DiscardedRow> = rows.get(&key)?;
    let row = DiscardedRow {
        id: entry.id,
        first_seq: before.as_ref().map_or(entry.first_seq, |before| before.first_seq),
        count: before.map_or(0, |before| before.count).saturating_add(entry.count),
        head: entry.head,
        discarded: now.wall,
        reason: reason.to_owned(),
    };
    rows.put(&key, &row);
    Ok(())
}

fn end(row: &DiscardedRow) -> Tip {
    Tip { next_seq: row.head.position.seq.saturating_add(1), hash: row.head.hash }
}
