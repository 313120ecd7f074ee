//! Guarantee 3, never overspends: no credit is spent twice.
//!
//! Invariant: who pays from a balance is charged no more than was ever given, but for what copies of a
//! device spent again where nobody could tell, what came of leases after they were written off, and what a
//! cloud had lent that lost its tail without a sign, which are named; no right is spent beyond what left the
//! pool for it, but where a cloud wrote over that; and each credit is charged, held, in the pool or with a named device.

use super::CloudRecords;
use super::accounts::Accounts;
use crate::sim::accounts::GROUP;
use crate::sim::leases::{PAYERS, payer};
use crate::sim::world::{Step, World};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::counts::Lease;
use tallyroll_schema::event::leases::Right;
use tallyroll_schema::{DeviceId, EpochId, Event, Record, SubjectId, UserAlias};

pub(super) fn at_the_end(world: &World, held: &CloudRecords) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let wrong = |what: String| Err(world.violation("never-overspends", what));
    let funds = cloud.funds();
    for (key, lease) in cloud.counts().rights().leases() {
        if lease.outstanding() < -lease.written_off && !written_over(world, key.device) {
            return wrong(format!("{key:?} spent {} of {}", lease.spent, lease.granted));
        }
        if lease.overdrawn > 0 {
            return wrong(format!("{key:?} overdrew {}, and may not", lease.overdrawn));
        }
    }
    copies_spend_what_was_lent(world, held)?;
    // Who shares a balance may leave with what is lent to them: all payers' credits are one sum then.
    let payers: Vec<SubjectId> = PAYERS.map(payer).chain([GROUP]).collect();
    let purses: Vec<&[SubjectId]> = match world.plan.accounts {
        true => vec![&payers],
        false => payers.chunks(1).collect(),
    };
    let accounts = Accounts::read(held);
    for purse in purses {
        let leases = cloud.counts().rights().leases().iter();
        let theirs = leases.filter(|(key, _)| {
            let subject = cloud.counts().subject(key.device, key.user);
            subject.is_some_and(|subject| purse.contains(&subject))
        });
        // What came after a write-off, and what is spent of a right that a cloud wrote over.
        let beyond = |lease: &Lease| (-lease.outstanding()).max(0);
        let mut exposed: i128 = theirs.map(|(_, lease)| lease.copied + beyond(lease)).sum();
        let lent_unknown = |account| world.truth.lent_unknown.get(account).copied();
        exposed += purse.iter().filter_map(lent_unknown).sum::<i128>();
        let given: i128 = purse.iter().map(|subject| given(world, *subject)).sum();
        let mut spent = 0;
        for account in purse.iter().filter(|subject| accounts.of(**subject) == **subject) {
            let funds = funds.get(account).copied().unwrap_or_default();
            spent += funds.charged + funds.held;
            if funds.pool() < -exposed && world.truth.tails_lost == 0 {
                let pool = funds.pool();
                return wrong(format!(
                    "{account}: {pool} in the pool, {exposed} by copies and after write-offs"
                ));
            }
        }
        if spent > given + exposed {
            let what = format!(
                "{purse:?} were given {given} and are charged {spent}, {exposed} by copies and after write-offs"
            );
            return wrong(what);
        }
    }
    Ok(())
}

/// Of two copies of a device one told a cloud that had lost what it had lent that it holds no more; then the cloud wrote
/// over what the other one holds, and its log about that device is now without it.
fn written_over(world: &World, device: DeviceId) -> bool {
    world.truth.tails_lost > 0 && world.truth.copied.contains_key(&device)
}

/// A copy that nobody could tell from its original spends what that one was lent at most, once for each copy; one that
/// could be told spends nothing of it. What was spent so is counted here, from the records.
fn copies_spend_what_was_lent(world: &World, held: &CloudRecords) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let wrong = |what: String| Err(world.violation("never-overspends", what));
    let again = spent_again(held);
    for (key, lease) in cloud.counts().rights().leases() {
        let recorded = again.get(&(key.epoch, key.user)).copied().unwrap_or(0);
        if lease.copied != recorded {
            let what = format!("{key:?}: {} by copies, {recorded} recorded again", lease.copied);
            return wrong(what);
        }
        let perfect = world.truth.perfectly_copied.contains(&key.device);
        let copies = match perfect || written_over(world, key.device) {
            true => world.truth.copied.get(&key.device).copied().unwrap_or(0),
            false => 0,
        };
        // Of two copies it may be both whose histories were set aside; then the lease itself is whole.
        let (spent, lent) = (lease.spent + lease.copied, lease.granted * i128::from(1 + copies));
        // A device whose ledger was held up by what is in quarantine goes on in the next epoch before the cloud has all of the
        // last one; what follows is recorded again, and was spent once.
        let held_up = world.truth.poisoned.contains(&key.device);
        if lease.copied > 0 && ((copies == 0 && !held_up) || spent > lent) {
            let (first, again) = (lease.spent, lease.copied);
            let what = format!("{key:?} spent {first} and {again} of {} once more", lease.granted);
            return wrong(format!("{what}, by {copies} copies that nobody could tell"));
        }
    }
    Ok(())
}

/// What was spent with a lease in histories that were set aside, thousandths, by the ledger's epoch and the user.
fn spent_again(held: &CloudRecords) -> BTreeMap<(EpochId, UserAlias), i128> {
    let mut known = BTreeSet::new();
    let mut again: BTreeMap<_, i128> = BTreeMap::new();
    for bytes in held.values() {
        let event = Record::split(bytes).and_then(|(record, _)| record.event());
        let Ok(Event::EventResubmitted(event)) = event else { continue };
        let (from, record) = (event.resubmitted_from, event.record.0);
        if !known.insert((from, record.clone())) {
            continue; // by several copies
        }
        let spent = match Record::split(&record).and_then(|(record, _)| record.event()) {
            Ok(Event::PagesPrinted(e)) => Some((e.user, e.charge)),
            Ok(Event::PagesCaptured(e)) => Some((e.user, e.charge)),
            Ok(Event::PagesConverted(e)) => Some((e.user, e.charge)),
            Ok(Event::DocumentSent(e)) => Some((e.user, e.charge)),
            Ok(Event::DocumentSaved(e)) => Some((e.user, e.charge)),
            _ => None,
        };
        let Some((user, charge)) = spent else { continue };
        if let Some(backing) = charge.backing.filter(|backing| backing.right == Right::Lease) {
            let spent = i128::from(backing.credits.thousandths()).max(0);
            *again.entry((from.epoch, user)).or_default() += spent;
        }
    }
    again
}

/// All that a subject was ever granted, given back or due of a month, or may have been.
fn given(world: &World, subject: SubjectId) -> i128 {
    let truth = &world.truth;
    let due = truth.due.iter().filter(|((account, _), _)| *account == subject);
    let due: i128 = due.map(|(_, monthly)| i128::from(*monthly)).sum();
    let corrected = truth.corrections.values().filter(|asked| asked.subject == subject);
    let corrected: i128 = corrected.map(|asked| i128::from(asked.thousandths)).sum();
    truth.funded.get(&subject).copied().unwrap_or(0) + due + corrected
}
