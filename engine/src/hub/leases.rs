//! Leases: what the cloud lets devices spend of users' balances, and what is left.
//!
//! Invariant: a credit leaves the pool, durably, before a device hears of it, and the number of that
//! allocation stands outside the store before then, so that a store that lost it knows. A request for
//! more than the pool is met from leases that idle elsewhere, if they can be reached; else it is refused,
//! and told who holds what. What the pool is, is [`super::funds`]'s. Source: escrow (Balegas et al. 2015).

use super::Hub;
use super::decide::check_text;
use super::funds::Funds;
use crate::counts::{CreditSum, Lease, Recall, Request, RightKey, thousandths};
use crate::device::Now;
use crate::planted::{Bug, planted};
use crate::store::Store;
use crate::{Error, Result};
use core::time::Duration;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::leases::{
    LeaseGranted, LeaseHeld, LeaseRecalled, LeaseRefused, LeaseWrittenOff, OfflinePolicyPublished,
};
use tallyroll_schema::limits::{LEASE_DAYS, LEASE_RECALL_SECONDS};
use tallyroll_schema::{
    Credits, DeviceId, EpochId, JobId, LogId, Position, SubjectId, UserAlias, Wall,
};

/// What a device holds of a user's balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldLease {
    /// The device.
    pub device: DeviceId,
    /// The epoch of its ledger.
    pub epoch: EpochId,
    /// The user, as the device calls them.
    pub user: UserAlias,
    /// Whose balance, if the user is linked.
    pub subject: Option<SubjectId>,
    /// What it may still spend, thousandths; less than nothing: spent or brought back after it was written off.
    pub outstanding: i128,
    /// What it spent of it.
    pub spent: i128,
    /// What an administrator took off the books.
    pub written_off: i128,
    /// Of that, spent or brought back nevertheless.
    pub came_after: i128,
    /// Charged beyond it, by the offline policy.
    pub overdrawn: i128,
    /// Spent of it once more by a copy of the device.
    pub copied: i128,
    /// When it ends.
    pub spend_until: Option<Wall>,
    /// Whether nobody may spend it any more: its epoch ended, or the device is revoked. It comes back
    /// when an administrator writes it off.
    pub frozen: bool,
}

/// How long a request waits for others' leases, by the monotonic clock.
pub(super) type Waiting = BTreeMap<Position, Duration>;

/// What stands outside the store: the number of the last allocation.
pub trait Anchor {
    /// Takes room for the number after this one: once credits are lent it must be noted.
    ///
    /// # Errors
    /// There is none; storage failed.
    fn prepare(&mut self, number: u64) -> Result<()>;

    /// Notes, durably, the number of an allocation that was committed.
    ///
    /// # Errors
    /// Storage failed: nothing more is lent.
    fn note(&mut self, number: u64) -> std::io::Result<()>;
}

/// One that always has room.
impl<F: FnMut(u64) -> std::io::Result<()>> Anchor for F {
    fn prepare(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn note(&mut self, number: u64) -> std::io::Result<()> {
        self(number)
    }
}

impl<S: Store> Hub<S> {
    /// Where each account's credits are.
    pub fn funds(&self) -> BTreeMap<SubjectId, Funds> {
        Funds::of_accounts(self.counts())
    }

    /// What devices were lent or have overdrawn, and what is left of it.
    pub fn leases(&self) -> Vec<HeldLease> {
        let rights = self.counts().rights();
        let shown = |lease: &Lease| lease.granted + lease.overdrawn + lease.copied > 0;
        let held = rights.leases().iter().filter(|(_, lease)| shown(lease));
        held.map(|(key, lease)| HeldLease {
            device: key.device,
            epoch: key.epoch,
            user: key.user,
            subject: self.counts().subject(key.device, key.user),
            outstanding: lease.outstanding(),
            spent: lease.spent,
            written_off: lease.written_off,
            came_after: lease.came_after(),
            overdrawn: lease.overdrawn,
            copied: lease.copied,
            spend_until: lease.last.map(|last| last.spend_until),
            frozen: self.is_frozen(key),
        })
        .collect()
    }

    /// Compares the number that was noted outside the store with the store's: one that is behind
    /// lost decisions that devices may have, and one without a note that ever lent may have.
    ///
    /// # Errors
    /// Storage failed.
    pub fn check_allocations(&mut self, now: Now, noted: Option<u64>) -> Result<()> {
        let known = self.counts().rights().allocations();
        self.allocated = self.allocated.max(noted.unwrap_or_default());
        let why = match noted {
            Some(noted) if known < noted => "its store has lost credits that it lent to devices",
            None if known > 0 => {
                "what it noted of credits lent to devices is gone, so its store may have lost some"
            }
            _ => return Ok(()),
        };
        match self.recovery.frozen_since {
            Some(_) => Ok(()),
            None => self.freeze(now, why),
        }
    }

