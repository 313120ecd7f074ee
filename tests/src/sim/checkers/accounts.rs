//! Whose account is whose, and what accounts were given by the month, as the cloud's records say.
//!
//! Invariant: read from the stored decisions in the order of their places, apart from the engine's fold: who
//! joined last is a member with all they have, the first gift of an account and a month is the only one, and
//! what lapsed of gifts is gone.

use super::CloudRecords;
use std::collections::BTreeMap;
use tallyroll_schema::{Event, Record, SubjectId};

/// Groups and gifts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    members: BTreeMap<SubjectId, Option<SubjectId>>,
    /// Given and lapsed, by account and month, in the order they were decided.
    gifts: Vec<((SubjectId, u32), i128, i128)>,
    /// What this adds to what was granted, thousandths.
    pub(super) moved: BTreeMap<SubjectId, i128>,
}

impl Accounts {
    /// Reads them off the cloud's records.
    pub(super) fn read(held: &CloudRecords) -> Self {
        let mut accounts = Self::default();
        for bytes in held.values() {
            match Record::split(bytes).and_then(|(record, _)| record.event()) {
                Ok(Event::GroupJoined(e)) => {
                    accounts.members.insert(e.member, Some(e.group));
                }
                Ok(Event::GroupLeft(e)) => {
                    accounts.members.insert(e.member, None);
                    let settled = i128::from(e.settled.thousandths());
                    *accounts.moved.entry(e.member).or_default() += settled;
                    *accounts.moved.entry(e.group).or_default() -= settled;
                }
                Ok(Event::AllotmentGiven(e)) => {
                    let of = (e.account, u32::from(e.year) * 12 + u32::from(e.month) - 1);
                    let [credits, lapsed] =
                        [e.credits, e.lapsed].map(|credits| i128::from(credits.thousandths()));
                    accounts.gifts.push((of, credits, lapsed));
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

    /// A month is given once, and of gifts lapses no more than they were.
    pub(super) fn check(&self) -> Result<(), String> {
        let (mut given, mut left) = (BTreeMap::new(), BTreeMap::<SubjectId, i128>::new());
        for (of, credits, lapsed) in &self.gifts {
            if given.insert(of, ()).is_some() {
                return Err(format!("month {} is given to {} twice", of.1, of.0));
            }
            let left = left.entry(of.0).or_default();
            if *lapsed > *left {
                return Err(format!("{lapsed} lapse of {left} that {} was given", of.0));
            }
            *left += credits - lapsed;
        }
        Ok(())
    }
}
