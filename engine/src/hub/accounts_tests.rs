//! Tests of groups: who joins, who leaves, and what of their allotments moves with them.
//!
//! Invariant tested: a group's pool is the same before and after a leaving; what lapses goes on to lapse where it
//! comes to, and nothing else does. What a month gives is tested in `allotments_tests`.

use super::allotments_tests::*;
use super::{Hub, Named};
use crate::counts::{Allotment, RightKey};
use crate::store::MemoryStore;
use crate::sync::pair::enrol;
use tallyroll_schema::event::leases::LeaseGranted;
use tallyroll_schema::{Credits, EpochId, SubjectId, UserAlias, Wall};

#[test]
fn who_cannot_join_is_told_why() {
    let mut hub = hub();
    let [office, other] = [OFFICE, SubjectId([3; 16])];
    let named = [office, other].map(|subject| Named {
        subject,
        alias: UserAlias(subject.0),
        sealed: vec![1],
        mail: None,
        founds_group: true,
    });
    hub.name(at(0), named.to_vec(), Vec::new()).expect("founds");
    let mut join = |group, member| {
        hub.join_group(at(0), group, member).map(drop).map_err(|why| why.to_string())
    };
    let refused = |why: &str| Err(why.to_owned());
    assert_eq!(join(ADA, ADA), refused("this is no group"));
    assert_eq!(join(office, other), refused("a group joins no group"));
    assert_eq!(join(office, ADA), Ok(()));
    assert_eq!(join(office, ADA), refused("they are a member of it already"));
    let another = "they are a member of another group; let them leave that one first";
    assert_eq!(join(other, ADA), refused(another));
}

#[test]
fn who_leaves_takes_nothing_and_the_group_keeps_its_pool() {
    let mut hub = hub();
    found(&mut hub);
    hub.grant(at(0), OFFICE, credits(10), String::new()).expect("grants");
    hub.grant(at(0), ADA, credits(7), String::new()).expect("grants");
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    hub.join_group(at(0), OFFICE, ADA).expect_err("is a member");
    hub.join_group(at(0), OFFICE, OFFICE).expect_err("is a group");
    assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (17, 0));
    let left = hub.leave_group(at(0), ADA).expect("leaves");
    assert_eq!((left.event.settled, left.event.used), (credits(-7), Some(Credits::ZERO)));
    assert_eq!(left.along, 0);
    assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (17, 0));
    hub.leave_group(at(0), ADA).expect_err("is no member");
}

#[test]
fn what_a_member_used_of_an_allotment_stays_used_when_they_leave() {
    let mut hub = office();
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    uses(&mut hub, 80);
    hub.leave_group(at(0), ADA).expect("leaves");
    assert_eq!(pool(&hub, OFFICE), 70);
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 150, "20 of the allotment were left, and lapsed");
    // Once more, and in another month than they came.
    hub.join_group(at(1), OFFICE, ADA).expect("joins");
    uses(&mut hub, 30);
    hub.give_allotments(at(2)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 150, "70 lapsed");
    uses(&mut hub, 10);
    hub.leave_group(at(2), ADA).expect("leaves");
    hub.give_allotments(at(3)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 150, "90 lapsed");
}

#[test]
fn what_a_member_used_before_they_came_is_used_of_nobodys_allotment() {
    let mut hub = office();
    hub.grant(at(0), ADA, credits(300), String::new()).expect("grants");
    uses(&mut hub, 300);
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 150, "100 were left, and lapsed");
}

#[test]
fn an_allotment_that_was_brought_into_a_group_does_not_lapse_again_for_who_left() {
    let (mut hub, _) = allotted(false, None);
    found(&mut hub);
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    hub.leave_group(at(0), ADA).expect("leaves");
    assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (100, 0), "it is the group's");
    hub.grant(at(0), ADA, credits(50), "a top-up".into()).expect("grants");
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, ADA), 150, "a top-up never lapses");
}

/// A month's 100 of Ada's own.
fn allots_ada(hub: &mut Hub<MemoryStore>) {
    let monthly = Some(credits(100));
    let allotment = Allotment { monthly, carries_over: false, most: None, from: FROM };
    hub.lay_down_allotment(at(0), ADA, allotment).expect("lays down");
}

#[test]
fn what_lapses_and_is_brought_into_a_group_lapses_there() {
    // Into one without an allotment, and out of it again.
    for leaves in [false, true] {
        let (mut hub, _) = allotted(false, None);
        found(&mut hub);
        hub.grant(at(0), ADA, credits(5), "a top-up".into()).expect("grants");
        uses(&mut hub, 30);
        hub.join_group(at(0), OFFICE, ADA).expect("joins");
        uses(&mut hub, 10);
        assert_eq!(pool(&hub, OFFICE), 65);
        if leaves {
            hub.leave_group(at(0), ADA).expect("leaves");
        }
        hub.give_allotments(at(0)).expect("gives");
        assert_eq!(pool(&hub, OFFICE), 65, "not before the month is over");
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!(pool(&hub, OFFICE), 5, "what was granted stays");
        assert_eq!(hub.give_allotments(at(2)).expect("gives"), usize::from(leaves), "once");
        assert_eq!(pool(&hub, OFFICE), 5);
    }
    // Into one with an allotment of its own.
    let mut hub = office();
    allots_ada(&mut hub);
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    uses(&mut hub, 70);
    assert_eq!(pool(&hub, OFFICE), 180);
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 150, "130 lapsed");
}

