//! Leases between a device and its cloud: asked for, granted, spent, recalled, given back, written off.
//!
//! Invariant: at every moment each credit is charged, held, in the pool or with a named device, and no
//! device commits what it has no right to.

use super::pair::{TestDevice, enrol, hub, now, talk_at};
use crate::counts::{Recall, RightKey, decide};
use crate::hub::{Anchor, Funds, Hub, Named};
use crate::store::MemoryStore;
use crate::{Error, Kind, Result};
use std::collections::BTreeSet;
use tallyroll_schema::event::counts::{ColorMode, JobEnded};
use tallyroll_schema::event::leases::{Backing, Right};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Credits, DeviceId, Event, Hash, JobId, SubjectId, UserAlias};

pub(super) const SUBJECT: SubjectId = SubjectId([7; 16]);
pub(super) const ALIAS: UserAlias = UserAlias([8; 16]);

pub(super) fn credits(whole: i64) -> Credits {
    Credits::from_thousandths(whole * 1000)
}

/// A cloud with two devices at which one user has so many credits.
pub(super) fn two_devices(granted: i64) -> (Hub<MemoryStore>, TestDevice, TestDevice) {
    let mut hub = hub();
    let (one, two) = (enrol(&mut hub, "one", 21), enrol(&mut hub, "two", 22));
    hub.grant(now(3), SUBJECT, credits(granted), "for a test".into()).expect("grants");
    let links = [&one, &two].map(|device| (device.id(), ALIAS, SUBJECT)).to_vec();
    hub.link(now(3), links).expect("links");
    (hub, one, two)
}

/// Both have what the other has; who is in `reached` can give back.
pub(super) fn sync(
    hub: &mut Hub<MemoryStore>,
    device: &mut TestDevice,
    reached: &[DeviceId],
    at: u64,
) {
    let reached: BTreeSet<DeviceId> = reached.iter().copied().collect();
    for _ in 0..2 {
        device.seal(now(at)).expect("seals");
        talk_at(device, hub, at);
        hub.answer_requests(now(at), &reached, &mut |_| Ok(())).expect("answers");
    }
    talk_at(device, hub, at);
    let funds = funds(hub);
    let (granted, leased) = (funds.granted, funds.leased);
    assert_eq!(funds.pool() + leased + funds.charged + funds.held, granted);
}

pub(super) fn funds(hub: &Hub<MemoryStore>) -> Funds {
    hub.funds().get(&SUBJECT).copied().unwrap_or_default()
}

pub(super) fn page(device: &TestDevice, pages: u32) -> Event {
    let act = Act::Capture {
        job: None,
        user: "a".into(),
        pages,
        color: ColorMode::Color,
        media: None,
        page: None,
    };
    decide(&device.terms(JobId([1; 8])), act, JobId([1; 8]), Some(ALIAS)).expect("is priced")
}

pub(super) fn spend(device: &mut TestDevice, pages: u32, cut_off: bool) -> bool {
    let Some(event) = device.back(now(5), page(device, pages), cut_off) else { return false };
    device.commit(now(5), &[(LogClass::Ledger, event)]).expect("commits");
    true
}

pub(super) fn ask(device: &mut TestDevice, needed: i64, wanted: i64) {
    device.request_lease(now(4), (ALIAS, None), credits(needed), credits(wanted)).expect("asks");
}

#[test]
fn a_lease_leaves_the_pool_is_spent_and_comes_back() {
    let (mut hub, mut one, _) = two_devices(100);
    assert!(!spend(&mut one, 1, false), "nothing was lent yet");
    ask(&mut one, 1, 10);
    ask(&mut one, 1, 10); // is under way
    sync(&mut hub, &mut one, &[], 10);
    assert_eq!((funds(&hub).leased, funds(&hub).pool()), (10_000, 90_000));
    assert!(spend(&mut one, 4, false) && !spend(&mut one, 7, false) && spend(&mut one, 6, true));
    assert!(!spend(&mut one, 1, true), "without an overdraft it stops");
    ask(&mut one, 3, 3);
    sync(&mut hub, &mut one, &[], 20);
    let lease = one.lease(ALIAS);
    assert_eq!((lease.granted, lease.spent, lease.outstanding()), (13_000, 10_000, 3_000));
    one.return_lease(now(21), ALIAS, Credits::ZERO).expect("gives back").expect("had something");
    assert!(
        !spend(&mut one, 1, false)
            && one.return_lease(now(21), ALIAS, Credits::ZERO).expect("is fine").is_none()
    );
    sync(&mut hub, &mut one, &[], 30);
    let Funds { charged, leased, .. } = funds(&hub);
    assert_eq!((charged, leased, funds(&hub).pool()), (10_000, 0, 90_000));
}

