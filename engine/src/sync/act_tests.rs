//! Acts of the processing server in jobs of devices: what they cost, and what is there for them.
//!
//! Invariant: nothing is done that costs more than is there, and nothing twice. What a device is told
//! of it is in `balance_tests`.

use super::pair::{TestDevice, enrol, hub, now, talk_at};
use crate::counts::{Recall, decide};
use crate::hub::{Acted, AskedAct, Funds, Hub};
use crate::store::MemoryStore;
use crate::{Error, Kind};
use core::time::Duration;
use std::collections::BTreeSet;
use tallyroll_schema::event::counts::{ColorMode, Conversion};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Credits, DeviceId, JobId, Position, RequestId, SubjectId, UserAlias};

pub(super) const SUBJECT: SubjectId = SubjectId([7; 16]);
pub(super) const ALIAS: UserAlias = UserAlias([8; 16]);
pub(super) const JOB: JobId = JobId([1; 8]);

/// A cloud with two devices at which one user has so many thousandths; at the first one a job began and
/// a page was scanned in it.
pub(super) fn scanned(granted: i64) -> (Hub<MemoryStore>, TestDevice, TestDevice) {
    let mut hub = hub();
    let (mut one, two) = (enrol(&mut hub, "one", 21), enrol(&mut hub, "two", 22));
    let credits = Credits::from_thousandths(granted);
    hub.grant(now(3), SUBJECT, credits, "for a test".into()).expect("grants");
    let links = [&one, &two].map(|device| (device.id(), ALIAS, SUBJECT)).to_vec();
    hub.link(now(3), links).expect("links");
    record(&mut one, Act::Begin { job: JOB, user: user() });
    let (color, media) = (ColorMode::Monochrome, None);
    record(
        &mut one,
        Act::Capture { job: Some(JOB), user: user(), pages: 1, color, media, page: None },
    );
    sync(&mut hub, &mut one, 5);
    (hub, one, two)
}

pub(super) fn user() -> String {
    "anna".into()
}

fn record(device: &mut TestDevice, act: Act) {
    let job = act.job().unwrap_or(JOB);
    let event = decide(&device.terms(job), act, job, Some(ALIAS)).expect("is decided");
    device.commit(now(4), &[(LogClass::Ledger, event)]).expect("commits");
}

pub(super) fn sync(hub: &mut Hub<MemoryStore>, device: &mut TestDevice, at: u64) {
    device.seal(now(at)).expect("seals");
    talk_at(device, hub, at);
}

pub(super) fn mail(destinations: u32) -> Act {
    let (job, color) = (JOB, ColorMode::Monochrome);
    let (media, revision, which_pages) = (None, None, None);
    Act::Send { job, user: user(), pages: 1, destinations, color, media, revision, which_pages }
}

/// Asks at some second; the devices in `reached` can give something back.
pub(super) fn act_at(
    hub: &mut Hub<MemoryStore>,
    device: DeviceId,
    (at, act, request): (u64, Act, Option<RequestId>),
    reached: &[DeviceId],
    since: Option<Duration>,
) -> Result<Acted, Error> {
    let reached: BTreeSet<DeviceId> = reached.iter().copied().collect();
    let asked = AskedAct { device, act, request, by: None };
    hub.act(now(at), asked, &reached, since)
}

fn done(hub: &mut Hub<MemoryStore>, device: DeviceId, act: Act) -> Position {
    match act_at(hub, device, (6, act, None), &[], None).expect("is done") {
        Acted::At(position) => position,
        waits => panic!("{waits:?}"),
    }
}

/// Charged, held and left, in thousandths.
pub(super) fn figures(hub: &Hub<MemoryStore>) -> (i128, i128, i128) {
    let funds: Funds = hub.funds().get(&SUBJECT).copied().unwrap_or_default();
    (funds.charged, funds.held, funds.pool())
}

#[test]
fn the_servers_charge_replaces_what_its_job_holds() {
    let (mut hub, one, _) = scanned(100_000);
    assert_eq!(figures(&hub), (0, 1_000, 99_000));
    done(&mut hub, one.id(), mail(5));
    assert_eq!(figures(&hub), (2_500, 0, 97_500), "example 1");
}

