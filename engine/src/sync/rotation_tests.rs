//! A device's new keys: who signs before and after, what the cloud refuses, what a copy can do.
//!
//! Invariant: whatever is interrupted or lost, what the device recorded is at the cloud, counted
//! once; and who has only the old key adds nothing once the change is taken in.

use super::pair::{TENANT, TestDevice, capture, enrol, hub, noise, now, talk};
use super::{Effect, Fetch, Reply};
use crate::counts::Counts;
use crate::device::Rotation;
use crate::hub::{Hub, mark_restored};
use crate::keys::Signer;
use crate::log::{Tip, seal};
use crate::merge::{Burst, Refusal};
use crate::store::rows::HeadRow;
use crate::store::{MemoryStore, Rows};
use core::ops::ControlFlow;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::{KeyRotated, LogClass};
use tallyroll_schema::{Event, Hash, Record, Timestamp};

const NEXT: u8 = 91;

fn key(seed: u8) -> Signer {
    Signer::from_seed(&[seed; 32])
}

fn rotate(device: &mut TestDevice, at: u64) {
    device.rotate_keys(now(at), key(NEXT), Hash([NEXT; 32])).expect("rotates");
}

fn sync(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) {
    device.seal(now(900)).expect("seals");
    talk(device, hub);
}

fn captured(hub: &Hub<MemoryStore>) -> u64 {
    pages(hub.counts())
}

fn pages(counts: &Counts) -> u64 {
    counts.usage().values().map(|usage| usage.captured).sum()
}

fn assert_verifies(hub: &Hub<MemoryStore>) {
    for log in hub.logs().expect("reads") {
        let found = hub.verify_log(log.log, log.epoch, log.receipt.as_ref()).expect("reads");
        assert_eq!(found.wrong, None, "{:?}", log.class);
    }
}

/// A burst that goes on where the cloud's copy of the device's ledger ends.
fn after(hub: &Hub<MemoryStore>, signer: &Signer, batches: &[&[Event]]) -> Burst {
    let logs = hub.logs().expect("reads");
    let ledger = logs.iter().find(|log| log.class == LogClass::Ledger).expect("is there");
    let (log, epoch) = (ledger.log, ledger.epoch);
    let held = ledger.receipt.expect("is receipted").head;
    let mut tip = Tip { next_seq: held.position.seq + 1, hash: held.hash };
    let mut sealed = Vec::new();
    for events in batches {
        let encode = |event| Record::encode(event, Timestamp::default()).expect("encodes");
        let records: Vec<u8> = events.iter().flat_map(encode).collect();
        let batch = seal(log, epoch, tip.next_seq, events.len() as u32, &records).expect("seals");
        tip = tip.advance(TENANT, &batch, &records).expect("goes on");
        sealed.push(batch);
    }
    let head = signer.sign_head(TENANT, tip.head(log, epoch).expect("is there"));
    Burst { batches: sealed, head }
}

fn bring(hub: &mut Hub<MemoryStore>, device: &TestDevice, burst: Burst) -> Reply {
    let effects = vec![(device.id(), Effect::Persist(burst))];
    hub.perform(now(901), effects).expect("is performed").remove(0)
}

