//! Devices that changed their keys, and a cloud that lost that.
//!
//! Invariant: a device comes back by the keys of today, by what the cloud wrote of them into its log;
//! who has those from before gives way to it; and a cloud that lost nothing notices nothing.

use super::pair::{TENANT, TestDevice, enrol, hub, now, talk};
use super::rebuilt_tests::{TestHub, hello, rebuilt, record_and_sync};
use super::{Effect, Fetch, Reply};
use crate::hub::{Root, mark_restored};
use crate::keys::Signer;
use tallyroll_schema::wire::{EnrolmentProof, Hello};
use tallyroll_schema::{Hash, SubjectId};

fn change_keys(device: &mut TestDevice, hub: &mut TestHub, seed: u8, at: u64) {
    let next = Signer::from_seed(&[seed; 32]);
    device.rotate_keys(now(at), next, Hash([seed; 32])).expect("rotates");
    device.seal(now(at)).expect("seals");
    assert!(!device.can_prove_next_keys().expect("reads"));
    talk(device, hub);
    talk(device, hub); // hears what was written when the change was taken in
    assert!(device.can_prove_next_keys().expect("reads"));
    device.drop_old_keys().expect("is confirmed");
}

/// A device that changed its keys, and who copied it before, keys and all; and what its cloud is made anew of.
fn stolen_before_a_change() -> (TestHub, Root, TestDevice, TestDevice) {
    let mut hub = hub();
    let root = hub.root().expect("reads");
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    let thief = device.copy(now(11));
    change_keys(&mut device, &mut hub, 21, 12);
    (hub, root, device, thief)
}

/// The proof was of the first keys alone: whoever had ever changed its keys was locked out.
#[test]
fn a_device_that_changed_its_keys_comes_back_by_those_of_today() {
    let mut hub = hub();
    let root = hub.root().expect("reads");
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    let first = hello(&device);
    change_keys(&mut device, &mut hub, 21, 12);
    let second = hello(&device);
    change_keys(&mut device, &mut hub, 31, 13);
    record_and_sync(&mut device, &mut hub, 2);
    let commit = hub.last_commit();
    assert_eq!(hub.restart(now(20)).last_commit(), commit, "it is told once");
    let [a, b, c] = [11, 21, 31].map(|seed| Hash([seed; 32]));

    let mut hub = rebuilt(root.clone(), 40);
    let newest = hello(&device);
    for (what, hello, tls) in [
        ("a certificate from before", &newest, a),
        ("the one between", &newest, b),
        ("a newer one than what it shows", &second, c),
        ("a newer one than it ever heard of", &first, c),
    ] {
        let told = hub.readmit(now(41), hello, tls).expect_err(what).to_string();
        assert!(told.contains("does not prove"), "{what}: {told}");
    }
    let proof = newest.enrolment.as_ref().expect("is there");
    let renewed = proof.renewed.as_ref().expect("names the keys of today");
    assert!(proof.len() < 2_048, "{} bytes in each HELLO", proof.len());
    let mut forged = (**renewed).clone();
    forged.after = Hash([9; 32]);
    let mut foreign = (**renewed).clone();
    foreign.head = Signer::from_seed(&[66; 32]).sign_head(TENANT, renewed.head.head);
    let mut empty = (**renewed).clone();
    empty.batches.clear();
    for renewed in [forged, foreign, empty] {
        let proof = Some(EnrolmentProof { renewed: Some(renewed.into()), ..proof.clone() });
        let shown = Hello { enrolment: proof, ..newest.clone() };
        hub.readmit(now(41), &shown, c).expect_err("is none of ours");
    }
    hub.readmit(now(42), &newest, c).expect("by the keys of today");
    let proven = hub.fleet().device(device.id()).expect("is back").proven;
    assert_eq!(proven, Some(c), "until its ledger brings that change");
    talk(&mut device, &mut hub);
    hub.accept_loss(now(60)).expect("accepts");
    record_and_sync(&mut device, &mut hub, 1);
    let captured = hub.counts().usage().values().map(|usage| usage.captured).sum::<u64>();
    assert_eq!(captured, 8);
    for old in [&first, &second] {
        hub.readmit(now(61), old, b).expect_err("and nobody by those before");
    }
}

