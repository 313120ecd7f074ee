//! A statement: everything that moved one balance, in the order it was committed.
//!
//! Owns the lines and what they add up to; it is folded anew for each, and kept nowhere. Invariant:
//! the opening balance and the lines' sums are the closing one, and both are what `view balances`
//! shows at those cuts; of a group's member, their part of it. An event of an alias that was linked
//! later stands where the link does; what a member brings or takes along is one line. How an event
//! reads in words is [`super::line`]'s.

use super::line::{Charged, Line, State};
use super::state::Counts;
use super::sum::CreditSum;
use super::usage::UsageKey;
use crate::fold::{Committed, Origin, View};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::allotments::AllotmentGiven;
use tallyroll_schema::{CommitPosition, DeviceId, Event, JobId, Record, SubjectId, UserAlias};

/// A user of a device.
type AliasOf = (DeviceId, UserAlias);

/// A balance, and what of it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standings {
    /// Given and corrected, less charged.
    pub balance: CreditSum,
    /// Provisionally charged.
    pub held: CreditSum,
}

impl Standings {
    fn plus(self, balance: i128, held: i128) -> Self {
        Self {
            balance: CreditSum::from_thousandths(self.balance.thousandths() + balance),
            held: CreditSum::from_thousandths(self.held.thousandths() + held),
        }
    }
}

/// Whose balance it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A person; of who shares a group's balance, their part of it.
    Person(SubjectId),
    /// A group, and everybody who ever was a member of it.
    Group(SubjectId, BTreeSet<SubjectId>),
}

impl Holder {
    /// Whether what a subject has and did is in this balance.
    fn includes(&self, counts: &Counts, subject: SubjectId) -> bool {
        match self {
            Self::Person(person) => subject == *person,
            Self::Group(group, _) => counts.accounts().account(subject) == *group,
        }
    }

    /// Granted and corrected, thousandths.
    fn given(&self, counts: &Counts) -> i128 {
        let given = |subject| {
            let (granted, corrected) = counts.given(subject);
            granted + corrected
        };
        match self {
            Self::Person(person) => given(*person),
            Self::Group(group, ever) => {
                let members = ever.iter().copied().filter(|one| self.includes(counts, *one));
                given(*group) + members.map(given).sum::<i128>()
            }
        }
    }
}

/// A statement, while it is made.
#[derive(Debug)]
pub struct Statement {
    holder: Holder,
    /// Commits that the cloud lost since.
    lost: BTreeSet<CommitPosition>,
    counts: Counts,
    /// What each alias came to by the last record: charged, held.
    known: BTreeMap<AliasOf, (i128, i128)>,
    given: i128,
    /// Lines of aliases that are not the holder's yet.
    waiting: BTreeMap<AliasOf, Vec<Line>>,
    standings: Standings,
    lines: Vec<Line>,
}

/// A statement, made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Before the first line.
    pub opening: Standings,
    /// After the last.
    pub closing: Standings,
    /// What moved the balance.
    pub lines: Vec<Line>,
}

impl Statement {
    /// Of a holder, whose `aliases` are those that will have been linked to it. What was closed at one of the `lost`
    /// commits is open.
    pub fn new(
        holder: Holder,
        aliases: impl IntoIterator<Item = AliasOf>,
        lost: BTreeSet<CommitPosition>,
    ) -> Self {
        Self {
            holder,
            lost,
            counts: Counts::default(),
            known: aliases.into_iter().map(|alias| (alias, (0, 0))).collect(),
            given: 0,
            waiting: BTreeMap::new(),
            standings: Standings::default(),
            lines: Vec::new(),
        }
    }

    /// The counts as far as it was made.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes in the next record.
    pub fn take_in(&mut self, committed: Committed, origin: &Origin, record: &Record<'_>) {
        match (origin.device, record.event()) {
            (None, Ok(Event::SubjectLinked(link))) => {
                let alias = (link.device, link.alias);
                let was = self.is_linked(alias);
                self.counts.fold(origin, record);
                let line = self.line(committed, origin, record);
                return self.link(alias, was, &line);
            }
            (None, Ok(Event::GroupJoined(_) | Event::GroupLeft(_)))
                if matches!(self.holder, Holder::Group(..)) =>
            {
                let before = self.total();
                self.counts.fold(origin, record);
                let line = self.line(committed, origin, record);
                return self.regroup(before, &line);
            }
            _ => {}
        }
        let misplaced = self.counts.misplaced();
        self.counts.fold(origin, record);
        if self.counts.misplaced() > misplaced {
            return;
        }
        let read = Charged::read(origin, record);
        let mut blank = self.line(committed, origin, record);
        let given = self.holder.given(&self.counts);
        let mut moved = given - core::mem::replace(&mut self.given, given);
        if let Ok(Event::AllotmentGiven(e)) = record.event() {
            return self.give(&blank, &e, moved);
        }
        // Who was charged sees it also where a group bore it.
        let charged = blank.subject.filter(|_| blank.borne_by.is_some());
        let corrected = matches!(self.holder, Holder::Person(one) if Some(one) == charged);
        let (mut held, mut own) = (0, moved != 0 || corrected);
        for (alias, (charged_more, held_more)) in self.changes(origin) {
            let acted = read.who == Some(alias);
            if self.is_linked(alias) {
                if acted || (charged_more, held_more) != (0, 0) {
                    blank.subject = self.counts.subject(alias.0, alias.1);
                }
                moved -= charged_more;
                held += held_more;
                own |= acted;
            } else if (acted && !read.is_repeated) || (charged_more, held_more) != (0, 0) {
                let line = blank.moving(-charged_more, held_more);
                self.waiting.entry(alias).or_default().push(line);
            }
        }
        if moved != 0 || held != 0 || (own && !read.is_repeated) {
            self.push(blank.moving(moved, held));
        }
    }

