//! Keeping the books: statements, corrections, closed months, meters.
//!
//! Invariant: nothing that was recorded is edited. A correction names the charge that it corrects, goes to
//! the account that bore it, and gives back no more than that took, unless told to; a month is closed once,
//! after its end, the next after the last, and names the commit whose cut it is; where this cloud lost that commit, it
//! is not closed. Statements are folded anew when they are asked for; past months are at hand ([`super::past`]).

use super::Hub;
use super::decide::{check_grant, check_text};
use crate::counts::{
    Books, Counts, CreditSum, Holder, Month, Reconciled, Reconciliation, Stated, Statement,
    charged_to, inner,
};
use crate::device::Now;
use crate::fold::{Origin, View, walk};
use crate::planted::{Bug, planted};
use crate::store::Store;
use crate::store::rows::CommitRow;
use crate::{Error, Result};
use core::ops::ControlFlow;
use std::collections::BTreeSet;
use tallyroll_schema::event::counts::{ChargeCorrected, PeriodClosed};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::NAME_BYTES_MAX;
use tallyroll_schema::{CommitPosition, Credits, DeviceId, Event, Position, SubjectId, UserAlias};

/// What is to be corrected.
#[derive(Debug, Clone)]
pub struct Correction {
    /// The charge's event.
    pub corrects: Position,
    /// Added to the balance; negative takes away.
    pub credits: Credits,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// Whether more may be given back than was charged, or as much taken again and more.
    pub beyond: bool,
    /// Whether the same may be done once more.
    pub again: bool,
}

/// A correction that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    /// What was decided.
    pub event: ChargeCorrected,
    /// Who was charged.
    pub charged: SubjectId,
    /// Whose balance it went to: theirs, or the group's that bore the charge.
    pub account: SubjectId,
    /// Where it stands.
    pub position: Position,
}

/// What the cloud's own decisions say of a charge.
struct Decided {
    /// The group that bore it, if who was charged left one since.
    borne_by: Option<SubjectId>,
    /// Given back before, whatever account it went to; thousandths.
    given: i128,
    /// Where the same was done before.
    same: Option<Position>,
}

/// A month's books, as far as they are known at some commit.
#[derive(Debug, Clone)]
pub struct MonthBooks {
    /// The commit whose cut its figures are for ever, if it is closed.
    pub closed: Option<CommitPosition>,
    /// The figures at that cut, or as far as they are known.
    pub counts: Counts,
    /// The last closed month before it, and the figures at that one's cut.
    pub before: Option<(Month, Counts)>,
}

impl<S: Store> Hub<S> {
    /// What moved a person's balance or a group's, after one commit and up to another.
    ///
    /// # Errors
    /// A commit was never reached; storage failed.
    pub fn statement(
        &self,
        subject: SubjectId,
        after: Option<CommitPosition>,
        until: CommitPosition,
    ) -> Result<(Stated, Counts)> {
        let mut ever = BTreeSet::from([subject]);
        let holder = match self.counts().accounts().is_group(subject) {
            false => Holder::Person(subject),
            true => {
                walk(
                    &self.rows(),
                    until,
                    &[LogClass::Accounts],
                    &BTreeSet::new(),
                    &mut |_, _, record| {
                        if let Ok(Event::GroupJoined(joined)) = record.event()
                            && joined.group == subject
                        {
                            ever.insert(joined.member);
                        }
                    },
                )?;
                ever.remove(&subject);
                Holder::Group(subject, ever.clone())
            }
        };
        let theirs = self.counts().links().filter(|(_, linked)| ever.contains(linked));
        let lost = self.lost_closings()?.into_iter().map(|(_, commit)| commit).collect();
        let mut statement = Statement::new(holder, theirs.map(|(alias, _)| alias), lost);
        let (classes, again) = (<Counts as View>::CLASSES, self.counts().resubmitted());
        walk(&self.rows(), until, classes, again, &mut |committed, origin, record| {
            statement.take_in(committed, origin, record);
        })?;
        let counts = statement.counts().clone();
        let before = |commit| after.is_some_and(|after| commit <= after);
        Ok((statement.end(|line| before(line.commit)), counts))
    }

