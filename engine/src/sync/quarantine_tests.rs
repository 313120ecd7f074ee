//! What is not taken in: poison, another's log, what a revoked device still brings; and the end
//! of a retired device.
//!
//! Invariant: what is in quarantine is in no figure, stops nothing but its own epoch, and is
//! counted once when it is released; what it costs the cloud is bounded.

use super::pair::{TestDevice, capture, enrol, hub, now, talk};
use super::{Effect, Fetch, Reply};
use crate::device::{LogStatus, Retirement};
use crate::hub::{Hub, Quarantined};
use crate::log::{open, seal};
use crate::merge::{Burst, Refusal};
use crate::store::MemoryStore;
use crate::store::rows::DiscardedRow;
use crate::{Error, Kind};
use core::ops::ControlFlow;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::QUARANTINE_ENTRIES_MAX;
use tallyroll_schema::wire::Message;
use tallyroll_schema::{Event, Hash, Position, QuarantineId, Signature};

fn captured(hub: &Hub<MemoryStore>) -> u64 {
    hub.counts().usage().values().map(|usage| usage.captured).sum()
}

pub(super) fn capture_sealed(device: &mut TestDevice, pages: u32, at: u64) {
    capture(device, pages, at);
    device.seal(now(at)).expect("seals");
}

/// The ledger of a device as one burst, whole.
fn ledger(device: &mut TestDevice) -> Burst {
    let position = device.offers().expect("reads")[0].head.position;
    let (log, epoch) = (position.log, position.epoch);
    let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
    match device.perform(now(900), Effect::Fetch(ask)).expect("reads") {
        Reply::Fetched(burst) => burst,
        other => panic!("no ledger: {other:?}"),
    }
}

/// The same with a signature that is not the writer's.
pub(super) fn poisoned(device: &mut TestDevice) -> Burst {
    let mut burst = ledger(device);
    burst.head.signature = Signature([7; 64]);
    burst
}

/// The same with a bit of its first batch's records turned over, its head as it was signed.
fn damaged(device: &mut TestDevice) -> Burst {
    let mut burst = ledger(device);
    let batch = &burst.batches[0];
    let opened = open(batch.clone()).expect("opens");
    let Position { log, epoch, .. } = burst.head.head.position;
    let (header, mut records) = (*batch.header(), opened.records.to_vec());
    *records.last_mut().expect("has records") ^= 1;
    burst.batches[0] = seal(log, epoch, header.first_seq, header.count, &records).expect("seals");
    burst
}

pub(super) fn bring(hub: &mut Hub<MemoryStore>, device: &TestDevice, burst: Burst) -> Reply {
    let effects = vec![(device.id(), Effect::Persist(burst))];
    hub.perform(now(901), effects).expect("is performed").remove(0)
}

pub(super) fn only(hub: &Hub<MemoryStore>) -> Quarantined {
    let mut open = hub.quarantine().expect("reads");
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0)
}

/// The kinds of the quarantine's events in the accounts.
fn told(hub: &Hub<MemoryStore>) -> Vec<&'static str> {
    let mut told = Vec::new();
    for log in hub.logs().expect("reads") {
        hub.read_log(log.log, log.epoch, 0, &mut |_, record| {
            let event = record.event().expect("is known");
            told.extend(event.name().strip_prefix("quarantine."));
            ControlFlow::Continue(())
        })
        .expect("reads");
    }
    told
}

fn batches(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::Batch(_))).count()
}

/// The simulator damaged a batch that the cloud held already: it was taken for another history, and
/// an honest device for a copy. Only what its writer signed says that there are two.
#[test]
fn a_damaged_batch_at_a_place_that_is_filled_is_poison_and_no_fork() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    let whole = ledger(&mut device);
    assert!(matches!(bring(&mut hub, &device, whole), Reply::Persisted { .. }));
    let again = damaged(&mut device);
    let reply = bring(&mut hub, &device, again);
    assert!(
        matches!(&reply, Reply::Refused { refusal: Refusal::Quarantined { .. }, .. }),
        "{reply:?}"
    );
    assert_eq!(captured(&hub), 1);
}

