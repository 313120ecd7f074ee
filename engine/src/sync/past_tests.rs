//! Figures at hand of the past.
//!
//! Invariant: they are those folded anew, of every commit, whenever somebody first asked; also where what
//! was counted turned out to be recorded again.

use super::pair::{TestDevice, capture, enrol, hub, now, talk};
use crate::counts::{Counts, Month};
use crate::hub::Hub;
use crate::store::MemoryStore;
use core::time::Duration;
use tallyroll_schema::{CommitPosition, Credits, SubjectId, UserAlias};

const SUBJECT: SubjectId = SubjectId([7; 16]);

fn deliver(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) {
    device.seal(now(900)).expect("seals");
    talk(device, hub);
}

/// All that is shown of a past moment.
fn shown(counts: &Counts) -> impl PartialEq + core::fmt::Debug + '_ {
    let links: Vec<_> = counts.links().collect();
    let unused = (counts.incomplete(), counts.misplaced());
    let cards = (counts.newest_card(), counts.settlement_policy());
    (counts.usage(), counts.granted(), counts.books(), counts.accounts(), links, unused, cards)
}

fn assert_past(hub: &mut Hub<MemoryStore>) {
    hub.keep_past().expect("is gathered");
    let last = hub.last_commit();
    for index in 1..=last.index {
        let at = CommitPosition { index, ..last };
        let folded = hub.counts_at(at).expect("folds");
        let at_hand = hub.figures_at(at).expect("is known");
        assert_eq!(shown(&at_hand), shown(&folded), "{at}");
        let wanted = |month: u32| month.is_multiple_of(2);
        let some = hub.usage_at(at, |key| wanted(key.month)).expect("is known");
        assert!(some.iter().eq(folded.usage().iter().filter(|(key, _)| wanted(key.month))));
    }
    let never = CommitPosition { index: last.index + 1, ..last };
    let why = hub.figures_at(never).expect_err("is not there").to_string();
    assert_eq!(why, hub.counts_at(never).expect_err("is not there").to_string());
}

#[test]
fn every_commit_shows_what_folding_it_anew_shows() {
    for asked_early in [true, false] {
        let mut hub = hub();
        if asked_early {
            assert_past(&mut hub);
        }
        let mut device = enrol(&mut hub, "branch-1", 11);
        for pages in 1..4 {
            capture(&mut device, pages, 10);
            deliver(&mut device, &mut hub);
        }
        let credits = Credits::from_thousandths(9000);
        hub.grant(now(11), SUBJECT, credits, String::new()).expect("grants");
        let alias = (device.id(), UserAlias([8; 16]), SUBJECT);
        hub.link(now(12), vec![alias]).expect("links");
        if asked_early {
            assert_past(&mut hub);
        }
        let november = Month::of(2026, 11).expect("is a month");
        let begins = (november.next().begins().0 - now(0).wall.0) / 1000;
        hub.close_month(now(begins), november).expect("closes");
        capture(&mut device, 9, 13);
        deliver(&mut device, &mut hub);
        assert_past(&mut hub);
        assert_past(&mut hub.restart(now(begins + 1)));
    }
}

#[test]
fn what_was_recorded_again_is_at_hand_as_it_counts() {
    for asked_early in [true, false] {
        let mut hub = hub();
        let mut device = enrol(&mut hub, "branch-1", 11);
        capture(&mut device, 1, 10);
        deliver(&mut device, &mut hub);
        let mut copy = device.copy(now(12));
        capture(&mut device, 2, 13);
        capture(&mut copy, 4, 13);
        copy.seal(now(14)).expect("seals");
        let mut copy_of_copy = copy.copy(now(15));
        deliver(&mut device, &mut hub);
        if asked_early {
            assert_past(&mut hub);
        }
        for each in [&mut copy, &mut copy_of_copy, &mut device] {
            deliver(each, &mut hub);
            if asked_early {
                assert_past(&mut hub);
            }
        }
        let later = now(30);
        let later = crate::device::Now { monotonic: Duration::from_secs(900), ..later };
        hub.settle_counts(later).expect("settles");
        capture(&mut device, 5, 31);
        deliver(&mut device, &mut hub);
        assert_past(&mut hub);
        let captured = |counts: &Counts| counts.usage().values().map(|usage| usage.captured).sum();
        let all: u64 = captured(&hub.figures_at(hub.last_commit()).expect("is known"));
        assert_eq!(all, 1 + 2 + 4 + 5, "each once");
    }
}
