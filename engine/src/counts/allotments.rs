//! Allotments: what a month gives an account, and what of an account is allotment still.
//!
//! Invariant: a gift is one account's in one month, and so is a rest that lapsed where no gift was due: of
//! several with the same two, the first counts. What of an account is allotment stands in the last decision
//! that says so, a gift or who joined or left, with what was used by then; so the fold commutes. Moving credits
//! is left to the cloud's decisions.

use super::accounts::Accounts;
use super::state::{Place, newest};
use super::sum::{CreditSum, thousandths};
use crate::planted::{Bug, planted};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::allotments::{AllotmentGiven, AllotmentLaidDown};
use tallyroll_schema::event::people::{GroupJoined, GroupLeft, Lapsing};
use tallyroll_schema::{Credits, Position, SubjectId};

/// What an account is given each month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Allotment {
    /// The amount; nothing, if it was stopped.
    #[n(0)]
    pub monthly: Option<Credits>,
    /// Whether what is left of one month is kept in the next.
    #[n(1)]
    pub carries_over: bool,
    /// The most that may be there of allotments after a gift.
    #[n(2)]
    pub most: Option<Credits>,
    /// The first month, year × 12 + month − 1.
    #[n(3)]
    pub from: u32,
}

/// A gift, as it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Gift {
    /// Given.
    #[n(0)]
    pub credits: Credits,
    /// Taken back of the one before.
    #[n(1)]
    pub lapsed: Credits,
    /// Charged until then, all in all, but for what members used elsewhere.
    #[n(2)]
    pub used: Credits,
    /// What of the account is allotment from then on.
    #[n(3)]
    pub allotted: Credits,
}

impl Gift {
    /// What it adds to what was granted, thousandths.
    fn net(&self) -> i128 {
        thousandths(self.credits) - thousandths(self.lapsed)
    }
}

/// What of an account is allotment, as of the decision that said so last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rest {
    /// How much was there then.
    #[n(0)]
    pub credits: Credits,
    /// Charged until then, as in [`Gift`].
    #[n(1)]
    pub used: Credits,
    /// Of which month, year × 12 + month − 1.
    #[n(2)]
    pub month: u32,
}

/// What was decided of one kind, by account and the month for which it is, or from which on; with the place of
/// the decision.
pub(super) type Decided<T> = BTreeMap<(SubjectId, u32), (Place, T)>;

impl Accounts {
    /// What was said last of what an account is given each month; it may begin later.
    pub fn allotment(&self, account: SubjectId) -> Option<Allotment> {
        self.allotment_in(account, u32::MAX)
    }

    /// What holds in a month: of what was laid down for it or from before it on, what was said last.
    pub fn allotment_in(&self, account: SubjectId, month: u32) -> Option<Allotment> {
        newest_of(&self.allotments, account, month).map(|(_, _, allotment)| allotment)
    }

    /// What holds in a month for each account of which anything was ever laid down.
    pub fn allotments(&self, month: u32) -> Vec<(SubjectId, Allotment)> {
        let accounts: BTreeSet<_> = self.allotments.keys().map(|(account, _)| *account).collect();
        let holds = |account| self.allotment_in(account, month).map(|it| (account, it));
        accounts.into_iter().filter_map(holds).collect()
    }

    /// Whether an account had its gift of a month.
    pub fn was_given(&self, account: SubjectId, month: u32) -> bool {
        self.gifts.contains_key(&(account, month))
    }

    /// The gift that was made last, and of which month.
    pub fn last_gift(&self, account: SubjectId) -> Option<(u32, Gift)> {
        newest_of(&self.gifts, account, u32::MAX).map(|(_, month, gift)| (month, gift))
    }

    /// Whether a decision's gift is the one that counts of its account and month.
    pub fn counts_gift(&self, position: Position, e: &AllotmentGiven) -> bool {
        let gifts = if is_gift(e) { &self.gifts } else { &self.lapses };
        let held = gifts.get(&(e.account, month_number(e.year, e.month)));
        held.is_some_and(|(place, _)| *place == (position.epoch, position.seq))
    }

    /// What was used of an account's allotments, thousandths, of what was charged to those who share it
    /// now: not what members used before they came, but what they did until they left.
    pub fn used_here(&self, account: SubjectId, used: i128) -> i128 {
        used - self.elsewhere.get(&account).map_or(0, |sum| sum.thousandths())
    }

    /// What of an account is allotment, as of the last decision that says so.
    pub fn rest(&self, account: SubjectId) -> Option<Rest> {
        let given = [&self.gifts, &self.lapses].map(|gifts| newest_of(gifts, account, u32::MAX));
        let given = given.into_iter().flatten().map(|(place, month, gift)| {
            (place, Rest { credits: gift.allotted, used: gift.used, month })
        });
        let moved = self.rests.get(&account).copied();
        given.chain(moved).max_by_key(|(place, _)| *place).map(|(_, rest)| rest)
    }

