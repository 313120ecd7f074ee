//! Rights: what devices may spend of users' balances, and what became of it.
//!
//! Invariant: every field is a sum, a maximum or a set, so the fold commutes. A right is one user's at
//! one device in one epoch of its ledger; what left the pool for it is spent there, came back by the
//! device's own word, was written off, or is outstanding. An epoch that is not the device's newest has
//! its rights frozen: whoever had them may have spent them where nobody can see it.

use super::state::Place;
use super::sum::wide;
use crate::fold::Origin;
use crate::planted::{Bug, planted};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use tallyroll_schema::event::counts::{Charge, CountSource};
use tallyroll_schema::event::leases::{Backing, LeaseGranted, LeaseRequested, Right};
use tallyroll_schema::{
    Credits, DeviceId, EpochId, Event, JobId, Position, SubjectId, UserAlias, Wall,
};

/// Whose right, where, in which epoch of the device's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct RightKey {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// The epoch of its ledger.
    #[n(1)]
    pub epoch: EpochId,
    /// The user, as the device calls them.
    #[n(2)]
    pub user: UserAlias,
}

/// What left the pool for a right, and what became of it. Sums in thousandths of a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Lease {
    /// Left the pool.
    #[cbor(n(0), with = "wide")]
    pub granted: i128,
    /// Spent, by the device's ledger in that epoch.
    #[cbor(n(1), with = "wide")]
    pub spent: i128,
    /// Charged beyond it, by the tenant's offline policy.
    #[cbor(n(2), with = "wide")]
    pub overdrawn: i128,
    /// Came back.
    #[cbor(n(3), with = "wide")]
    pub returned: i128,
    /// Taken off the books by an administrator.
    #[cbor(n(4), with = "wide")]
    pub written_off: i128,
    /// Spent of it in a history that was set aside, by a copy of the device: the exposure.
    #[cbor(n(5), with = "wide")]
    pub copied: i128,
    /// The last allocation, what it says of whose balance it is, and when it ends.
    #[n(6)]
    pub last: Option<Allocation>,
    /// The last request, and the last that was answered.
    #[n(7)]
    pub requested: Option<Request>,
    /// The seq in that epoch after the last request that was answered.
    #[n(8)]
    pub answered: u64,
    /// The same of the last that was refused.
    #[cbor(n(9), default)]
    pub refused: u64,
}

/// A decision by which credits left the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Allocation {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// When the device stops spending, by its own clock.
    #[n(1)]
    pub spend_until: Wall,
    /// Whose balance.
    #[n(2)]
    pub subject: SubjectId,
}

/// What a device asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Request {
    /// Where in the epoch.
    #[n(0)]
    pub seq: u64,
    /// What it cannot do without.
    #[n(1)]
    pub needed: Credits,
    /// What it would like to have.
    #[n(2)]
    pub wanted: Credits,
    /// The request.
    #[n(3)]
    pub position: Position,
    /// The job that cannot go on without.
    #[n(4)]
    pub job: Option<JobId>,
    /// When, by the device's clock.
    #[cbor(n(5), default)]
    pub at: Wall,
}

impl Lease {
    /// What the device may still spend as far as is known; less than nothing once it spent or gave back
    /// after a write-off.
    pub fn outstanding(&self) -> i128 {
        self.granted - self.spent - self.returned - self.written_off
    }

    /// What came of it after it was written off, and so after it was back in the pool: the exposure. Spent, which its user is
    /// charged all the same, or brought back.
    pub fn came_after(&self) -> i128 {
        (-self.outstanding()).clamp(0, self.written_off)
    }

    /// Whether the device may spend no more of it at this moment by its own clock, whatever is left.
    pub fn has_ended(&self, at: Wall) -> bool {
        self.last.is_some_and(|last| at >= last.spend_until)
    }

    fn answered(&mut self, asked: Position) {
        self.answered = self.answered.max(asked.seq.saturating_add(1));
    }

    /// What was asked for last, could not be done without, and was refused. A renewal that is refused stops
    /// nobody.
    pub fn refused_need(&self) -> Option<Request> {
        let refused = self.refused > 0 && self.refused == self.answered;
        let asked = self.requested.filter(|asked| refused && asked.needed > Credits::ZERO);
        asked.filter(|asked| asked.seq.saturating_add(1) >= self.refused)
    }

    /// The request that nobody answered yet.
    pub fn pending(&self) -> Option<Request> {
        self.requested.filter(|request| request.seq >= self.answered)
    }
}

