//! A history of the cloud's that it wrote over: what it has now holds here, too.
//!
//! Invariant: nothing is dropped, only set aside as evidence, and nothing follows from it any more: no view, no
//! confirmation. Until the next session brings what the cloud has now, the log is as one that was never given.

use super::divergence::set_aside;
use super::{Device, Now};
use crate::Result;
use crate::counts::Counts;
use crate::fold::View;
use crate::log::Tip;
use crate::log::journal::JournalFile;
use crate::merge::Refusal;
use crate::store::rows::{
    DeviceErasure, DeviceHistory, DivergenceRow, SnapshotRow, TipRow, split_epoch_key,
};
use crate::store::{Rows, Store};
use crate::sync::Reply;
use core::ops::ControlFlow;
use tallyroll_schema::limits::OWN_EPOCHS_MAX;
use tallyroll_schema::{EpochId, LogId};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// The cloud has another history of a log of its own than it gave us: it was put back, and a copy of this
    /// device told it less than we hold. What it has now holds; all that it gave before is set aside, and asked for anew.
    pub(super) fn follow(&mut self, now: Now, log: LogId, epoch: EpochId) -> Result<Reply> {
        self.seal(now)?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let mut epochs = Vec::new();
        rows.scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, row| {
            epochs.extend(split_epoch_key(key).map(|key| (key, Tip::from(row))));
            Ok(ControlFlow::Continue(()))
        })?;
        let stays = |why: &str| Ok(Reply::Stays(log, epoch, Refusal::Denied(why.into())));
        if epochs.is_empty() {
            return stays("another history is told of a log of which nothing is held here");
        }
        for (key, tip) in epochs {
            let before: Option<DivergenceRow> = rows.get(&key)?;
            let number = before.map_or(0, |row| row.number + 1);
            if number >= OWN_EPOCHS_MAX {
                return stays(
                    "too many histories of this log were told: two clouds have one identity",
                );
            }
            set_aside(&mut rows, key, number, Tip::START)?;
            let (divergent, from) = (tip.head(key.0, key.1), 0);
            let (pending, resubmitted, earlier) = (false, 0, 0);
            let row = DivergenceRow { number, from, divergent, pending, resubmitted, earlier };
            rows.put(&key, &row);
        }
        let history = self.history()?;
        let enrolled = history.enrolled.filter(|place| place.log != log);
        rows.put(&(), &DeviceHistory { enrolled, ..history });
        let confirmed = self.erasure.confirmed.iter().filter(|decision| decision.log != log);
        let confirmed = confirmed.copied().collect();
        let erasure = DeviceErasure { confirmed, ..self.erasure.clone() };
        rows.put(&(), &erasure);
        rows.delete::<SnapshotRow>(&Counts::NAME.to_owned());
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.erasure = erasure;
        self.go_on_in(now, Vec::new())?;
        Ok(Reply::StartOver)
    }
}
