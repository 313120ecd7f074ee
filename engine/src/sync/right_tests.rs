//! Rights at their edges: when one ends, what is more than one, which answer is the newest, what is shown of it.
//!
//! Invariant: at the end of a lease nothing is spent of it, what waits has waited long enough at the moment it
//! is due, and whatever a device holds, overdrew or spent twice is listed.

use super::lease_tests::{ALIAS, SUBJECT, ask, credits, page, spend, sync, two_devices};
use super::pair::{TestDevice, enrol, hub, now, talk_at};
use crate::Kind;
use crate::device::Now;
use crate::hub::Hub;
use crate::store::MemoryStore;
use tallyroll_schema::event::leases::{Backing, LeaseClosed, Right};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::LEASE_DAYS;
use tallyroll_schema::{Credits, Event, Wall};

fn recorded(device: &TestDevice) -> u64 {
    device.status().expect("reads").logs[0].durable_local
}

#[test]
fn what_is_asked_for_is_asked_again_only_when_more_is_needed() {
    let (_hub, mut one, _) = two_devices(100);
    let before = recorded(&one);
    for (needed, asked) in [(2, 1), (2, 1), (1, 1), (3, 2)] {
        ask(&mut one, needed, 10);
        assert_eq!(recorded(&one) - before, asked, "for {needed}");
    }
}

#[test]
fn a_lease_is_spent_until_the_moment_it_ends() {
    let (mut hub, mut one, _) = two_devices(100);
    ask(&mut one, 2, 2);
    sync(&mut hub, &mut one, &[], 10);
    let Wall(end) = one.lease(ALIAS).last.expect("was lent").spend_until;
    assert_eq!(end, now(10).wall.0 + LEASE_DAYS * 24 * 3_600_000);
    let backed = |wall| one.back(Now { wall: Wall(wall), ..now(10) }, page(&one, 1), false);
    assert_eq!([end - 1, end].map(|wall| backed(wall).is_some()), [true, false]);
}

#[test]
fn a_lease_ends_as_late_for_a_device_whose_clock_is_years_ahead() {
    const DECADE: u64 = 10 * 365 * 24 * 3_600_000;
    let (mut hub, mut one, _) = two_devices(100);
    let ahead = |at: u64| Now { wall: Wall(now(at).wall.0 + DECADE), ..now(at) };
    let asked = |one: &mut TestDevice, at: u64| {
        one.request_lease(ahead(at), (ALIAS, None), credits(2), credits(2)).expect("asks");
    };
    asked(&mut one, 4);
    sync(&mut hub, &mut one, &[], 10);
    let lease = one.lease(ALIAS);
    let Wall(end) = lease.last.expect("was lent").spend_until;
    assert_eq!(end, ahead(4).wall.0 + LEASE_DAYS * 24 * 3_600_000);
    assert!(!lease.has_ended(ahead(20).wall) && lease.has_ended(Wall(end)));
    assert!(one.back(ahead(20), page(&one, 1), false).is_some());

    // Whose clock is behind asked long ago, as who was cut off; it lasts from the answer on.
    one.request_lease(now(5), (ALIAS, None), credits(5), credits(5)).expect("asks");
    sync(&mut hub, &mut one, &[], 30);
    assert_eq!(one.lease(ALIAS).last.expect("was lent").number, 2);
    let granted = hub.counts().rights().leases().values().find_map(|lease| lease.last);
    let Wall(end) = granted.expect("was lent").spend_until;
    assert_eq!(end, now(30).wall.0 + LEASE_DAYS * 24 * 3_600_000);
}

#[test]
fn nothing_comes_back_that_is_not_there_and_what_costs_nothing_is_recorded() {
    let (mut hub, mut one, _) = two_devices(100);
    ask(&mut one, 2, 2);
    sync(&mut hub, &mut one, &[], 10);
    let allocation = one.lease(ALIAS).last.expect("was lent").number;
    let back = |returned| {
        let (returned, spent) = (credits(returned), Credits::ZERO);
        (LogClass::Ledger, LeaseClosed { allocation, spent, returned, user: Some(ALIAS) }.into())
    };
    let spent = one.back(now(11), page(&one, 2), false).expect("is covered");
    for beyond in [vec![back(3)], vec![back(1), (LogClass::Ledger, spent)]] {
        let refused = one.commit(now(11), &beyond).expect_err("is more than it has");
        assert_eq!(refused.kind(), Kind::Retry);
    }
    let mut free = page(&one, 1);
    if let Event::PagesCaptured(page) = &mut free {
        page.charge.credits = Credits::ZERO;
        page.charge.backing = Some(Backing { right: Right::Lease, credits: Credits::ZERO });
    }
    one.commit(now(11), &[(LogClass::Ledger, free), back(2)]).expect("all of it, and nothing more");
    assert_eq!(one.lease(ALIAS).outstanding(), 0);
}

#[test]
fn the_newest_refusal_is_the_answer() {
    let (mut hub, mut one, _) = two_devices(1);
    for needed in [5, 6] {
        ask(&mut one, needed, needed);
        sync(&mut hub, &mut one, &[], 10);
        let answers = one.lease(ALIAS).requested.expect("asked").position;
        assert_eq!(one.refusal(ALIAS).map(|refused| refused.answers), Some(answers));
    }
}

/// Else whoever drives the cloud would ask again and again until its clock moved.
#[test]
fn who_waits_is_answered_at_the_moment_that_is_due() {
    let (mut hub, mut one, mut two) = two_devices(4);
    ask(&mut one, 4, 4);
    sync(&mut hub, &mut one, &[], 10);
    ask(&mut two, 2, 2);
    let reached = [one.id()];
    sync(&mut hub, &mut two, &reached, 20);
    let due = hub.answers_due().expect("it waits for the other one");
    let at = Now { monotonic: due, ..now(20) };
    hub.answer_requests(at, &reached.into(), &mut |_| Ok(())).expect("answers");
    assert_eq!((hub.answers_due(), hub.unanswered().len()), (None, 0));
}

#[test]
fn what_was_overdrawn_without_a_lease_or_spent_twice_is_listed() {
    let mut hub = hub();
    let mut one = enrol(&mut hub, "one", 21);
    hub.publish_overdraft(now(3), Some(credits(3))).expect("publishes");
    hub.link(now(3), vec![(one.id(), ALIAS, SUBJECT)]).expect("links");
    sync(&mut hub, &mut one, &[], 4);
    let listed = |hub: &Hub<MemoryStore>| {
        let leases = hub.leases().into_iter();
        leases.map(|held| (held.spent, held.overdrawn, held.copied)).collect::<Vec<_>>()
    };
    assert!(listed(&hub).is_empty());
    assert!(spend(&mut one, 1, true), "by the overdraft alone");
    sync(&mut hub, &mut one, &[], 5);
    assert_eq!(listed(&hub), [(0, 1_000, 0)]);

    let (mut hub, mut one, _) = two_devices(100);
    ask(&mut one, 10, 10);
    sync(&mut hub, &mut one, &[], 10);
    let mut copy = one.copy(now(11));
    assert!(spend(&mut one, 10, false));
    assert!(spend(&mut copy, 9, false) && spend(&mut copy, 1, false));
    for device in [&mut one, &mut copy] {
        device.seal(now(20)).expect("seals");
        talk_at(device, &mut hub, 20);
    }
    assert!(listed(&hub).contains(&(10_000, 0, 10_000)), "{:?}", listed(&hub));
}
