//! The books of a cloud with one device: corrections and what may be lent, closed months.
//!
//! Invariant tested: what is given back is in the pool, and no more of a charge than it took; a closed
//! month's figures are those of its cut. Statements of any history are tested in the counts.

use super::pair::{TestDevice, capture, capture_at, enrol, hub, now, talk, talk_at};
use crate::counts::Month;
use crate::device::Now;
use crate::hub::{Correction, Hub, Named};
use crate::store::MemoryStore;
use tallyroll_schema::event::counts::MeterRead;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
use tallyroll_schema::{Credits, Position, SubjectId, UserAlias, Wall};

const SUBJECT: SubjectId = SubjectId([7; 16]);
const DAY: u64 = 86_400;

/// A cloud that granted ten credits, and a device that captured two pages of that.
fn charged() -> (Hub<MemoryStore>, TestDevice, Position) {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch", 21);
    hub.grant(now(3), SUBJECT, Credits::from_thousandths(10_000), String::new()).expect("grants");
    hub.link(now(3), vec![(device.id(), UserAlias([8; 16]), SUBJECT)]).expect("links");
    capture(&mut device, 2, 5);
    deliver(&mut device, &mut hub, 9);
    let (stated, _) = hub.statement(SUBJECT, None, hub.last_commit()).expect("is stated");
    let charge = stated.lines.iter().find(|line| line.what == "pages.captured");
    let position = charge.expect("is a line").position;
    (hub, device, position)
}

fn deliver(device: &mut TestDevice, hub: &mut Hub<MemoryStore>, at: u64) {
    device.seal(now(at)).expect("seals");
    talk_at(device, hub, at);
}

fn correction(corrects: Position, thousandths: i64) -> Correction {
    let credits = Credits::from_thousandths(thousandths);
    let (reason, by) = ("blank".into(), "josé".into());
    Correction { corrects, credits, reason, by, beyond: false, again: false }
}

#[test]
fn what_is_given_back_may_be_lent_and_no_more_than_was_taken() {
    let (mut hub, _device, position) = charged();
    let pool = |hub: &Hub<MemoryStore>| hub.funds().get(&SUBJECT).map(|funds| funds.pool());
    assert_eq!(pool(&hub), Some(8_000));
    let refused = |done: crate::Result<_>| done.map(drop).expect_err("is refused").to_string();
    let told = refused(hub.correct(now(10), correction(position, 2_001)));
    assert!(told.contains("it took 2.000 credits"), "{told}");
    hub.correct(now(10), correction(position, 1_500)).expect("corrects");
    assert_eq!(pool(&hub), Some(9_500));
    let told = refused(hub.correct(now(11), correction(position, 1_500)));
    assert!(told.contains("the same correction stands at"), "{told}");
    let told = refused(hub.correct(now(11), correction(position, 501)));
    assert!(told.contains("1.500 were given back before"), "{told}");
    hub.correct(now(11), correction(position, 500)).expect("all that is left of it");
    hub.correct(now(11), correction(position, -250)).expect("takes more");
    assert_eq!(pool(&hub), Some(9_750));
    let beyond = Correction { beyond: true, ..correction(position, 251) };
    hub.correct(now(11), beyond).expect("was told to");
    let again = Correction { again: true, ..correction(position, -250) };
    hub.correct(now(11), again).expect("was told to");
    assert_eq!(pool(&hub), Some(9_751));
    // As much again as it took, and no more: a typing error is not billed.
    let told = refused(hub.correct(now(11), correction(position, -3_752)));
    assert!(told.contains("--beyond") && told.contains("takes once more"), "{told}");
    hub.correct(now(11), correction(position, -3_751)).expect("as much again");
    let beyond = Correction { beyond: true, ..correction(position, -9_000) };
    hub.correct(now(11), beyond).expect("was told to");
    let back = Correction { beyond: true, ..correction(position, 12_751) };
    hub.correct(now(11), back).expect("was told to");
    let told = refused(hub.correct(now(11), correction(position, 0)));
    assert!(told.contains("changes nothing"), "{told}");
    let longest = "x".repeat(NAME_BYTES_MAX);
    let longest = Correction { by: longest, ..correction(position, -1) };
    hub.correct(now(11), longest.clone()).expect("is a name");
    let longer = Correction { by: format!("{}x", longest.by), ..longest };
    assert!(refused(hub.correct(now(11), longer)).contains("1 to 255 bytes"));
    let wordy = Correction { reason: "x".repeat(TEXT_BYTES_MAX + 1), ..correction(position, -2) };
    assert_eq!(refused(hub.correct(now(11), wordy)), "reason: at most 1024 bytes");
    let nobody = Correction { by: String::new(), ..correction(position, 1) };
    assert!(refused(hub.correct(now(11), nobody)).contains("--by"));
    let silent = Correction { reason: " ".into(), ..correction(position, 1) };
    assert!(refused(hub.correct(now(11), silent)).contains("--reason"));
}