/// All rights of a tenant; at a device, its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Rights {
    #[n(0)]
    pub(super) leases: BTreeMap<RightKey, Lease>,
    /// The newest epoch of each device's ledger.
    #[n(1)]
    pub(super) newest: BTreeMap<DeviceId, EpochId>,
    /// The overdraft each device may have in an epoch, with the place of the decision.
    #[n(2)]
    pub(super) overdraft: Option<(Place, Credits)>,
    /// Up to which allocation each user's leases at a device are wanted back.
    #[n(3)]
    pub(super) recalled: BTreeMap<(DeviceId, UserAlias), u64>,
    /// The last allocation's number.
    #[n(4)]
    pub(super) allocations: u64,
    /// Of those wanted back, up to which allocation nothing is kept for a job that runs.
    #[cbor(n(5), default)]
    pub(super) recalled_whole: BTreeMap<(DeviceId, UserAlias), u64>,
    /// Where a user's last job at a device began, or was charged for.
    #[cbor(n(6), default)]
    pub(super) went_on: BTreeMap<(DeviceId, UserAlias), Place>,
}

/// How a lease is wanted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// But for what a job that runs needs.
    Idle,
    /// All of it: a server acts in that job.
    Whole,
}

impl Rights {
    /// Every right that was ever granted or asked for.
    pub fn leases(&self) -> &BTreeMap<RightKey, Lease> {
        &self.leases
    }

    /// A right.
    pub fn lease(&self, key: &RightKey) -> Lease {
        self.leases.get(key).copied().unwrap_or_default()
    }

    /// The newest epoch of a device's ledger.
    pub(crate) fn newest(&self, device: DeviceId) -> Option<&EpochId> {
        self.newest.get(&device)
    }

    /// Whether nobody may spend it any more: its epoch is not its device's newest.
    pub fn is_ended(&self, key: &RightKey) -> bool {
        self.newest.get(&key.device).is_some_and(|newest| *newest != key.epoch)
    }

    /// Credits that a device may charge beyond its leases in one epoch; nothing: it stops.
    pub fn overdraft(&self) -> Credits {
        self.overdraft.map_or(Credits::ZERO, |(_, credits)| credits)
    }

    /// What a device has overdrawn in an epoch, all users together, thousandths.
    pub fn overdrawn(&self, device: DeviceId, epoch: EpochId) -> i128 {
        let of_epoch =
            self.leases.iter().filter(|(key, _)| (key.device, key.epoch) == (device, epoch));
        of_epoch.map(|(_, lease)| lease.overdrawn).sum()
    }

    /// What a user asked for last at a device, if it was refused and they stopped for want of it: no job of
    /// theirs began or was charged for since, with a right or without one.
    pub fn stopped_by(&self, device: DeviceId, user: UserAlias) -> Option<Request> {
        let epoch = *self.newest(device)?;
        let refused = self.lease(&RightKey { device, epoch, user }).refused_need()?;
        let went_on = self.went_on.get(&(device, user));
        Some(refused).filter(|asked| went_on.is_none_or(|place| *place < (epoch, asked.seq)))
    }

    /// The last allocation's number.
    pub fn allocations(&self) -> u64 {
        self.allocations
    }

    /// Whether and how a lease is wanted back that did not come yet.
    pub fn recall(&self, key: &RightKey) -> Option<Recall> {
        let lease = self.lease(key);
        let last = lease.last.filter(|_| lease.outstanding() > 0)?.number;
        let by = |recalled: &BTreeMap<_, u64>| {
            recalled.get(&(key.device, key.user)).is_some_and(|up_to| last <= *up_to)
        };
        match by(&self.recalled_whole) {
            true => Some(Recall::Whole),
            false => by(&self.recalled).then_some(Recall::Idle),
        }
    }

    /// Takes in an event where it was written first.
    pub(super) fn fold(&mut self, origin: &Origin, at: Wall, event: &Event) {
        match origin.device {
            Some(device) => self.fold_of_device(device, origin.position, at, event),
            None => self.fold_of_cloud(origin.position, event),
        }
    }

    fn fold_of_device(&mut self, device: DeviceId, position: Position, at: Wall, event: &Event) {
        let epoch = position.epoch;
        if let Some(user) = goes_on(event) {
            let place = (epoch, position.seq);
            let went_on = self.went_on.entry((device, user)).or_insert(place);
            *went_on = place.max(*went_on);
        }
        match event {
            Event::LogOpened(_) | Event::EpochOpened(_) => {
                let newest = self.newest.entry(device).or_insert(epoch);
                *newest = epoch.max(*newest);
            }
            Event::LeaseRequested(asked) => {
                let LeaseRequested { needed, wanted, job, .. } = *asked;
                let request = Request { seq: position.seq, needed, wanted, position, job, at };
                let lease = self.lease_mut(device, epoch, asked.user);
                lease.requested = lease.requested.max(Some(request));
            }
            Event::LeaseClosed(closed) => {
                let Some(user) = closed.user.filter(|_| !planted(Bug::ReturnUncounted)) else {
                    return;
                };
                self.lease_mut(device, epoch, user).returned += positive(closed.returned);
            }
            event => {
                let Some((user, Backing { right, credits })) = backed(event) else { return };
                let lease = self.lease_mut(device, epoch, user);
                match right {
                    Right::Lease => lease.spent += positive(credits),
                    Right::Overdraft => lease.overdrawn += positive(credits),
                }
            }
        }
    }

