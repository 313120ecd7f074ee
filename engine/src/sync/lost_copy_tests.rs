//! A device that was copied and a cloud that forgot it: two accidents at once.
//!
//! Invariant: what a copy recorded again counts once, also where its old place comes back; who told the
//! cloud everything is not waited for; and a log that the cloud no longer holds as it receipted it is set
//! right, and stays so.

use super::pair::{TENANT, TestDevice, bring, capture, enrol, hub, now, talk};
use super::{Effect, Fetch, Offer, OfferKind, Opening, Reply};
use crate::counts::card;
use crate::device::LogStatus;
use crate::hub::{Hub, LogSummary, mark_restored};
use crate::store::rows::EvidenceRow;
use crate::store::{MemoryStore, Rows};
use core::ops::ControlFlow;
use std::collections::BTreeSet;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::counts::RateCard;
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::{EpochId, Event, Hash, LogId, Position, Record, SubjectId, UserAlias};

fn captured(hub: &Hub<MemoryStore>) -> u64 {
    hub.counts().usage().values().map(|usage| usage.captured).sum()
}

/// A device and its copy, both with something that the cloud has not heard of.
fn two_that_go_on() -> (Hub<MemoryStore>, TestDevice, TestDevice) {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let mut copy = device.copy(now(12));
    capture(&mut device, 2, 13);
    capture(&mut copy, 4, 13);
    (hub, device, copy)
}

fn seal_and_talk(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) {
    device.seal(now(900)).expect("seals");
    talk(device, hub);
}

/// The cloud on an earlier state of its disk, as somebody restored it.
fn restored(hub: &Hub<MemoryStore>, mut store: MemoryStore) -> Hub<MemoryStore> {
    mark_restored(TENANT, &mut store).expect("is noted");
    hub.restart_on(store, now(50))
}

#[test]
fn what_was_recorded_again_counts_once_where_its_old_place_comes_back() {
    for old_place_first in [true, false] {
        let mut hub = hub();
        let mut device = enrol(&mut hub, "branch-1", 11);
        capture(&mut device, 1, 10);
        seal_and_talk(&mut device, &mut hub);
        let before = hub.store().clone();
        let mut copy = device.copy(now(12));
        capture(&mut device, 2, 13);
        capture(&mut copy, 4, 13);
        copy.seal(now(14)).expect("seals");
        let mut copy_of_copy = copy.copy(now(15));
        seal_and_talk(&mut device, &mut hub);
        seal_and_talk(&mut copy, &mut hub);
        assert_eq!(captured(&hub), 7);

        // The cloud has forgotten why the copy's page could not stand where it stood.
        let mut hub = restored(&hub, before);
        let mut order = [&mut copy_of_copy, &mut copy];
        if !old_place_first {
            order.reverse();
        }
        order.into_iter().for_each(|each| seal_and_talk(each, &mut hub));
        assert_eq!(captured(&hub), 7, "each page once: {old_place_first}");
        for each in [&mut device, &mut copy, &mut copy_of_copy] {
            seal_and_talk(each, &mut hub);
        }
        assert_eq!(captured(&hub), 7);
        assert_eq!(hub.restart(now(60)).counts(), hub.counts());
        let replayed = hub.counts_at(hub.last_commit()).expect("replays");
        assert_eq!(&replayed, hub.counts());
        assert_first_places(&hub);
        for each in [&mut device, &mut copy, &mut copy_of_copy] {
            seal_and_talk(each, &mut hub);
            assert_eq!(each.counts().usage(), hub.counts().usage());
            assert_eq!(each.copy(now(61)).counts(), each.counts());
        }
        let (alias, subject) = (UserAlias([8; 16]), SubjectId([7; 16]));
        hub.link(now(62), vec![(device.id(), alias, subject)]).expect("links");
        let (stated, _) = hub.statement(subject, None, hub.last_commit()).expect("reads");
        let funds = hub.funds()[&subject];
        let closing = (stated.closing.balance.thousandths(), stated.closing.held.thousandths());
        assert_eq!(closing, (funds.balance(), funds.held), "a statement is the balance");
        assert_eq!(stated.lines.len(), 3, "each capture once");
    }
}

