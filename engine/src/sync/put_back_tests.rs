//! A cloud whose store was put back in its place, with nothing outside it that tells.
//!
//! Invariant: what it writes before it knows contradicts nothing that a device holds; what was lent is known
//! before anything is lent; and what was decided later holds over what was lost and comes back.

use super::forget_tests::mint;
use super::lease_tests::{ask, credits, spend, sync, two_devices};
use super::pair::{TENANT, TestDevice, enrol, hub, now, talk};
use super::{Effect, Fetch, Reply};
use crate::counts::card;
use crate::hub::{Hub, mark_restored};
use crate::store::MemoryStore;
use std::collections::BTreeSet;
use tallyroll_schema::event::counts::RateCard;
use tallyroll_schema::wire::{Message, names_digest};
use tallyroll_schema::{EpochId, Hash, SubjectId, UserAlias};

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

/// A copy of a device told the cloud that it holds no more than is left; then the cloud wrote over what the original
/// holds, and neither took the other's, for ever.
#[test]
fn what_was_written_over_because_a_copy_held_less_is_said_anew() {
    let (mut hub, mut one, _) = two_devices(100);
    sync(&mut hub, &mut one, &[], 9);
    let mut copy = one.copy(now(9));
    let store = hub.store().clone();
    ask(&mut one, 60, 60);
    sync(&mut hub, &mut one, &[], 10);
    let mut hub = hub.restart_on(store, now(20));
    ask(&mut copy, 20, 20);
    sync(&mut hub, &mut copy, &[], 21);
    assert_eq!(hub.recovery(), None, "the copy holds no more");
    let (log, _) = hub.log_about(one.id()).expect("has one");
    let theirs = |hub: &Hub<MemoryStore>, device: &TestDevice| {
        let offers = hub.offers(device.id()).expect("reads").into_iter();
        offers.map(|offer| offer.head).filter(|head| head.position.log == log).collect::<Vec<_>>()
    };
    let held = |device: &TestDevice| {
        let held = device.opening().expect("reads").held.into_iter();
        let heads = held.filter_map(|((of, epoch), tip)| tip.head(of, epoch));
        heads.filter(|head| head.position.log == log).collect::<Vec<_>>()
    };
    assert_ne!(held(&one), theirs(&hub, &one));
    talk(&mut one, &mut hub);
    assert_eq!(held(&one), theirs(&hub, &one), "what the cloud has now holds");
    let leases = |counts: &crate::counts::Counts| {
        counts.rights().leases().values().map(|lease| lease.granted).sum::<i128>()
    };
    assert_eq!(leases(one.counts()), leases(hub.counts()));
    let seen = talk(&mut one, &mut hub);
    assert!(!seen.iter().any(|message| matches!(message, Message::Error(_))), "{seen:?}");
    let before = one.counts().clone();
    assert_eq!(one.restart(now(30)).counts(), &before);
}

/// What the device heard and confirmed is no more: it hears what is said instead, also where it stands at the same place.
#[test]
fn what_is_decided_where_it_was_written_over_is_heard_and_confirmed() {
    let (mut hub, mut one, _) = two_devices(100);
    sync(&mut hub, &mut one, &[], 9);
    let mut copy = one.copy(now(9));
    let store = hub.store().clone();
    let told = |hub: &mut Hub<MemoryStore>, device: &mut TestDevice, subject: u8, at| {
        ask(device, 20, 20);
        sync(hub, device, &[], at);
        hub.forget(now(at), SubjectId([subject; 16]), Vec::new()).expect("forgets");
        talk(device, hub);
        assert!(device.is_forgetting(), "it is told");
        device.confirm_forgotten(now(at)).expect("confirms");
        assert!(!device.is_forgetting());
        device.seal(now(at)).expect("seals");
        talk(device, hub);
    };
    told(&mut hub, &mut one, 8, 10);
    told(&mut hub, &mut one, 7, 11);
    let mut hub = hub.restart_on(store, now(20));
    told(&mut hub, &mut copy, 9, 21);
    hub.retire(now(22), one.id(), "sold".into()).expect("retires");
    talk(&mut one, &mut hub);
    assert!(one.is_forgetting(), "what it confirmed was another word");
    assert!(one.refuse_if_retired().is_err(), "at once, and not only after a restart");
    let again = one.restart(now(30));
    assert!(again.is_forgetting() && again.refuse_if_retired().is_err());
}

/// Its cloud says which accounts and which names it has: what the device sends of its names, then.
fn hears(device: &mut TestDevice, accounts: u32, names: Option<&[UserAlias]>) -> Vec<UserAlias> {
    let epoch = EpochId { counter: accounts, nonce: [0; 16] };
    let names = names.map(|names| names_digest(names.iter().copied()));
    match device.perform(now(9), Effect::Accounts { epoch, names }).expect("performs") {
        Reply::Directory(entries) => entries.into_iter().map(|entry| entry.alias).collect(),
        Reply::Done => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// It confirms these.
fn stores(device: &mut TestDevice, names: &[UserAlias]) {
    device.perform(now(9), Effect::DirectoryStored(names.to_vec())).expect("notes it");
}

/// After that it says which ones it has.
fn says(device: &mut TestDevice, names: &[UserAlias]) {
    let digest = names_digest(names.iter().copied());
    device.perform(now(9), Effect::Names(digest)).expect("notes it");
}

#[test]
fn names_come_again_where_a_cloud_has_others_than_it_said() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    let [ada, bert, other] = [1, 2, 3].map(|byte| UserAlias([byte; 16]));
    mint(&mut device, "ada", ada);
    mint(&mut device, "bert", bert);
    assert_eq!(hears(&mut device, 0, Some(&[])), [ada, bert], "it never had them");
    stores(&mut device, &[ada]);
    let unstored = device.unstored_directory().expect("reads");
    let unstored: Vec<_> = unstored.iter().map(|entry| entry.alias).collect();
    assert_eq!(unstored, [bert], "that one was not confirmed");
    says(&mut device, &[ada, other]);
    let again = hears(&mut device, 0, Some(&[ada, other]));
    assert_eq!(again, [ada, bert], "a word says nothing of ours while one of them is to go");

    stores(&mut device, &[ada, bert]);
    assert_eq!(hears(&mut device, 0, Some(&[ada, bert])), [], "those that it confirmed");
    let and_a_copys = [ada, bert, other];
    says(&mut device, &and_a_copys);
    assert_eq!(hears(&mut device, 0, Some(&and_a_copys)), [], "those that it said");
    stores(&mut device, &[ada]);
    assert_eq!(hears(&mut device, 0, Some(&and_a_copys)), [], "it was there before");
    assert_eq!(hears(&mut device, 1, None), [ada, bert], "other accounts, which say no names");
}

/// It was put back after it had confirmed a name, and before it said which names it has.
#[test]
fn a_name_that_is_lost_as_soon_as_it_was_confirmed_comes_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    let [ada, bert, other] = [1, 2, 3].map(|byte| UserAlias([byte; 16]));
    mint(&mut device, "ada", ada);
    assert_eq!(hears(&mut device, 0, Some(&[])), [ada]);
    stores(&mut device, &[ada]);
    says(&mut device, &[ada, other]); // a copy brought that one
    mint(&mut device, "bert", bert);
    stores(&mut device, &[bert]);
    assert_eq!(hears(&mut device, 0, Some(&[ada, other])), [ada, bert]);
}
