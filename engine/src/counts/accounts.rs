//! Accounts: who shares a balance, what a month gives, who is forgotten.
//!
//! Invariant: every field is a set, a maximum or the last decision of one log, so the fold commutes. An
//! account is a group's or a person's; a person's is the group's while they are a member, whole, with what
//! was granted, charged and lent before. A gift is one account's in one month: of several with the same
//! two, the first counts. Moving credits and asking devices is left to the cloud's decisions.

use super::state::{Place, newest};
use super::sum::CreditSum;
use crate::fold::Origin;
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::allotments::{AllotmentGiven, AllotmentLaidDown};
use tallyroll_schema::{Credits, DeviceId, Event, Position, SubjectId, UserAlias};

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
    /// The most that a gift may raise what is available to.
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
    /// Charged and held until then, all in all, but for what members used elsewhere.
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

/// Groups, members, allotments, and who is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Accounts {
    #[n(0)]
    groups: BTreeSet<SubjectId>,
    #[n(1)]
    members: BTreeMap<SubjectId, (Place, Option<SubjectId>)>,
    #[n(2)]
    allotments: BTreeMap<SubjectId, (Place, Allotment)>,
    #[n(3)]
    gifts: BTreeMap<(SubjectId, u32), (Place, Gift)>,
    #[n(4)]
    forgotten: BTreeSet<SubjectId>,
    /// The last decision in each device's log about a person.
    #[n(5)]
    told: BTreeMap<(DeviceId, SubjectId), Position>,
    #[n(6)]
    told_aliases: BTreeSet<(DeviceId, UserAlias)>,
    /// The last of them that the device has carried out.
    #[n(7)]
    erased: BTreeMap<(DeviceId, SubjectId), Position>,
    /// What members had used when they joined a group, less what they had when they left it.
    #[cbor(n(8), default)]
    elsewhere: BTreeMap<SubjectId, CreditSum>,
}

impl Accounts {
    /// Whose balance a subject's is: its group's, or its own.
    pub fn account(&self, subject: SubjectId) -> SubjectId {
        self.group_of(subject).unwrap_or(subject)
    }

    /// The group that a subject is a member of.
    pub fn group_of(&self, subject: SubjectId) -> Option<SubjectId> {
        self.members.get(&subject).and_then(|(_, group)| *group)
    }

    /// Whether it is a group.
    pub fn is_group(&self, subject: SubjectId) -> bool {
        self.groups.contains(&subject)
    }

    /// All groups.
    pub fn groups(&self) -> &BTreeSet<SubjectId> {
        &self.groups
    }

    /// What each account is given that was ever laid down.
    pub fn allotments(&self) -> impl Iterator<Item = (SubjectId, Allotment)> {
        self.allotments.iter().map(|(account, (_, allotment))| (*account, *allotment))
    }

    /// What an account is given each month.
    pub fn allotment(&self, account: SubjectId) -> Option<Allotment> {
        self.allotments.get(&account).map(|(_, allotment)| *allotment)
    }

    /// Whether an account had its gift of a month.
    pub fn was_given(&self, account: SubjectId, month: u32) -> bool {
        self.gifts.contains_key(&(account, month))
    }

    /// The gift that was made last, and of which month.
    pub fn last_gift(&self, account: SubjectId) -> Option<(u32, Gift)> {
        self.newest_gift(account).map(|(month, (_, gift))| (month, *gift))
    }

    fn newest_gift(&self, account: SubjectId) -> Option<(u32, &(Place, Gift))> {
        let gifts = self.gifts.range((account, 0)..=(account, u32::MAX));
        let last = gifts.max_by_key(|(_, (place, _))| *place);
        last.map(|((_, month), gift)| (*month, gift))
    }

    /// What was used of an account's allotments, thousandths, of what was charged to those who share it
    /// now, and is held: not what members used before they came, but what they did until they left.
    pub fn used_here(&self, account: SubjectId, used: i128) -> i128 {
        used - self.elsewhere.get(&account).map_or(0, |sum| sum.thousandths())
    }

    /// What of an account is allotment still, of its last gift. Who joined a group since brought it there.
    pub fn allotted(&self, account: SubjectId) -> Option<Gift> {
        let (_, (place, gift)) = self.newest_gift(account)?;
        let joined = self.members.get(&account).is_some_and(|(decided, _)| place < decided);
        Some(*gift).filter(|_| !joined)
    }

    /// Who is forgotten.
    pub fn forgotten(&self) -> &BTreeSet<SubjectId> {
        &self.forgotten
    }