/// Whoever stole keys before they were changed, and is there first, is nobody once the device itself comes.
#[test]
fn who_has_keys_from_before_a_change_gives_way_to_who_has_those_of_today() {
    let mut hub = hub();
    let root = hub.root().expect("reads");
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    let [a, b, c] = [11, 21, 31].map(|seed| Hash([seed; 32]));
    let stolen = hello(&device);
    change_keys(&mut device, &mut hub, 21, 12);
    let stolen_later = hello(&device);
    change_keys(&mut device, &mut hub, 31, 13);

    let mut hub = rebuilt(root, 40);
    hub.readmit(now(41), &stolen, a).expect("it cannot be known");
    hub.readmit(now(42), &hello(&device), c).expect("its own word is the newest");
    hub.readmit(now(43), &stolen_later, b).expect_err("is older than that");
    hub.readmit(now(44), &hello(&device), c).expect_err("and once");
    let id = device.id();
    let found = hub.recognise(now(45), &c).expect("is its").map(|(device, _)| device);
    assert_eq!(found, Some(id));
    hub.recognise(now(46), &a).expect_err("is from before");
    talk(&mut device, &mut hub);
    let before = hub.fleet().clone();
    hub.accept_loss(now(60)).expect("accepts");
    let mut hub = hub.restart(now(61));
    assert_eq!(hub.fleet(), &before);
    hub.revoke(now(62), id, "stolen".into()).expect("revokes");
}

/// The accounts of a backup know the device by the keys that it had then.
#[test]
fn a_cloud_put_back_from_before_a_change_of_keys_takes_the_device_back() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    let mut store = hub.store().clone();
    change_keys(&mut device, &mut hub, 21, 12);
    let between = hello(&device);
    change_keys(&mut device, &mut hub, 31, 13);
    record_and_sync(&mut device, &mut hub, 2);
    let [b, c] = [21, 31].map(|seed| Hash([seed; 32]));
    hub.readmit(now(19), &hello(&device), c).expect_err("this one lost nothing");
    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(20));
    hub.readmit(now(21), &hello(&device), b).expect_err("is not what it shows");
    hub.readmit(now(22), &hello(&device), c).expect("by the keys of today");
    hub.readmit(now(23), &between, b).expect_err("is older than that");
    talk(&mut device, &mut hub);
    assert_eq!(hub.recovery(), None, "it reported");
    let record = hub.fleet().device(device.id()).expect("is known");
    assert_eq!((record.name.as_str(), record.tls_fingerprint), ("a", c));
    assert!(record.readmitted.is_some(), "on its own evidence");
    record_and_sync(&mut device, &mut hub, 1);
    assert_eq!(hub.counts().usage().values().map(|usage| usage.captured).sum::<u64>(), 8);
}

/// What the cloud writes about new keys was taken for something that the device gave back, which froze it.
#[test]
fn a_change_of_keys_freezes_nothing() {
    for restarted in [false, true] {
        let mut hub = hub();
        let (mut a, mut b) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
        record_and_sync(&mut a, &mut hub, 5);
        if restarted {
            talk(&mut b, &mut hub);
            hub = hub.restart(now(11)); // nobody has told anything to this one
        }
        let epochs = |hub: &TestHub| -> Vec<_> {
            hub.logs().expect("lists").iter().map(|log| (log.log, log.epoch)).collect()
        };
        let before = epochs(&hub);
        change_keys(&mut a, &mut hub, 21, 12);
        assert_eq!((hub.recovery(), epochs(&hub)), (None, before));
        assert!(!hub.may_have_forgotten());
    }
}