/// The batches that a device set aside.
fn evidence(device: &TestDevice) -> BTreeSet<Hash> {
    let (mut evidence, rows) = (BTreeSet::new(), Rows::new(TENANT, device.store()));
    rows.scan::<EvidenceRow>(&[], &[], &mut |_, EvidenceRow(row)| {
        evidence.insert(row.hash);
        Ok(ControlFlow::Continue(()))
    })
    .expect("reads");
    evidence
}

/// What is recorded again is what a device did, told with its first place, and never a log's own events.
fn assert_first_places(hub: &Hub<MemoryStore>) {
    for LogSummary { log, epoch, .. } in hub.logs().expect("reads") {
        hub.read_log(log, epoch, 0, &mut |_, record| {
            if let Ok(Event::EventResubmitted(again)) = record.event() {
                let (first, _) = Record::split(&again.record.0).expect("is one");
                let first = first.event().expect("is known");
                assert!(matches!(first, Event::PagesCaptured(_)), "{first:?}");
            }
            ControlFlow::Continue(())
        })
        .expect("reads");
    }
}

/// A copy of a copy goes on in the epoch in which that one recorded again what was set aside.
#[test]
fn what_was_recorded_again_and_set_aside_is_told_with_its_first_place() {
    let (mut hub, mut device, mut copy) = two_that_go_on();
    seal_and_talk(&mut device, &mut hub);
    let LogStatus { log, epoch, receipt, .. } = copy.status().expect("reads").logs[0].clone();
    let held = receipt.expect("is receipted").head;
    copy.perform(now(14), Effect::Diverged(log, epoch)).expect("performs");
    let mut twin = copy.copy(now(15));
    // The history that the cloud has instead is here: what was set aside is recorded again, and not sent.
    bring(&mut hub, &mut copy, held, 16);
    copy.perform(now(17), Effect::CaughtUp(log, epoch)).expect("records it again");

    capture(&mut twin, 8, 18);
    seal_and_talk(&mut twin, &mut hub);
    seal_and_talk(&mut copy, &mut hub);
    hub.settle_counts(now(100_000)).expect("settles");
    assert_eq!(captured(&hub), 15);
    assert_first_places(&hub);
    let again: u64 = hub.forks().expect("reads").iter().map(|fork| fork.resubmitted).sum();
    assert!(again >= 2, "by both copies: {again}");
}

/// What came of the accepted history stood at the same place, and is set aside after it.
#[test]
fn what_is_set_aside_again_while_the_first_waits_takes_nothing_from_it() {
    let (mut hub, mut device, mut copy) = two_that_go_on();
    let before = hub.store().clone();
    seal_and_talk(&mut device, &mut hub);
    copy.seal(now(14)).expect("seals");
    let LogStatus { log, epoch, receipt, .. } = copy.status().expect("reads").logs[0].clone();
    let held = receipt.expect("is receipted").head;
    copy.perform(now(14), Effect::Diverged(log, epoch)).expect("performs");
    let set_aside = evidence(&copy);
    bring(&mut hub, &mut copy, held, 16);
    copy.perform(now(17), Effect::Diverged(log, epoch)).expect("performs");
    let both = evidence(&copy);
    assert!(set_aside.len() == 1 && both.is_superset(&set_aside) && both.len() >= 2, "{both:?}");

    let mut hub = restored(&hub, before); // and the device's disk is gone
    seal_and_talk(&mut copy, &mut hub);
    seal_and_talk(&mut copy, &mut hub);
    assert!(!copy.is_unconfirmed().expect("reads"));
    assert_eq!(captured(&hub), 7, "also what only the copy has of the device");
    assert_first_places(&hub);
    assert_eq!(hub.restart(now(60)).counts(), hub.counts());
}

