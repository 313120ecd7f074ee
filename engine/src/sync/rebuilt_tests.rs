//! A cloud of which nothing is left but its identity, and the devices that refill it.
//!
//! Invariant: a device comes back by what this cloud signed, and by nothing else; what
//! devices hold counts as before; what nobody holds is not made up.

use super::pair::{TENANT, TestDevice, capture, config, enrol, hub, now, talk};
use super::{Effect, Fetch, Output, Reply, Role, Session};
use crate::counts::card;
use crate::hub::{Hub, HubConfig, Root, Standing, rebuild};
use crate::keys::Signer;
use crate::store::MemoryStore;
use core::time::Duration;
use tallyroll_schema::event::counts::RateCard;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{Hello, Message};
use tallyroll_schema::{Hash, PublicKey, SubjectId, TenantId};

pub(super) type TestHub = Hub<MemoryStore>;

const SEED: [u8; 32] = [2; 32];

pub(super) fn rebuilt(root: Root, at: u64) -> TestHub {
    let mut store = MemoryStore::default();
    let signer = Signer::from_seed(&SEED);
    rebuild((TENANT, &signer), &mut store, root, now(at), [77; 32]).expect("is made");
    opened(store, at)
}

fn opened(store: MemoryStore, at: u64) -> TestHub {
    let signer = Signer::from_seed(&SEED);
    let directory_key = PublicKey([3; 32]);
    let config = HubConfig { tenant: TENANT, signer, directory_key, anchor: None };
    Hub::open(config, store, now(at), [78; 32]).expect("opens")
}

/// What a device says first.
pub(super) fn hello(device: &TestDevice) -> Hello {
    let opening = device.opening().expect("reads");
    let mut session = Session::new(config(Role::Device, device.id()), opening, Duration::ZERO);
    match session.poll_output() {
        Some(Output::Send { message: Message::Hello(hello), .. }) => hello,
        other => panic!("no HELLO first: {other:?}"),
    }
}

/// The device of seed `seed` comes back.
fn come_back(hub: &mut TestHub, device: &mut TestDevice, seed: u8) {
    let tls = Hash([seed; 32]);
    assert_eq!(hub.readmit(now(50), &hello(device), tls).expect("is let in"), device.id());
    talk(device, hub);
}

/// Everything a device recorded, at the cloud.
pub(super) fn record_and_sync(device: &mut TestDevice, hub: &mut TestHub, pages: u32) {
    capture(device, pages, 10);
    device.seal(now(11)).expect("seals");
    talk(device, hub);
}

fn publish(hub: &mut TestHub, version: u32, at: u64) {
    hub.publish(now(at), RateCard { version, ..card::default_card() }).expect("publishes");
}

#[test]
fn devices_refill_a_cloud_that_has_nothing_but_its_identity() {
    let mut hub = hub();
    let root = hub.root().expect("reads");
    let (mut a, mut b) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    record_and_sync(&mut b, &mut hub, 3);
    publish(&mut hub, 7, 12);
    record_and_sync(&mut a, &mut hub, 5); // has the card of version 7; b has not
    let (before, commit) = (hub.counts().usage().clone(), hub.last_commit());
    let receipts: Vec<_> = hub.logs().expect("lists").into_iter().collect();
    assert_eq!(hub.accounts_since(), None);

    let mut hub = rebuilt(root, 40);
    let recovery = hub.recovery().expect("is frozen from its first start");
    assert!(recovery.awaiting && recovery.why.contains("its identity"), "{recovery:?}");
    assert!(hub.last_commit().epoch > commit.epoch, "no commit number names two commits");
    assert_eq!(hub.accounts_since(), Some(now(40).wall));
    hub.publish(now(41), card::default_card()).expect_err("is frozen");

    come_back(&mut hub, &mut b, 12);
    capture(&mut a, 1, 51); // offline
    a.seal(now(52)).expect("seals");
    come_back(&mut hub, &mut a, 11);
    let standing = hub.recovery().expect("waits for a word, for how many there were is not known");
    assert_eq!((standing.reported.len(), standing.missing.len()), (2, 0));
    let again = opened(hub.store().clone(), 60);
    assert_eq!(again.recovery(), Some(standing), "a restart does not thaw it");
    let mut hub = again;
    for device in [&a, &b] {
        let record = hub.fleet().device(device.id()).expect("is in the accounts");
        let told = record.readmitted.expect("on its own evidence");
        let logs = hub.logs().expect("lists").into_iter();
        let own = logs.filter(|log| log.log == told.log && log.device == Some(device.id()));
        assert_eq!(own.count(), 1, "the evidence is the device's own log");
    }
    let captured = |usage: &std::collections::BTreeMap<_, crate::counts::Usage>| {
        usage.values().map(|usage| usage.captured).sum::<u64>()
    };
    assert_eq!(captured(&before) + 1, captured(hub.counts().usage()));
    assert_eq!(hub.card().version, 7, "the card came from the device that had it");

    hub.accept_loss(now(70)).expect("accepts");
    assert_eq!(hub.recovery(), None);
    publish(&mut hub, 8, 71);
    for device in [&mut a, &mut b] {
        record_and_sync(device, &mut hub, 1);
        assert_eq!(device.card().version, 8, "it goes on");
    }
    assert_eq!(captured(&before) + 3, captured(hub.counts().usage()));
    for log in receipts {
        let found = hub.verify_log(log.log, log.epoch, log.receipt.as_ref());
        let own = log.class == tallyroll_schema::event::log::LogClass::Accounts;
        assert!(own || found.expect("reads").wrong.is_none(), "old receipts hold");
    }
    assert_eq!(opened(hub.store().clone(), 80).counts(), hub.counts());
}

