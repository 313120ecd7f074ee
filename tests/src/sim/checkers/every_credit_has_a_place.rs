//! Every credit has a place: spent, held, in the pool, leased to or frozen under a named device, or written off.
//!
//! Invariant: what devices may still spend is counted here from the records, not from the engine's view of
//! rights; with what `conserves` counted of charges, and with what was granted, that leaves the pool.

use super::accounts::Accounts;
use super::{CloudRecords, counted_here};
use crate::sim::accounts::GROUP;
use crate::sim::leases::{PAYERS, payer};
use crate::sim::world::{Step, World};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::counts::Charge;
use tallyroll_schema::event::leases as schema;
use tallyroll_schema::{Credits, DeviceId, EpochId, Event, LogId, Record, SubjectId, UserAlias};

/// A user's rights at a device in an epoch of its ledger.
type Place = (DeviceId, EpochId, UserAlias);

/// What became of a right, thousandths.
#[derive(Debug, Default, Clone, Copy)]
struct Right {
    /// What left the pool, less what was spent, came back or was written off.
    left: i128,
    written_off: i128,
    returned: i128,
    /// What had come back when it was written off first.
    before: Option<i128>,
}

impl Right {
    /// Spent after it was written off: of that, what came back since was not spent.
    fn spent_after(&self) -> i128 {
        let came_back = self.returned - self.before.unwrap_or(self.returned);
        let came_back = came_back.min(self.written_off);
        (-self.left - came_back).max(0).min(self.written_off - came_back)
    }
}

pub(super) fn at_the_end(world: &World, held: &CloudRecords) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let wrong = |what: String| Err(world.violation("every-credit-has-a-place", what));
    let logs = match cloud.logs() {
        Ok(logs) => logs,
        Err(error) => return wrong(error.to_string()),
    };
    let writers = logs.iter().filter_map(|log| Some((log.log, log.device?))).collect();
    let places = outstanding(held, &writers);
    let leases = cloud.leases();
    for ((device, epoch, user), Right { left, .. }) in
        places.iter().filter(|(_, right)| right.left > 0)
    {
        let named = cloud.fleet().device(*device).is_some();
        let shown = leases
            .iter()
            .find(|lease| (lease.device, lease.epoch, lease.user) == (*device, *epoch, *user));
        if !named || shown.map(|lease| lease.outstanding) != Some(*left) {
            return wrong(format!("{left} of {user} lie at {device}, shown as {shown:?}"));
        }
    }
    let (funds, accounts) = (cloud.funds(), Accounts::read(held));
    if let Err(what) = accounts.check() {
        return wrong(what);
    }
    let payers: BTreeSet<SubjectId> = PAYERS.map(payer).chain([GROUP]).collect();
    for subject in &payers {
        let account = accounts.of(*subject);
        if account != *subject && funds.contains_key(subject) {
            return wrong(format!("{subject} has credits of their own beside {account}'s"));
        }
        let of = |subject: &SubjectId| accounts.of(*subject) == account;
        let theirs = |device, user| cloud.counts().subject(device, user).as_ref().is_some_and(of);
        let rows = cloud.counts().usage().iter();
        let mut used: BTreeMap<(DeviceId, UserAlias), i128> = BTreeMap::new();
        for (key, usage) in rows.filter(|(key, _)| theirs(key.device, key.user)) {
            *used.entry((key.device, key.user)).or_default() += usage.charged + usage.held;
        }
        let (mut leased, mut after) = (0, BTreeMap::<(DeviceId, UserAlias), i128>::new());
        for ((device, _, user), right) in places.iter().filter(|(key, _)| theirs(key.0, key.2)) {
            leased += right.left.max(0);
            *after.entry((*device, *user)).or_default() += right.spent_after();
        }
        // What was voided since, nobody bears anyway.
        let borne = used
            .iter()
            .map(|(whose, used)| used - after.get(whose).copied().unwrap_or(0).min(*used));
        let spent: i128 = borne.sum();
        let given = payers.iter().filter(|subject| of(subject));
        let given = given.map(|subject| cloud.counts().given(*subject));
        let granted: i128 = given.map(|(granted, corrected)| granted + corrected).sum();
        let pool = funds.get(&account).copied().unwrap_or_default().pool();
        if granted != spent + leased + pool {
            let what = format!(
                "{account}: of {granted} granted, {spent} are spent or held, {leased} leased, {pool} in the pool"
            );
            return wrong(what);
        }
    }
    Ok(())
}

/// What became of each right.
fn outstanding(held: &CloudRecords, writers: &BTreeMap<LogId, DeviceId>) -> BTreeMap<Place, Right> {
    let mut places: BTreeMap<Place, Right> = BTreeMap::new();
    let mut of = |device: Option<DeviceId>,
                  epoch: Option<EpochId>,
                  user: Option<UserAlias>,
                  change: &dyn Fn(&mut Right)| {
        if let (Some(device), Some(epoch), Some(user)) = (device, epoch, user) {
            change(places.entry((device, epoch, user)).or_default());
        }
    };
    let sum = |credits: Credits| i128::from(credits.thousandths());
    for (position, bytes) in counted_here(held) {
        let (writer, epoch) = (writers.get(&position.log).copied(), Some(position.epoch));
        let mut spend = |user, charge: Charge| {
            let backing = charge.backing.filter(|backing| backing.right == schema::Right::Lease);
            let Some(backing) = backing else { return };
            of(writer, epoch, Some(user), &|right| right.left -= sum(backing.credits));
        };
        match Record::split(bytes).and_then(|(record, _)| record.event()) {
            Ok(Event::PagesPrinted(e)) => spend(e.user, e.charge),
            Ok(Event::PagesCaptured(e)) => spend(e.user, e.charge),
            Ok(Event::PagesConverted(e)) => spend(e.user, e.charge),
            Ok(Event::DocumentSent(e)) => spend(e.user, e.charge),
            Ok(Event::DocumentSaved(e)) => spend(e.user, e.charge),
            Ok(Event::LeaseGranted(e)) => {
                of(Some(e.device), e.epoch, e.user, &|right| right.left += sum(e.credits));
            }
            Ok(Event::LeaseClosed(e)) => of(writer, epoch, e.user, &|right| {
                right.left -= sum(e.returned);
                right.returned += sum(e.returned);
            }),
            Ok(Event::LeaseWrittenOff(e)) => of(e.device, e.epoch, e.user, &|right| {
                let off = e.credits.map_or(0, sum);
                right.left -= off;
                right.written_off += off;
                let known = right.before.into_iter().chain(e.returned.map(sum));
                right.before = known.min();
            }),
            _ => {}
        }
    }
    places
}