#[test]
fn a_cloud_that_may_have_forgotten_what_it_lent_does_only_what_costs_nothing() {
    let (mut hub, one, _) = scanned(100_000);
    hub.check_allocations(now(6), Some(1)).expect("freezes");
    let refused = act_at(&mut hub, one.id(), (6, mail(5), None), &[], None).expect_err("costs");
    assert_eq!(refused.kind(), Kind::Retry);
    assert!(refused.to_string().contains("tallyroll doctor"), "{refused}");
    assert_eq!(figures(&hub), (0, 1_000, 99_000));
    let (job, media, revision, which_pages) = (JOB, None, None, None);
    done(
        &mut hub,
        one.id(),
        Act::Save { job, user: user(), pages: 1, media, revision, which_pages },
    );
    hub.accept_loss(now(7)).expect("thaws");
    done(&mut hub, one.id(), mail(5));
    assert_eq!(figures(&hub), (2_500, 0, 97_500));
}

#[test]
fn a_conversion_costs_with_what_is_sent_of_it_and_a_discard_nothing() {
    let convert = |conversions: &[Conversion]| Act::Convert {
        job: JOB,
        user: user(),
        pages: 1,
        conversions: conversions.to_vec(),
        media: None,
        revision: None,
        from_revision: None,
        which_pages: None,
    };
    let (mut hub, one, _) = scanned(100_000);
    done(&mut hub, one.id(), convert(&[Conversion::Resize]));
    assert_eq!(figures(&hub), (0, 1_000, 99_000));
    done(&mut hub, one.id(), convert(&[Conversion::ColorToMonochrome]));
    done(&mut hub, one.id(), mail(3));
    assert_eq!(figures(&hub), (2_500, 0, 97_500), "example 4, turned to monochrome");

    let (mut hub, one, _) = scanned(1_000);
    done(&mut hub, one.id(), convert(&[Conversion::Resize]));
    done(&mut hub, one.id(), Act::Discard { job: JOB });
    assert_eq!(figures(&hub), (0, 0, 1_000), "example 9");
}

/// Mission 1: "2.0 left refuses a mail of 2.5 whole: nothing is sent, the job stays undecided".
#[test]
fn an_act_that_costs_more_than_is_there_is_refused_whole() {
    let (mut hub, one, _) = scanned(2_000);
    let before = hub.last_commit();
    let refused = act_at(&mut hub, one.id(), (6, mail(5), None), &[one.id()], None);
    let refused = refused.expect_err("is refused");
    assert_eq!(refused.kind(), Kind::Rejected);
    // One credit is held by the job itself and comes free.
    let told =
        "1.500 credits needed beyond what its job holds, 1.000 left: nothing of this is done";
    assert_eq!(refused.to_string(), told);
    assert_eq!((hub.last_commit(), figures(&hub)), (before, (0, 1_000, 1_000)));
    done(&mut hub, one.id(), mail(4));
    assert_eq!(figures(&hub), (2_000, 0, 0), "what its own job held is used first");
}

/// Its answer was lost, so it is asked for again, after a restart at that.
#[test]
fn an_act_with_a_request_id_is_recorded_once() {
    let (mut hub, one, _) = scanned(100_000);
    let request = Some(RequestId([4; 8]));
    let first = act_at(&mut hub, one.id(), (6, mail(5), request), &[], None).expect("is done");
    let mut hub = hub.restart(now(7));
    let before = hub.last_commit();
    let again = act_at(&mut hub, one.id(), (8, mail(5), request), &[], None).expect("was done");
    assert_eq!((again, hub.last_commit()), (first, before));
    assert_eq!(figures(&hub).0, 2_500);
    for other in [Act::Discard { job: JOB }, mail(50)] {
        let other = act_at(&mut hub, one.id(), (8, other, request), &[], None);
        assert!(other.expect_err("is another").to_string().contains("take a new one"));
    }
    act_at(&mut hub, one.id(), (8, mail(5), Some(RequestId([5; 8]))), &[], None).expect("is done");
    assert_eq!(figures(&hub).0, 5_000, "another request is another mail");
}

