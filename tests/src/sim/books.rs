//! The books: months that are closed, and charges that are corrected.
//!
//! Invariant: as of the workload, whose part this is: what is asked for is in the truth before it is asked, and
//! a closed month's figures are put down as they were shown at its closing. Whether they stay so, and what all
//! months come to, is the checkers'.

use super::occasions::Occasion;
use super::truth::{self, CLOUD, Fate, Noted};
use super::world::{Step, World};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::Kind;
use tallyroll_engine::counts::{Month, Usage, UsageKey};
use tallyroll_engine::hub::{Corrected, Correction};
use tallyroll_schema::{CommitPosition, Credits};

/// A month as it was when it was closed.
#[derive(Debug)]
pub struct Closing {
    /// At which commit.
    pub commit: CommitPosition,
    /// What was shown of it.
    pub usage: BTreeMap<UsageKey, Usage>,
}

impl World {
    /// An administrator closes a month or corrects a charge; or another month begins.
    pub(super) fn keep_books(&mut self) -> Step {
        match self.entropy.below(10) {
            0..3 => {
                self.turn_the_calendar();
                Ok(())
            }
            3..7 => self.close_month(),
            _ => self.correct(),
        }
    }

    /// The first month that can be, if it is over.
    fn close_month(&mut self) -> Step {
        let now = self.cloud.clock.show(self.now);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        if process.recovery().is_some() {
            return Ok(()); // the public log is frozen
        }
        let counts = process.counts();
        let closed =
            process.closed_months(counts.books()).ok().and_then(|closed| closed.last().copied());
        let closed = closed.map(|(last, _)| last);
        let used = || counts.usage().keys().map(|key| Month(key.month)).min();
        let Some(month) = closed.map(Month::next).or_else(used) else { return Ok(()) };
        let of_month = counts.usage().iter().filter(|(key, _)| key.month == month.0);
        let usage: BTreeMap<UsageKey, Usage> =
            of_month.map(|(key, usage)| (*key, *usage)).collect();
        let done = process.close_month(now, month);
        self.trace.note(self.now, format_args!("cloud closes {month}: {done:?}"));
        if done.as_ref().is_err_and(|why| why.kind() == Kind::Rejected) {
            return Ok(()); // it is not over
        }
        let Some(commit) = self.cloud_outcome(done)? else { return Ok(()) };
        self.occasions.count(Occasion::Closed);
        self.truth.closed.insert(month.0, Closing { commit, usage });
        self.tell_of_new_decisions()
    }

    /// Gives back a part of what somebody was charged.
    fn correct(&mut self) -> Step {
        let Some(process) = &self.cloud.process else { return Ok(()) };
        let subjects: BTreeSet<_> = process.counts().links().map(|(_, subject)| subject).collect();
        let subjects: Vec<_> = subjects.into_iter().collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let subject = subjects[self.entropy.index(subjects.len())];
        let stated = process.statement(subject, None, process.last_commit());
        let Some((stated, _)) = self.cloud_outcome(stated)? else { return Ok(()) };
        let charges = stated.lines.iter();
        let charges = charges.filter(|line| line.job.is_some() && line.moved.thousandths() < 0);
        let charges: Vec<_> =
            charges.map(|line| (line.position, -line.moved.thousandths())).collect();
        if charges.is_empty() {
            return Ok(());
        }
        let (corrects, took) = charges[self.entropy.index(charges.len())];
        let thousandths = self.entropy.between(1, took as u64) as i64;
        let reason = format!("correction {}", self.truth.corrections.len());
        let fate = Fate::Open;
        let asked = truth::Corrected { subject, thousandths, fate };
        self.truth.corrections.insert(reason.clone(), asked);
        let (now, by) = (self.cloud.clock.show(self.now), "an administrator".to_owned());
        let credits = Credits::from_thousandths(thousandths);
        let (again, beyond) = (false, false);
        let correction = Correction { corrects, credits, reason, by, beyond, again };
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let done = process.correct(now, correction);
        self.trace.note(self.now, format_args!("cloud corrects {corrects}: {done:?}"));
        if done.as_ref().is_err_and(|why| why.kind() == Kind::Rejected) {
            return Ok(()); // what was given back before is taken into account
        }
        // An alias may have been linked to somebody else since; or the group gets it, that they left.
        let Some(Corrected { event, position, .. }) = self.cloud_outcome(done)? else {
            return Ok(());
        };
        self.occasions.count(Occasion::Corrected);
        if let Some(asked) = self.truth.corrections.get_mut(&event.reason) {
            asked.fate = Fate::Certain;
        }
        let event = event.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })
    }
}