#[test]
fn what_idles_elsewhere_is_recalled_before_anybody_is_refused() {
    let (mut hub, mut one, mut two) = two_devices(20);
    ask(&mut one, 1, 18);
    sync(&mut hub, &mut one, &[], 10);
    assert_eq!(funds(&hub).leased, 10_000, "half of the pool, so that others find some");
    ask(&mut one, 10, 10);
    sync(&mut hub, &mut one, &[], 11);
    assert_eq!(funds(&hub).leased, 20_000, "all of it, if that is needed");

    ask(&mut two, 5, 5);
    sync(&mut hub, &mut two, &[one.id()], 12);
    assert!(!spend(&mut two, 1, false));
    assert!(hub.answers_due().is_some(), "it waits for the other one");
    let first = one.id();
    sync(&mut hub, &mut one, &[first], 12);
    assert_eq!(one.recalled(), [(ALIAS, Recall::Idle)].into());
    one.return_lease(now(12), ALIAS, Credits::ZERO).expect("gives back");
    sync(&mut hub, &mut one, &[first], 13);
    assert!(one.recalled().is_empty() && hub.answers_due().is_none());
    sync(&mut hub, &mut two, &[], 13);
    assert!(spend(&mut two, 5, false));
    sync(&mut hub, &mut two, &[], 13);

    ask(&mut one, 16, 16);
    sync(&mut hub, &mut one, &[two.id()], 14);
    let told = one.lease(ALIAS);
    assert_eq!(told.pending(), None, "refused: nobody holds anything that could come back");
    assert_eq!((told.outstanding(), funds(&hub).pool()), (0, 15_000));
}

#[test]
fn who_cannot_be_reached_or_does_not_answer_in_time_is_named() {
    for reached in [false, true] {
        let (mut hub, mut one, mut two) = two_devices(4);
        ask(&mut one, 4, 4);
        sync(&mut hub, &mut one, &[], 10);
        ask(&mut two, 2, 2);
        let reachable = [one.id()];
        let reachable = if reached { &reachable[..] } else { &[] };
        sync(&mut hub, &mut two, reachable, 20);
        assert_eq!(two.lease(ALIAS).pending().is_some(), reached);
        sync(&mut hub, &mut two, reachable, 24);
        assert_eq!(two.lease(ALIAS).pending(), None);
        let mut named = Vec::new();
        for log in hub.logs().expect("reads") {
            hub.read_log(log.log, log.epoch, 0, &mut |_, record| {
                if let Ok(Event::LeaseRefused(refused)) = record.event() {
                    named.extend(refused.held.iter().map(|held| (held.device, held.credits)));
                }
                core::ops::ControlFlow::Continue(())
            })
            .expect("reads");
        }
        assert_eq!(named, [(one.id(), credits(4))]);
    }
}

#[test]
fn a_new_epoch_has_no_rights_and_the_old_ones_are_frozen_until_they_are_written_off() {
    let (mut hub, mut one, _) = two_devices(10);
    ask(&mut one, 6, 6);
    sync(&mut hub, &mut one, &[], 10);
    assert!(spend(&mut one, 1, false));
    sync(&mut hub, &mut one, &[], 11);
    let (epoch, mut back) = (hub.leases()[0].epoch, one.moved_copy(now(12), Hash([66; 32])));
    assert!(!spend(&mut back, 1, false), "a restored device cannot spend old rights again");
    sync(&mut hub, &mut back, &[], 13);
    let held = hub.leases();
    assert!(held.len() == 1 && held[0].frozen && held[0].outstanding == 5_000, "{held:?}");
    assert_eq!(funds(&hub).pool(), 4_000);

    let key = RightKey { device: one.id(), epoch, user: ALIAS };
    let off = hub.write_off(now(14), key, "restored".into()).expect("is written off");
    assert_eq!((off.1, funds(&hub).pool()), (credits(5), 9_000));
    hub.write_off(now(14), key, "restored".into()).expect_err("nothing is left of it");
    ask(&mut back, 9, 9);
    sync(&mut hub, &mut back, &[], 15);
    assert!(spend(&mut back, 9, false));
}