#[test]
fn a_device_records_nobody_elses_events_again() {
    let mut hub = hub();
    let (mut device, mut other) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let ledger = device.status().expect("reads").logs;
    let ledger = ledger.iter().find(|log| log.class == LogClass::Ledger).expect("is there");
    let mut theirs = None;
    hub.read_log(ledger.log, ledger.epoch, 1, &mut |at, record| {
        theirs = Some((at, record.bytes.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("reads");
    let (resubmitted_from, bytes) = theirs.expect("is there");
    let again = EventResubmitted { resubmitted_from, record: Bytes(bytes) };
    other.commit(now(20), &[(LogClass::Ledger, again.into())]).expect("commits");
    seal_and_talk(&mut other, &mut hub);
    assert_eq!((captured(&hub), hub.counts().misplaced()), (1, 1));
    assert!(hub.counts().usage().keys().all(|key| key.device == device.id()));
    let again = hub.restart(now(60));
    assert_eq!(again.counts(), hub.counts());
}

/// What could be provoked again and again is done at most once in a while.
#[test]
fn everything_is_folded_anew_at_once_and_then_not_for_a_while() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let first = device.status().expect("reads").logs;
    let first = first.iter().find(|log| log.class == LogClass::Ledger).expect("is there").clone();
    (0..2).for_each(|_| capture(&mut device, 1, 10));
    seal_and_talk(&mut device, &mut hub);
    let mut device = device.moved_copy(now(14), Hash([78; 32])); // goes on in another epoch
    let mut again = |hub: &mut Hub<MemoryStore>, seq, at| {
        let record = Bytes(record_at(hub, first.log, first.epoch, seq));
        let resubmitted_from = Position { log: first.log, epoch: first.epoch, seq };
        let event = EventResubmitted { resubmitted_from, record };
        device.commit(now(at), &[(LogClass::Ledger, event.clone().into())]).expect("commits");
        seal_and_talk(&mut device, hub);
        event
    };
    let seq = first.durable_local;
    again(&mut hub, seq, 100);
    assert_eq!((captured(&hub), hub.settle_due()), (2, None));
    again(&mut hub, seq + 1, 101);
    assert_eq!(captured(&hub), 3, "for a while it counts twice");
    let due = hub.settle_due().expect("and is known to");
    hub.settle_counts(now(due.as_secs() - 1)).expect("waits");
    assert_eq!(captured(&hub), 3);
    hub.settle_counts(now(due.as_secs() + 1)).expect("settles");
    assert_eq!((captured(&hub), hub.settle_due()), (2, None));
}

/// What waits to be sealed is not in the store that all is folded from.
#[test]
fn a_device_counts_anew_only_once_nothing_waits_to_be_sealed() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let LogStatus { log, epoch, durable_local: seq, .. } =
        device.status().expect("reads").logs[0].clone();
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let record = Bytes(record_at(&hub, log, epoch, seq));
    let mut device = device.moved_copy(now(14), Hash([78; 32])); // goes on in another epoch
    let pages = |device: &TestDevice| {
        device.counts().usage().values().map(|usage| usage.captured).sum::<u64>()
    };
    let nothing = || Effect::GiveBack(Vec::new());
    let again = EventResubmitted { resubmitted_from: Position { log, epoch, seq }, record };
    device.commit(now(15), &[(LogClass::Ledger, again.into())]).expect("commits");
    capture(&mut device, 4, 16);
    device.perform(now(17), nothing()).expect("performs");
    assert_eq!(pages(&device), 6, "one of them twice, for a while");
    let beat = || (LogClass::Telemetry, Event::from(HeartbeatSent { uptime_seconds: 1 }));
    device.commit(now(18), &[beat(), beat()]).expect("commits");
    device.perform(now(19), nothing()).expect("performs");
    assert_eq!(pages(&device), 6, "as many wait in both logs");
    device.seal(now(20)).expect("seals");
    assert_eq!(pages(&device), 5);
    assert_eq!(device.copy(now(21)).counts(), device.counts());
}

/// What was recorded again is not recorded again by its second place: it would count nowhere.
#[test]
fn nothing_counts_nowhere_by_being_recorded_again_twice() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut places = Vec::new();
    for round in 0..3_u8 {
        let ledger = device.status().expect("reads").logs;
        let open = |log: &&LogStatus| log.class == LogClass::Ledger && log.open;
        let LogStatus { log, epoch, durable_local: seq, .. } =
            *ledger.iter().find(open).expect("is");
        match places.last() {
            None => capture(&mut device, 1, 10),
            Some(&resubmitted_from) => {
                let Position { log, epoch, seq } = resubmitted_from;
                let record = Bytes(record_at(&hub, log, epoch, seq));
                let event = EventResubmitted { resubmitted_from, record };
                let at = now(20 + u64::from(round));
                device.commit(at, &[(LogClass::Ledger, event.into())]).expect("commits");
            }
        }
        seal_and_talk(&mut device, &mut hub);
        places.push(Position { log, epoch, seq });
        device = device.moved_copy(now(30 + u64::from(round)), Hash([50 + round; 32]));
        talk(&mut device, &mut hub);
    }
    hub.settle_counts(now(100_000)).expect("settles");
    assert_eq!((captured(&hub), hub.counts().misplaced()), (1, 1));
    assert_eq!(hub.restart(now(60)).counts(), hub.counts());
}

fn record_at(hub: &Hub<MemoryStore>, log: LogId, epoch: EpochId, seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    hub.read_log(log, epoch, seq, &mut |_, record| {
        bytes.extend_from_slice(record.bytes);
        ControlFlow::Break(())
    })
    .expect("reads");
    bytes
}

#[test]
fn who_told_all_before_the_loss_was_noticed_is_not_waited_for() {
    let mut hub = hub();
    let (mut device, mut other) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    let store = hub.store().clone();
    hub.publish(now(14), RateCard { version: 7, ..card::default_card() }).expect("publishes");
    talk(&mut device, &mut hub);
    let mut hub = hub.restart_on(store, now(20));
    talk(&mut other, &mut hub); // its session may last for days
    let decided = hub.decided();
    talk(&mut device, &mut hub); // brings back what was lost
    assert_eq!(hub.recovery(), None, "everybody told");
    assert_eq!(hub.card().version, 7);
    assert!(hub.decided() > decided, "living sessions hear of the new epochs");
}

#[test]
fn a_receipt_of_more_than_was_written_tells_of_a_copy() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut copy = device.copy(now(12));
    capture(&mut device, 2, 13);
    seal_and_talk(&mut device, &mut hub);
    let receipts = hub.opening(device.id()).expect("reads").receipts;
    let ledger = device.status().expect("reads").logs;
    let ledger = ledger.iter().find(|log| log.class == LogClass::Ledger).expect("is there");
    let of_ledger = |receipt: &&tallyroll_schema::Receipt| receipt.head.position.log == ledger.log;
    let receipt = *receipts.iter().find(of_ledger).expect("is there");
    let heard = copy.perform(now(20), Effect::KeepReceipt(receipt)).expect("performs");
    assert_eq!(heard, Reply::StartOver);
    assert!(copy.is_unconfirmed().expect("reads"), "it asks for what the other one wrote");
    capture(&mut copy, 4, 21);
    seal_and_talk(&mut copy, &mut hub);
    assert_eq!(captured(&hub), 6);
}