#[test]
fn what_idles_at_a_device_is_recalled_for_an_act() {
    let (mut hub, one, mut two) = scanned(3_000);
    let lend = |hub: &mut Hub<MemoryStore>, two: &mut TestDevice| {
        let credits = Credits::from_thousandths(2_000);
        two.request_lease(now(5), (ALIAS, None), credits, credits).expect("asks");
        sync(hub, two, 5);
        hub.answer_requests(now(5), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
        sync(hub, two, 5);
        assert_eq!(figures(hub), (0, 1_000, 0));
    };
    lend(&mut hub, &mut two);
    let refused = act_at(&mut hub, one.id(), (6, mail(5), None), &[], None);
    let refused = refused.expect_err("cannot be reached");
    assert_eq!(refused.kind(), Kind::Retry);
    let told = "1.500 credits needed beyond what its job holds, 0.000 left: nothing of this is done; 2.000 credits held by two; try again when it is connected";
    assert_eq!(refused.to_string(), told);

    let reached = [two.id()];
    let waits = act_at(&mut hub, one.id(), (6, mail(5), None), &reached, None).expect("waits");
    let Acted::Waits { since } = waits else { panic!("{waits:?}") };
    sync(&mut hub, &mut two, 7);
    assert_eq!(two.recalled(), [(ALIAS, Recall::Idle)].into());
    let late = act_at(&mut hub, one.id(), (10, mail(5), None), &reached, Some(since));
    let late = late.expect_err("nobody waits longer than that").to_string();
    assert!(late.contains("a job runs there"), "{late}");
    two.return_lease(now(7), ALIAS, Credits::ZERO).expect("gives back");
    sync(&mut hub, &mut two, 8);
    let acted = act_at(&mut hub, one.id(), (8, mail(5), None), &reached, Some(since));
    assert!(matches!(acted, Ok(Acted::At(_))));
    assert_eq!(figures(&hub), (2_500, 0, 500));
}

/// A device that waits for credits hears of what came back before the processing server asks again.
#[test]
fn what_comes_back_for_an_act_is_lent_to_nobody_else_meanwhile() {
    let (mut hub, one, mut two) = scanned(3_000);
    let ask = |hub: &mut Hub<MemoryStore>, two: &mut TestDevice, needed| {
        let credits = Credits::from_thousandths(needed);
        two.request_lease(now(5), (ALIAS, None), credits, credits).expect("asks");
        sync(hub, two, 5);
    };
    let answer = |hub: &mut Hub<MemoryStore>, at| {
        hub.answer_requests(now(at), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    };
    ask(&mut hub, &mut two, 2_000);
    answer(&mut hub, 5);
    sync(&mut hub, &mut two, 5);
    let reached = [two.id()];
    let act = |hub: &mut Hub<MemoryStore>, at, since| {
        act_at(hub, one.id(), (at, mail(5), Some(RequestId([4; 8]))), &reached, since)
    };
    let Ok(Acted::Waits { since }) = act(&mut hub, 6, None) else { panic!("waits") };
    two.return_lease(now(6), ALIAS, Credits::ZERO).expect("gives back");
    ask(&mut hub, &mut two, 1_000);
    answer(&mut hub, 6);
    assert_eq!(figures(&hub), (0, 1_000, 2_000), "it waits for the act");
    assert!(hub.answers_due().is_some(), "and not for ever");
    assert!(matches!(act(&mut hub, 7, Some(since)), Ok(Acted::At(_))));
    answer(&mut hub, 7);
    assert_eq!(figures(&hub), (2_500, 0, 500));
    assert_eq!(hub.unanswered().len(), 0, "refused, at once: the act is done");

    // Who asked does not come again: nobody waits longer than an act does.
    let (mut hub, one, mut two) = scanned(3_000);
    ask(&mut hub, &mut two, 2_000);
    answer(&mut hub, 5);
    sync(&mut hub, &mut two, 5);
    let waits = act_at(&mut hub, one.id(), (6, mail(5), None), &reached, None);
    assert!(matches!(waits, Ok(Acted::Waits { .. })));
    two.return_lease(now(6), ALIAS, Credits::ZERO).expect("gives back");
    ask(&mut hub, &mut two, 1_000);
    answer(&mut hub, 60);
    assert_eq!((figures(&hub), hub.answers_due()), ((0, 1_000, 1_000), None));
}

/// The rights that a job holds are used first, and its device keeps none of them for itself.
#[test]
fn what_its_own_job_holds_at_its_device_is_wanted_back_whole() {
    let (mut hub, mut one, mut two) = scanned(3_000);
    let reached = [one.id()];
    let ask = |hub: &mut Hub<MemoryStore>, device: &mut TestDevice, at, needed| {
        let credits = Credits::from_thousandths(needed);
        device.request_lease(now(at), (ALIAS, None), credits, credits).expect("asks");
        sync(hub, device, at);
        hub.answer_requests(now(at), &reached.into(), &mut |_| Ok(())).expect("answers");
        sync(hub, device, at);
    };
    ask(&mut hub, &mut one, 5, 2_000);
    assert_eq!(figures(&hub), (0, 1_000, 0));
    // Another device asks first: what a job needs may stay.
    ask(&mut hub, &mut two, 6, 1_000);
    sync(&mut hub, &mut one, 6);
    assert_eq!(one.recalled(), [(ALIAS, Recall::Idle)].into());
    let waits = act_at(&mut hub, one.id(), (6, mail(5), None), &reached, None).expect("waits");
    let Acted::Waits { since } = waits else { panic!("{waits:?}") };
    sync(&mut hub, &mut one, 6);
    assert_eq!(one.recalled(), [(ALIAS, Recall::Whole)].into());
    let before = hub.last_commit();
    act_at(&mut hub, one.id(), (7, mail(5), None), &reached, Some(since)).expect("waits");
    assert_eq!(hub.last_commit(), before, "it was said once");
    one.return_lease(now(7), ALIAS, Credits::ZERO).expect("gives back");
    sync(&mut hub, &mut one, 7);
    let acted = act_at(&mut hub, one.id(), (7, mail(5), None), &reached, Some(since));
    assert!(matches!(acted, Ok(Acted::At(_))), "{acted:?}");
}

#[test]
fn what_is_not_the_servers_or_not_known_is_refused() {
    let (mut hub, mut one, _) = scanned(100_000);
    for act in [Act::Begin { job: JOB, user: user() }, Act::End { job: JOB }] {
        let refused = act_at(&mut hub, one.id(), (6, act, None), &[], None);
        assert_eq!(refused.expect_err("is refused").kind(), Kind::Rejected);
    }
    let job = JobId([9; 8]);
    let save =
        Act::Save { job, user: user(), pages: 1, media: None, revision: None, which_pages: None };
    let unknown = act_at(&mut hub, one.id(), (6, save.clone(), None), &[], None);
    assert!(unknown.expect_err("is not known").to_string().contains("once one is synced"));
    let waits = act_at(&mut hub, one.id(), (6, save.clone(), None), &[one.id()], None);
    let Ok(Acted::Waits { since }) = waits else { panic!("its device is there: {waits:?}") };
    record(&mut one, Act::Begin { job, user: user() });
    sync(&mut hub, &mut one, 7);
    let acted = act_at(&mut hub, one.id(), (7, save, None), &[one.id()], Some(since));
    assert!(matches!(acted, Ok(Acted::At(_))));
    hub.revoke(now(8), one.id(), String::new()).expect("revokes");
    let revoked = act_at(&mut hub, one.id(), (9, mail(1), None), &[], None);
    let told = revoked.expect_err("is revoked").to_string();
    assert!(told.contains("one, the device whose job this is, is revoked"), "{told}");
    let discard = Act::Discard { job: JobId([9; 8]) };
    act_at(&mut hub, one.id(), (9, discard, None), &[], None).expect("what it holds comes free");
}

/// It was to be tried again, for ever.
#[test]
fn a_job_that_a_retired_device_never_began_is_refused_once_all_is_delivered() {
    let (mut hub, mut one, _) = scanned(100_000);
    let job = JobId([9; 8]);
    let device = one.id();
    let refusal = |hub: &mut Hub<MemoryStore>, at| {
        let acted = act_at(hub, device, (at, Act::Discard { job }, None), &[], None);
        acted.expect_err("is not known")
    };
    hub.retire(now(8), device, String::new()).expect("retires");
    assert_eq!(refusal(&mut hub, 8).kind(), Kind::Retry, "it may be on its way");
    sync(&mut hub, &mut one, 9);
    sync(&mut hub, &mut one, 10);
    assert!(hub.is_drained(device).expect("reads"));
    let refused = refusal(&mut hub, 11);
    assert_eq!(refused.kind(), Kind::Rejected);
    assert!(refused.to_string().contains("one, which is retired"), "{refused}");
}

/// The same with credits that nobody will ever give back: an administrator writes them off.
#[test]
fn an_act_that_wants_frozen_credits_is_refused_with_what_frees_them() {
    let (mut hub, one, mut two) = scanned(3_000);
    let credits = Credits::from_thousandths(2_000);
    two.request_lease(now(5), (ALIAS, None), credits, credits).expect("asks");
    sync(&mut hub, &mut two, 5);
    hub.answer_requests(now(5), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    sync(&mut hub, &mut two, 5);
    hub.revoke(now(6), two.id(), String::new()).expect("revokes");
    let refused = act_at(&mut hub, one.id(), (7, mail(5), None), &[two.id()], None);
    let refused = refused.expect_err("is short");
    assert_eq!(refused.kind(), Kind::Rejected);
    let told = refused.to_string();
    assert!(told.contains("2.000 credits frozen at two") && told.contains("write-off"), "{told}");
    let told = act_at(&mut hub, one.id(), (7, mail(50), None), &[], None).expect_err("is short");
    assert!(!told.to_string().contains("write-off"), "that would not be enough: {told}");
}