#[test]
fn what_a_group_used_up_before_takes_nothing_of_what_is_brought() {
    let mut hub = office();
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    uses(&mut hub, 150);
    hub.leave_group(at(0), ADA).expect("leaves");
    allots_ada(&mut hub);
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    assert_eq!(pool(&hub, OFFICE), 100);
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 100, "100 lapsed, 100 were given");
}

#[test]
fn what_carries_over_lapses_in_no_group() {
    let (mut hub, _) = allotted(true, None);
    found(&mut hub);
    let (_, joined) = hub.join_group(at(0), OFFICE, ADA).expect("joins");
    assert_eq!(joined.lapsing, None);
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 100);
}

#[test]
fn a_group_that_is_allotted_something_later_keeps_what_was_brought_this_month() {
    let (mut hub, allotment) = allotted(false, None);
    found(&mut hub);
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    hub.lay_down_allotment(at(0), OFFICE, allotment).expect("lays down");
    assert_eq!(pool(&hub, OFFICE), 200);
    hub.give_allotments(at(1)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 100);
}

const ALIAS: UserAlias = UserAlias([8; 16]);

/// Has a device hold so much for Ada.
fn lend(hub: &mut Hub<MemoryStore>, whole: i64) -> RightKey {
    let device = enrol(hub, "branch", 21).id();
    hub.link(at(0), vec![(device, ALIAS, ADA)]).expect("links");
    let epoch = EpochId { counter: 0, nonce: [9; 16] };
    let lent = LeaseGranted {
        allocation: 1,
        device,
        subject: ADA,
        credits: credits(whole),
        spend_until: Wall(NOVEMBER + 9 * MONTH),
        user: Some(ALIAS),
        epoch: Some(epoch),
        answers: None,
    };
    let log = hub.log_about(device).expect("is known");
    hub.decide(at(0), log, &[lent.into()]).expect("lends");
    RightKey { device, epoch, user: ALIAS }
}

#[test]
fn what_devices_hold_of_a_groups_allotment_lapses_for_who_takes_it_along() {
    for back_in_time in [true, false] {
        let mut hub = office();
        hub.join_group(at(0), OFFICE, ADA).expect("joins");
        let lent = lend(&mut hub, 30);
        let left = hub.leave_group(at(0), ADA).expect("leaves");
        let lapsing = left.event.lapsing.expect("is told");
        assert_eq!((lapsing.credits, lapsing.of_group), (credits(30), credits(70)));
        assert_eq!((left.event.settled, left.along), (credits(30), 30_000));
        assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (120, 0));
        if back_in_time {
            hub.write_off(at(0), lent, "is back".into()).expect("gives back");
        }
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (150, 0), "{back_in_time}");
        if back_in_time {
            continue;
        }
        // What a device holds on the first lapses a month later.
        hub.write_off(at(1), lent, "is back".into()).expect("gives back");
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!(pool(&hub, ADA), 30);
        hub.give_allotments(at(2)).expect("gives");
        assert_eq!(pool(&hub, ADA), 0);
        assert_eq!(hub.give_allotments(at(3)).expect("gives"), 1, "the office's alone");
    }
}

#[test]
fn who_leaves_takes_along_no_more_that_lapses_than_the_group_has() {
    let mut hub = office();
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    uses(&mut hub, 80);
    lend(&mut hub, 50);
    let left = hub.leave_group(at(0), ADA).expect("leaves");
    let lapsing = left.event.lapsing.expect("is told");
    assert_eq!((lapsing.credits, lapsing.of_group), (credits(20), credits(0)));
    let mut hub = office();
    hub.lay_down_allotment(
        at(0),
        OFFICE,
        Allotment { monthly: Some(credits(100)), carries_over: true, most: None, from: FROM },
    )
    .expect("lays down");
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    lend(&mut hub, 50);
    assert_eq!(hub.leave_group(at(0), ADA).expect("leaves").event.lapsing, None, "it carries over");
}

#[test]
fn where_nothing_that_lapses_is_brought_or_taken_along_nothing_is_said_of_it() {
    let mut hub = office();
    let (_, joined) = hub.join_group(at(0), OFFICE, ADA).expect("joins");
    uses(&mut hub, 80);
    let left = hub.leave_group(at(0), ADA).expect("leaves");
    assert_eq!((joined.lapsing, left.event.lapsing), (None, None));
}

/// A rest of an older month, of which nothing is left, makes nothing older that is brought.
#[test]
fn what_is_brought_into_a_group_that_has_nothing_left_lapses_with_its_own_month() {
    let (mut hub, _) = allotted(false, None);
    found(&mut hub);
    hub.join_group(at(0), OFFICE, ADA).expect("joins");
    hub.leave_group(at(0), ADA).expect("leaves");
    for month in [1, 2] {
        hub.give_allotments(at(month)).expect("gives");
    }
    assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (0, 100), "what was brought first lapsed");
    hub.join_group(at(2), OFFICE, ADA).expect("joins");
    hub.give_allotments(at(2)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 100, "not before the month is over");
    hub.give_allotments(at(3)).expect("gives");
    assert_eq!(pool(&hub, OFFICE), 0);
}