#[test]
fn what_the_cloud_no_longer_holds_as_it_receipted_it_is_set_right_once() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let before = hub.store().clone();
    let mut copy = device.copy(now(12));
    capture(&mut device, 2, 13);
    seal_and_talk(&mut device, &mut hub);
    capture(&mut copy, 4, 13);
    seal_and_talk(&mut copy, &mut hub);
    talk(&mut copy, &mut hub); // hears of receipts for what it has of the first epoch now

    let set_aside = evidence(&copy);
    assert!(!set_aside.is_empty());

    // The cloud has forgotten the first epoch's end, and hears of the next one before that.
    let mut hub = restored(&hub, before);
    let Opening { offers, .. } = copy.opening().expect("reads");
    let open = |offer: &&Offer| offer.kind == OfferKind::Open && offer.class == LogClass::Ledger;
    let head = offers.iter().find(open).expect("is there").head;
    let (log, epoch) = (head.position.log, head.position.epoch);
    let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
    let Reply::Fetched(burst) = copy.perform(now(20), Effect::Fetch(ask)).expect("reads") else {
        panic!("it has this epoch");
    };
    let replies = hub.perform(now(21), vec![(copy.id(), Effect::Persist(burst))]);
    assert!(matches!(replies.expect("performs")[..], [Reply::Persisted { .. }]));
    for _ in 0..3 {
        seal_and_talk(&mut copy, &mut hub); // eight sessions that start over are a panic
        assert!(!copy.is_unconfirmed().expect("reads"));
    }
    assert!(evidence(&copy).is_superset(&set_aside), "what was set aside before is kept");
    seal_and_talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), 7);
    assert_first_places(&hub);
    let again: u64 = hub.forks().expect("reads").iter().map(|fork| fork.resubmitted).sum();
    assert!(again <= 3, "what was set aside twice is not recorded again twice: {again}");
    assert_eq!(hub.restart(now(60)).counts(), hub.counts());
}