    /// Answers what devices asked for. `reached` are those that can give something back now;
    /// `anchor` notes each allocation's number before its device can hear of it.
    ///
    /// # Errors
    /// Storage failed, the anchor's, too: nothing may leave then. Without room nothing more is lent.
    pub fn answer_requests(
        &mut self,
        now: Now,
        reached: &BTreeSet<DeviceId>,
        anchor: &mut dyn Anchor,
    ) -> Result<()> {
        if self.recovery.frozen_since.is_some() {
            return Ok(()); // once it thaws
        }
        let mut pending = self.unanswered();
        pending.retain(|(_, key)| self.is_surveyed(key.device)); // it may have been answered
        pending.sort_by_key(|(asked, key)| (self.waiting.get(&asked.position).copied(), *key));
        self.waiting
            .retain(|position, _| pending.iter().any(|(asked, _)| asked.position == *position));
        self.awaited.retain(|_, (_, until)| now.monotonic < *until);
        for (asked, key) in pending {
            self.answer(now, asked, key, reached, anchor)?;
        }
        Ok(())
    }

    /// What was asked for and neither granted nor refused.
    pub fn unanswered(&self) -> Vec<(Request, RightKey)> {
        let leases = self.counts().rights().leases().iter();
        let pending = leases.filter_map(|(key, lease)| Some((lease.pending()?, *key)));
        pending.filter(|(_, key)| !self.is_frozen(key)).collect()
    }

    /// When [`Hub::answer_requests`] wants to be called again, by the monotonic clock.
    pub fn answers_due(&self) -> Option<Duration> {
        if self.recovery.frozen_since.is_some() {
            return None; // once it thaws
        }
        let recalled = self.waiting.values().map(|since| since.saturating_add(RECALL));
        recalled.chain(self.awaited.values().map(|(_, until)| *until)).min()
    }

    /// Takes a lease off the books that will not come back: what is left of it returns to the pool. What its
    /// device spends of it nevertheless is charged, and shown as what came after.
    ///
    /// # Errors
    /// There is no such lease, or nothing left of it; an over-long reason; the device's log is frozen.
    pub fn write_off(
        &mut self,
        now: Now,
        key: RightKey,
        reason: String,
    ) -> Result<(Position, Credits)> {
        check_text("reason", &reason)?;
        let lease = self.counts().rights().lease(&key);
        let left = i64::try_from(lease.outstanding()).unwrap_or(0).max(0);
        let (Some(last), true) = (lease.last, left > 0) else {
            return Err(Error::Rejected("this device holds nothing of that balance".into()));
        };
        let credits = Credits::from_thousandths(left);
        let written_off = LeaseWrittenOff {
            allocation: last.number,
            reason,
            device: Some(key.device),
            user: Some(key.user),
            epoch: Some(key.epoch),
            credits: Some(credits),
        };
        let position = self.decide(now, self.log_about(key.device)?, &[written_off.into()])?;
        Ok((position, credits))
    }

    /// Lays down how much each device may charge beyond its leases while it is cut off; nothing: it stops.
    ///
    /// # Errors
    /// Not now, while the public log is frozen; storage failed.
    pub fn publish_overdraft(&mut self, now: Now, overdraft: Option<Credits>) -> Result<Position> {
        if overdraft.is_some_and(|credits| credits <= Credits::ZERO) {
            let why = "an overdraft of nothing: say `stop`, or how many credits";
            return Err(Error::Rejected(why.into()));
        }
        self.decide(now, self.logs.public, &[OfflinePolicyPublished { overdraft }.into()])
    }

    fn answer(
        &mut self,
        now: Now,
        asked: Request,
        key: RightKey,
        reached: &BTreeSet<DeviceId>,
        anchor: &mut dyn Anchor,
    ) -> Result<()> {
        if self.fleet().is_processing(key.device) {
            return self.refuse_lease(now, asked, key, 0, &[]); // nobody's pages are at it
        }
        let subject = self.counts().account(key.device, key.user);
        if subject.is_some_and(|subject| self.awaited(subject, now)) {
            return Ok(()); // an act goes first
        }
        let funds = subject.and_then(|subject| self.funds().get(&subject).copied());
        let (pool, needed) = (funds.unwrap_or_default().pool(), thousandths(asked.needed).max(1));
        if let Some(subject) = subject.filter(|_| needed <= pool || planted(Bug::PoolUnchecked)) {
            return self.grant_lease(now, asked, key, subject, pool, anchor);
        }
        let elsewhere = subject.map_or(Vec::new(), |subject| self.lent(subject, Some(&key)));
        let since = *self.waiting.entry(asked.position).or_insert(now.monotonic);
        let in_time = now.monotonic < since.saturating_add(RECALL);
        let reachable = self.reachable(&elsewhere, reached);
        // A name that nobody is linked to yet is under way itself.
        let may_change = subject.is_none() || !reachable.is_empty();
        // Who has enough for now, takes it from nobody.
        if !may_change || !in_time || asked.needed <= Credits::ZERO {
            return self.refuse_lease(now, asked, key, pool, &elsewhere);
        }
        self.recall(now, &reachable, None)
    }

