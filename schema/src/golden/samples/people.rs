//! Samples of the events of people and of allotments.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::{ALIAS, DEVICE, POSITION, SUBJECT};
use crate::event::allotments::{AllotmentGiven, AllotmentLaidDown};
use crate::event::people::*;
use crate::{Credits, Event, SubjectId};

const GROUP: SubjectId = SubjectId([0x78; 16]);

const fn amount(thousandths: i64) -> Credits {
    Credits::from_thousandths(thousandths)
}

pub(super) fn samples() -> Vec<Event> {
    vec![
        SubjectLinked { device: DEVICE, alias: ALIAS, subject: SUBJECT }.into(),
        SubjectForgotten { subject: SUBJECT, aliases: Some(vec![ALIAS]), device: Some(DEVICE) }
            .into(),
        SubjectErased { subject: SUBJECT, decision: POSITION }.into(),
        GroupFounded { group: GROUP }.into(),
        GroupJoined { lapsing: Some(LAPSING), used: Some(amount(7_500)), ..joined() }.into(),
        GroupLeft { lapsing: Some(LAPSING), used: Some(amount(9_000)), ..left() }.into(),
        AllotmentLaidDown {
            monthly: Some(amount(50_000)),
            carries_over: true,
            most: Some(amount(150_000)),
            ..laid_down()
        }
        .into(),
        AllotmentGiven { nothing_due: Some(true), ..given() }.into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    vec![
        SubjectForgotten { subject: SUBJECT, aliases: None, device: None }.into(),
        joined().into(),
        left().into(),
        laid_down().into(),
        given().into(),
    ]
}

/// What moves of an allotment with a member.
pub(in crate::golden) const LAPSING: Lapsing = Lapsing {
    credits: amount(2_500),
    of_group: amount(40_000),
    used: amount(1_000),
    year: 2026,
    month: 12,
};

fn joined() -> GroupJoined {
    GroupJoined { group: GROUP, member: SUBJECT, used: None, lapsing: None }
}

fn left() -> GroupLeft {
    let (group, member, settled) = (GROUP, SUBJECT, amount(-3_500));
    GroupLeft { group, member, settled, used: None, lapsing: None }
}

fn given() -> AllotmentGiven {
    let (credits, lapsed, used) = (amount(50_000), amount(12_500), amount(987_500));
    let (account, year, month, allotted) = (GROUP, 2026, 12, amount(60_000));
    AllotmentGiven { account, year, month, credits, lapsed, used, allotted, nothing_due: None }
}

fn laid_down() -> AllotmentLaidDown {
    let (monthly, most) = (None, None);
    AllotmentLaidDown { account: GROUP, monthly, carries_over: false, most, year: 2026, month: 12 }
}
