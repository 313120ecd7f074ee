//! Acts that are asked for twice, and such that wait: what is one act, and for whom what comes back is kept.
//!
//! Invariant: an act with a request id is done once, whatever the cloud has laid down since; what waits holds
//! up its own account and no other, and for no longer than it waits.

use super::act_tests::{ALIAS, JOB, SUBJECT, act_at, figures, mail, scanned, sync, user};
use super::pair::now;
use crate::hub::Acted;
use core::time::Duration;
use std::collections::BTreeSet;
use tallyroll_schema::event::counts::{Conversion, RateCard, SettlementPolicy};
use tallyroll_schema::limits::LEASE_RECALL_SECONDS;
use tallyroll_schema::{Act, Credits, RequestId, SubjectId, UserAlias};

fn convert(conversion: Conversion) -> Act {
    let (media, revision, from_revision, which_pages) = (None, None, None, None);
    let (job, user, conversions) = (JOB, user(), vec![conversion]);
    Act::Convert { job, user, pages: 1, conversions, media, revision, from_revision, which_pages }
}

fn save(pages: u32) -> Act {
    let (media, revision, which_pages) = (None, None, None);
    Act::Save { job: JOB, user: user(), pages, media, revision, which_pages }
}

/// What it costs, how its job settles and of which revision it is, is the cloud's to say.
#[test]
fn an_act_is_the_same_under_another_card_and_policy() {
    let other = |act: &Act| match act {
        Act::Save { .. } => save(2),
        Act::Convert { .. } => convert(Conversion::Resize),
        _ => mail(2),
    };
    for act in [convert(Conversion::ColorToMonochrome), save(1), Act::Discard { job: JOB }] {
        let (mut hub, one, _) = scanned(100_000);
        let request = Some(RequestId([4; 8]));
        act_at(&mut hub, one.id(), (5, convert(Conversion::Resize), None), &[], None).expect("is");
        let done = act_at(&mut hub, one.id(), (6, act.clone(), request), &[], None);
        let done = done.expect("is done");
        let card = hub.card();
        let (save, conversion) = (Credits::from_thousandths(70), Credits::from_thousandths(80));
        hub.publish_next(now(7), RateCard { save, conversion, ..card }).expect("publishes");
        hub.publish_settlement(now(7), SettlementPolicy::Additive).expect("publishes");
        let commit = hub.last_commit();
        let again = act_at(&mut hub, one.id(), (8, act.clone(), request), &[], None);
        assert_eq!((again.expect("was done"), hub.last_commit()), (done, commit), "{act:?}");
        let other = act_at(&mut hub, one.id(), (8, other(&act), request), &[], None);
        assert!(other.expect_err("is another").to_string().contains("take a new one"), "{act:?}");
    }
}

#[test]
fn a_frozen_cloud_does_what_costs_nothing() {
    let (mut hub, one, _) = scanned(100_000);
    hub.check_allocations(now(6), Some(1)).expect("freezes");
    let before = figures(&hub);
    let act = (6, convert(Conversion::Resize), None);
    act_at(&mut hub, one.id(), act, &[], None).expect("is done");
    assert_eq!(figures(&hub), before);
}

#[test]
fn an_act_that_waits_holds_up_its_own_account_and_until_its_time_is_over() {
    let (mut hub, one, mut two) = scanned(3_000);
    let (bert, theirs) = (UserAlias([9; 16]), SubjectId([9; 16]));
    hub.link(now(4), vec![(two.id(), bert, theirs)]).expect("links");
    let credits = Credits::from_thousandths(2_000);
    hub.grant(now(4), theirs, credits, String::new()).expect("grants");
    two.request_lease(now(5), (ALIAS, None), credits, credits).expect("asks");
    sync(&mut hub, &mut two, 5);
    hub.answer_requests(now(5), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    sync(&mut hub, &mut two, 5);
    let reached = [two.id()];
    let Ok(Acted::Waits { since }) = act_at(&mut hub, one.id(), (6, mail(5), None), &reached, None)
    else {
        panic!("waits")
    };
    two.request_lease(now(6), (bert, None), credits, credits).expect("asks");
    sync(&mut hub, &mut two, 6);
    hub.answer_requests(now(6), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    let pool = |of| hub.funds().get(&of).map(|funds| funds.pool());
    assert_eq!((pool(theirs), pool(SUBJECT)), (Some(0), Some(0)), "lent at once");

    let due = since + Duration::from_secs(LEASE_RECALL_SECONDS);
    assert_eq!(hub.answers_due(), Some(due));
    let late = act_at(
        &mut hub.restart(now(6)),
        one.id(),
        (due.as_secs(), mail(5), None),
        &reached,
        Some(since),
    );
    late.expect_err("its time is over");
    hub.answer_requests(now(due.as_secs()), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    assert_eq!(hub.answers_due(), None, "nobody waits any more");
}

#[test]
fn what_a_cloud_is_for_is_laid_down_for_good() {
    let (mut hub, ..) = scanned(1);
    assert!(!hub.is_account_server());
    hub.set_account_server(true).expect("is laid down");
    assert!(hub.is_account_server() && hub.restart(now(6)).is_account_server());
}