#[test]
fn what_a_device_spends_after_a_write_off_is_on_an_account_of_its_own() {
    let (mut hub, mut one, mut two) = two_devices(10);
    ask(&mut one, 10, 10);
    sync(&mut hub, &mut one, &[], 10);
    let key = RightKey { device: one.id(), epoch: hub.leases()[0].epoch, user: ALIAS };
    hub.write_off(now(11), key, "lost".into()).expect("is written off");
    ask(&mut two, 10, 10);
    sync(&mut hub, &mut two, &[], 12);
    assert!(spend(&mut two, 10, false) && spend(&mut one, 10, true), "one has not heard of it");
    sync(&mut hub, &mut two, &[], 13);
    sync(&mut hub, &mut one, &[], 14);
    let Funds { charged, leased, .. } = funds(&hub);
    assert_eq!((charged, leased, funds(&hub).pool()), (20_000, 0, -10_000), "its user is charged");
    assert_eq!(hub.leases().iter().map(|lease| lease.came_after).sum::<i128>(), 10_000);
    assert!(!spend(&mut one, 1, false));
}

#[test]
fn an_overdraft_is_for_who_is_cut_off_and_has_an_end() {
    let (mut hub, mut one, _) = two_devices(1);
    hub.publish_overdraft(now(4), Some(credits(3))).expect("publishes");
    ask(&mut one, 1, 1);
    sync(&mut hub, &mut one, &[], 10);
    assert!(spend(&mut one, 1, true) && !spend(&mut one, 1, false));
    assert!(spend(&mut one, 2, true) && !spend(&mut one, 2, true) && spend(&mut one, 1, true));
    sync(&mut hub, &mut one, &[], 11);
    let (held, pool) = (hub.leases(), funds(&hub).pool());
    assert_eq!((held[0].overdrawn, pool), (3_000, -3_000));
    hub.publish_overdraft(now(12), None).expect("publishes");
    sync(&mut hub, &mut one, &[], 12);
    assert!(!spend(&mut one, 1, true));
    let ended = Event::from(JobEnded { job: JobId([1; 8]) });
    one.commit(now(12), &[(LogClass::Ledger, ended)]).expect("all else goes on");
    hub.publish_overdraft(now(12), Some(Credits::ZERO)).expect_err("is none");
}

#[test]
fn nothing_is_committed_beyond_a_right() {
    let (mut hub, mut one, _) = two_devices(10);
    ask(&mut one, 2, 2);
    sync(&mut hub, &mut one, &[], 10);
    let twice = [one.back(now(5), page(&one, 2), false), one.back(now(5), page(&one, 1), false)];
    let twice = twice.map(|event| (LogClass::Ledger, event.expect("each by itself is covered")));
    let refused = one.commit(now(5), &twice).expect_err("together they are not");
    assert_eq!(refused.kind(), Kind::Retry);
    let backed = |right, whole| {
        let mut event = page(&one, 1);
        if let Event::PagesCaptured(captured) = &mut event {
            captured.charge.backing = Some(Backing { right, credits: credits(whole) });
        }
        (LogClass::Ledger, event)
    };
    let overdrawn = [backed(Right::Overdraft, 1)];
    let made_up = [backed(Right::Lease, -2), backed(Right::Lease, 4)];
    one.commit(now(5), &overdrawn).expect_err("there is no overdraft");
    one.commit(now(5), &made_up).expect_err("who takes less than nothing makes no room for more");
    let late = now(40 * 86_400);
    assert!(one.back(late, page(&one, 1), true).is_none(), "its end stops spending");
}