    /// Gives back credits of a charge, or takes more; the charge stays as it was.
    ///
    /// # Errors
    /// There is no such charge, it is nobody's, it took less, the same was done before; storage failed.
    pub fn correct(&mut self, now: Now, correction: Correction) -> Result<Corrected> {
        let Correction { corrects, credits, reason, by, beyond, again } = correction.clone();
        check_text("reason", &reason)?;
        if reason.trim().is_empty() {
            return Err(Error::Rejected("a correction says why: --reason TEXT".into()));
        }
        if by.is_empty() || by.len() > NAME_BYTES_MAX {
            let why = format!("--by: who corrects, a name of 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::Rejected(why));
        }
        if credits == Credits::ZERO {
            let why = "a correction of 0 credits changes nothing; say how many are given back, or taken: -N";
            return Err(Error::Rejected(why.into()));
        }
        check_grant(credits)?;
        let subject = self.charged_by(corrects)?;
        let (stated, _) = self.statement(subject, None, self.last_commit)?;
        let charge = stated.lines.iter().find(|line| line.position == corrects);
        let took = charge.map_or(0, |line| -line.moved.thousandths());
        let since = charge.map_or(self.last_commit, |line| line.commit);
        let Decided { borne_by, given, same } = self.decided_of(&correction, subject, since)?;
        if let (false, Some(done)) = (again, same) {
            let why = format!(
                "the same correction stands at {done} already; say --again to make it once more"
            );
            return Err(Error::Rejected(why));
        }
        let after = given + i128::from(credits.thousandths());
        if credits > Credits::ZERO && after > took && !beyond {
            let [took, given] = [took, given].map(CreditSum::from_thousandths);
            let why = format!(
                "it took {took} credits from the balance, {given} were given back before: {credits} is more \
                 than is left of it; correct the line that took them, or say --beyond"
            );
            return Err(Error::Rejected(why));
        }
        if credits < Credits::ZERO && after < -took && !beyond {
            let [took, given] = [took, given].map(CreditSum::from_thousandths);
            let why = format!(
                "it took {took} credits from the balance, {given} were given back before: {credits} takes once more \
                 than that besides; correct the line that took too little, or say --beyond"
            );
            return Err(Error::Rejected(why));
        }
        let charged = borne_by.map(|_| subject);
        let (by, bearer) = (Some(by), borne_by.unwrap_or(subject));
        let event = ChargeCorrected { subject: bearer, corrects, credits, reason, by, charged };
        let account = self.counts().accounts().account(bearer);
        let position = self.account(now, &[event.clone().into()])?;
        Ok(Corrected { event, charged: subject, account, position })
    }

    /// What was decided of a charge that came to a person with a commit. A leaving settles on the group all that
    /// came before it, so the first one after the charge says whose it is.
    fn decided_of(
        &self,
        correction: &Correction,
        charged: SubjectId,
        since: CommitPosition,
    ) -> Result<Decided> {
        let mut decided = Decided { borne_by: None, given: 0, same: None };
        walk(
            &self.rows(),
            self.last_commit,
            &[LogClass::Accounts],
            &BTreeSet::new(), // nobody records those again
            &mut |committed, origin, record| match record.event() {
                Ok(Event::GroupLeft(left))
                    if left.member == charged && committed.position > since =>
                {
                    decided.borne_by.get_or_insert(left.group);
                }
                Ok(Event::ChargeCorrected(e)) if e.corrects == correction.corrects => {
                    decided.given += i128::from(e.credits.thousandths());
                    let (why, by) = (&correction.reason, Some(&correction.by));
                    if (e.credits, &e.reason, e.by.as_ref()) == (correction.credits, why, by) {
                        decided.same.get_or_insert(origin.position);
                    }
                }
                _ => {}
            },
        )?;
        Ok(decided)
    }

    /// Whom an event charges.
    fn charged_by(&self, position: Position) -> Result<SubjectId> {
        let (log, epoch, seq) = (position.log, position.epoch, position.seq);
        let genesis = self.genesis(log)?;
        let device = match genesis.about {
            Some(_) => None,
            None => Some(DeviceId::of_key(self.config.tenant, &genesis.writer))
                .filter(|_| genesis.writer != self.public_key()),
        };
        let origin = Origin { device, class: genesis.class, position };
        let mut found = None;
        self.read_log(log, epoch, seq, &mut |at, record| {
            let (event, ..) = inner(record);
            let kind = event.as_ref().map_or("unreadable", |event| event.name());
            let charged = event.as_ref().and_then(|event| charged_to(&origin, event));
            found = (at == position).then_some((kind, charged));
            ControlFlow::Break(())
        })?;
        let (kind, charged) = found.ok_or_else(|| {
            Error::Rejected(format!(
                "no event at {position}; `tallyroll view statement USER` and `tallyroll log show --all` tell positions"
            ))
        })?;
        let (device, alias): (DeviceId, UserAlias) = charged.ok_or_else(|| {
            let why = format!(
                "{kind} at {position} is no charge; `tallyroll view statement USER` shows charges"
            );
            Error::Rejected(why)
        })?;
        self.counts().subject(device, alias).ok_or_else(|| {
            let why = format!(
                "nobody's name is known yet for the user charged at {position}; wait until the device has \
                 synced its names"
            );
            Error::Rejected(why)
        })
    }

    /// Closes a month: its figures are those of the last commit, for ever.
    ///
    /// # Errors
    /// It is not over, closed already, or another comes first; storage failed.
    pub fn close_month(&mut self, now: Now, month: Month) -> Result<CommitPosition> {
        Ok(self.close_months(now, month, false)?.1)
    }

    /// Closes a month, and with `earlier` those before it that are open, all at the last commit. Returns the first
    /// that it closed, and the commit.
    ///
    /// # Errors
    /// As for [`Hub::close_month`].
    pub fn close_months(
        &mut self,
        now: Now,
        month: Month,
        earlier: bool,
    ) -> Result<(Month, CommitPosition)> {
        let rejected = |why: String| Err(Error::Rejected(why));
        if now.wall < month.next().begins() {
            return rejected(format!(
                "{month} is not over; it can be closed from {}-01 on, UTC",
                month.next()
            ));
        }
        let held = self.closed_months(self.counts().books())?;
        if let Some((_, commit)) = held.iter().find(|(closed, _)| *closed == month) {
            return rejected(format!(
                "{month} is closed already, at commit {commit}; what came later is in the next open month"
            ));
        }
        let last = held.last().map(|(last, _)| *last);
        if let Some(last) = last.filter(|last| *last > month) {
            return rejected(format!(
                "{month} lies before {last}, which is closed; what is found of it is an adjustment in the \
                 next open month"
            ));
        }
        let with_figures = || self.counts().usage().keys().map(|key| Month(key.month)).min();
        let first = last.map(Month::next).or_else(with_figures);
        let first = first.filter(|first| *first < month).unwrap_or(month);
        if first < month && !earlier {
            return rejected(format!(
                "{first} is not closed; close it first: months are closed one after the other; --earlier closes all {} of \
                 them, from {first} on",
                month.0 - first.0 + 1
            ));
        }
        let commit = self.last_commit;
        let closed = |number: u32| {
            let (year, month) = Month(number).year_and_month();
            PeriodClosed { year, month, cut: Vec::new(), commit: Some(commit) }.into()
        };
        let closed: Vec<Event> = (first.0..=month.0).map(closed).collect();
        self.decide(now, self.logs.public, &closed)?;
        Ok((first, commit))
    }

    /// A month's books, as known at a commit.
    ///
    /// # Errors
    /// The commit was never reached; storage failed.
    pub fn month_books(&self, month: Month, at: CommitPosition) -> Result<MonthBooks> {
        let known = self.figures_at(at)?;
        let held = self.closed_months(known.books())?;
        let closed = held.iter().find_map(|(closed, at)| (*closed == month).then_some(*at));
        let before = match held.into_iter().rfind(|(before, _)| *before < month) {
            // Of the open months the first has what came too late, and no other.
            Some((before, _)) if closed.is_none() && before.next() != month => None,
            Some((before, commit)) => Some((before, self.figures_at(commit)?)),
            None => None,
        };
        let counts = match closed {
            Some(_) if planted(Bug::ClosedMonthMoves) => known,
            Some(commit) => self.figures_at(commit)?,
            None => known,
        };
        Ok(MonthBooks { closed, counts, before })
    }

    /// Every device's meter against what was counted, by month, as known at the last commit.
    ///
    /// # Errors
    /// Storage failed.
    pub fn reconcile(&self) -> Result<Vec<Reconciled>> {
        let mut reconciliation = Reconciliation::default();
        let (rows, ledgers) = (self.rows(), &[LogClass::Ledger]);
        let again = self.counts().resubmitted();
        walk(&rows, self.last_commit, ledgers, again, &mut |_, origin, record| {
            reconciliation.note(origin, record);
        })?;
        walk(&rows, self.last_commit, ledgers, again, &mut |_, origin, record| {
            reconciliation.count(origin, record);
        })?;
        Ok(reconciliation.rows())
    }

    /// The months that are closed by these books, and the commits whose cuts hold their figures.
    ///
    /// # Errors
    /// Storage failed.
    pub fn closed_months(&self, books: &Books) -> Result<Vec<(Month, CommitPosition)>> {
        let mut held = Vec::new();
        for (month, commit) in books.closed_months() {
            if self.rows().get::<CommitRow>(&commit)?.is_some() {
                held.push((month, commit));
            }
        }
        Ok(held)
    }

    /// The months that were closed at commits that this cloud lost with the end of its logs: they are open, until they
    /// are closed again.
    ///
    /// # Errors
    /// Storage failed.
    pub fn lost_closings(&self) -> Result<Vec<(Month, CommitPosition)>> {
        let books = self.counts().books();
        let held = self.closed_months(books)?;
        Ok(books.closed_months().filter(|closing| !held.contains(closing)).collect())
    }
}