#[test]
fn a_device_can_prove_its_enrolment_once_it_was_linked() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    assert!(hello(&device).enrolment.is_none(), "it has heard nothing yet");
    let logs = hub.logs().expect("reads");
    let own = logs.iter().find(|log| log.class == LogClass::Device).expect("is there");
    let (log, epoch, after) = (own.log, own.epoch, Hash::ZERO);
    let ask = Effect::Fetch(Fetch { log, epoch, from: 0, after, bytes_max: 1 });
    let first = hub.perform(now(5), vec![(device.id(), ask)]).expect("reads").remove(0);
    let Reply::Fetched(burst) = first else { panic!("{first:?}") };
    assert_eq!(burst.batches.len(), 1, "that there is such a log");
    device.perform(now(5), Effect::Persist(burst)).expect("takes it");
    assert!(hello(&device).enrolment.is_none(), "that is no enrolment");
    talk(&mut device, &mut hub);
    let proven = hub.enrolled_once(&hello(&device));
    assert_eq!(proven.map(|(id, name, _)| (id, name)), Some((device.id(), "a".into())));
    let shown = hello(&device).enrolment.expect("is there");
    assert_eq!(shown.renewed, None, "its keys are its first");
    let commit = hub.last_commit();
    assert_eq!(hub.restart(now(20)).last_commit(), commit, "and is told once");
}

/// All that its cloud told it before it was ever linked is one burst, which one head closes.
#[test]
fn a_proof_that_is_too_long_for_a_hello_is_not_shown() {
    for (told, shown) in [(2, true), (u8::MAX, false)] {
        let mut hub = hub();
        let mut device = enrol(&mut hub, "a", 11);
        for number in 0..told {
            hub.forget(now(4), SubjectId([number; 16]), Vec::new()).expect("forgets");
        }
        talk(&mut device, &mut hub);
        assert_eq!(hello(&device).enrolment.is_some(), shown, "{told} batches more");
    }
}

#[test]
fn nobody_comes_back_but_by_our_signature_over_both_keys() {
    let mut hub = hub();
    let root = hub.root().expect("reads");
    let (mut a, mut b) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    talk(&mut a, &mut hub);
    talk(&mut b, &mut hub);
    let (good, others) = (hello(&a), hello(&b));
    let tls = Hash([11; 32]);
    let healthy = hub.readmit(now(30), &Hello { ..good.clone() }, Hash([66; 32]));
    assert!(healthy.is_err(), "a cloud that lost nothing lets nobody in");

    let mut hub = rebuilt(root.clone(), 40);
    let mut refused = |what: &str, hello: Hello, tls: Hash| {
        let told = hub.readmit(now(41), &hello, tls).expect_err(what).to_string();
        assert!(told.starts_with("no device with this certificate"), "{what}: {told}");
        assert!(hub.fleet().devices().is_empty(), "{what}");
    };
    refused("a stranger", Hello { enrolment: None, ..good.clone() }, tls);
    refused("another certificate", good.clone(), Hash([12; 32]));
    refused("another's proof", Hello { enrolment: others.enrolment, ..good.clone() }, tls);
    refused("another's proof and name", Hello { device: a.id(), ..hello(&b) }, Hash([12; 32]));
    let proof = good.enrolment.clone().expect("is there");
    let mut forged = proof.clone();
    forged.head = Signer::from_seed(&[66; 32]).sign_head(TENANT, proof.head.head);
    refused("another cloud's", Hello { enrolment: Some(forged), ..good.clone() }, tls);
    let mut other_tenant = proof.clone();
    other_tenant.head = Signer::from_seed(&SEED).sign_head(TenantId([9; 16]), proof.head.head);
    refused("another tenant's", Hello { enrolment: Some(other_tenant), ..good.clone() }, tls);
    let mut short = proof.clone();
    short.batches.pop();
    refused("a part of it", Hello { enrolment: Some(short), ..good.clone() }, tls);
    let mut turned = proof.clone();
    turned.batches.reverse();
    refused("another order", Hello { enrolment: Some(turned), ..good.clone() }, tls);
    for at in 0..proof.batches[1].0.len() {
        let mut changed = proof.clone();
        changed.batches[1].0[at] ^= 1;
        refused("a changed byte", Hello { enrolment: Some(changed), ..good.clone() }, tls);
    }
    hub.readmit(now(42), &good, tls).expect("nobody but the device itself");
    hub.readmit(now(43), &good, tls).expect_err("and once");
    let foreign = Signer::from_seed(&[66; 32]);
    let made = rebuild((TENANT, &foreign), &mut MemoryStore::default(), root, now(1), [1; 32]);
    made.expect_err("another cloud's identity makes none of it");
}

