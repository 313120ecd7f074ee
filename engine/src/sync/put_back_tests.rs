//! A cloud whose store was put back in its place, with nothing outside it that tells.
//!
//! Invariant: what it writes before it knows contradicts nothing that a device holds; what was lent is known
//! before anything is lent; and what was decided later holds over what was lost and comes back.

use super::lease_tests::{ask, credits, spend, sync, two_devices};
use super::pair::{TENANT, enrol, hub, now, talk};
use super::{Effect, Fetch, Reply};
use crate::counts::card;
use crate::hub::mark_restored;
use std::collections::BTreeSet;
use tallyroll_schema::Hash;
use tallyroll_schema::event::counts::RateCard;

fn card(version: u32) -> RateCard {
    RateCard { version, ..card::default_card() }
}

/// A store that was put back in its place wrote, before any device had told of more, where the device
/// held something else; neither took the other's, for ever.
#[test]
fn what_is_decided_before_a_device_told_what_it_holds_stands_in_an_epoch_of_its_own() {
    let mut hub = hub();
    let (mut one, mut two) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    talk(&mut one, &mut hub);
    let store = hub.store().clone();
    hub.publish(now(14), card(7)).expect("publishes");
    talk(&mut one, &mut hub);

    let mut hub = hub.restart_on(store, now(20));
    let position = hub.publish(now(21), card(8)).expect("knows nothing of a loss");
    assert!(position.epoch.counter > 0, "somebody may hold more of the first one");
    assert_eq!(hub.publish(now(21), card(9)).expect("publishes").epoch, position.epoch, "once");
    hub.retire(now(22), two.id(), "sold".into()).expect("retires");
    talk(&mut one, &mut hub);
    assert!(hub.counts().card(7).is_some(), "it is given back");
    assert_eq!(hub.recovery(), None, "all who are active told");
    talk(&mut one, &mut hub);
    talk(&mut two, &mut hub);
    assert!(two.status().expect("reads").retired.is_some());
    for device in [&one, &two] {
        assert_eq!((device.card(), hub.card().version), (hub.card(), 9));
    }
    for log in hub.logs().expect("lists") {
        assert_eq!(hub.verify_log(log.log, log.epoch, None).expect("reads").wrong, None);
    }
    assert_eq!(hub.restart(now(30)).counts(), hub.counts());
}

/// It lent anew what it had lent, for it asked nobody what they held.
#[test]
fn a_device_is_lent_nothing_before_it_told_what_it_holds() {
    let (mut hub, mut one, _) = two_devices(100);
    sync(&mut hub, &mut one, &[], 9);
    let store = hub.store().clone();
    ask(&mut one, 60, 60);
    sync(&mut hub, &mut one, &[], 10);
    assert!(spend(&mut one, 50, false));
    one.seal(now(11)).expect("seals");

    let mut hub = hub.restart_on(store, now(20));
    let (log, epoch) = (hub.log_about(one.id()).expect("has one"), one.status().expect("reads"));
    let held = hub.logs().expect("lists").len();
    // The ledger comes first, and with it what was asked for.
    let theirs = epoch.logs[0].clone();
    let Reply::Fetched(burst) = one
        .perform(
            now(20),
            Effect::Fetch(Fetch {
                log: theirs.log,
                epoch: theirs.epoch,
                from: 0,
                after: Hash::ZERO,
                bytes_max: 1 << 20,
            }),
        )
        .expect("reads")
    else {
        panic!("sends nothing")
    };
    hub.perform(now(20), vec![(one.id(), Effect::Persist(burst))]).expect("takes it");
    assert_eq!(hub.unanswered().len(), 1);
    hub.answer_requests(now(20), &BTreeSet::new(), &mut |_| Ok(())).expect("waits");
    hub.tell_balances(now(20)).expect("waits");
    assert_eq!((hub.unanswered().len(), hub.logs().expect("lists").len()), (1, held));
    assert_eq!(hub.log_about(one.id()).expect("has one"), log);

    talk(&mut one, &mut hub);
    assert_eq!(hub.unanswered(), [], "that was answered once");
    assert!(hub.recovery().is_some(), "the other one has yet to tell");
    let lent = hub.leases();
    assert_eq!((lent[0].outstanding, lent[0].spent), (10_000, 50_000));
}

/// The second time the first device's part was refused, as of an epoch that another one continues.
#[test]
fn a_store_that_is_put_back_twice_is_refilled_by_all() {
    let mut hub = hub();
    let (mut one, mut two) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    talk(&mut one, &mut hub);
    talk(&mut two, &mut hub);
    let store = hub.store().clone();
    hub.publish(now(14), card(7)).expect("publishes");
    talk(&mut one, &mut hub);

    let mut hub = hub.restart_on(store.clone(), now(20));
    hub.publish(now(21), card(8)).expect("knows nothing of a loss");
    talk(&mut two, &mut hub);

    let mut hub = hub.restart_on(store, now(30));
    for device in [&mut two, &mut one] {
        talk(device, &mut hub);
    }
    assert_eq!(hub.recovery(), None, "both told, the second what it held of the first one");
    for device in [&mut two, &mut one] {
        talk(device, &mut hub);
        assert_eq!((device.card(), hub.card().version), (hub.card(), 8));
    }
    assert!(hub.counts().card(7).is_some());
    let again = hub.restart(now(40));
    assert_eq!((again.counts(), again.recovery()), (hub.counts(), None));
}

/// After a start it went on from the epoch that it had opened itself, before those that came back.
#[test]
fn a_cloud_that_waits_goes_on_from_what_was_given_back_also_after_a_restart() {
    let mut hub = hub();
    let (mut one, mut two) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    talk(&mut one, &mut hub);
    talk(&mut two, &mut hub);
    let mut store = hub.store().clone();
    let mut ahead = hub.restart_on(store.clone(), now(9_000_000)); // by a clock that is months ahead
    let lost = ahead.publish(now(9_000_000), card(7)).expect("publishes").epoch;
    talk(&mut one, &mut ahead);

    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(20));
    talk(&mut one, &mut hub);
    assert_eq!(hub.recovery().expect("waits").missing, [two.id()]);
    let mut hub = hub.restart(now(21));
    hub.accept_loss(now(22)).expect("thaws");
    let later = hub.publish(now(23), card(8)).expect("publishes").epoch;
    assert!(later.counter > lost.counter, "{later} after {lost}");
}

/// By chance it was the lost one that held, as soon as it came back.
#[test]
fn what_is_decided_later_holds_over_what_was_lost() {
    for number in 0..8_u64 {
        let mut hub = hub();
        let mut device = enrol(&mut hub, "a", 11);
        talk(&mut device, &mut hub);
        let store = hub.store().clone();
        let mut hub = hub.restart_on(store.clone(), now(20 + number));
        hub.publish_overdraft(now(21), Some(credits(100))).expect("publishes");
        talk(&mut device, &mut hub);
        let mut hub = hub.restart_on(store, now(40));
        hub.publish_overdraft(now(41), None).expect("publishes");
        talk(&mut device, &mut hub);
        talk(&mut device, &mut hub);
        assert_eq!(hub.recovery(), None);
        let overdraft = |rights: &crate::counts::Rights| rights.overdraft();
        assert_eq!(overdraft(hub.counts().rights()), credits(0));
        assert_eq!(overdraft(hub.restart(now(50)).counts().rights()), credits(0));
        assert_eq!(overdraft(device.counts().rights()), credits(0));
    }
}