#[test]
fn poison_stops_its_log_alone_until_it_is_discarded() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut other = enrol(&mut hub, "branch-2", 12);
    capture_sealed(&mut device, 1, 10);
    let poison = poisoned(&mut device);
    let reply = bring(&mut hub, &device, poison.clone());
    let Reply::Refused { refusal: Refusal::Quarantined { id, reason }, .. } = &reply else {
        panic!("{reply:?}");
    };
    assert!(reason.contains("not signed"), "{reason}");
    let entry = only(&hub);
    assert_eq!((&entry.entry.id, entry.device, entry.entry.count), (id, device.id(), 2));
    assert_eq!(hub.quarantined_bursts(&entry).expect("reads"), vec![poison.clone()]);

    let commit = hub.last_commit();
    assert_eq!(bring(&mut hub, &device, poison), reply, "it is told the same");
    assert_eq!(hub.last_commit(), commit, "and nothing more is written");
    let seen = talk(&mut device, &mut hub);
    assert_eq!(batches(&seen), 1, "its telemetry goes on, its ledger is not even asked for");
    capture_sealed(&mut other, 2, 12);
    talk(&mut other, &mut hub);
    assert_eq!(captured(&hub), 2);

    let mut hub = hub.restart(now(20));
    let refused = hub.release(now(21), entry.entry.id, "an upgrade".into());
    assert!(matches!(refused, Err(Error::Refused(Refusal::Poison(_)))), "{refused:?}");
    assert_eq!(only(&hub), entry, "nothing of it is lost");
    hub.discard(now(22), entry.entry.id, "its memory was broken".into()).expect("is discarded");
    assert!(hub.quarantine().expect("reads").is_empty());
    assert!(hub.quarantined_bursts(&entry).is_err(), "its bytes are gone");
    assert_eq!(told(&hub), ["opened", "discarded"]);
    talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), 3, "a sound history is taken in");
}

/// The simulator damaged an epoch that another one hangs on: an honest device was taken for a copy.
#[test]
fn what_hangs_on_poison_waits_with_it_and_is_no_fork() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    let mut device = device.moved_copy(now(11), Hash([77; 32])); // goes on in an epoch of its own
    let poison = poisoned(&mut device);
    let reply = bring(&mut hub, &device, poison);
    capture_sealed(&mut device, 2, 12);
    let next = device.offers().expect("reads")[1].head.position;
    let (log, epoch) = (next.log, next.epoch);
    let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
    let Reply::Fetched(burst) = device.perform(now(13), Effect::Fetch(ask)).expect("reads") else {
        panic!("it has this epoch");
    };
    let also = bring(&mut hub, &device, burst);
    let (Reply::Refused { refusal, .. }, Reply::Refused { refusal: same, .. }) = (&reply, &also)
    else {
        panic!("{reply:?} {also:?}");
    };
    assert_eq!(refusal, same, "it waits for the same decision");
    talk(&mut device, &mut hub);
    assert_eq!(device.offers().expect("reads").len(), 4, "two epochs of each log, and no more");
    hub.discard(now(22), only(&hub).entry.id, "its memory was broken".into()).expect("discards");
    talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), 3, "both are taken in");
}

#[test]
fn who_brings_anothers_log_does_not_stop_it() {
    let mut hub = hub();
    let (mut honest, mut thief) = (enrol(&mut hub, "honest", 11), enrol(&mut hub, "thief", 12));
    capture_sealed(&mut honest, 1, 10);
    bring(&mut hub, &thief, ledger(&mut honest));
    let entry = only(&hub);
    assert_eq!(entry.device, thief.id());
    assert!(entry.entry.reason.contains("its own ledger"), "{entry:?}");
    talk(&mut honest, &mut hub);
    capture_sealed(&mut thief, 2, 12);
    talk(&mut thief, &mut hub);
    assert_eq!(captured(&hub), 3, "neither's own log is stopped");
    hub.release(now(20), entry.entry.id, String::new()).expect_err("still another's");
}

