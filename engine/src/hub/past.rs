//! The past at hand: figures as of any commit, without folding everything up to it.
//!
//! Owns the columns of what moved usage, which are made when somebody first asks and grow with each commit
//! from then on, and where this cloud's decisions stand. Invariant: what it answers is what folding from the
//! first commit on would give; where it cannot know that, it folds. Nothing of it is stored.

use super::Hub;
use crate::Result;
use crate::counts::{Counts, Moves, Usage, UsageKey};
use crate::fold::{Replay, Stored, View};
use crate::store::rows::CommitRow;
use crate::store::{Rows, Store};
use std::collections::BTreeMap;
use tallyroll_schema::CommitPosition;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::PAST_MOVES_MAX;

/// What is at hand of the past.
#[derive(Debug, Default)]
pub(super) struct Past {
    moves: Moves,
    /// Batches of what this cloud decided for all.
    decided: Vec<(CommitPosition, Stored)>,
    /// Records that could not be used, whenever there were more: incomplete, misplaced.
    unused: Vec<(CommitPosition, (u64, u64))>,
    /// Moments before this one are not at hand.
    since: CommitPosition,
}

impl Past {
    /// Takes in what a commit's batch did to the counts.
    pub(super) fn take_in(&mut self, commit: CommitPosition, place: Stored, counts: &mut Counts) {
        self.moves.push(commit, &counts.moved());
        if matches!(place.class, LogClass::Public | LogClass::Accounts) {
            self.decided.push((commit, place));
        }
        let unused = (counts.incomplete(), counts.misplaced());
        if self.unused.last().is_none_or(|(_, known)| *known != unused) {
            self.unused.push((commit, unused));
        }
        // Each line takes one move for ever.
        if self.moves.len() > PAST_MOVES_MAX + 2 * self.moves.lines() {
            self.since = self.since.max(self.moves.fold_older_half());
        }
    }

    /// Folded from the first commit on; as what is recorded again now was not always known to be, what was
    /// before that is not at hand.
    fn make<S: Store>(rows: &Rows<'_, S>, until: CommitPosition) -> Result<Self> {
        let mut past = Self::default();
        let (doubted, known) = past.fold(rows, Replay::default(), until)?;
        let Some(since) = doubted else { return Ok(past) };
        let mut past = Self { since, ..Self::default() };
        past.fold(rows, Replay::knowing(&known), until)?;
        Ok(past)
    }

    /// The commit, if any, that made something doubtful last, and all of it folded.
    fn fold<S: Store>(
        &mut self,
        rows: &Rows<'_, S>,
        mut replay: Replay<Counts>,
        until: CommitPosition,
    ) -> Result<(Option<CommitPosition>, Replay<Counts>)> {
        let mut doubted = None;
        replay.view_mut().listen();
        replay.fold_through(rows, until, &mut |replay, commit, place| {
            self.take_in(commit, place, replay.view_mut());
            if replay.is_doubtful() && replay.take_doubts(rows)? {
                doubted = Some(commit);
            }
            Ok(())
        })?;
        Ok((doubted, replay))
    }

    /// The counts at a commit, without jobs, rights, requests and what devices were told: folded from the
    /// decisions, which are few, with the usage of the columns.
    fn counts<S: Store>(&self, rows: &Rows<'_, S>, until: CommitPosition) -> Result<Counts> {
        let mut decided = Replay::<Counts>::default();
        for (_, place) in self.decided.iter().take_while(|(commit, _)| *commit <= until) {
            decided.fold_stored(rows, *place)?;
        }
        let unused = self.unused.partition_point(|(commit, _)| *commit <= until);
        let unused = unused.checked_sub(1).and_then(|last| self.unused.get(last));
        let usage = self.moves.usage(until, |_| true);
        Ok(decided.into_view().with_usage(usage, unused.map_or((0, 0), |(_, unused)| *unused)))
    }
}

impl<S: Store> Hub<S> {
    /// Has the past at hand from now on: what moved usage is gathered once from the first commit on. Nothing is,
    /// while something may be counted twice.
    ///
    /// # Errors
    /// Storage failed or a batch is corrupt.
    pub fn keep_past(&mut self) -> Result<()> {
        if self.past.is_none() && !self.counts.is_doubtful() {
            self.past = Some(Past::make(&self.rows(), self.last_commit)?);
            self.counts.view_mut().listen();
        }
        Ok(())
    }

    /// The figures at a past commit position: the counts as [`Hub::counts_at`] folds them, without jobs, rights,
    /// requests and what devices were told.
    ///
    /// # Errors
    /// The position was never reached; storage failed.
    pub fn figures_at(&self, until: CommitPosition) -> Result<Counts> {
        match self.at_hand(until)? {
            Some(past) => past.counts(&self.rows(), until),
            None => self.counts_at(until),
        }
    }

    /// The lines of usage that are wanted, as of a past commit position.
    ///
    /// # Errors
    /// The position was never reached; storage failed.
    pub fn usage_at(
        &self,
        until: CommitPosition,
        wanted: impl Fn(&UsageKey) -> bool,
    ) -> Result<BTreeMap<UsageKey, Usage>> {
        if let Some(past) = self.at_hand(until)? {
            return Ok(past.moves.usage(until, wanted));
        }
        let counts = self.counts_at(until)?;
        let lines = counts.usage().iter().filter(|(key, _)| wanted(key));
        Ok(lines.map(|(key, usage)| (*key, *usage)).collect())
    }

    /// The past, if that moment was reached and is at hand.
    fn at_hand(&self, until: CommitPosition) -> Result<Option<&Past>> {
        if self.rows().get::<CommitRow>(&until)?.is_none() {
            return Ok(None); // who folds says so
        }
        Ok(self.past.as_ref().filter(|past| past.since <= until))
    }

    /// A commit's batch was folded.
    pub(super) fn note_past(&mut self, commit: CommitPosition, place: Stored) {
        if self.counts.is_doubtful() {
            self.past = None; // what was counted will be counted otherwise
        }
        let reads = <Counts as View>::CLASSES.contains(&place.class);
        if let Some(past) = self.past.as_mut().filter(|_| reads) {
            past.take_in(commit, place, self.counts.view_mut());
        }
    }
}
