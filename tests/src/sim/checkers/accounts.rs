//! Whose account is whose, and what accounts were given by the month, as the cloud's records say.
//!
//! Invariant: read from the stored decisions in the order of their places, apart from the engine's fold: who
//! joined last is a member with all they have, the first gift of an account and a month is the only one, and
//! what lapsed of gifts is gone. No more lapses, or moves with a member to lapse there, than was given.

use super::CloudRecords;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::people::Lapsing;
use tallyroll_schema::{Event, Record, SubjectId};

/// Groups and gifts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    members: BTreeMap<SubjectId, Option<SubjectId>>,
    /// What was given and lapsed, and moved with members, in the order it was decided.
    steps: Vec<Step>,
    /// What this adds to what was granted, thousandths.
    pub(super) moved: BTreeMap<SubjectId, i128>,
}

#[derive(Debug)]
enum Step {
    /// Of an account and a month; whether nothing was due, and a rest lapsed alone.
    Given { of: (SubjectId, u32, bool), credits: i128, lapsed: i128 },
    /// Goes on to lapse there.
    Moved { from: SubjectId, to: SubjectId, credits: i128 },
}

impl Accounts {
    /// Reads them off the cloud's records.
    pub(super) fn read(held: &CloudRecords) -> Self {
        let mut accounts = Self::default();
        for bytes in held.values() {
            match Record::split(bytes).and_then(|(record, _)| record.event()) {
                Ok(Event::GroupJoined(e)) => {
                    accounts.members.insert(e.member, Some(e.group));
                    accounts.moves(e.member, e.group, e.lapsing);
                }
                Ok(Event::GroupLeft(e)) => {
                    accounts.members.insert(e.member, None);
                    let settled = i128::from(e.settled.thousandths());
                    *accounts.moved.entry(e.member).or_default() += settled;
                    *accounts.moved.entry(e.group).or_default() -= settled;
                    accounts.moves(e.group, e.member, e.lapsing);
                }
                Ok(Event::AllotmentGiven(e)) => {
                    let month = u32::from(e.year) * 12 + u32::from(e.month) - 1;
                    let of = (e.account, month, e.nothing_due == Some(true));
                    let [credits, lapsed] =
                        [e.credits, e.lapsed].map(|credits| i128::from(credits.thousandths()));
                    accounts.steps.push(Step::Given { of, credits, lapsed });
                    *accounts.moved.entry(e.account).or_default() += credits - lapsed;
                }
                _ => {}
            }
        }
        accounts
    }

    /// Whose balance a subject's is.
    pub(super) fn of(&self, subject: SubjectId) -> SubjectId {
        self.members.get(&subject).copied().flatten().unwrap_or(subject)
    }

    fn moves(&mut self, from: SubjectId, to: SubjectId, lapsing: Option<Lapsing>) {
        let Some(Lapsing { credits, .. }) = lapsing else { return };
        let credits = i128::from(credits.thousandths());
        self.steps.push(Step::Moved { from, to, credits });
    }

    /// A month is given once, and of gifts lapses no more than they were.
    pub(super) fn check(&self) -> Result<(), String> {
        let (mut given, mut left) = (BTreeSet::new(), BTreeMap::<SubjectId, i128>::new());
        for step in &self.steps {
            let (account, gone, come) = match step {
                Step::Given { of: (account, month, alone), credits, lapsed } => {
                    if !given.insert((account, month, alone)) {
                        return Err(format!("month {month} is given to {account} twice"));
                    }
                    if *alone && *credits != 0 {
                        return Err(format!("{account} is given {credits} where nothing is due"));
                    }
                    (account, *lapsed, (account, *credits))
                }
                Step::Moved { from, to, credits } => (from, *credits, (to, *credits)),
            };
            let there = left.entry(*account).or_default();
            if gone > *there {
                return Err(format!("{gone} lapse or go of {there} that {account} was given"));
            }
            *there -= gone;
            *left.entry(*come.0).or_default() += come.1;
        }
        Ok(())
    }
}