    /// A copy spent the same right once more, where its original did not see it.
    pub(super) fn fold_again(&mut self, device: DeviceId, from: Position, event: &Event) {
        if let Some((user, Backing { right: Right::Lease, credits })) = backed(event) {
            let times = if planted(Bug::CopiedTwice) { 2 } else { 1 };
            self.lease_mut(device, from.epoch, user).copied += positive(credits) * times;
        }
    }

    fn fold_of_cloud(&mut self, position: Position, event: &Event) {
        match event {
            Event::LeaseGranted(granted) => self.grant(granted),
            Event::LeaseRefused(refused) => {
                let asked = refused.answers;
                let lease = self.lease_mut(refused.device, asked.epoch, refused.user);
                lease.answered(asked);
                lease.refused = lease.refused.max(asked.seq.saturating_add(1));
            }
            Event::LeaseRecalled(recalled) => {
                let how = match recalled.job {
                    Some(_) => &mut self.recalled_whole,
                    None => &mut self.recalled,
                };
                let known = how.entry((recalled.device, recalled.user)).or_default();
                *known = recalled.allocation.max(*known);
            }
            Event::LeaseWrittenOff(off) => {
                let (Some(device), Some(user), Some(epoch)) = (off.device, off.user, off.epoch)
                else {
                    return;
                };
                let credits = off.credits.unwrap_or(Credits::ZERO);
                self.lease_mut(device, epoch, user).written_off += positive(credits);
            }
            Event::OfflinePolicyPublished(policy) => {
                let published = (position.epoch, position.seq);
                let overdraft = policy.overdraft.unwrap_or(Credits::ZERO);
                self.overdraft = self.overdraft.max(Some((published, overdraft)));
            }
            _ => {}
        }
    }

    fn grant(&mut self, event: &LeaseGranted) {
        self.allocations = self.allocations.max(event.allocation);
        let (Some(user), Some(epoch)) = (event.user, event.epoch) else { return };
        let lease = self.lease_mut(event.device, epoch, user);
        lease.granted += positive(event.credits);
        let (number, spend_until, subject) = (event.allocation, event.spend_until, event.subject);
        lease.last = lease.last.max(Some(Allocation { number, spend_until, subject }));
        event.answers.into_iter().for_each(|asked| lease.answered(asked));
    }

    pub(super) fn lease_mut(
        &mut self,
        device: DeviceId,
        epoch: EpochId,
        user: UserAlias,
    ) -> &mut Lease {
        self.leases.entry(RightKey { device, epoch, user }).or_default()
    }
}

/// Whose job begins or is charged for. What a spooler's log brings later is no job at hand.
fn goes_on(event: &Event) -> Option<UserAlias> {
    match event {
        Event::JobBegun(e) => Some(e.user),
        Event::PagesPrinted(e) if e.source == CountSource::PageLog => {
            backed(event).map(|(user, _)| user)
        }
        event => charge(event).map(|(user, _)| user),
    }
}

/// In thousandths; nobody gives or takes less than nothing.
fn positive(credits: Credits) -> i128 {
    i128::from(credits.thousandths().max(0))
}

/// Who spent what for an event, where it says.
pub(crate) fn backed(event: &Event) -> Option<(UserAlias, Backing)> {
    let (user, charge) = charge(event)?;
    Some((user, charge.backing.clone()?))
}

/// The charge of an event and whose it is, where it has one.
pub(crate) fn charge(event: &Event) -> Option<(UserAlias, &Charge)> {
    match event {
        Event::PagesPrinted(e) => Some((e.user, &e.charge)),
        Event::PagesCaptured(e) => Some((e.user, &e.charge)),
        Event::PagesConverted(e) => Some((e.user, &e.charge)),
        Event::DocumentSent(e) => Some((e.user, &e.charge)),
        Event::DocumentSaved(e) => Some((e.user, &e.charge)),
        _ => None,
    }
}

/// The same, to be changed.
pub(crate) fn charge_mut(event: &mut Event) -> Option<(UserAlias, &mut Charge)> {
    match event {
        Event::PagesPrinted(e) => Some((e.user, &mut e.charge)),
        Event::PagesCaptured(e) => Some((e.user, &mut e.charge)),
        Event::PagesConverted(e) => Some((e.user, &mut e.charge)),
        Event::DocumentSent(e) => Some((e.user, &mut e.charge)),
        Event::DocumentSaved(e) => Some((e.user, &mut e.charge)),
        _ => None,
    }
}
