//! A cloud that may have lost the end of its own logs: restored, copied, or told so.
//!
//! Invariant: what was lost is never written anew. From the first moment commits
//! get a new epoch, and so does the accounts log, which nobody else has. The public
//! log and the logs about devices are frozen until every device gave back what it
//! holds of them, or an administrator accepts that some did not; then they go on in
//! new epochs. What devices wrote comes back by itself: they keep it.

use super::{Hub, Standing};
use crate::device::Now;
use crate::log::epoch_nonce;
use crate::planted::{Bug, planted};
use crate::store::rows::{CloudLogs, CloudRecovery};
use crate::store::{Rows, Store};
use crate::sync::Reply;
use crate::{Error, Result};
use serde::Serialize;
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::{CommitPosition, DeviceId, EpochId, LogId, TenantId, Wall};

/// What is frozen, why, and what would thaw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recovery {
    /// Since when, by the cloud's clock.
    pub since: Wall,
    /// Why.
    pub why: String,
    /// Devices that told of all they hold of the cloud's logs.
    pub reported: Vec<DeviceId>,
    /// Devices that have yet to.
    pub missing: Vec<DeviceId>,
    /// Whether it waits for devices that nobody can name, and so for an administrator's word.
    pub awaiting: bool,
}

/// Notes in a store that was restored from a backup that the cloud may have written more since.
///
/// # Errors
/// Storage failed.
pub fn mark_restored<S: Store>(tenant: TenantId, store: &mut S) -> Result<()> {
    let mut rows = Rows::new(tenant, store);
    let known: CloudRecovery = rows.get(&())?.unwrap_or_default();
    let why = "restored from a backup".into();
    let (frozen_since, reported) = (Some(Wall(0)), Vec::new());
    rows.put(&(), &CloudRecovery { frozen_since, why, reported, ..known });
    let changes = rows.into_changes();
    store.commit(changes)
}

/// The commit epoch of a process that begins, or goes on after a loss: the seconds since 2020, so that none
/// that a store lost, with the commits in it, comes again or after it. Where the clock is not beyond what is
/// known, as a second after a start, it is beyond that by a random number, up to 18 h ahead: two copies of a
/// store go on in different ones then, too.
pub(super) fn commit_epoch_after(open: u32, log: LogId, now: Now, entropy: &[u8; 32]) -> u32 {
    const SINCE_2020: u64 = 1_577_836_800;
    let seconds = (now.wall.0 / 1000).saturating_sub(SINCE_2020);
    let [low, high, ..] = epoch_nonce(entropy, log, open);
    let random = u32::from(u16::from_le_bytes([low, high]));
    match u32::try_from(seconds) {
        Ok(seconds) if seconds > open => seconds,
        _ => open.saturating_add(1 + random),
    }
}

impl<S: Store> Hub<S> {
    /// What is frozen, if anything is.
    pub fn recovery(&self) -> Option<Recovery> {
        let since = self.recovery.frozen_since?;
        let CloudRecovery { why, reported, awaiting, .. } = self.recovery.clone();
        let awaiting = awaiting == Some(true);
        Some(Recovery { since, why, missing: self.unreported(), reported, awaiting })
    }

    /// Goes on without what devices that have not reported may hold.
    ///
    /// # Errors
    /// Nothing is frozen; storage failed.
    pub fn accept_loss(&mut self, now: Now) -> Result<()> {
        self.refuse_if_closed()?;
        match self.recovery.frozen_since {
            Some(_) => self.thaw(now),
            None => Err(Error::Rejected("nothing is frozen".into())),
        }
    }

    /// Compares what stands outside the store with what stood there, and begins to
    /// recover where a restore was noted.
    pub(super) fn check_anchor(&mut self, now: Now) -> Result<()> {
        let known = self.recovery.anchor;
        let anchor = self.config.anchor.or(known);
        if known.is_some() && known != anchor && self.recovery.frozen_since.is_none() {
            self.recovery.anchor = anchor;
            return self.freeze(now, "its data was found on another machine or in another place");
        }
        if self.recovery.frozen_since == Some(Wall(0)) {
            self.recovery.anchor = anchor;
            let why = self.recovery.why.clone();
            return self.freeze(now, &why);
        }
        if known != anchor {
            self.recovery.anchor = anchor;
            let mut rows = self.rows();
            rows.put(&(), &self.recovery);
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
        }
        Ok(())
    }

    /// Begins to recover: commits and accounts go on in new epochs. Who told of all it holds since the
    /// start need not do so again: a store loses nothing while a process has it open.
    pub(super) fn freeze(&mut self, now: Now, why: &str) -> Result<()> {
        let frozen_since = Some(Wall(now.wall.0.max(1)));
        let anchor = self.recovery.anchor;
        let (why, reported) = (why.to_owned(), self.surveyed.iter().copied().collect());
        let recovery =
            CloudRecovery { anchor, frozen_since, why, reported, ..self.recovery.clone() };
        let commit_epoch = match planted(Bug::CommitEpochKept) {
            true => self.logs.commit_epoch,
            false => self.next_commit_epoch(now),
        };
        let accounts = Some(self.logs.accounts).filter(|_| !planted(Bug::AccountsKept));
        self.renew(now, recovery, commit_epoch, accounts.into_iter().collect())
    }

    fn next_commit_epoch(&self, now: Now) -> u32 {
        let open = self.logs.commit_epoch.max(self.last_commit.epoch);
        commit_epoch_after(open, self.logs.accounts.0, now, &self.entropy)
    }

