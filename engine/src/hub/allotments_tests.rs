//! Tests of what accounts are given each month, and what lapses of it.
//!
//! Invariant tested: a month is given once; what was granted never lapses and does not count to the most that
//! may be there. What moves with members is tested in `accounts_tests`, with the accounts made here.

use super::allotments::gift;
use super::{Funds, Hub, HubConfig, Named};
use crate::counts::{Allotment, Gift};
use crate::device::Now;
use crate::keys::Signer;
use crate::store::MemoryStore;
use tallyroll_schema::event::counts::ChargeCorrected;
use tallyroll_schema::{
    ClockQuality, Credits, Position, PublicKey, SubjectId, TenantId, UserAlias, Wall,
};

pub(super) const ADA: SubjectId = SubjectId([1; 16]);
pub(super) const OFFICE: SubjectId = SubjectId([2; 16]);
/// 1 November 2026, and a month.
pub(super) const NOVEMBER: u64 = 1_793_491_200_000;
pub(super) const MONTH: u64 = 31 * 86_400_000;
pub(super) const FROM: u32 = 2026 * 12 + 10;

pub(super) fn hub() -> Hub<MemoryStore> {
    let (tenant, signer) = (TenantId([1; 16]), Signer::from_seed(&[2; 32]));
    let config = HubConfig { tenant, signer, directory_key: PublicKey([3; 32]), anchor: None };
    Hub::open(config, MemoryStore::default(), at(0), [4; 32]).expect("opens")
}

pub(super) fn at(months: u64) -> Now {
    Now { wall: Wall(NOVEMBER + months * MONTH), ..Now::default() }
}

pub(super) fn credits(whole: i64) -> Credits {
    Credits::from_thousandths(whole * 1000)
}

pub(super) fn pool(hub: &Hub<MemoryStore>, account: SubjectId) -> i128 {
    hub.funds().get(&account).copied().unwrap_or_default().pool() / 1000
}

pub(super) fn allotted(carries_over: bool, most: Option<i64>) -> (Hub<MemoryStore>, Allotment) {
    let mut hub = hub();
    let monthly = Some(credits(100));
    let allotment = Allotment { monthly, carries_over, most: most.map(credits), from: FROM };
    hub.lay_down_allotment(at(0), ADA, allotment).expect("lays down");
    assert_eq!(pool(&hub, ADA), 100, "it begins this month");
    (hub, allotment)
}

pub(super) fn found(hub: &mut Hub<MemoryStore>) {
    let (subject, alias, sealed) = (OFFICE, UserAlias([3; 16]), vec![1; 80]);
    let named = Named { subject, alias, sealed, mail: None, founds_group: true };
    hub.name(at(0), vec![named], Vec::new()).expect("founds");
}

/// The office is allotted 100 a month, and has a top-up of 50.
pub(super) fn office() -> Hub<MemoryStore> {
    let mut hub = hub();
    found(&mut hub);
    hub.grant(at(0), OFFICE, credits(50), "a top-up".into()).expect("grants");
    let monthly = Some(credits(100));
    let allotment = Allotment { monthly, carries_over: false, most: None, from: FROM };
    hub.lay_down_allotment(at(0), OFFICE, allotment).expect("lays down");
    hub
}

/// As if Ada had been charged so much.
pub(super) fn uses(hub: &mut Hub<MemoryStore>, whole: i64) {
    let position = Position { log: hub.logs.accounts.0, epoch: hub.logs.accounts.1, seq: 1 };
    let (subject, credits) = (ADA, credits(-whole));
    let (corrects, reason, by) = (position, "used".into(), None);
    let used = ChargeCorrected { subject, corrects, credits, reason, by, charged: None };
    hub.account(at(0), &[used.into()]).expect("charges");
}