fn found(hub: &mut Hub<MemoryStore>, number: u8) -> SubjectId {
    let (subject, alias) = (SubjectId([number; 16]), UserAlias([number; 16]));
    let (sealed, mail, founds_group) = (vec![1], None, true);
    let named = Named { subject, alias, sealed, mail, founds_group };
    hub.name(now(9), vec![named], Vec::new()).expect("founds");
    assert!(hub.counts().accounts().groups().contains(&subject));
    subject
}

/// A leaving settles on the group what came before it, so the group gets back what is corrected of that.
#[test]
fn a_correction_goes_to_the_account_that_bore_the_charge() {
    let (mut hub, mut device, first) = charged();
    let [office, other] = [10, 11].map(|number| found(&mut hub, number));
    let pools = |hub: &Hub<MemoryStore>| {
        let funds = hub.funds();
        let pool = |of| funds.get(&of).map_or(0, |funds: &crate::hub::Funds| funds.pool());
        [office, other, SUBJECT].map(pool)
    };
    hub.join_group(now(10), office, SUBJECT).expect("joins");
    let by_whom = |done: crate::Result<crate::hub::Corrected>| {
        let done = done.expect("corrects");
        (done.charged, done.account)
    };
    // Of a member it is the group's, as all that is theirs.
    assert_eq!(by_whom(hub.correct(now(11), correction(first, 100))), (SUBJECT, office));
    assert_eq!(pools(&hub), [8_100, 0, 0]);
    hub.leave_group(now(12), SUBJECT).expect("leaves");
    assert_eq!(by_whom(hub.correct(now(13), correction(first, 200))), (SUBJECT, office));
    assert_eq!(pools(&hub), [8_300, 0, 0]);
    // The first leaving after it, however many groups came since.
    hub.join_group(now(14), other, SUBJECT).expect("joins");
    capture(&mut device, 3, 15);
    deliver(&mut device, &mut hub, 15);
    assert_eq!(by_whom(hub.correct(now(16), correction(first, 300))), (SUBJECT, office));
    hub.leave_group(now(17), SUBJECT).expect("leaves");
    assert_eq!(by_whom(hub.correct(now(18), correction(first, 400))), (SUBJECT, office));
    assert_eq!(pools(&hub), [9_000, -3_000, 0]);
    let told = hub.correct(now(19), correction(first, 1_001)).expect_err("is more").to_string();
    assert!(told.contains("1.000 were given back before"), "{told}");
    let told = hub.correct(now(19), correction(first, 200)).expect_err("is done").to_string();
    assert!(told.contains("the same correction stands at"), "{told}");
    // What came after the last leaving is their own.
    capture(&mut device, 1, 20);
    deliver(&mut device, &mut hub, 20);
    let (stated, _) = hub.statement(SUBJECT, None, hub.last_commit()).expect("is stated");
    let charges = stated.lines.iter().filter(|line| line.what == "pages.captured");
    let last = charges.map(|line| line.position).max().expect("is a line");
    assert_eq!(by_whom(hub.correct(now(21), correction(last, 500))), (SUBJECT, SUBJECT));
    assert_eq!(pools(&hub), [9_000, -3_000, -500]);
    let borne: Vec<_> = stated.lines.iter().filter_map(|line| line.borne_by).collect();
    assert_eq!(borne, [office; 3], "a trace of each in their own");
    let (stated, _) = hub.statement(office, None, hub.last_commit()).expect("is stated");
    assert_eq!(stated.closing.balance.thousandths(), 9_000);
}

/// A name that was known late brings what was done before to who they are then.
#[test]
fn a_charge_whose_user_was_linked_after_a_leaving_is_their_own() {
    let (mut hub, _device, charge) = charged();
    let (office, late) = (found(&mut hub, 10), SubjectId([12; 16]));
    hub.join_group(now(10), office, late).expect("joins");
    hub.leave_group(now(11), late).expect("leaves");
    let ((device, alias), _) =
        hub.counts().links().find(|(_, subject)| *subject == SUBJECT).expect("is one");
    hub.link(now(12), vec![(device, alias, late)]).expect("links");
    let done = hub.correct(now(13), correction(charge, 100)).expect("corrects");
    assert_eq!(done.account, late);
}