#[test]
fn a_store_that_lost_an_allocation_lends_nothing() {
    let (mut hub, mut one, _) = two_devices(10);
    ask(&mut one, 2, 2);
    one.seal(now(9)).expect("seals");
    talk_at(&mut one, &mut hub, 10);
    let mut noted = 0;
    let note = &mut |number| {
        noted = number;
        Ok(())
    };
    hub.answer_requests(now(10), &BTreeSet::new(), note).expect("answers");
    hub.check_allocations(now(11), Some(noted)).expect("is as it was");
    assert!(hub.recovery().is_none());
    hub.check_allocations(now(11), Some(noted + 1)).expect("freezes");
    assert!(hub.recovery().is_some_and(|recovery| recovery.why.contains("has lost")));
    hub.accept_loss(now(12)).expect("thaws");
    hub.check_allocations(now(13), None).expect("freezes");
    assert!(hub.recovery().is_some_and(|recovery| recovery.why.contains("is gone")));
}

#[test]
fn a_store_that_never_lent_needs_no_note() {
    let (mut hub, _, _) = two_devices(10);
    hub.check_allocations(now(5), None).expect("is new");
    assert!(hub.recovery().is_none());
}

#[test]
fn who_wants_more_for_later_takes_it_from_nobody() {
    let (mut hub, mut one, mut two) = two_devices(4);
    ask(&mut one, 4, 4);
    sync(&mut hub, &mut one, &[], 10);
    ask(&mut two, 0, 10);
    sync(&mut hub, &mut two, &[one.id()], 11);
    assert!(two.lease(ALIAS).pending().is_none() && hub.answers_due().is_none());
    let told = two.refusal(ALIAS).map(|refused| (refused.available, refused.held.len()));
    assert_eq!(told, Some((Credits::ZERO, 1)));
    sync(&mut hub, &mut one, &[], 11);
    assert!(one.recalled().is_empty());
    ask(&mut two, 2, 2);
    assert!(two.refusal(ALIAS).is_none(), "it was the answer to something else");
}

#[test]
fn who_has_yet_to_be_named_is_waited_for() {
    let (mut hub, mut one, _) = two_devices(4);
    let other = UserAlias([9; 16]);
    one.request_lease(now(4), (other, None), credits(1), credits(1)).expect("asks");
    sync(&mut hub, &mut one, &[], 10);
    assert!(one.lease(other).pending().is_some() && hub.answers_due().is_some());
    hub.link(now(11), vec![(one.id(), other, SUBJECT)]).expect("links");
    sync(&mut hub, &mut one, &[], 11);
    assert_eq!(one.lease(other).outstanding(), 1_000);
}

#[test]
fn a_job_keeps_what_it_needs_and_a_device_that_leaves_keeps_nothing() {
    let (mut hub, mut one, _) = two_devices(20);
    ask(&mut one, 8, 8);
    sync(&mut hub, &mut one, &[], 10);
    one.return_lease(now(11), ALIAS, credits(3)).expect("gives back").expect("had more");
    assert!(one.return_lease(now(11), ALIAS, credits(3)).expect("is fine").is_none());
    sync(&mut hub, &mut one, &[], 12);
    assert_eq!((one.lease(ALIAS).outstanding(), funds(&hub).leased), (3_000, 3_000));
    hub.retire(now(13), one.id(), "leaves".into()).expect("retires");
    sync(&mut hub, &mut one, &[], 14);
    assert_eq!((funds(&hub).leased, funds(&hub).pool()), (0, 20_000));
    assert!(hub.is_drained(one.id()).expect("reads"));
}

#[test]
fn nothing_leaves_whose_number_could_not_be_noted() {
    let (mut hub, mut one, _) = two_devices(10);
    ask(&mut one, 2, 2);
    one.seal(now(9)).expect("seals");
    talk_at(&mut one, &mut hub, 10);
    let failed = &mut |_| Err(std::io::Error::other("no"));
    let failed = hub.answer_requests(now(10), &BTreeSet::new(), failed);
    assert_eq!(failed.expect_err("is told").kind(), Kind::Closed);
    assert!(hub.is_closed());
}