#[test]
fn a_month_is_given_once_and_a_wrong_clock_gives_no_years() {
    let (mut hub, _) = allotted(true, None);
    for _ in 0..3 {
        hub = hub.restart(at(0));
        assert_eq!(hub.give_allotments(at(0)).expect("asks"), 0);
    }
    // Ten years ahead for a while, as often as one likes: one month more.
    for _ in 0..3 {
        hub.give_allotments(at(120)).expect("asks");
        hub.give_allotments(at(0)).expect("asks");
    }
    assert_eq!(pool(&hub, ADA), 200);
    hub.give_allotments(at(1)).expect("asks");
    assert_eq!(pool(&hub, ADA), 300, "the right clock goes on");
    // Off for three months: those are not made up for.
    hub.give_allotments(at(5)).expect("asks");
    assert_eq!(pool(&hub, ADA), 400);
    let before_release = Now { wall: Wall(0), quality: ClockQuality::Suspect, ..at(0) };
    assert_eq!(hub.give_allotments(before_release).expect("asks"), 0);
    let back = Now { wall: Wall(NOVEMBER - MONTH), ..at(0) };
    assert_eq!(hub.give_allotments(back).expect("asks"), 0, "before it begins");
}

#[test]
fn what_is_left_lapses_and_a_top_up_does_not() {
    let (mut hub, allotment) = allotted(false, None);
    hub.grant(at(0), ADA, credits(50), "a top-up".into()).expect("grants");
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, ADA), 150, "100 lapsed, 100 were given");
    let accounts = hub.counts().accounts();
    let of = |funds: &Funds| gift(accounts, ADA, Some(&allotment), FROM + 2, funds);
    // Used: 120, of which 100 are the allotment's and 20 the top-up's.
    let funds = Funds { granted: 150_000, charged: 120_000, ..Funds::default() };
    let given = of(&funds);
    assert_eq!((given.credits, given.lapsed), (credits(100), Credits::ZERO));
    // Of 150, 90 are lent: what of the allotment is not in the pool stays with the device.
    let lent = Funds { granted: 150_000, leased: 90_000, ..Funds::default() };
    let given = of(&lent);
    assert_eq!((given.lapsed, given.allotted), (credits(60), credits(140)));
    // Less used than before, by a correction: no more lapses than was allotted.
    let lighter = Funds { granted: 150_000, corrected: 40_000, ..Funds::default() };
    let given = of(&lighter);
    assert_eq!((given.lapsed, given.allotted), (credits(100), credits(100)));
    // In debt: nothing lapses, and what is owed stays owed.
    let owing = Funds { granted: 150_000, charged: 180_000, ..Funds::default() };
    let given = of(&owing);
    assert_eq!((given.credits, given.lapsed), (credits(100), Credits::ZERO));
}

/// What seems to be left may have been lent in what was lost, and was spent of the month before: then it lapsed of
/// the new one.
#[test]
fn while_a_cloud_is_frozen_nothing_lapses() {
    let (mut hub, allotment) = allotted(false, None);
    let stopped = SubjectId([7; 16]);
    hub.lay_down_allotment(at(0), stopped, allotment).expect("lays down");
    let stop = Allotment { monthly: None, ..allotment };
    hub.lay_down_allotment(at(0), stopped, stop).expect("stops");
    hub.freeze(at(0), "a device held more").expect("freezes");
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!((pool(&hub, ADA), pool(&hub, stopped)), (200, 100));
    assert_eq!(hub.give_allotments(at(1)).expect("gave"), 0);
    hub.accept_loss(at(1)).expect("thaws");
    assert_eq!(hub.give_allotments(at(1)).expect("lets lapse"), 1);
    assert_eq!((pool(&hub, ADA), pool(&hub, stopped)), (200, 0), "hers lapses a month later");
    hub.give_allotments(at(2)).expect("gives");
    assert_eq!(pool(&hub, ADA), 100);
}