fn assert_poison(hub: &mut Hub<MemoryStore>, device: &TestDevice, burst: Burst, why: &str) {
    let mut hub = hub.restart(now(900)); // each tried by itself: an epoch has one entry
    match bring(&mut hub, device, burst) {
        Reply::Refused { refusal: Refusal::Quarantined { reason, .. }, .. } => {
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("{why}: {other:?}"),
    }
}

fn heartbeat() -> Event {
    HeartbeatSent { uptime_seconds: 1 }.into()
}

fn rotated(hub: &Hub<MemoryStore>, old: &Signer, new: &Signer) -> KeyRotated {
    let logs = hub.logs().expect("reads");
    let log = logs.iter().find(|log| log.class == LogClass::Ledger).expect("is there").log;
    let consent = new.sign_consent(TENANT, log, &old.public_key());
    KeyRotated { writer: new.public_key(), consent, tls_fingerprint: None }
}

#[test]
fn the_old_key_signs_before_and_the_new_one_after() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    sync(&mut device, &mut hub);
    capture(&mut device, 2, 11);
    assert_eq!(device.rotation().expect("reads"), Rotation::None);
    rotate(&mut device, 12);
    rotate(&mut device, 12); // does nothing more
    assert_eq!(device.rotation().expect("reads"), Rotation::Written);
    let mut device = device.restart(now(13));
    let other = device.rotate_keys(now(13), key(92), Hash([92; 32])).expect_err("one at a time");
    assert!(other.to_string().contains("being changed already"), "{other}");
    capture(&mut device, 4, 14);
    sync(&mut device, &mut hub);
    assert_eq!(captured(&hub), 7);
    assert_eq!(device.counts(), hub.counts());
    assert_eq!(device.rotation().expect("reads"), Rotation::Confirmed);
    assert_eq!(
        hub.fleet().device(device.id()).expect("is known").signing_key,
        key(NEXT).public_key()
    );

    device.drop_old_keys().expect("reads");
    let (mut device, mut hub) = (device.restart(now(20)), hub.restart(now(20)));
    capture(&mut device, 8, 21);
    sync(&mut device, &mut hub);
    assert_eq!(captured(&hub), 15);
    assert_verifies(&hub);
    assert_eq!(hub.quarantine().expect("reads"), []);
    // And once more.
    device.rotate_keys(now(30), key(92), Hash([92; 32])).expect("rotates");
    capture(&mut device, 16, 31);
    assert_eq!(pages(device.counts()), 31, "it goes on counting");
    sync(&mut device, &mut hub);
    assert_eq!((captured(&hub), device.rotation().expect("reads")), (31, Rotation::Confirmed));
    assert_verifies(&hub);
}

#[test]
fn the_old_key_is_worth_nothing_afterwards() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    sync(&mut device, &mut hub);
    let before = after(&hub, &key(11), &[&[heartbeat()]]);
    rotate(&mut device, 12);
    sync(&mut device, &mut hub);
    let stolen = after(&hub, &key(11), &[&[heartbeat()]]);
    assert_poison(&mut hub, &device, stolen, "not signed by the log's writer");
    let own = after(&hub, &key(NEXT), &[&[heartbeat()]]);
    assert!(matches!(
        bring(&mut hub, &device, before),
        Reply::Refused { refusal: Refusal::Fork { .. }, .. }
    ));
    assert!(matches!(bring(&mut hub, &device, own), Reply::Persisted { .. }));
}

#[test]
fn a_change_without_consent_or_to_a_key_it_had_or_with_more_behind_it_is_poison() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    sync(&mut device, &mut hub);
    let (old, new) = (key(11), key(NEXT));
    let good = rotated(&hub, &old, &new);
    let unwilling = KeyRotated { consent: rotated(&hub, &new, &new).consent, ..good.clone() };
    let same = rotated(&hub, &old, &old);
    let [good, unwilling, same] = [good, unwilling, same].map(Event::from);
    let mut poison = |signer: &Signer, batches: &[&[Event]], why: &str| {
        let burst = after(&hub, signer, batches);
        assert_poison(&mut hub, &device, burst, why);
    };
    poison(&old, &[&[unwilling]], "does not consent");
    poison(&old, &[&[same]], "the log has had");
    let alone = core::slice::from_ref(&good);
    poison(&new, &[alone], "not signed by the log's writer");
    poison(&new, &[&[good.clone(), heartbeat()]], "ends its burst");
    poison(&new, &[alone, &[heartbeat()]], "ends its burst");
    poison(&old, &[alone, alone], "ends its burst");
    let burst = after(&hub, &old, &[&[heartbeat(), good]]);
    assert!(matches!(bring(&mut hub, &device, burst), Reply::Persisted { .. }));
    let back = rotated(&hub, &new, &old).into();
    let burst = after(&hub, &new, &[&[back]]);
    assert_poison(&mut hub, &device, burst, "the log has had");
}

#[test]
fn a_certificate_of_another_device_is_no_new_one() {
    let mut hub = hub();
    let (mut a, _b) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    sync(&mut a, &mut hub);
    let theirs =
        KeyRotated { tls_fingerprint: Some(Hash([12; 32])), ..rotated(&hub, &key(11), &key(NEXT)) };
    let burst = after(&hub, &key(11), &[&[theirs.into()]]);
    assert_poison(&mut hub, &a, burst, "another device's");
    let own =
        KeyRotated { tls_fingerprint: Some(Hash([11; 32])), ..rotated(&hub, &key(11), &key(NEXT)) };
    let burst = after(&hub, &key(11), &[&[own.into()]]);
    assert!(matches!(bring(&mut hub, &a, burst), Reply::Persisted { .. }), "its own may stay");
}

