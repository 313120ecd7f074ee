//! Accounts: who shares a balance, who is forgotten.
//!
//! Invariant: every field is a set, a maximum or the last decision of one log, so the fold commutes. An
//! account is a group's or a person's; a person's is the group's while they are a member, whole, with what
//! was granted, charged and lent before. What a month gives is [`super::allotments`]'s. Moving credits and
//! asking devices is left to the cloud's decisions.

use super::allotments::{Allotment, Decided, Gift, Rest};
use super::state::{Place, newest};
use super::sum::{CreditSum, thousandths};
use crate::fold::Origin;
use minicbor::{Decode, Encode};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::{DeviceId, Event, Position, SubjectId, UserAlias};

/// Groups, members, allotments, and who is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Accounts {
    #[n(0)]
    groups: BTreeSet<SubjectId>,
    #[n(1)]
    members: BTreeMap<SubjectId, (Place, Option<SubjectId>)>,
    #[n(2)]
    pub(super) allotments: Decided<Allotment>,
    #[n(3)]
    pub(super) gifts: Decided<Gift>,
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
    pub(super) elsewhere: BTreeMap<SubjectId, CreditSum>,
    /// Rests that lapsed where no gift was due.
    #[cbor(n(9), default)]
    pub(super) lapses: Decided<Gift>,
    /// What of an account was allotment when somebody joined or left last, and it said so.
    #[n(10)]
    pub(super) rests: BTreeMap<SubjectId, (Place, Rest)>,
}

/// Whose an account is: a user and a group may have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// One person's.
    User,
    /// Shared by its members.
    Group,
}

impl Accounts {
    /// Whose an account is.
    pub fn kind(&self, account: SubjectId) -> AccountKind {
        if self.is_group(account) { AccountKind::Group } else { AccountKind::User }
    }

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
                self.bring(position, e);
            }
            Event::GroupLeft(e) => {
                newest(&mut self.members, e.member, position, None);
                self.take_along(position, e);
                let settled = thousandths(e.settled);
                return vec![(e.member, settled), (e.group, -settled)];
            }
            Event::AllotmentLaidDown(e) => self.lay_down(position, e),
            Event::AllotmentGiven(e) => return vec![(e.account, self.give(position, e))],
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
    use tallyroll_schema::Credits;
    use tallyroll_schema::event::allotments::AllotmentGiven;
    use tallyroll_schema::event::log::LogClass;
    use tallyroll_schema::event::people::{GroupJoined, GroupLeft, Lapsing};
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
        let (account, month, nothing_due) = (ADA, 12, None);
        AllotmentGiven { account, year, month, credits, lapsed, used, allotted, nothing_due }.into()
    }

    #[test]
    fn the_same_decisions_in_any_order_give_the_same_accounts() {
        let amount = Credits::from_thousandths;
        let settled = amount(7);
        let moved = |credits, of_group| {
            let (used, year, month) = (amount(2), 2026, 12);
            Some(Lapsing {
                credits: amount(credits),
                of_group: amount(of_group),
                used,
                year,
                month,
            })
        };
        let (group, member) = (OFFICE, ADA);
        let alone = |event| match event {
            Event::AllotmentGiven(e) => AllotmentGiven { nothing_due: Some(true), ..e }.into(),
            event => event,
        };
        let events: [Event; 7] = [
            GroupJoined { group, member, used: Some(settled), lapsing: moved(3, 30) }.into(),
            GroupLeft { group, member, settled, used: Some(amount(9)), lapsing: moved(4, 26) }
                .into(),
            given(2026, 10, 0),
            given(2026, 99, 5),
            alone(given(2026, 0, 1)),
            alone(given(2026, 0, 2)),
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
        let (accounts, granted) = fold(&[0, 1, 2, 3, 4, 5, 6]);
        let expected = BTreeMap::from([(ADA, 7 + 10 - 1 + 6), (OFFICE, -7)]);
        assert_eq!(granted, expected, "a month is given once, and a rest of it lapses once");
        assert_eq!(accounts.account(ADA), ADA, "the last decision holds");
        assert_eq!((accounts.used_here(OFFICE, 9), accounts.used_here(ADA, 9)), (11, 9));
        assert_eq!(accounts.last_gift(ADA).map(|(month, _)| month), Some(2027 * 12 + 11));
        let rest = |credits, used, month| {
            Some(Rest { credits: amount(credits), used: amount(used), month })
        };
        assert_eq!(accounts.rest(ADA), rest(10, 0, 2027 * 12 + 11), "of the last gift");
        assert_eq!(accounts.rest(OFFICE), rest(26, 2, 2026 * 12 + 11), "after the leaving");
        assert_eq!(fold(&[0, 1]).0.rest(ADA), rest(4, 9, 2026 * 12 + 11), "taken along");
        assert_eq!(fold(&[0]).0.rest(ADA), rest(0, 7, 0), "brought into the group");
        for order in [[6, 5, 4, 3, 2, 1, 0], [3, 5, 1, 4, 6, 0, 2], [1, 3, 0, 5, 2, 4, 6]] {
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
