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
use tallyroll_schema::event::leases::Right;
use tallyroll_schema::{Credits, DeviceId, EpochId, Event, LogId, Record, SubjectId, UserAlias};

/// A user's rights at a device in an epoch of its ledger.
type Place = (DeviceId, EpochId, UserAlias);

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
    for ((device, epoch, user), left) in places.iter().filter(|(_, left)| **left > 0) {
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
        let spent: i128 = rows
            .filter(|(key, _)| theirs(key.device, key.user))
            .map(|(_, usage)| usage.charged + usage.held)
            .sum();
        let own = places.iter().filter(|((device, _, user), _)| theirs(*device, *user));
        // Less than nothing: it came after it was written off, and so from the pool.
        let leased: i128 = own.map(|(_, left)| *left.max(&0)).sum();
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

/// What left the pool for each right, less what was spent, came back or was written off.
fn outstanding(held: &CloudRecords, writers: &BTreeMap<LogId, DeviceId>) -> BTreeMap<Place, i128> {
    let mut places: BTreeMap<Place, i128> = BTreeMap::new();
    let mut moved = |device: Option<DeviceId>, epoch, user, credits: Credits, sign: i128| {
        if let (Some(device), Some(epoch), Some(user)) = (device, epoch, user) {
            let place = places.entry((device, epoch, user)).or_default();
            *place += sign * i128::from(credits.thousandths());
        }
    };
    for (position, bytes) in counted_here(held) {
        let (writer, epoch) = (writers.get(&position.log).copied(), Some(position.epoch));
        let mut spend = |user, charge: Charge| {
            let backing = charge.backing.filter(|backing| backing.right == Right::Lease);
            let Some(backing) = backing else { return };
            moved(writer, epoch, Some(user), backing.credits, -1);
        };
        match Record::split(bytes).and_then(|(record, _)| record.event()) {
            Ok(Event::PagesPrinted(e)) => spend(e.user, e.charge),
            Ok(Event::PagesCaptured(e)) => spend(e.user, e.charge),
            Ok(Event::PagesConverted(e)) => spend(e.user, e.charge),
            Ok(Event::DocumentSent(e)) => spend(e.user, e.charge),
            Ok(Event::DocumentSaved(e)) => spend(e.user, e.charge),
            Ok(Event::LeaseGranted(e)) => moved(Some(e.device), e.epoch, e.user, e.credits, 1),
            Ok(Event::LeaseClosed(e)) => moved(writer, epoch, e.user, e.returned, -1),
            Ok(Event::LeaseWrittenOff(e)) => {
                moved(e.device, e.epoch, e.user, e.credits.unwrap_or(Credits::ZERO), -1);
            }
            _ => {}
        }
    }
    places
}