    fn line(&self, committed: Committed, origin: &Origin, record: &Record<'_>) -> Line {
        let mut closed = self.counts.books().closed_months();
        let last = closed.rfind(|(_, commit)| !self.lost.contains(commit));
        Line::of(committed, origin, record, last.map(|(month, _)| month))
    }

    /// What was given, and what lapsed: a line each.
    fn give(&mut self, blank: &Line, e: &AllotmentGiven, moved: i128) {
        let [given, lapsed] =
            [e.credits, e.lapsed].map(|credits| i128::from(credits.thousandths()));
        let counts = self.counts.accounts().counts_gift(blank.position, e);
        if !counts || moved != given - lapsed || !self.holder.includes(&self.counts, e.account) {
            // Another of the same month counts, or did.
            if moved != 0 {
                self.push(blank.moving(moved, 0));
            }
            return;
        }
        if e.nothing_due != Some(true) {
            self.push(blank.moving(given, 0));
        }
        if lapsed != 0 {
            self.push(Line { what: "allotment.lapsed", ..blank.moving(-lapsed, 0) });
        }
    }

    /// What the aliases that a record may be about came to by it.
    fn changes(&mut self, origin: &Origin) -> Vec<(AliasOf, (i128, i128))> {
        let mut changes = Vec::new();
        for (alias, known) in &mut self.known {
            if origin.device.is_none_or(|device| device == alias.0) {
                let now = sums(&self.counts, *alias);
                let (charged, held) = core::mem::replace(known, now);
                changes.push((*alias, (now.0 - charged, now.1 - held)));
            }
        }
        changes
    }

    /// An alias became the user's, or another's.
    fn link(&mut self, alias: AliasOf, was: bool, line: &Line) {
        if let (Holder::Group(_, ever), Some(subject)) = (&self.holder, line.subject)
            && ever.contains(&subject)
        {
            // Linked to somebody else later, it may have been the group's meanwhile.
            let now = sums(&self.counts, alias);
            self.known.entry(alias).or_insert(now);
        }
        let is = self.is_linked(alias);
        if was == is {
            return;
        }
        let (charged, held) = sums(&self.counts, alias);
        self.known.insert(alias, (charged, held));
        let waiting = if is { self.waiting.remove(&alias).unwrap_or_default() } else { Vec::new() };
        let sum =
            |of: fn(&Line) -> CreditSum| waiting.iter().map(|line| of(line).thousandths()).sum();
        let (told, told_held): (i128, i128) = (sum(|line| line.moved), sum(|line| line.held));
        let sign = if is { 1 } else { -1 };
        let (rest, rest_held) = (-charged * sign - told, held * sign - told_held);
        if rest != 0 || rest_held != 0 {
            self.push(line.moving(rest, rest_held));
        }
        let (commit, arrived, subject) = (line.commit, line.arrived, line.subject);
        waiting.into_iter().for_each(|line| self.push(Line { commit, arrived, subject, ..line }));
    }

    /// Somebody became a member, or is one no more: with all that is theirs.
    fn regroup(&mut self, before: (i128, i128), line: &Line) {
        let (balance, held) = self.total();
        self.given = self.holder.given(&self.counts);
        // What a new member did before is in that line.
        let (holder, counts) = (&self.holder, &self.counts);
        self.waiting.retain(|alias, _| !is_of(holder, counts, *alias));
        if (balance, held) != before {
            self.push(line.moving(balance - before.0, held - before.1));
        }
    }

    /// The balance and what is held of it.
    fn total(&self) -> (i128, i128) {
        let aliases = self.known.keys().filter(|alias| self.is_linked(**alias));
        aliases.fold((self.holder.given(&self.counts), 0), |(balance, held), alias| {
            let (charged, held_there) = sums(&self.counts, *alias);
            (balance - charged, held + held_there)
        })
    }

    fn push(&mut self, mut line: Line) {
        self.standings = self.standings.plus(line.moved.thousandths(), line.held.thousandths());
        line.balance = self.standings.balance;
        line.still_held = self.standings.held;
        self.lines.push(line);
    }

    fn is_linked(&self, alias: AliasOf) -> bool {
        is_of(&self.holder, &self.counts, alias)
    }

    /// Ends it: the lines after some commit, and what became of what was provisional.
    pub fn end(mut self, is_before: impl Fn(&Line) -> bool) -> Stated {
        let decided = |(device, job): (DeviceId, JobId)| {
            self.counts.jobs.get(&(device, job)).is_some_and(super::job::Job::is_decided)
        };
        for line in self.lines.iter_mut().filter(|line| line.state == State::Held) {
            if line.device.zip(line.job).is_some_and(decided) {
                line.state = State::Void;
            }
        }
        let first = self.lines.iter().position(|line| !is_before(line)).unwrap_or(self.lines.len());
        let lines = self.lines.split_off(first);
        let opening = self.lines.last().map_or(Standings::default(), |last| Standings {
            balance: last.balance,
            held: last.still_held,
        });
        Stated { opening, closing: self.standings, lines }
    }
}

fn is_of(holder: &Holder, counts: &Counts, (device, alias): AliasOf) -> bool {
    counts.subject(device, alias).is_some_and(|subject| holder.includes(counts, subject))
}

/// What an alias came to: charged, held.
fn sums(counts: &Counts, (device, user): AliasOf) -> (i128, i128) {
    let key = |month| UsageKey { device, user, month };
    let usage = counts.usage.range(key(0)..=key(u32::MAX));
    usage.fold((0, 0), |(charged, held), (_, usage)| (charged + usage.charged, held + usage.held))
}