    /// Whether a person is forgotten.
    pub fn is_forgotten(&self, subject: SubjectId) -> bool {
        self.forgotten.contains(&subject)
    }

    /// Whether a device was told to erase the name behind an alias.
    pub fn was_told(&self, device: DeviceId, alias: UserAlias) -> bool {
        self.told_aliases.contains(&(device, alias))
    }

    /// Whether a device was told to forget a person and has not confirmed it.
    pub fn is_pending(&self, device: DeviceId, subject: SubjectId) -> bool {
        let key = (device, subject);
        let erased = self.erased.get(&key);
        self.told.get(&key).is_some_and(|told| erased.is_none_or(|erased| erased < told))
    }

    /// The devices that were told to forget a person.
    pub fn told(&self, subject: SubjectId) -> impl Iterator<Item = DeviceId> {
        self.told.keys().filter(move |(_, of)| *of == subject).map(|(device, _)| *device)
    }

    /// Takes in a decision, or a device's word that it did what it was told; returns what that adds to
    /// what accounts were granted, thousandths.
    pub(super) fn fold(&mut self, origin: &Origin, event: &Event) -> Vec<(SubjectId, i128)> {
        let position = origin.position;
        match event {
            Event::GroupFounded(e) => {
                self.groups.insert(e.group);
            }
            Event::GroupJoined(e) => {
                newest(&mut self.members, e.member, position, Some(e.group));
                self.add_elsewhere(e.group, e.used.map_or(0, thousandths));
            }
            Event::GroupLeft(e) => {
                newest(&mut self.members, e.member, position, None);
                self.add_elsewhere(e.group, -e.used.map_or(0, thousandths));
                let settled = thousandths(e.settled);
                return vec![(e.member, settled), (e.group, -settled)];
            }
            Event::AllotmentLaidDown(e) => {
                let AllotmentLaidDown { account, monthly, carries_over, most, year, month } = e;
                let from = month_number(*year, *month);
                let (monthly, most, carries_over) = (*monthly, *most, *carries_over);
                let allotment = Allotment { monthly, carries_over, most, from };
                newest(&mut self.allotments, *account, position, allotment);
            }
            Event::AllotmentGiven(e) => return self.fold_gift(position, e),
            Event::SubjectForgotten(e) => {
                self.forgotten.insert(e.subject);
                let Some(device) = e.device else { return Vec::new() };
                let told = self.told.entry((device, e.subject)).or_insert(position);
                *told = position.max(*told);
                let aliases = e.aliases.iter().flatten();
                self.told_aliases.extend(aliases.map(|alias| (device, *alias)));
            }
            Event::SubjectErased(e) => {
                let Some(device) = origin.device else { return Vec::new() };
                let erased = self.erased.entry((device, e.subject)).or_insert(e.decision);
                *erased = e.decision.max(*erased);
            }
            _ => {}
        }
        Vec::new()
    }

    fn add_elsewhere(&mut self, group: SubjectId, more: i128) {
        let sum = self.elsewhere.entry(group).or_default();
        *sum = CreditSum::from_thousandths(sum.thousandths() + more);
    }

    fn fold_gift(&mut self, position: Position, e: &AllotmentGiven) -> Vec<(SubjectId, i128)> {
        let (key, place) =
            ((e.account, month_number(e.year, e.month)), (position.epoch, position.seq));
        let (used, allotted) = (e.used, e.allotted);
        let gift = Gift { credits: e.credits, lapsed: e.lapsed, used, allotted };
        let before = self.gifts.get(&key);
        if before.is_some_and(|(first, _)| *first <= place) {
            return Vec::new();
        }
        let instead_of = before.map_or(0, |(_, gift)| gift.net());
        self.gifts.insert(key, (place, gift));
        vec![(e.account, gift.net() - instead_of)]
    }
}

fn thousandths(credits: Credits) -> i128 {
    i128::from(credits.thousandths())
}

/// Year × 12 + month − 1, as in [`super::UsageKey`].
fn month_number(year: u16, month: u8) -> u32 {
    u32::from(year) * 12 + u32::from(month.max(1)) - 1
}