/// The ledger of a device that has proven its keys brings the changes up to them again, one after the other.
#[test]
fn what_was_proven_is_not_undone_by_the_changes_on_the_way_to_it() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    let mut store = hub.store().clone();
    change_keys(&mut device, &mut hub, 21, 12);
    change_keys(&mut device, &mut hub, 31, 13);
    record_and_sync(&mut device, &mut hub, 2);
    let [b, c, d] = [21, 31, 41].map(|seed| Hash([seed; 32]));
    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(20));
    hub.readmit(now(21), &hello(&device), c).expect("by the keys of today");

    // The line breaks after the first change.
    let held = hub.opening(device.id()).expect("reads").held;
    let ledger = device.status().expect("reads").logs[0].clone();
    let (place, tip) = held
        .into_iter()
        .find(|((log, epoch), _)| (*log, *epoch) == (ledger.log, ledger.epoch))
        .expect("is held");
    let (log, epoch) = place;
    let (from, after, bytes_max) = (tip.next_seq, tip.hash, 1 << 20);
    let ask = Fetch { log, epoch, from, after, bytes_max };
    let Reply::Fetched(burst) = device.perform(now(22), Effect::Fetch(ask)).expect("reads") else {
        panic!("sends nothing")
    };
    let brought = hub.perform(now(22), vec![(device.id(), Effect::Persist(burst))]);
    assert!(matches!(brought.expect("takes it").as_slice(), [Reply::Persisted { .. }]));
    assert_eq!(hub.shown_before(&b).expect("was its").0, device.id(), "the change is there");
    hub.recognise(now(23), &b).expect_err("is from before");
    assert!(hub.recognise(now(24), &c).expect("is its").is_some());
    let mut hub = hub.restart(now(25));
    talk(&mut device, &mut hub);
    hub.recognise(now(26), &b).expect_err("is from before");
    change_keys(&mut device, &mut hub, 41, 30);
    assert!(hub.recognise(now(31), &d).expect("a later change counts").is_some());
    hub.recognise(now(32), &c).expect_err("is from before");
}

/// It asked whether any word in the log names the keys, and the newest named others.
#[test]
fn the_newest_word_in_a_devices_log_is_of_the_keys_that_hold() {
    let (_, root, mut device, mut thief) = stolen_before_a_change();
    let [a, b, c] = [11, 21, 31].map(|seed| Hash([seed; 32]));

    let mut hub = rebuilt(root, 40);
    hub.readmit(now(41), &hello(&thief), a).expect("it cannot be known");
    thief.rotate_keys(now(42), Signer::from_seed(&[31; 32]), c).expect("rotates");
    thief.seal(now(42)).expect("seals");
    talk(&mut thief, &mut hub);
    assert!(!thief.can_prove_next_keys().expect("reads"), "while the cloud is frozen");
    hub.accept_loss(now(43)).expect("accepts");
    talk(&mut thief, &mut hub);
    assert!(thief.can_prove_next_keys().expect("reads"), "by the thaw");
    hub.await_devices(now(44)).expect("freezes");
    assert!(hub.recognise(now(45), &c).expect("is the thief's").is_some());
    hub.readmit(now(46), &hello(&device), b).expect("its word is later than what the thief showed");
    talk(&mut device, &mut hub);
    hub.accept_loss(now(47)).expect("accepts");
    talk(&mut device, &mut hub);
    let provable = device.provable_keys().expect("reads").map(|(_, tls)| tls);
    assert_eq!(provable, Some(b));
}

/// Its disk was put back in place, which nobody can see, and no other device held more than it did.
#[test]
fn who_shows_what_a_cloud_must_have_lost_freezes_it() {
    let mut hub = hub();
    let mut old = enrol(&mut hub, "old", 11);
    record_and_sync(&mut old, &mut hub, 5);
    let store = hub.store().clone();
    change_keys(&mut old, &mut hub, 21, 12);
    let mut new = enrol(&mut hub, "new", 13);
    record_and_sync(&mut new, &mut hub, 3);
    let [changed, joined] = [21, 13].map(|seed| Hash([seed; 32]));
    for (first, told) in [(true, false), (false, false), (true, true), (false, true)] {
        let (device, tls, late, late_tls) = match first {
            true => (&mut old, changed, hello(&new), joined),
            false => (&mut new, joined, hello(&old), changed),
        };
        let mut hub = hub.restart_on(store.clone(), now(20));
        assert_eq!(hub.recovery(), None, "nothing was seen");
        if told {
            // It stands in the next epoch of each device's log.
            hub.forget(now(20), SubjectId([9; 16]), Vec::new()).expect("forgets");
        }
        let stranger = Hello { enrolment: None, ..hello(device) };
        hub.readmit(now(21), &stranger, tls).expect_err("shows nothing");
        hub.readmit(now(21), &hello(device), Hash([66; 32])).expect_err("is not its");
        assert_eq!(hub.recovery(), None);
        hub.readmit(now(22), &hello(device), tls).expect("is evidence");
        let why = hub.recovery().expect("is frozen").why;
        assert!(why.contains("later than this cloud knows"), "{why}");
        talk(device, &mut hub);
        match first {
            true => assert_eq!(hub.recovery(), None, "it is all that this cloud knows of"),
            false => hub.accept_loss(now(30)).expect("accepts"),
        }
        hub.readmit(now(31), &late, late_tls).expect_err("waits for an administrator");
        assert_eq!(hub.recovery(), None, "what was accepted to be lost is no news");
    }
}