#[test]
fn what_a_hostile_device_can_fill_is_bounded() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    let mut poison = poisoned(&mut device);
    let (mut effects, tries) = (Vec::new(), QUARANTINE_ENTRIES_MAX + 5);
    for counter in 0..tries {
        poison.head.head.position.log.0[0] = counter as u8;
        effects.push((device.id(), Effect::Persist(poison.clone())));
    }
    let replies = hub.perform(now(901), effects).expect("is performed");
    let full = |reply: &&Reply| {
        matches!(reply, Reply::Refused { refusal: Refusal::QuarantineFull(_), .. })
    };
    assert_eq!(replies.iter().filter(full).count(), 5);
    assert_eq!(hub.quarantine().expect("reads").len(), QUARANTINE_ENTRIES_MAX);
    assert_eq!(hub.quarantine_overflow(), 5);
    assert_eq!(told(&hub).len(), QUARANTINE_ENTRIES_MAX, "of one commit, and no more");
    assert!(hub.recovery().is_none(), "its own accounts were not given back to it");
}

#[test]
fn what_a_revoked_device_still_has_is_kept_apart_and_counts_once_when_released() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    talk(&mut device, &mut hub);
    capture_sealed(&mut device, 2, 11);
    hub.revoke(now(12), device.id(), "stolen".into()).expect("is revoked");
    let receipted = device.status().expect("reads").logs;
    let seen = talk(&mut device, &mut hub);
    assert_eq!((batches(&seen), captured(&hub)), (1, 1));
    assert_eq!(device.status().expect("reads").logs, receipted, "it is told nothing");
    assert_eq!(batches(&talk(&mut device, &mut hub)), 0, "it is asked once");
    capture_sealed(&mut device, 4, 13);
    let mut hub = hub.restart(now(14));
    talk(&mut device, &mut hub);
    let entry = only(&hub);
    assert_eq!((entry.entry.count, entry.entry.bursts, captured(&hub)), (2, 2, 1));
    assert_eq!(told(&hub), ["opened"], "one alarm");

    hub.release(now(15), entry.entry.id, "the office's own".into()).expect("is released");
    assert_eq!(captured(&hub), 7);
    talk(&mut device, &mut hub);
    let synced = |log: &LogStatus| log.durable_local == log.durable_cloud;
    assert!(device.status().expect("reads").logs.iter().all(synced), "it is told what counts");
    assert!(hub.quarantine().expect("reads").is_empty());
    let again = hub.release(now(16), entry.entry.id, String::new());
    assert_eq!(again.expect_err("is gone").kind(), Kind::Rejected);
    capture_sealed(&mut device, 8, 17);
    talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), 7, "only up to the head that was named");
    assert_eq!(only(&hub).entry.count, 1);
    let again = hub.restart(now(18));
    assert_eq!(again.counts().usage(), hub.counts().usage());
    assert_eq!(captured(&again), 7);
    let unknown = QuarantineId([9; 8]);
    let wrong = hub.discard(now(19), unknown, String::new()).expect_err("no such entry");
    assert!(wrong.to_string().contains("`tallyroll quarantine` lists"), "{wrong}");
}

/// What was discarded came back at once, for the device still had it.
#[test]
fn what_was_discarded_of_a_revoked_device_is_not_asked_for_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    talk(&mut device, &mut hub);
    capture_sealed(&mut device, 2, 11);
    hub.revoke(now(12), device.id(), "stolen".into()).expect("is revoked");
    talk(&mut device, &mut hub);
    let first = only(&hub).entry;
    hub.discard(now(13), first.id, "the thief's".into()).expect("is discarded");
    assert_eq!(batches(&talk(&mut device, &mut hub)), 0);
    assert!(hub.quarantine().expect("reads").is_empty());

    let mut hub = hub.restart(now(14));
    capture_sealed(&mut device, 4, 15);
    assert_eq!(batches(&talk(&mut device, &mut hub)), 1, "what comes after is kept apart anew");
    let second = only(&hub).entry;
    assert_eq!((second.first_seq, second.count), (first.head.position.seq + 1, 1));
    hub.discard(now(16), second.id, "too".into()).expect("is discarded");
    assert_eq!(batches(&talk(&mut device, &mut hub)), 0);
    let discarded = hub.discarded().expect("reads");
    let [one] = &discarded[..] else { panic!("{discarded:?}") };
    assert_eq!((one.device, one.log, one.epoch), (device.id(), first.log, first.epoch));
    let DiscardedRow { first_seq, count, head, .. } = one.row;
    assert_eq!((first_seq, count, head), (first.first_seq, 2, second.head));
    assert_eq!(captured(&hub), 1);
}