    /// Those of leases that can come back now.
    pub(super) fn reachable(
        &self,
        leases: &[(RightKey, Lease)],
        reached: &BTreeSet<DeviceId>,
    ) -> Vec<(RightKey, Lease)> {
        let reachable = leases.iter().filter(|(key, _)| reached.contains(&key.device));
        reachable.filter(|(key, _)| !self.is_frozen(key)).copied().collect()
    }

    /// Wants leases back, where they are not wanted back yet. What the server is to do in a job goes before
    /// what else is done in it: its device and user keep nothing.
    pub(super) fn recall(
        &mut self,
        now: Now,
        leases: &[(RightKey, Lease)],
        acts_in: Option<(DeviceId, UserAlias, JobId)>,
    ) -> Result<()> {
        for (key, lease) in leases {
            let (device, user) = (key.device, key.user);
            let job = acts_in.filter(|(of, payer, _)| (*of, *payer) == (device, user));
            let job = job.map(|(.., job)| job);
            let known = match self.counts().rights().recall(key) {
                Some(Recall::Whole) => true,
                Some(Recall::Idle) => job.is_none(),
                None => false,
            };
            // It comes back to this once the device told what it holds.
            if let (Some(last), false) = (lease.last, known || !self.is_surveyed(device)) {
                let recalled = LeaseRecalled { device, user, allocation: last.number, job };
                self.decide(now, self.log_about(device)?, &[recalled.into()])?;
            }
        }
        Ok(())
    }

    fn grant_lease(
        &mut self,
        now: Now,
        asked: Request,
        key: RightKey,
        subject: SubjectId,
        pool: i128,
        anchor: &mut dyn Anchor,
    ) -> Result<()> {
        let needed = thousandths(asked.needed).max(1);
        let much = thousandths(asked.wanted).min(pool / 2).max(needed);
        let last = self.allocated.max(self.counts().rights().allocations());
        anchor.prepare(last)?;
        let allocation = last + 1;
        let granted = LeaseGranted {
            allocation,
            device: key.device,
            subject,
            credits: CreditSum::from_thousandths(much).nearest(),
            // The device goes by its own clock: one that is years ahead would have nothing but leases that have ended.
            spend_until: Wall(now.wall.max(asked.at).0.saturating_add(LEASE_DAYS * 86_400_000)),
            user: Some(key.user),
            epoch: Some(key.epoch),
            answers: Some(asked.position),
        };
        self.decide(now, self.log_about(key.device)?, &[granted.into()])?;
        self.waiting.remove(&asked.position);
        self.allocated = allocation;
        let noted = anchor.note(allocation);
        self.closed |= noted.is_err();
        noted.map_err(|source| Error::Storage { doing: "noting an allocation", source })
    }

    fn refuse_lease(
        &mut self,
        now: Now,
        asked: Request,
        key: RightKey,
        pool: i128,
        elsewhere: &[(RightKey, Lease)],
    ) -> Result<()> {
        let credits = |sum: i128| CreditSum::from_thousandths(sum).nearest();
        let held = elsewhere.iter().map(|(key, lease)| LeaseHeld {
            device: key.device,
            credits: credits(lease.outstanding()),
        });
        let refused = LeaseRefused {
            answers: asked.position,
            user: key.user,
            available: credits(pool.max(0)),
            held: held.collect(),
            device: key.device,
        };
        self.decide(now, self.log_about(key.device)?, &[refused.into()])?;
        self.waiting.remove(&asked.position);
        Ok(())
    }

    /// What devices hold of a balance, but for who asks.
    pub(super) fn lent(
        &self,
        subject: SubjectId,
        asking: Option<&RightKey>,
    ) -> Vec<(RightKey, Lease)> {
        let leases = self.counts().rights().leases().iter();
        let others = leases.filter(|(key, lease)| Some(*key) != asking && lease.outstanding() > 0);
        let same = |key: &RightKey| self.counts().account(key.device, key.user) == Some(subject);
        others.filter(|(key, _)| same(key)).map(|(key, lease)| (*key, *lease)).collect()
    }

    /// Whether nobody will ever give it back: it is to be written off.
    pub(super) fn is_lost(&self, key: &RightKey) -> bool {
        self.counts().rights().is_ended(key) || self.is_revoked(key.device)
    }

    /// Whether nobody may be lent more of it, or is believed to have what is left: it is to be written off.
    pub fn is_frozen(&self, key: &RightKey) -> bool {
        self.counts().rights().is_ended(key) || self.fleet().active(key.device).is_err()
    }

    pub(crate) fn log_about(&self, device: DeviceId) -> Result<(LogId, EpochId)> {
        let log = self.device_logs.get(&device).copied();
        log.ok_or_else(|| Error::Rejected("no such device; see `tallyroll devices`".into()))
    }
}

pub(super) const RECALL: Duration = Duration::from_secs(LEASE_RECALL_SECONDS);
