//! What this device may spend, and its word on what it did with it.
//!
//! Invariant: no charge is committed that is backed by more than is left of the user's lease in the
//! open epoch of the ledger, or by more overdraft than the tenant allows; so a device that was restored
//! or copied where it can be told begins without rights. A lease's end stops spending; only a return
//! gives credits back. What to do without rights (ask, wait, stop) is left to the rim.

use super::{Device, Now};
use crate::counts::{Lease, Recall, RightKey, backed, charge, charge_mut};
use crate::fold::Origin;
use crate::log::journal::JournalFile;
use crate::planted::{Bug, planted};
use crate::store::Store;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tallyroll_schema::event::leases::{Backing, LeaseClosed, LeaseRefused, LeaseRequested, Right};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Credits, Event, JobId, Position, UserAlias};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// A user's lease at this device, as it stands.
    pub fn lease(&self, user: UserAlias) -> Lease {
        self.counts().rights().lease(&self.right_key(user))
    }

    /// What a charge may be backed by now; `None` when there is no right to so much. Only a device
    /// that cannot reach its cloud overdraws.
    fn backing(
        &self,
        now: Now,
        user: UserAlias,
        credits: Credits,
        cut_off: bool,
    ) -> Option<Backing> {
        let (lease, price) = (self.lease(user), i128::from(credits.thousandths()));
        let open = lease.last.is_some() && !lease.has_ended(now.wall);
        if price <= 0 || (open && price <= lease.outstanding()) {
            return Some(Backing { right: Right::Lease, credits });
        }
        let beyond = cut_off && price <= self.overdraft_left();
        beyond.then_some(Backing { right: Right::Overdraft, credits })
    }

    /// Whom an event would be charged to, and how much more they would owe by it, its job considered.
    pub fn cost(&self, event: &Event) -> Option<(UserAlias, Credits)> {
        let position = Position { log: self.ledger.epoch.0, epoch: self.ledger.epoch.1, seq: 0 };
        let origin = Origin { device: Some(self.id), class: LogClass::Ledger, position };
        let (user, _) = charge(event)?;
        let cost = i64::try_from(self.counts().would_add(&origin, event).max(0));
        Some((user, Credits::from_thousandths(cost.unwrap_or(i64::MAX)))) // no right is so large
    }

    /// An event with what it is backed by, as it is to be committed; `None` when there is no right to
    /// what it costs.
    pub fn back(&self, now: Now, mut event: Event, cut_off: bool) -> Option<Event> {
        let Some((user, cost)) = self.cost(&event) else { return Some(event) };
        let backing = self.backing(now, user, cost, cut_off)?;
        if let Some((_, charge)) = charge_mut(&mut event) {
            charge.backing = Some(backing);
        }
        Some(event)
    }

    /// Asks the cloud for rights, for a job that cannot go on without, unless it was asked for as much and
    /// has not answered yet.
    ///
    /// # Errors
    /// As [`Device::commit`].
    pub fn request_lease(
        &mut self,
        now: Now,
        (user, job): (UserAlias, Option<JobId>),
        needed: Credits,
        wanted: Credits,
    ) -> Result<()> {
        let asked = self.lease(user).pending().is_some_and(|asked| asked.needed >= needed);
        if !asked {
            let wanted = wanted.max(needed);
            let request = LeaseRequested { user, needed, wanted, job };
            self.commit(now, &[(LogClass::Ledger, request.into())])?;
        }
        Ok(())
    }

    /// Gives back what is left of a user's lease but for `keep`, if anything is.
    ///
    /// # Errors
    /// As [`Device::commit`].
    pub fn return_lease(
        &mut self,
        now: Now,
        user: UserAlias,
        keep: Credits,
    ) -> Result<Option<Position>> {
        let Some(closed) = returning(user, &self.lease(user), keep) else { return Ok(None) };
        let positions = self.write(now, &[(LogClass::Ledger, closed.into())])?;
        Ok(positions.first().copied())
    }

    /// What this device was lent in the open epoch of its ledger, or has asked for.
    pub fn leases(&self) -> Vec<(UserAlias, Lease)> {
        let leases = self.counts().rights().leases().iter();
        let ours = |key: &RightKey| (key.device, key.epoch) == (self.id, self.ledger.epoch.1);
        leases.filter(|(key, _)| ours(key)).map(|(key, lease)| (key.user, *lease)).collect()
    }

    /// The cloud's refusal, if it was its answer to what was asked for last.
    pub fn refusal(&self, user: UserAlias) -> Option<&LeaseRefused> {
        let (refused, lease) = (self.decided.view().refused(user)?, self.lease(user));
        let asked = lease.requested.filter(|_| lease.pending().is_none())?;
        Some(refused).filter(|refused| refused.answers == asked.position)
    }

    /// Users whose leases the cloud wants back, and how.
    pub fn recalled(&self) -> BTreeMap<UserAlias, Recall> {
        let rights = self.counts().rights();
        let ours = |key: &&RightKey| (key.device, key.epoch) == (self.id, self.ledger.epoch.1);
        let leases = rights.leases().keys().filter(ours);
        leases.filter_map(|key| Some((key.user, rights.recall(key)?))).collect()
    }

    /// Refuses what is backed by more than there is, or gives back more.
    pub(super) fn refuse_beyond_rights(&self, events: &[(LogClass, Event)]) -> Result<()> {
        let mut spent: BTreeMap<UserAlias, i128> = BTreeMap::new();
        let mut overdrawn = 0;
        for (_, event) in events {
            match (event, backed(event)) {
                (Event::LeaseClosed(LeaseClosed { user: Some(user), returned, .. }), _) => {
                    *spent.entry(*user).or_default() += i128::from(returned.thousandths());
                }
                (_, Some((_, Backing { credits, .. }))) if credits < Credits::ZERO => {
                    let why = "a charge is backed by less than nothing";
                    return Err(Error::Rejected(why.into()));
                }
                (_, Some((user, Backing { right: Right::Lease, credits }))) => {
                    *spent.entry(user).or_default() += i128::from(credits.thousandths());
                }
                (_, Some((_, Backing { right: Right::Overdraft, credits }))) => {
                    overdrawn += i128::from(credits.thousandths());
                }
                _ => {}
            }
        }
        // What is free needs no right, nor where more came than was left when it was written off.
        let left = |user: &UserAlias| self.lease(*user).outstanding().max(0);
        let beyond = |(user, spent): (&UserAlias, &i128)| *spent > left(user);
        if spent.iter().any(beyond) {
            return Err(Error::NotYet("the lease does not cover that; ask for more".into()));
        }
        if overdrawn > 0 && overdrawn > self.overdraft_left() {
            return Err(Error::NotYet("the overdraft does not cover that".into()));
        }
        Ok(())
    }

    fn overdraft_left(&self) -> i128 {
        let rights = self.counts().rights();
        let used = rights.overdrawn(self.id, self.ledger.epoch.1);
        i128::from(rights.overdraft().thousandths()) - used
    }

    fn right_key(&self, user: UserAlias) -> RightKey {
        let epoch = match planted(Bug::RightsReused) {
            // Those of the epoch before, too.
            true => {
                let keys = self.counts().rights().leases().iter();
                let users = keys.filter(|(key, _)| (key.device, key.user) == (self.id, user));
                let most = users.max_by_key(|(_, lease)| lease.outstanding());
                most.map_or(self.ledger.epoch.1, |(key, _)| key.epoch)
            }
            false => self.ledger.epoch.1,
        };
        RightKey { device: self.id, epoch, user }
    }
}

/// The event that gives back what is left of a lease but for `keep`.
pub(super) fn returning(user: UserAlias, lease: &Lease, keep: Credits) -> Option<LeaseClosed> {
    let credits = |sum: i128| i64::try_from(sum).ok().map(Credits::from_thousandths);
    let returned = credits(lease.outstanding() - i128::from(keep.thousandths()))?;
    let (allocation, spent) = (lease.last?.number, credits(lease.spent)?);
    let any = returned > Credits::ZERO;
    any.then_some(LeaseClosed { allocation, spent, returned, user: Some(user) })
}