#[test]
fn a_retired_device_delivers_closes_its_logs_and_writes_nothing_more() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    talk(&mut device, &mut hub);
    capture_sealed(&mut device, 2, 11);
    hub.retire(now(12), device.id(), "closed down".into()).expect("is retired");
    assert!(!hub.is_drained(device.id()).expect("reads"));
    talk(&mut device, &mut hub);
    let standing = |device: &TestDevice| device.status().expect("reads").retired;
    assert_eq!(standing(&device), Some(Retirement::Draining));
    let pages = (LogClass::Ledger, Event::HeartbeatSent(sample()));
    let refused = device.commit(now(13), std::slice::from_ref(&pages)).expect_err("is refused");
    assert_eq!(refused.kind(), Kind::Rejected);
    assert!(refused.to_string().contains("is retired"), "{refused}");

    let mut device = device.restart(now(14));
    assert_eq!(standing(&device), Some(Retirement::Draining), "also after a restart");
    device.seal(now(15)).expect("seals");
    talk(&mut device, &mut hub);
    assert_eq!(standing(&device), Some(Retirement::Delivered));
    assert!(hub.is_drained(device.id()).expect("reads"));
    assert_eq!(captured(&hub), 3);
    let after = device.status().expect("reads").logs;
    let mut device = device.restart(now(16));
    assert!(!device.seal(now(17)).expect("seals"), "closed once");
    talk(&mut device, &mut hub);
    assert_eq!(device.status().expect("reads").logs, after);
    device.commit(now(18), &[pages]).expect_err("is refused for ever");
    let restarted = hub.restart(now(19));
    assert!(restarted.is_drained(device.id()).expect("reads"));
    assert_eq!(restarted.last_commit(), hub.last_commit(), "it was told once");
}

#[test]
fn nothing_is_taken_after_a_closed_logs_end() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    talk(&mut device, &mut hub);
    hub.retire(now(12), device.id(), String::new()).expect("is retired");
    talk(&mut device, &mut hub);
    device.seal(now(13)).expect("seals");
    talk(&mut device, &mut hub);
    assert!(hub.is_drained(device.id()).expect("reads"));
    device.write_anyway(now(14), Event::HeartbeatSent(sample()));
    device.seal(now(15)).expect("seals");
    let reply = bring(&mut hub, &device, ledger(&mut device.copy(now(16))));
    assert!(matches!(reply, Reply::Refused { refusal: Refusal::Closed { .. }, .. }), "{reply:?}");
    // A copy of the drained device on another machine begins an epoch after the end.
    let mut copy = device.moved_copy(now(20), Hash([8; 32]));
    let open = copy.offers().expect("reads");
    let next = open.iter().find(|offer| offer.head.position.epoch.counter == 1);
    let position = next.expect("an epoch of the copy's").head.position;
    let (log, epoch) = (position.log, position.epoch);
    let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
    let fetched = copy.perform(now(21), Effect::Fetch(ask)).expect("reads");
    let Reply::Fetched(burst) = fetched else { panic!("{fetched:?}") };
    let reply = bring(&mut hub, &copy, burst);
    assert!(matches!(reply, Reply::Refused { refusal: Refusal::Closed { .. }, .. }), "{reply:?}");
    assert!(hub.is_drained(device.id()).expect("reads"));
}

fn sample() -> tallyroll_schema::event::alerts::HeartbeatSent {
    tallyroll_schema::event::alerts::HeartbeatSent { uptime_seconds: 1 }
}