#[cfg(test)]
impl Accounts {
    /// Those of one group.
    pub(super) fn with_group(group: SubjectId, members: &[SubjectId]) -> Self {
        let epoch = tallyroll_schema::EpochId { counter: 0, nonce: [0; 16] };
        let joined = |member: &SubjectId| (*member, ((epoch, 0), Some(group)));
        let members = members.iter().map(joined).collect();
        Self { groups: [group].into(), members, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::event::log::LogClass;
    use tallyroll_schema::event::people::{GroupJoined, GroupLeft};
    use tallyroll_schema::{EpochId, LogId};

    const ADA: SubjectId = SubjectId([1; 16]);
    const OFFICE: SubjectId = SubjectId([2; 16]);

    fn at(seq: u64) -> Origin {
        let epoch = EpochId { counter: 0, nonce: [3; 16] };
        let position = Position { log: LogId([4; 32]), epoch, seq };
        Origin { device: None, class: LogClass::Accounts, position }
    }

    fn given(year: u16, credits: i64, lapsed: i64) -> Event {
        let amount = Credits::from_thousandths;
        let (credits, lapsed, used) = (amount(credits), amount(lapsed), Credits::ZERO);
        let allotted = credits;
        AllotmentGiven { account: ADA, year, month: 12, credits, lapsed, used, allotted }.into()
    }

    #[test]
    fn the_same_decisions_in_any_order_give_the_same_accounts() {
        let settled = Credits::from_thousandths(7);
        let events: [Event; 5] = [
            GroupJoined { group: OFFICE, member: ADA, used: Some(settled) }.into(),
            GroupLeft { group: OFFICE, member: ADA, settled, used: Some(Credits::ZERO) }.into(),
            given(2026, 10, 0),
            given(2026, 99, 5),
            given(2027, 10, 4),
        ];
        let fold = |order: &[usize]| {
            let (mut accounts, mut granted) = (Accounts::default(), BTreeMap::new());
            for index in order {
                for (account, added) in accounts.fold(&at(*index as u64), &events[*index]) {
                    *granted.entry(account).or_insert(0) += added;
                }
            }
            (accounts, granted)
        };
        let (accounts, granted) = fold(&[0, 1, 2, 3, 4]);
        assert_eq!(
            granted,
            BTreeMap::from([(ADA, 7 + 10 + 6), (OFFICE, -7)]),
            "a month is given once"
        );
        assert_eq!(accounts.account(ADA), ADA, "the last decision holds");
        assert_eq!((accounts.used_here(OFFICE, 9), accounts.used_here(ADA, 9)), (2, 9));
        assert_eq!(accounts.last_gift(ADA).map(|(month, _)| month), Some(2027 * 12 + 11));
        for order in [[4, 3, 2, 1, 0], [3, 1, 4, 0, 2], [1, 3, 0, 2, 4]] {
            assert_eq!(fold(&order), (accounts.clone(), granted.clone()), "{order:?}");
        }
    }

    #[test]
    fn who_is_to_be_forgotten_is_pending_until_each_device_did_what_it_was_told_last() {
        use tallyroll_schema::event::people::{SubjectErased, SubjectForgotten};
        let (here, there) = (DeviceId([7; 16]), DeviceId([8; 16]));
        let alias = UserAlias([9; 16]);
        let told = |seq, device| {
            (at(seq), SubjectForgotten { subject: ADA, device, aliases: Some(vec![alias]) }.into())
        };
        let erased = |seq, decision| {
            let origin = Origin { device: Some(here), class: LogClass::Ledger, ..at(seq) };
            (origin, SubjectErased { subject: ADA, decision: at(decision).position }.into())
        };
        let known = |events: &[(Origin, Event)]| {
            let mut accounts = Accounts::default();
            for (origin, event) in events {
                assert!(accounts.fold(origin, event).is_empty());
            }
            accounts
        };
        let accounts = known(&[told(1, None)]);
        assert!(accounts.is_forgotten(ADA) && !accounts.is_forgotten(OFFICE));
        assert!(!accounts.is_pending(here, ADA), "nobody was told");
        let accounts = known(&[told(1, Some(here))]);
        assert!(accounts.is_pending(here, ADA) && !accounts.is_pending(there, ADA));
        assert!(accounts.was_told(here, alias) && !accounts.was_told(there, alias));
        assert!(accounts.told(ADA).eq([here]) && accounts.told(OFFICE).next().is_none());
        let accounts = known(&[told(2, Some(here)), erased(1, 1)]);
        assert!(accounts.is_pending(here, ADA), "it did what it was told before");
        let accounts = known(&[told(2, Some(here)), erased(1, 2)]);
        assert!(!accounts.is_pending(here, ADA));
        let accounts = known(&[told(2, Some(here)), erased(5, 2), told(3, Some(here))]);
        assert!(accounts.is_pending(here, ADA), "told once more");
    }
}