#[test]
fn what_carries_over_is_bounded_and_stays_after_a_stop() {
    let (mut hub, allotment) = allotted(true, Some(250));
    for (month, expected) in [(1, 200), (2, 250), (3, 250)] {
        hub.give_allotments(at(month)).expect("gives");
        assert_eq!(pool(&hub, ADA), expected, "month {month}");
    }
    let stop = Allotment { monthly: None, ..allotment };
    hub.lay_down_allotment(at(3), ADA, stop).expect("stops");
    let told = hub.lay_down_allotment(at(3), ADA, stop).expect_err("is stopped").to_string();
    assert!(told.contains("nothing to stop"), "{told}");
    hub.grant(at(3), ADA, credits(-100), String::new()).expect("takes");
    hub.give_allotments(at(4)).expect("asks");
    assert_eq!(pool(&hub, ADA), 150);
    let nothing = Allotment { monthly: Some(Credits::ZERO), ..allotment };
    hub.lay_down_allotment(at(4), ADA, nothing).expect_err("is none");
}

#[test]
fn what_was_granted_does_not_count_to_the_most_and_a_lower_one_takes() {
    let (mut hub, allotment) = allotted(true, Some(150));
    hub.grant(at(0), ADA, credits(1000), "a top-up".into()).expect("grants");
    for month in [1, 2] {
        hub.give_allotments(at(month)).expect("gives");
        assert_eq!(pool(&hub, ADA), 1150, "month {month}");
    }
    uses(&mut hub, 20);
    let lower = Allotment { most: Some(credits(110)), from: FROM + 2, ..allotment };
    let (_, given) = hub.lay_down_allotment(at(2), ADA, lower).expect("lays down");
    assert_eq!(given, None, "this month's was given");
    hub.give_allotments(at(3)).expect("gives");
    let (_, Gift { credits: given, lapsed, .. }) =
        hub.counts().accounts().last_gift(ADA).expect("is given");
    assert_eq!((given, lapsed, pool(&hub, ADA)), (Credits::ZERO, credits(20), 1110));
}

/// Regression: a job on hold over the first kept its part of an allotment for ever.
#[test]
fn what_a_job_holds_over_the_first_lapses_when_it_came_back() {
    let (hub, allotment) = allotted(false, None);
    let accounts = hub.counts().accounts();
    let month = FROM + 1;
    let holds = Funds { granted: 100_000, held: 20_000, ..Funds::default() };
    let given = gift(accounts, ADA, Some(&allotment), month, &holds);
    assert_eq!((given.credits, given.lapsed), (credits(100), credits(80)));
    assert_eq!(given.allotted, credits(120), "what is held goes on to be allotment");
    assert_eq!(given.used, Credits::ZERO);
    let most = Allotment { carries_over: true, most: Some(credits(110)), ..allotment };
    let given = gift(accounts, ADA, Some(&most), month, &holds);
    assert_eq!((given.credits, given.lapsed), (credits(10), Credits::ZERO), "it counts to MAX");
}

#[test]
fn what_was_allotted_lapses_once_it_is_stopped() {
    let (mut hub, allotment) = allotted(false, None);
    hub.grant(at(0), ADA, credits(50), "a top-up".into()).expect("grants");
    uses(&mut hub, 30);
    hub.lay_down_allotment(at(0), ADA, Allotment { monthly: None, ..allotment }).expect("stops");
    assert_eq!((pool(&hub, ADA), hub.give_allotments(at(0)).expect("gives")), (120, 0));
    assert_eq!(hub.give_allotments(at(1)).expect("gives"), 1);
    assert_eq!(pool(&hub, ADA), 50);
    assert_eq!(hub.give_allotments(at(2)).expect("gives"), 0, "nothing is left to lapse");
    // It is no gift: what is laid down anew begins in the same month.
    let again = Allotment { from: FROM + 1, ..allotment };
    let (_, given) = hub.lay_down_allotment(at(1), ADA, again).expect("lays down");
    assert_eq!(given.map(|gift| gift.credits), Some(credits(100)));
    assert_eq!(pool(&hub, ADA), 150);
}