/// The room for the note of the first was taken for that of all, and the second one ended the cloud.
#[test]
fn who_finds_no_room_for_the_next_note_is_lent_nothing_until_there_is_some() {
    struct Places(u64);
    impl Anchor for Places {
        fn prepare(&mut self, number: u64) -> Result<()> {
            if number < self.0 { Ok(()) } else { Err(Error::Full("no room".into())) }
        }
        fn note(&mut self, number: u64) -> std::io::Result<()> {
            assert!(number <= self.0, "no room was taken");
            Ok(())
        }
    }
    let (mut hub, mut one, mut two) = two_devices(10);
    for device in [&mut one, &mut two] {
        ask(device, 2, 2);
        device.seal(now(9)).expect("seals");
        talk_at(device, &mut hub, 10);
    }
    let reached = BTreeSet::new();
    let full = hub.answer_requests(now(10), &reached, &mut Places(1)).expect_err("is told");
    assert_eq!((full.kind(), hub.is_closed()), (Kind::Full, false));
    assert_eq!((hub.unanswered().len(), funds(&hub).leased), (1, 2_000));
    hub.answer_requests(now(11), &reached, &mut Places(2)).expect("lends");
    assert_eq!((hub.unanswered().len(), funds(&hub).leased), (0, 4_000));
}

/// A lease is one member's, but it comes out of what all of them have.
#[test]
fn two_members_never_overspend_their_group_together() {
    let mut hub = hub();
    let (mut one, mut two) = (enrol(&mut hub, "one", 21), enrol(&mut hub, "two", 22));
    let (sealed, mail, alias) = (vec![1; 80], None, UserAlias([9; 16]));
    let office = Named { subject: SUBJECT, alias, sealed, mail, founds_group: true };
    let members = [SubjectId([1; 16]), SubjectId([2; 16])];
    let links = [(one.id(), ALIAS, members[0]), (two.id(), ALIAS, members[1])];
    hub.name(now(3), vec![office], links.to_vec()).expect("founds");
    hub.grant(now(3), SUBJECT, credits(10), String::new()).expect("grants");
    for member in members {
        hub.join_group(now(3), SUBJECT, member).expect("joins");
    }
    let first = one.id();
    ask(&mut one, 6, 6);
    sync(&mut hub, &mut one, &[], 10);
    ask(&mut two, 5, 5);
    sync(&mut hub, &mut two, &[], 11);
    assert!(!spend(&mut two, 1, true), "4 are left of the group's 10");
    ask(&mut two, 5, 5);
    sync(&mut hub, &mut two, &[first], 12);
    sync(&mut hub, &mut one, &[first], 12);
    assert_eq!(
        one.recalled(),
        [(ALIAS, Recall::Idle)].into(),
        "what a member does not use goes to another one"
    );
    assert!(spend(&mut one, 5, false));
    one.return_lease(now(12), ALIAS, Credits::ZERO).expect("gives back").expect("had something");
    sync(&mut hub, &mut one, &[first], 13);
    sync(&mut hub, &mut two, &[first], 13);
    assert!(spend(&mut two, 5, false) && !spend(&mut two, 1, false));
    sync(&mut hub, &mut two, &[], 14);
    let Funds { charged, leased, .. } = funds(&hub);
    assert_eq!((charged, leased, funds(&hub).pool()), (10_000, 0, 0));
}

/// What is charged twice is shown twice: the lease that both spent tells how much.
#[test]
fn what_a_perfect_copy_spends_of_the_same_right_is_told_apart() {
    let (mut hub, mut one, _) = two_devices(100);
    ask(&mut one, 1, 10);
    sync(&mut hub, &mut one, &[], 10);
    let mut copy = one.copy(now(11));
    assert!(spend(&mut one, 4, true) && spend(&mut copy, 3, true) && spend(&mut copy, 2, true));
    for device in [&mut one, &mut copy] {
        device.seal(now(20)).expect("seals");
        talk_at(device, &mut hub, 20);
    }
    let leases = hub.counts().rights().leases().values();
    let (spent, copied) =
        leases.fold((0, 0), |(spent, copied), lease| (spent + lease.spent, copied + lease.copied));
    assert_eq!((spent, copied, funds(&hub).charged), (4_000, 5_000, 9_000));
}
