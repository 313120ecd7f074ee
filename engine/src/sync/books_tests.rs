//! The books of a cloud with one device: corrections and what may be lent, closed months.
//!
//! Invariant tested: what is given back is in the pool, and no more of a charge than it took; a closed
//! month's figures are those of its cut. Statements of any history are tested in the counts.

use super::pair::{TestDevice, capture, enrol, hub, now, talk_at};
use crate::counts::Month;
use crate::hub::{Correction, Hub};
use crate::store::MemoryStore;
use tallyroll_schema::{Credits, Position, SubjectId, UserAlias};

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
    hub.correct(now(11), correction(position, -250)).expect("takes more");
    assert_eq!(pool(&hub), Some(9_250));
    let nobody = Correction { by: String::new(), ..correction(position, 1) };
    assert!(refused(hub.correct(now(11), nobody)).contains("--by"));
    let silent = Correction { reason: " ".into(), ..correction(position, 1) };
    assert!(refused(hub.correct(now(11), silent)).contains("--reason"));
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
    let commit = hub.close_month(now(20 * DAY), november).expect("closes");
    assert_eq!(hub.counts().books().closed(november), Some(commit));
    capture(&mut device, 3, 12);
    deliver(&mut device, &mut hub, 20 * DAY + 1);
    assert_eq!((captured(&hub, november), captured(&hub, november.next())), (2, 5));
    let again = hub.close_month(now(20 * DAY), november).expect_err("is closed").to_string();
    assert!(again.contains("closed already"), "{again}");
}