    /// Everybody reported: the other logs go on in new epochs, too.
    fn thaw(&mut self, now: Now) -> Result<()> {
        let recovery = CloudRecovery {
            frozen_since: None,
            why: String::new(),
            reported: Vec::new(),
            awaiting: None,
            ..self.recovery.clone()
        };
        self.giving.clear();
        let epochs = [self.logs.public].into_iter().chain(self.device_logs.values().copied());
        self.renew(now, recovery, self.logs.commit_epoch, epochs.collect())?;
        self.publish_first_card(now)?; // nobody may have given one back
        self.tell_all_enrolled(now)?;
        self.tell_retired(now) // those retired meanwhile
    }

    /// A device told of all it holds of our logs, and it is here.
    pub(super) fn reported(&mut self, now: Now, device: DeviceId) -> Result<Reply> {
        self.untold |= self.surveyed.insert(device);
        self.giving.remove(&device);
        if self.recovery.frozen_since.is_none() {
            return Ok(Reply::Done);
        }
        if !self.recovery.reported.contains(&device) {
            let mut recovery = self.recovery.clone();
            recovery.reported.push(device);
            let mut rows = self.rows();
            rows.put(&(), &recovery);
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
            self.recovery = recovery;
        }
        self.thaw_if_all_reported(now)?;
        Ok(Reply::Done)
    }

    /// Nobody is waited for any more.
    pub(super) fn thaw_if_all_reported(&mut self, now: Now) -> Result<()> {
        match self.recovery.frozen_since {
            Some(_) if self.recovery.awaiting == Some(true) => Ok(()),
            Some(_) if self.unreported().is_empty() => self.thaw(now),
            _ => Ok(()),
        }
    }

    pub(super) fn refuse_if_frozen(&self, log: LogId) -> Result<()> {
        match log == self.logs.accounts.0 {
            true => Ok(()),
            false => self.refuse_while_frozen(),
        }
    }

    /// What was lent may stand in the lost tail alone: what a pool seems to hold may be at a device.
    pub(super) fn refuse_while_frozen(&self) -> Result<()> {
        if self.recovery.frozen_since.is_none() {
            return Ok(());
        }
        let missing = self.unreported().len();
        Err(Error::NotYet(format!(
            "this cloud may have lost the end of its logs and waits for {missing} devices to give back what they \
             hold; `tallyroll doctor` says which"
        )))
    }

    fn unreported(&self) -> Vec<DeviceId> {
        let reported = &self.recovery.reported;
        let devices = self.fleet().devices().iter();
        let waited_for = devices.filter(|(id, device)| match device.standing {
            Standing::Active => !reported.contains(id) || self.giving.contains(id),
            Standing::Retired => self.giving.contains(id),
            Standing::Revoked => false,
        });
        waited_for.map(|(id, _)| *id).collect()
    }

    /// Whether a device may hold more of one of our own logs than we do: a store that was put back in its
    /// place does not know. What we have since the start of one that told of all it holds, we have.
    pub(super) fn may_be_ahead(&self, log: LogId, genesis: &LogOpened) -> bool {
        let known = match (genesis.class, genesis.about) {
            (LogClass::Public, _) => {
                let mut devices = self.fleet().devices().iter();
                devices.all(|(id, device)| {
                    device.standing != Standing::Active || self.surveyed.contains(id)
                })
            }
            (_, Some(device)) => self.surveyed.contains(&device),
            (_, None) => true, // the accounts, which nobody else has
        };
        !known && !self.fresh.contains(&log) && !planted(Bug::WrittenUnsurveyed)
    }

    /// Whether a device told, since the start, of all that it holds of our own logs: what we tell it by
    /// ourselves waits for that.
    pub(super) fn is_surveyed(&self, device: DeviceId) -> bool {
        self.surveyed.contains(&device) || planted(Bug::WrittenUnsurveyed)
    }

    /// Opens the next epoch of each of these logs and notes how the recovery stands, in one commit.
    fn renew(
        &mut self,
        now: Now,
        recovery: CloudRecovery,
        commit_epoch: u32,
        epochs: Vec<(LogId, EpochId)>,
    ) -> Result<()> {
        let mut rows = self.rows();
        rows.put(&(), &CloudLogs { commit_epoch, ..self.logs });
        let commit = CommitPosition { epoch: commit_epoch, ..self.last_commit };
        let mut staged = self.stage_at(commit);
        for epoch in epochs {
            self.stage_epoch(&mut rows, &mut staged, now, epoch)?;
        }
        rows.put(&(), &recovery);
        let changes = rows.into_changes();
        self.finish(changes, staged)?;
        self.logs.commit_epoch = commit_epoch;
        self.recovery = recovery;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the random number is, also where it is nothing, and whatever the clock says.
    #[test]
    fn a_commit_epoch_after_another_is_a_later_one() {
        let (log, now) = (LogId([1; 32]), Now::default());
        for number in 0..400_000_u32 {
            let mut entropy = [0; 32];
            entropy[..4].copy_from_slice(&number.to_le_bytes());
            let next = commit_epoch_after(7, log, now, &entropy);
            assert!(next > 7, "by entropy {number}");
        }
        assert_eq!(commit_epoch_after(u32::MAX, log, now, &[0; 32]), u32::MAX);
        let at = |seconds: u64| Now { wall: Wall((1_577_836_800 + seconds) * 1000), ..now };
        assert_eq!(commit_epoch_after(7, log, at(8), &[0; 32]), 8);
        for late in [0, 6, 7, u64::from(u32::MAX) + 1] {
            let next = commit_epoch_after(7, log, at(late), &[0; 32]);
            assert!((8..=8 + u32::from(u16::MAX)).contains(&next), "at {late}: {next}");
        }
    }
}
