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
    let (group, member) = (GROUP, SUBJECT);
    let (credits, lapsed, used) = (amount(50_000), amount(12_500), amount(987_500));
    let allotted = amount(60_000);
    vec![
        SubjectLinked { device: DEVICE, alias: ALIAS, subject: SUBJECT }.into(),
        SubjectForgotten { subject: SUBJECT, aliases: Some(vec![ALIAS]), device: Some(DEVICE) }
            .into(),
        SubjectErased { subject: SUBJECT, decision: POSITION }.into(),
        GroupFounded { group }.into(),
        GroupJoined { group, member, used: Some(amount(7_500)) }.into(),
        GroupLeft { group, member, settled: amount(-3_500), used: Some(amount(9_000)) }.into(),
        AllotmentLaidDown {
            monthly: Some(credits),
            carries_over: true,
            most: Some(amount(150_000)),
            ..laid_down()
        }
        .into(),
        AllotmentGiven { account: GROUP, year: 2026, month: 12, credits, lapsed, used, allotted }
            .into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    let (group, member) = (GROUP, SUBJECT);
    vec![
        SubjectForgotten { subject: SUBJECT, aliases: None, device: None }.into(),
        GroupJoined { group, member, used: None }.into(),
        GroupLeft { group, member, settled: amount(-3_500), used: None }.into(),
        laid_down().into(),
    ]
}

fn laid_down() -> AllotmentLaidDown {
    let (monthly, most) = (None, None);
    AllotmentLaidDown { account: GROUP, monthly, carries_over: false, most, year: 2026, month: 12 }
}