/// It stayed linked for ever with events to go, and nobody was told why.
#[test]
fn a_device_whose_place_another_ones_keys_took_says_so() {
    let (mut hub, root, mut device, mut thief) = stolen_before_a_change();
    record_and_sync(&mut device, &mut hub, 2);
    assert!(!device.status().expect("reads").keys_lost);
    let mut hub = rebuilt(root, 40);
    hub.readmit(now(41), &hello(&thief), Hash([11; 32])).expect("it cannot be known");
    record_and_sync(&mut thief, &mut hub, 50);
    hub.readmit(now(42), &hello(&device), Hash([21; 32])).expect("its own word is the newest");
    let late = hub.readmit(now(43), &hello(&thief), Hash([11; 32])).expect_err("is from before");
    assert!(late.to_string().contains("keys of this device, a, were changed"), "{late}");
    for at in 44..50 {
        device.seal(now(at)).expect("seals");
        talk(&mut device, &mut hub);
    }
    for kept in hub.quarantine().expect("reads") {
        hub.discard(now(50), kept.entry.id, "nobody's".into()).expect("discards");
    }
    for at in 51..55 {
        talk(&mut device, &mut hub);
        device = device.restart(now(at));
    }
    assert!(device.status().expect("reads").keys_lost);
}

/// Its cloud was put back in its place: what it tells now stands in an earlier epoch than what it had told by a clock
/// that was months ahead.
#[test]
fn what_is_shown_is_of_the_latest_epoch_and_not_of_the_last_to_arrive() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    record_and_sync(&mut device, &mut hub, 5);
    let store = hub.store().clone();
    let ledger = device.status().expect("reads").logs[0].clone();
    let held = ledger.receipt.expect("is receipted").head;
    device.rotate_keys(now(12), Signer::from_seed(&[21; 32]), Hash([21; 32])).expect("rotates");
    let (log, epoch, from, after) = (ledger.log, ledger.epoch, held.position.seq + 1, held.hash);
    let ask = Effect::Fetch(Fetch { log, epoch, from, after, bytes_max: 1 << 20 });
    let Reply::Fetched(changed) = device.perform(now(12), ask).expect("reads") else {
        panic!("sends nothing")
    };
    let mut heard = |at: u64| {
        let mut hub = hub.restart_on(store.clone(), now(at));
        // The device has yet to tell what it holds: this stands in an epoch of its own.
        let brought = vec![(device.id(), Effect::Persist(changed.clone()))];
        hub.perform(now(at), brought).expect("takes it");
        let (log, epoch) = hub.log_about(device.id()).expect("has one");
        let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
        let told = hub.perform(now(at), vec![(device.id(), Effect::Fetch(ask))]);
        let Reply::Fetched(burst) = told.expect("reads").remove(0) else { panic!("tells nothing") };
        device.perform(now(at), Effect::Persist(burst)).expect("takes it");
        let renewed = hello(&device).enrolment.and_then(|proof| proof.renewed);
        (epoch, renewed.expect("names the keys of today").head.head.position.epoch)
    };
    let (ahead, shown) = heard(9_000_000);
    assert_eq!(shown, ahead);
    let (behind, shown) = heard(20);
    assert!(behind.counter < ahead.counter, "{behind} before {ahead}");
    assert_eq!(shown, ahead);
}