#[test]
fn a_closed_month_is_its_cut() {
    let (mut hub, mut device, _) = charged();
    let november = Month::of(2026, 11).expect("is a month");
    let captured = |hub: &Hub<MemoryStore>, month| {
        let books = hub.month_books(month, hub.last_commit()).expect("reads");
        books.counts.usage().values().map(|usage| usage.captured).sum::<u64>()
    };
    let early = hub.close_month(now(10), november).expect_err("is not over").to_string();
    assert!(early.contains("from 2026-12-01 on"), "{early}");
    let begins = (november.next().begins().0 - now(0).wall.0) / 1000;
    hub.close_month(now(begins - 1), november).expect_err("is not over");
    let december = now(november.next().next().begins().0 / 1000 - now(0).wall.0 / 1000);
    let why = hub.close_month(december, november.next()).expect_err("comes later").to_string();
    assert!(why.starts_with("2026-11 is not closed; close it first"), "{why}");
    let commit = hub.close_month(now(begins), november).expect("closes");
    assert_eq!(hub.counts().books().closed(november), Some(commit));
    capture(&mut device, 3, 12);
    deliver(&mut device, &mut hub, 20 * DAY + 1);
    assert_eq!((captured(&hub, november), captured(&hub, november.next())), (2, 5));
    // What came too late is booked in the next open month, and in no later one besides.
    let booked = |month| hub.month_books(month, hub.last_commit()).expect("reads").before;
    assert_eq!(booked(november.next()).map(|(last, _)| last), Some(november));
    assert!(booked(november.next().next()).is_none());
    let again = hub.close_month(now(20 * DAY), november).expect_err("is closed").to_string();
    assert!(again.contains("closed already"), "{again}");
}

/// A closing that came back from a device named a cut that nobody has any more: its month, and the next one, could not
/// be shown or closed, for ever.
#[test]
fn a_month_whose_cut_was_lost_is_open_until_it_is_closed_again() {
    let (mut hub, mut device, _) = charged();
    let november = Month::of(2026, 11).expect("is a month");
    let begins = november.next().begins().0 / 1000 - now(0).wall.0 / 1000;
    talk(&mut device, &mut hub);
    let store = hub.store().clone();
    capture(&mut device, 3, 12);
    deliver(&mut device, &mut hub, 13); // a commit after those that are kept
    let lost = hub.close_month(now(begins), november).expect("closes");
    talk_at(&mut device, &mut hub, begins + 1);

    let mut hub = hub.restart_on(store, now(begins + 2));
    talk_at(&mut device, &mut hub, begins + 3);
    assert_eq!(hub.recovery(), None);
    assert_eq!(hub.counts().books().closed(november), Some(lost), "it was given back");
    let closed = |hub: &Hub<MemoryStore>| hub.closed_months(hub.counts().books()).expect("reads");
    assert_eq!(closed(&hub), []);
    assert_eq!(hub.lost_closings().expect("reads"), [(november, lost)]);
    let adjusts = |hub: &Hub<MemoryStore>| {
        let (stated, _) = hub.statement(SUBJECT, None, hub.last_commit()).expect("is stated");
        stated.lines.last().expect("is one").adjusts.clone()
    };
    capture(&mut device, 1, 14);
    deliver(&mut device, &mut hub, begins + 4);
    assert_eq!(adjusts(&hub), None, "its month is open");
    for month in [november, november.next()] {
        let books = hub.month_books(month, hub.last_commit()).expect("is shown");
        assert_eq!((books.closed, books.before.map(|(last, _)| last)), (None, None));
    }
    let at = now(begins + 40 * DAY);
    let why = hub.close_month(at, november.next()).expect_err("comes later").to_string();
    assert!(why.starts_with("2026-11 is not closed; close it first"), "{why}");
    let commit = hub.close_month(at, november).expect("closes again");
    assert_eq!(closed(&hub), [(november, commit)]);
    capture(&mut device, 1, 15);
    deliver(&mut device, &mut hub, begins + 41 * DAY);
    assert_eq!(adjusts(&hub).as_deref(), Some("2026-11"), "an adjustment now");
    assert_eq!(hub.lost_closings().expect("reads"), []);
    hub.close_month(at, november.next()).expect("follows");
    let books = hub.month_books(november.next(), hub.last_commit()).expect("is shown");
    assert_eq!(books.before.map(|(last, _)| last), Some(november));
}