#[test]
fn a_retired_device_comes_back_retired_for_its_log_says_so() {
    let mut hub = hub();
    let root = hub.root().expect("reads");
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    hub.retire(now(20), device.id(), "closed".into()).expect("retires");
    talk(&mut device, &mut hub);
    device.seal(now(21)).expect("seals its last events");
    talk(&mut device, &mut hub);
    let mut hub = rebuilt(root, 40);
    come_back(&mut hub, &mut device, 11);
    let record = hub.fleet().device(device.id()).expect("is known");
    assert_eq!(record.standing, Standing::Retired);
    hub.accept_loss(now(60)).expect("accepts");
    assert!(hub.is_drained(device.id()).expect("reads"));
}

#[test]
fn who_comes_later_waits_for_an_administrator() {
    let hinted = |hub: &TestHub| hub.unknown_device().to_string().contains("--await-devices");
    let mut hub = hub();
    assert!(!hub.may_have_forgotten() && !hinted(&hub), "it lost nothing");
    let root = hub.root().expect("reads");
    let mut late = enrol(&mut hub, "a", 11);
    record_and_sync(&mut late, &mut hub, 5);
    let mut hub = rebuilt(root, 40);
    assert!(hub.may_have_forgotten() && !hinted(&hub), "it lets devices come back");
    hub.accept_loss(now(41)).expect("accepts");
    assert!(hub.may_have_forgotten() && hinted(&hub));
    assert!(hub.counts().newest_card().is_some(), "nobody gave a rate card back");
    enrol(&mut hub, "a", 33); // has the name by now
    let told = hub.readmit(now(42), &hello(&late), Hash([11; 32])).expect_err("is over");
    assert!(told.to_string().contains("--await-devices"), "{told}");
    hub.await_devices(now(43)).expect("freezes again");
    assert!(hub.restart(now(44)).recovery().expect("is frozen").awaiting);
    come_back(&mut hub, &mut late, 11);
    let name = hub.fleet().device(late.id()).expect("is known").name.clone();
    assert!(name.starts_with("a.") && name.len() == 10, "{name}");
    hub.accept_loss(now(60)).expect("accepts");
    assert_eq!(hub.counts().usage().values().map(|usage| usage.captured).sum::<u64>(), 5);
    capture(&mut late, 2, 61);
    late.seal(now(62)).expect("seals");
    talk(&mut late, &mut hub);
    assert_eq!(hub.counts().usage().values().map(|usage| usage.captured).sum::<u64>(), 7);
}

/// Those enrolled since the backup that a cloud was restored from had to be enrolled again.
#[test]
fn a_device_enrolled_since_the_backup_comes_back_too() {
    let mut hub = hub();
    let mut old = enrol(&mut hub, "old", 11);
    talk(&mut old, &mut hub);
    let mut store = hub.store().clone();
    let mut new = enrol(&mut hub, "new", 12);
    record_and_sync(&mut new, &mut hub, 5);
    crate::hub::mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(20));
    assert!(!hub.recovery().expect("is frozen").awaiting);
    come_back(&mut hub, &mut new, 12);
    assert_eq!(hub.recovery().expect("is frozen").missing, [old.id()]);
    talk(&mut old, &mut hub);
    assert_eq!(hub.recovery(), None, "both reported");
    assert_eq!(hub.counts().usage().values().map(|usage| usage.captured).sum::<u64>(), 5);
}