#[test]
fn who_is_forgotten_is_given_nothing_more() {
    let (mut hub, allotment) = allotted(true, None);
    assert_eq!(pool(&hub, ADA), 100);
    hub.forget(at(0), ADA, Vec::new()).expect("forgets");
    assert_eq!(hub.give_allotments(at(1)).expect("asks"), 0);
    assert_eq!(pool(&hub, ADA), 100, "and what was there stays");
    let told = hub.lay_down_allotment(at(1), ADA, allotment).expect_err("is refused").to_string();
    assert!(told.contains("forgotten"), "{told}");
    hub.lay_down_allotment(at(1), ADA, Allotment { monthly: None, ..allotment }).expect("stops");
}

#[test]
fn an_allotment_that_gives_not_what_it_says_is_refused() {
    let mut hub = hub();
    let allotment =
        Allotment { monthly: Some(credits(100)), carries_over: true, most: None, from: FROM };
    let mut refused = |allotment, months| {
        hub.lay_down_allotment(at(months), ADA, allotment).expect_err("is refused").to_string()
    };
    let told = refused(Allotment { most: Some(credits(99)), ..allotment }, 0);
    assert!(told.contains("at least 100.000"), "{told}");
    let told = refused(allotment, 1);
    assert!(told.contains("2026-11 is past") && told.contains("say 2026-12 or later"), "{told}");
    let most = Some(credits(100));
    hub.lay_down_allotment(at(0), ADA, Allotment { most, ..allotment }).expect("is as much");
}

#[test]
fn an_allotment_is_given_until_the_month_from_which_it_is_stopped() {
    let (mut hub, allotment) = allotted(true, None);
    let stopped = Allotment { monthly: None, from: FROM + 2, ..allotment };
    hub.lay_down_allotment(at(0), ADA, stopped).expect("is stopped from January on");
    for (months, there) in [(1, 200), (2, 200), (3, 200)] {
        hub.give_allotments(at(months)).expect("gives");
        assert_eq!(pool(&hub, ADA), there, "after {months} months");
    }
    hub.lay_down_allotment(at(3), ADA, stopped).expect_err("is stopped already");
}

/// What was laid down from a later month on took away the months until then.
#[test]
fn what_begins_later_leaves_what_holds_until_then() {
    let (mut hub, allotment) = allotted(true, None);
    let more = Allotment { monthly: Some(credits(200)), from: FROM + 2, ..allotment };
    hub.lay_down_allotment(at(0), ADA, more).expect("from January on");
    let given = |hub: &mut Hub<MemoryStore>, months| {
        hub.give_allotments(at(months)).expect("gives");
        *hub = hub.restart(at(months));
        pool(hub, ADA)
    };
    assert_eq!([1, 2].map(|months| given(&mut hub, months)), [200, 400]);
    // What is said later holds, also where it begins earlier.
    let less = Allotment { monthly: Some(credits(10)), from: FROM + 3, ..allotment };
    let even_more = Allotment { monthly: Some(credits(1000)), from: FROM + 4, ..allotment };
    hub.lay_down_allotment(at(2), ADA, even_more).expect("from March on");
    hub.lay_down_allotment(at(2), ADA, less).expect("from February on");
    assert_eq!([3, 4].map(|months| given(&mut hub, months)), [410, 420]);
    let stopped = Allotment { monthly: None, from: FROM + 5, ..allotment };
    hub.lay_down_allotment(at(4), ADA, stopped).expect("is stopped");
    assert_eq!(given(&mut hub, 5), 420);
}

/// What seems to be left may have been spent in what the cloud lost; a top-up never lapses with it.
#[test]
fn while_the_cloud_is_frozen_nothing_lapses_and_all_that_was_allotted_does_after_the_thaw() {
    let (mut hub, _) = allotted(false, None);
    hub.grant(at(0), ADA, credits(50), "a top-up".into()).expect("grants");
    hub.freeze(at(0), "a test").expect("freezes");
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, ADA), 250);
    hub.accept_loss(at(1)).expect("thaws");
    hub.give_allotments(at(2)).expect("gives");
    assert_eq!(pool(&hub, ADA), 150, "200 lapsed, 100 were given, 50 stay");
}