#[test]
fn months_are_closed_one_after_the_other_also_those_without_figures() {
    let (mut hub, mut device, _) = charged();
    let at =
        |month: Month| now((month.next().begins().0 / 1000).saturating_sub(now(0).wall.0 / 1000));
    let november = Month::of(2026, 11).expect("is a month");
    let october = Month::of(2026, 10).expect("is a month");
    hub.close_month(at(october), october).expect("nothing is in it");
    hub.close_month(at(november), november).expect("follows");
    let why = hub.close_month(at(november), Month::of(2026, 9).expect("is one"));
    let why = why.expect_err("is before").to_string();
    assert!(why.starts_with("2026-09 lies before 2026-11, which is closed"), "{why}");
    // What arrives late of a closed month keeps no later one open.
    capture(&mut device, 3, 12);
    deliver(&mut device, &mut hub, 20 * DAY);
    let january = november.next().next();
    let why = hub.close_month(at(january), january).expect_err("december comes first").to_string();
    assert!(why.starts_with("2026-12 is not closed; close it first"), "{why}");
    assert!(why.contains("--earlier closes all 2 of them"), "{why}");
    hub.close_month(at(january), november.next()).expect("nothing is in it");
    hub.close_month(at(january), january).expect("follows");
}

/// A page that a wrong clock dates in 1970 kept every month since open, to be closed by hand, one after the other.
#[test]
fn a_page_of_a_wild_clock_keeps_no_months_open_for_long() {
    let (mut hub, mut device, _) = charged();
    capture_at(&mut device, 3, Now { wall: Wall(1), ..now(12) });
    deliver(&mut device, &mut hub, 13);
    let first = Month::of(1970, 1).expect("is one");
    let november = Month::of(2026, 11).expect("is one");
    let at = now(november.next().begins().0 / 1000 - now(0).wall.0 / 1000);
    let why = hub.close_month(at, november).expect_err("1970 comes first").to_string();
    assert!(why.starts_with("1970-01 is not closed; close it first"), "{why}");
    let early = hub.close_months(now(20), november, true).expect_err("is not over").to_string();
    assert!(early.starts_with("2026-11 is not over"), "{early}");
    let (from, commit) = hub.close_months(at, november, true).expect("closes all");
    assert_eq!(from, first);
    let closed = hub.closed_months(hub.counts().books()).expect("reads");
    assert!(closed.iter().all(|(_, at)| *at == commit));
    assert_eq!(closed.len(), (november.0 - first.0 + 1) as usize);
    for (month, before) in [(first, None), (november, Some(Month(november.0 - 1)))] {
        let books = hub.month_books(month, hub.last_commit()).expect("is shown");
        assert_eq!((books.closed, books.before.map(|(last, _)| last)), (Some(commit), before));
    }
}

#[test]
fn meters_are_held_against_what_was_counted() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch", 21);
    assert_eq!(hub.reconcile().expect("reads"), []);
    for (at, impressions) in [(5, 100), (7, 140)] {
        let read = MeterRead { impressions, sheets: None };
        device.commit(now(at), &[(LogClass::Ledger, read.into())]).expect("commits");
    }
    deliver(&mut device, &mut hub, 9);
    let rows = hub.reconcile().expect("reads");
    let [row] = &rows[..] else { panic!("one device, one month: {rows:?}") };
    assert_eq!(
        (row.device, row.metered, row.counted, row.difference),
        (device.id(), Some(40), 0, 40)
    );
}

#[test]
fn a_groups_statement_is_of_its_members_alone_and_opens_where_it_is_asked_to() {
    let (mut hub, mut device, position) = charged();
    let other = SubjectId([9; 16]);
    let group = found(&mut hub, 10);
    hub.grant(now(12), other, Credits::from_thousandths(77), String::new()).expect("grants");
    let before = hub.last_commit();
    hub.join_group(now(13), group, SUBJECT).expect("joins");
    capture(&mut device, 1, 14);
    deliver(&mut device, &mut hub, 15);
    let (stated, counts) = hub.statement(group, None, hub.last_commit()).expect("is stated");
    assert_eq!(
        (stated.opening.balance.thousandths(), stated.closing.balance.thousandths()),
        (0, 7_000)
    );
    assert!(counts.accounts().is_group(group));
    let whats: Vec<_> = stated.lines.iter().map(|line| line.what).collect();
    assert_eq!(whats, ["group.joined", "pages.captured"]);
    assert_eq!(stated.lines[0].moved.thousandths(), 8_000, "with all that was theirs");
    let (person, _) = hub.statement(SUBJECT, Some(before), hub.last_commit()).expect("is stated");
    assert_eq!(person.opening.balance.thousandths(), 8_000);
    let positions: Vec<_> = person.lines.iter().map(|line| line.position).collect();
    assert!(!positions.contains(&position) && !positions.is_empty(), "{positions:?}");
}