#[test]
fn the_old_certificate_is_good_until_the_new_one_was_shown() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let (old, new) = (Hash([11; 32]), Hash([NEXT; 32]));
    rotate(&mut device, 12);
    assert!(hub.recognise(now(12), &new).expect("reads").is_none(), "not before it was taken in");
    sync(&mut device, &mut hub);
    let commit = hub.last_commit();
    hub.recognise(now(13), &old).expect("reads").expect("still");
    let mut hub = hub.restart(now(14));
    hub.recognise(now(14), &old).expect("reads").expect("still");
    assert_eq!((hub.last_commit(), hub.shown_before(&old)), (commit, None));
    assert_eq!(hub.recognise(now(15), &new).expect("reads").expect("is known").0, device.id());
    let commit = hub.last_commit();
    hub.recognise(now(15), &new).expect("reads").expect("is known");
    assert_eq!(hub.last_commit(), commit, "that is noted once");
    assert_eq!(hub.shown_before(&old), Some((device.id(), "branch-1".into())));
    assert_eq!(hub.shown_before(&new), None);
    let refused = hub.recognise(now(16), &old).expect_err("no more").to_string();
    assert!(refused.contains("shows others") && refused.contains("backup made since"), "{refused}");
    let mut hub = hub.restart(now(17));
    assert!(hub.recognise(now(18), &old).is_err(), "after a restart, too");
    hub.recognise(now(18), &new).expect("reads").expect("is known");
}

/// Its history from before is the same, and what it adds is kept apart: nothing is lost or counted.
#[test]
fn a_copy_from_before_the_change_is_kept_apart() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    sync(&mut device, &mut hub);
    let mut old = device.copy(now(11));
    let mut moved = device.moved_copy(now(11), Hash([77; 32]));
    capture(&mut device, 2, 12);
    rotate(&mut device, 12);
    sync(&mut device, &mut hub);
    capture(&mut old, 4, 13);
    capture(&mut moved, 8, 13);
    sync(&mut old, &mut hub);
    sync(&mut moved, &mut hub);
    assert_eq!(captured(&hub), 3);
    let kept = hub.quarantine().expect("reads");
    assert!(kept.iter().all(|kept| kept.entry.reason.contains("from before")), "{kept:?}");
    assert!(kept.len() >= 2, "{kept:?}");
    let refused = hub.release(now(14), kept[0].entry.id, "ours".into()).expect_err("never");
    assert!(refused.to_string().contains("from before"), "{refused}");
    // The device itself goes on, undisturbed.
    capture(&mut device, 16, 20);
    sync(&mut device, &mut hub);
    assert_eq!((captured(&hub), device.rotation().expect("reads")), (19, Rotation::Confirmed));
    assert_verifies(&hub);
}

#[test]
fn a_copy_from_after_the_change_goes_on_with_the_new_key() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    rotate(&mut device, 11);
    sync(&mut device, &mut hub);
    device.drop_old_keys().expect("reads");
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    let mut perfect = device.copy(now(12));
    for (copy, pages) in [(&mut moved, 2), (&mut perfect, 4), (&mut device, 8)] {
        capture(copy, pages, 13);
        sync(copy, &mut hub);
        sync(copy, &mut hub);
    }
    assert_eq!(captured(&hub), 15);
    assert_eq!(hub.quarantine().expect("reads"), []);
    assert_verifies(&hub);
}

/// It was restored, or copied elsewhere, before the cloud had heard of the change.
#[test]
fn a_copy_from_before_the_change_was_heard_of_goes_on_too() {
    for linked_since in [false, true] {
        let mut hub = hub();
        let mut device = enrol(&mut hub, "branch-1", 11);
        capture(&mut device, 1, 10);
        sync(&mut device, &mut hub);
        rotate(&mut device, 11);
        capture(&mut device, 2, 12);
        let mut moved = device.moved_copy(now(13), Hash([77; 32]));
        if linked_since {
            sync(&mut device, &mut hub);
            device.drop_old_keys().expect("reads");
        }
        capture(&mut moved, 4, 14);
        for at in 0..3 {
            let before = moved.rotation().expect("reads");
            if before == Rotation::Prepared {
                rotate(&mut moved, 15 + at);
            }
            sync(&mut moved, &mut hub);
        }
        assert_eq!(captured(&hub), 7, "{linked_since}");
        assert_eq!(moved.rotation().expect("reads"), Rotation::Confirmed);
        assert_eq!(hub.quarantine().expect("reads"), []);
        assert_verifies(&hub);
    }
}

