//! Moments of the past: which commit a time means, and after which some may be lost.
//!
//! Invariant: a time means one commit for ever, or none. The cloud's clock may be put right, so times need not grow
//! with commits: a commit dated before the first one, or far after now, has a wrong time and is passed over; where
//! the others say two things, the time is refused, and both are named. Positions are never in doubt.

use super::Hub;
use crate::store::rows::CommitRow;
use crate::store::{Row, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{CommitPosition, Wall};

/// A commit dated so long after now was made by a clock that was wrong: a smaller difference may be this one's, and then
/// what a time meant before is not to change.
const AHEAD_MAX: u64 = 24 * 60 * 60 * 1000;

impl<S: Store> Hub<S> {
    /// The last commit by a time of the cloud's clock, which shows `now`; `None` if nothing was committed by then.
    ///
    /// # Errors
    /// The clock was put back over that time; storage failed.
    pub fn commit_at(&self, time: Wall, now: Wall) -> Result<Option<CommitPosition>> {
        let (mut first, mut until, mut again, mut passed) = (None, None, None, false);
        let latest = Wall(now.0.saturating_add(AHEAD_MAX));
        self.rows().scan::<CommitRow>(&[], &[], &mut |key, row| {
            let began = *first.get_or_insert(row.received_at);
            if (began..=latest.max(began)).contains(&row.received_at) {
                match row.received_at <= time {
                    true if passed => again = CommitRow::position(key),
                    true => until = CommitRow::position(key),
                    false => passed = true,
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match (until, again) {
            (Some(until), Some(again)) => Err(Error::Rejected(format!(
                "the cloud's clock was put back over that time: it was after commit {until}, and once more, later, after \
                 commit {again}; say which"
            ))),
            (until, _) => Ok(until),
        }
    }

    /// When a commit was made, by the cloud's clock.
    ///
    /// # Errors
    /// Storage failed.
    pub fn committed_at(&self, position: CommitPosition) -> Result<Wall> {
        let row: Option<CommitRow> = self.rows().get(&position)?;
        Ok(row.map_or(Wall(0), |row| row.received_at))
    }

    /// The next commit, if this is the last before a loss: this cloud found, in the same process or in the one before,
    /// that it had lost the end of its logs, and went on in new epochs.
    ///
    /// # Errors
    /// Storage failed.
    pub fn lost_after(&self, position: CommitPosition) -> Result<Option<CommitPosition>> {
        let next = self.first_from(CommitPosition { index: position.index + 1, ..position })?;
        let Some((next, row)) = next.filter(|(next, _)| next.epoch != position.epoch) else {
            return Ok(None);
        };
        if self.goes_on_after_a_loss(&row)? {
            return Ok(Some(next));
        }
        let then =
            self.first_from(CommitPosition { epoch: next.epoch.saturating_add(1), index: 0 })?;
        let found = then.map(|(_, row)| self.goes_on_after_a_loss(&row)).transpose()?;
        Ok((found == Some(true)).then_some(next))
    }

    /// The first commit from a position on.
    fn first_from(&self, from: CommitPosition) -> Result<Option<(CommitPosition, CommitRow)>> {
        let mut first = None;
        self.rows().scan::<CommitRow>(&[], &CommitRow::key(&from), &mut |key, row| {
            first = CommitRow::position(key).map(|position| (position, row));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    /// Whether a batch opens another epoch of the accounts than the first.
    fn goes_on_after_a_loss(&self, row: &CommitRow) -> Result<bool> {
        let opens = row.first_seq == 0 && row.epoch.counter > 0;
        Ok(opens && self.genesis(row.log)?.class == LogClass::Accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Now;
    use crate::store::MemoryStore;
    use crate::sync::pair;
    use tallyroll_schema::{Credits, SubjectId};

    fn at(wall: u64) -> Now {
        Now { wall: Wall(pair::now(0).wall.0 + wall), ..pair::now(0) }
    }

    fn grant(hub: &mut Hub<MemoryStore>, wall: u64) -> CommitPosition {
        let credits = Credits::from_thousandths(1);
        hub.grant(at(wall), SubjectId([6; 16]), credits, String::new()).expect("grants");
        hub.last_commit()
    }

    /// What was answered once is answered again, or refused, and never otherwise.
    #[test]
    fn a_clock_that_is_put_back_changes_no_answer() {
        let mut hub = pair::hub();
        let of = |hub: &Hub<MemoryStore>, time, now| hub.commit_at(at(time).wall, at(now).wall);
        let commits = [100, 200, 300].map(|wall| grant(&mut hub, wall));
        let answers = [150, 199, 250].map(|time| of(&hub, time, 300).expect("reads"));
        assert_eq!(answers, [Some(commits[0]), Some(commits[0]), Some(commits[1])]);
        let back = grant(&mut hub, 180);
        let on = grant(&mut hub, 400);
        assert_eq!(of(&hub, 150, 400).expect("reads"), answers[0]);
        for (time, before) in [(190, commits[0]), (250, commits[1])] {
            let why = of(&hub, time, 400).expect_err("was twice").to_string();
            for commit in [before, back] {
                assert!(why.contains(&format!("after commit {commit}")), "{why}");
            }
        }
        assert_eq!(of(&hub, 300, 400).expect("reads"), Some(back), "once only");
        of(&hub, 190, 185).expect_err("also while the clock is still behind");
        assert_eq!(of(&hub, 400, 400).expect("reads"), Some(on));
    }

    #[test]
    fn a_clock_that_was_wildly_wrong_spoils_no_time() {
        let mut hub = pair::hub();
        let first = grant(&mut hub, 100);
        let far = grant(&mut hub, 301 + AHEAD_MAX);
        let early = hub.grant(
            Now { wall: Wall(5), ..at(0) },
            SubjectId([6; 16]),
            Credits::from_thousandths(1),
            String::new(),
        );
        early.expect("grants");
        let last = grant(&mut hub, 200);
        let of = |time, now| hub.commit_at(at(time).wall, at(now).wall).expect("reads");
        assert_eq!(
            [of(150, 300), of(200, 300), of(300, 300)],
            [Some(first), Some(last), Some(last)]
        );
        assert_eq!(of(301 + AHEAD_MAX, 301 + AHEAD_MAX), Some(last));
        assert!(far < last);
    }

    #[test]
    fn a_moment_in_a_lost_stretch_says_so() {
        let mut hub = pair::hub();
        let kept = grant(&mut hub, 100);
        let store = hub.store().clone();
        let lost = grant(&mut hub, 5_000);
        assert_eq!(hub.lost_after(kept).expect("reads"), None);
        let mut hub = hub.restart_on(store.clone(), at(10_000));
        assert_eq!(hub.lost_after(kept).expect("reads"), None, "nothing follows");
        let never = hub.counts_at(lost).expect_err("is gone").to_string();
        assert!(
            never.ends_with(&format!("position {lost} does not exist; the last is {kept}")),
            "{never}"
        );
        let next = grant(&mut hub, 11_000);
        assert_eq!(hub.lost_after(kept).expect("reads"), None, "it was started anew");
        hub.freeze(at(12_000), "a device held more").expect("freezes");
        let last = hub.last_commit();
        assert_eq!(
            hub.lost_after(kept).expect("reads"),
            Some(next),
            "it was lost before that start"
        );
        let gone = hub.counts_at(lost).expect_err("is gone").to_string();
        assert!(gone.contains(&format!("after {kept} comes {next}.")), "{gone}");
        assert!(gone.ends_with(&format!("the last is {last}")), "{gone}");

        let mut hub = hub.restart_on(store, at(20_000));
        hub.freeze(at(20_000), "restored from a backup").expect("freezes");
        let next = CommitPosition { epoch: hub.last_commit().epoch, index: 1 };
        assert_eq!(hub.lost_after(kept).expect("reads"), Some(next));
        assert_eq!(hub.lost_after(next).expect("reads"), None);
    }
}