    /// Whether what is left of an account's allotments lapses with a month; by a wrong clock, in which nothing holds
    /// yet, as was said last.
    pub fn lapses(&self, account: SubjectId, month: u32) -> bool {
        let holds = self.allotment_in(account, month).or_else(|| self.allotment(account));
        !holds.is_some_and(|allotment| allotment.carries_over)
    }

    /// Which accounts a month gives something, by what rule; and from which only a rest of an earlier one
    /// lapses, having none or one that was stopped.
    pub fn due(&self, month: u32) -> Vec<(SubjectId, Option<Allotment>)> {
        let rules = self.allotments.keys();
        let keys = self.gifts.keys().chain(self.lapses.keys()).chain(rules);
        let keys = keys.map(|(account, _)| account);
        let accounts: BTreeSet<_> = keys.chain(self.rests.keys()).copied().collect();
        let due = |account: SubjectId| {
            if self.account(account) != account {
                return None; // a member's rests
            }
            let gives = |allotment: &Allotment| {
                allotment.monthly.is_some()
                    && !self.is_forgotten(account)
                    && (planted(Bug::GiftGivenAgain) || !self.was_given(account, month))
            };
            if let Some(allotment) = self.allotment_in(account, month).filter(gives) {
                return Some((account, Some(allotment)));
            }
            let old = |rest: &Rest| rest.credits > Credits::ZERO && rest.month < month;
            let lapses =
                self.lapses(account, month) && !self.lapses.contains_key(&(account, month));
            self.rest(account).filter(old).filter(|_| lapses).map(|_| (account, None))
        };
        accounts.into_iter().filter_map(due).collect()
    }

    pub(super) fn lay_down(&mut self, position: Position, e: &AllotmentLaidDown) {
        let AllotmentLaidDown { account, monthly, carries_over, most, year, month } = e;
        let from = month_number(*year, *month);
        let (monthly, most, carries_over) = (*monthly, *most, *carries_over);
        let allotment = Allotment { monthly, carries_over, most, from };
        newest(&mut self.allotments, (*account, from), position, allotment);
    }

    /// What they were given of their own is the group's from now on, or nobody's.
    pub(super) fn bring(&mut self, position: Position, e: &GroupJoined) {
        let used = e.used.unwrap_or(Credits::ZERO);
        self.add_elsewhere(e.group, thousandths(used));
        newest(&mut self.rests, e.member, position, Rest { used, ..NOTHING });
        self.rest_of_group(position, e.group, e.lapsing.as_ref());
    }

    pub(super) fn take_along(&mut self, position: Position, e: &GroupLeft) {
        let used = e.used.unwrap_or(Credits::ZERO);
        self.add_elsewhere(e.group, -thousandths(used));
        let taken = e.lapsing.as_ref().map_or(NOTHING, |lapsing| Rest {
            credits: lapsing.credits,
            month: month_number(lapsing.year, lapsing.month),
            ..NOTHING
        });
        newest(&mut self.rests, e.member, position, Rest { used, ..taken });
        self.rest_of_group(position, e.group, e.lapsing.as_ref());
    }

    fn rest_of_group(&mut self, position: Position, group: SubjectId, moved: Option<&Lapsing>) {
        let Some(Lapsing { of_group, used, year, month, .. }) = moved else { return };
        let (credits, used, month) = (*of_group, *used, month_number(*year, *month));
        newest(&mut self.rests, group, position, Rest { credits, used, month });
    }

    fn add_elsewhere(&mut self, group: SubjectId, more: i128) {
        let sum = self.elsewhere.entry(group).or_default();
        *sum = CreditSum::from_thousandths(sum.thousandths() + more);
    }

    /// Returns what it adds to what was granted, thousandths.
    pub(super) fn give(&mut self, position: Position, e: &AllotmentGiven) -> i128 {
        let place = (position.epoch, position.seq);
        let gift =
            Gift { credits: e.credits, lapsed: e.lapsed, used: e.used, allotted: e.allotted };
        let gifts = if is_gift(e) { &mut self.gifts } else { &mut self.lapses };
        let key = (e.account, month_number(e.year, e.month));
        let before = gifts.get(&key);
        if before.is_some_and(|(first, _)| *first <= place) {
            return 0;
        }
        let instead_of = before.map_or(0, |(_, gift)| gift.net());
        gifts.insert(key, (place, gift));
        gift.net() - instead_of
    }
}

const NOTHING: Rest = Rest { credits: Credits::ZERO, used: Credits::ZERO, month: 0 };

fn is_gift(e: &AllotmentGiven) -> bool {
    e.nothing_due != Some(true)
}

/// What was decided last about an account, of what is for a month or for one before it.
fn newest_of<T: Copy>(
    decided: &Decided<T>,
    account: SubjectId,
    month: u32,
) -> Option<(Place, u32, T)> {
    let until = decided.range((account, 0)..=(account, month));
    let last = until.max_by_key(|(_, (place, _))| *place);
    last.map(|((_, month), (place, what))| (*place, *month, *what))
}

/// Year × 12 + month − 1, as in [`super::UsageKey`].
fn month_number(year: u16, month: u8) -> u32 {
    u32::from(year) * 12 + u32::from(month.max(1)) - 1
}