/// The change lay in the part that another copy's history replaced: it is made again.
#[test]
fn a_change_that_was_set_aside_is_made_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    sync(&mut device, &mut hub);
    let mut copy = device.copy(now(10));
    capture(&mut device, 1, 11);
    rotate(&mut device, 12);
    capture(&mut device, 2, 13);
    capture(&mut copy, 4, 13);
    sync(&mut copy, &mut hub);
    sync(&mut device, &mut hub);
    assert_eq!(captured(&hub), 7);
    assert_eq!(hub.forks().expect("reads").iter().map(|fork| fork.resubmitted).sum::<u64>(), 2);
    assert_eq!(device.rotation().expect("reads"), Rotation::Prepared);
    rotate(&mut device, 14);
    capture(&mut device, 8, 15);
    sync(&mut device, &mut hub);
    assert_eq!((captured(&hub), device.rotation().expect("reads")), (15, Rotation::Confirmed));
    assert_verifies(&hub);
}

/// The old key is gone by then; the heads it signed at the change are not.
#[test]
fn a_cloud_that_lost_the_change_is_refilled() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut store = hub.store().clone();
    for round in 0..3 {
        capture(&mut device, 1, 10 + round);
        sync(&mut device, &mut hub);
    }
    rotate(&mut device, 20);
    capture(&mut device, 2, 21);
    sync(&mut device, &mut hub);
    device.drop_old_keys().expect("reads");
    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(30));
    assert_eq!(captured(&hub), 0);
    let position = device.offers().expect("reads")[0].head.position;
    let (log, epoch) = (position.log, position.epoch);
    let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 };
    let fetched = device.perform(now(31), Effect::Fetch(ask)).expect("reads");
    assert!(matches!(fetched, Reply::Fetched(_)), "{fetched:?}");
    let mut device = device.restart(now(32));
    sync(&mut device, &mut hub);
    assert_eq!(captured(&hub), 5);
    assert_verifies(&hub);
}

/// What an older key has signed stays signed by it.
#[test]
fn a_cloud_that_lost_two_changes_with_nothing_between_them_is_refilled() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut store = hub.store().clone();
    sync(&mut device, &mut hub);
    rotate(&mut device, 20);
    sync(&mut device, &mut hub);
    device.drop_old_keys().expect("reads");
    device.rotate_keys(now(30), key(92), Hash([92; 32])).expect("rotates");
    capture(&mut device, 2, 31);
    sync(&mut device, &mut hub);
    assert_verifies(&hub);
    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(40));
    sync(&mut device, &mut hub);
    assert_eq!((captured(&hub), hub.quarantine().expect("reads").len()), (2, 0));
    assert_verifies(&hub);
}

/// What the old key has to sign is cut into bursts that the cloud takes, some batches each.
#[test]
fn a_long_history_that_was_never_sent_is_signed_by_the_old_key_in_pieces() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    sync(&mut device, &mut hub);
    for number in 0..80 {
        device.commit(now(10), &[(LogClass::Ledger, noise(number))]).expect("commits");
        device.seal(now(10)).expect("seals");
    }
    capture(&mut device, 2, 11);
    rotate(&mut device, 12);
    let ledger = device.status().expect("reads").logs[0].log;
    let (mut heads, rows) = (Vec::new(), Rows::new(TENANT, device.store()));
    rows.scan::<HeadRow>(ledger.as_bytes(), ledger.as_bytes(), &mut |_, HeadRow(head)| {
        heads.push(head.head.position.seq);
        Ok(ControlFlow::Continue(()))
    })
    .expect("reads");
    let unsent: Vec<_> = heads.iter().filter(|seq| **seq > 1).collect();
    assert!((7..=9).contains(&unsent.len()), "half a burst each, and the change: {heads:?}");
    let pieces = unsent.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(pieces.is_some_and(|batches| (11..=14).contains(&batches)), "{heads:?}");

    let mut device = device.restart(now(13));
    capture(&mut device, 4, 14);
    sync(&mut device, &mut hub);
    assert_eq!(captured(&hub), 6);
    let durable = device.status().expect("reads").logs[0].clone();
    assert_eq!(durable.durable_cloud, durable.durable_local);
    assert_verifies(&hub);
}
