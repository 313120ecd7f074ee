//! Payers who share a balance, and what accounts are given each month.
//!
//! Invariant: as of the workload, whose part this is: what may be given is in the truth before it is asked for.
//! Who joins brings all they have, who leaves takes nothing, and a month is given once: that is looked at as it
//! happens; where every credit is at the end, by the checkers.

use super::checkers::conserves::month;
use super::leases::{PAYERS, payer};
use super::occasions::Occasion;
use super::truth::{CLOUD, Noted};
use super::world::{Step, World};
use tallyroll_engine::Kind;
use tallyroll_engine::counts::{Allotment, Gift};
use tallyroll_engine::hub::{Left, Named};
use tallyroll_schema::{Credits, DeviceId, SubjectId, UserAlias};

/// The group that payers may share a balance in.
pub(crate) const GROUP: SubjectId = SubjectId([200; 16]);
/// As whom the cloud itself knows it.
const GROUP_ALIAS: (DeviceId, UserAlias) = (DeviceId([0; 16]), UserAlias([200; 16]));
/// Milliseconds of a month, about.
const MONTH: u64 = 31 * 86_400_000;

impl World {
    /// An administrator lets somebody join or leave, or lays down an allotment; or another month begins.
    pub(super) fn keep_accounts(&mut self) -> Step {
        let member = payer(PAYERS.start + self.entropy.index(self.plan.payers));
        let Some(process) = &self.cloud.process else { return Ok(()) };
        let accounts = process.counts().accounts();
        if !accounts.is_group(GROUP) {
            self.founding = true;
            return self.found_pending();
        }
        let members = PAYERS.map(payer).filter(|one| accounts.group_of(*one) == Some(GROUP));
        let members: Vec<SubjectId> = members.collect();
        match self.entropy.below(12) {
            0..3 => self.join_group(member),
            3 | 4 if members.is_empty() => Ok(()),
            3 | 4 => {
                let leaves = self.entropy.index(members.len());
                self.leave_group(members[leaves])
            }
            5 => self.allot(GROUP),
            6 | 7 => self.allot(member),
            _ => {
                self.turn_the_calendar();
                self.give_allotments()
            }
        }
    }

    /// Asks for the group until it is acknowledged.
    pub(super) fn found_pending(&mut self) -> Step {
        let Some(process) = self.cloud.process.as_mut().filter(|_| self.founding) else {
            return Ok(());
        };
        let (subject, sealed, mail) = (GROUP, vec![1; 80], None);
        let named = Named { subject, alias: GROUP_ALIAS.1, sealed, mail, founds_group: true };
        let now = self.cloud.clock.show(self.now);
        let founded = process.name(now, vec![named], Vec::new());
        if self.cloud_outcome(founded)?.is_some() {
            self.founding = false;
            self.truth.links.insert(GROUP_ALIAS, GROUP);
        }
        Ok(())
    }

    /// What nobody has used and no device holds, of an account; what is asked for changes it so.
    fn pool(&self, account: SubjectId) -> i128 {
        let funds = self.cloud.process.as_ref().map(|process| process.funds());
        funds.and_then(|mut funds| funds.remove(&account)).unwrap_or_default().pool()
    }

    fn join_group(&mut self, member: SubjectId) -> Step {
        let brought = self.pool(GROUP) + self.pool(member);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let now = self.cloud.clock.show(self.now);
        let joined = process.join_group(now, GROUP, member);
        self.trace.note(self.now, format_args!("{member} joins: {joined:?}"));
        if joined.as_ref().is_err_and(|why| why.kind() == Kind::Rejected) {
            return Ok(()); // a member already
        }
        let Some((position, joined)) = self.cloud_outcome(joined)? else { return Ok(()) };
        self.occasions.count(Occasion::Joined);
        if joined.lapsing.is_some() {
            self.occasions.count(Occasion::Travelled);
        }
        let event = joined.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })?;
        self.expect_pools(&[(GROUP, brought), (member, 0)], "joins")
    }

    fn leave_group(&mut self, member: SubjectId) -> Step {
        let before = self.pool(GROUP);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let now = self.cloud.clock.show(self.now);
        let left = process.leave_group(now, member);
        self.trace.note(self.now, format_args!("{member} leaves: {left:?}"));
        if left.as_ref().is_err_and(|why| why.kind() == Kind::Rejected) {
            return Ok(()); // no member
        }
        let Some(Left { position, event, .. }) = self.cloud_outcome(left)? else { return Ok(()) };
        self.occasions.count(Occasion::Left);
        if event.lapsing.is_some() {
            self.occasions.count(Occasion::Travelled);
        }
        let event = event.into();
        self.acknowledge(CLOUD, position, Noted { event, wall: now.wall, at: self.moment })?;
        self.expect_pools(&[(GROUP, before), (member, 0)], "leaves")
    }

    fn expect_pools(&self, pools: &[(SubjectId, i128)], what: &str) -> Step {
        for (account, expected) in pools {
            let pool = self.pool(*account);
            if pool != *expected {
                let what = format!("somebody {what}: {pool} in {account}'s pool, not {expected}");
                return Err(self.violation("every-credit-has-a-place", what));
            }
        }
        Ok(())
    }

    fn allot(&mut self, account: SubjectId) -> Step {
        let now = self.cloud.clock.show(self.now);
        let credits = |thousandths| Some(Credits::from_thousandths(thousandths));
        let monthly = self.entropy.between(1_000, 9_000) as i64;
        let (carries_over, bounded) = (self.entropy.percent(40), self.entropy.percent(50));
        let most = credits(2 * monthly).filter(|_| carries_over && bounded);
        let from = month(now.wall);
        let allotment = Allotment { monthly: credits(monthly), carries_over, most, from };
        let known = self.truth.monthly.entry(account).or_default();
        *known = monthly.max(*known);
        self.note_what_is_due();
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let laid_down = process.lay_down_allotment(now, account, allotment);
        self.trace.note(self.now, format_args!("{account} is allotted {monthly}: {laid_down:?}"));
        if laid_down.as_ref().is_err_and(|why| why.kind() == Kind::Rejected) {
            return Ok(()); // a month beyond the calendar
        }
        self.cloud_outcome(laid_down).map(drop)
    }

    /// An account may be given its month from now on, if only once.
    fn note_what_is_due(&mut self) {
        let month = month(self.cloud.clock.show(self.now).wall);
        for (account, monthly) in &self.truth.monthly {
            let due = self.truth.due.entry((*account, month)).or_default();
            *due = (*due).max(*monthly);
        }
    }

    /// Another month, or so, on every clock that runs.
    pub(super) fn turn_the_calendar(&mut self) {
        let days = MONTH * self.entropy.between(5, 15) / 10;
        self.cloud.clock.calendar += days;
        self.devices.iter_mut().for_each(|machine| machine.clock.calendar += days);
    }

    /// As the rim does at start and every minute; what is asked for twice is given once.
    pub(super) fn give_allotments(&mut self) -> Step {
        self.note_what_is_due();
        let Some(process) = &self.cloud.process else { return Ok(()) };
        let now = self.cloud.clock.show(self.now);
        let accounts = process.counts().accounts();
        let laid_down = accounts.allotments(month(now.wall));
        let before: Vec<(i128, bool)> = laid_down
            .iter()
            .map(|(account, _)| (*account, accounts.was_given(*account, month(now.wall))))
            .map(|(account, given)| (self.pool(account), given))
            .collect();
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let given = process.give_allotments(now);
        self.trace.note(self.now, format_args!("the cloud gives {given:?}"));
        if self.cloud_outcome(given)?.is_none() {
            return Ok(());
        }
        for ((account, allotment), (pool, given)) in laid_down.into_iter().zip(before) {
            let Some(process) = &self.cloud.process else { return Ok(()) };
            let accounts = process.counts().accounts();
            let last = accounts.last_gift(account).filter(|(of, _)| *of == month(now.wall));
            let Some((_, gift)) = last.filter(|_| !given) else { continue };
            self.judge_gift(account, &allotment, pool, &gift)?;
        }
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        match process.give_allotments(now) {
            Ok(0) => Ok(()),
            Ok(_) => {
                Err(self.violation("every-credit-has-a-place", "a month is given twice".into()))
            }
            failed => self.cloud_outcome(failed).map(drop),
        }
    }

    /// What is given is what was laid down; what lapses was in the pool, and goes nowhere.
    fn judge_gift(
        &mut self,
        account: SubjectId,
        allotment: &Allotment,
        before: i128,
        gift: &Gift,
    ) -> Step {
        let [credits, lapsed] =
            [gift.credits, gift.lapsed].map(|credits| i128::from(credits.thousandths()));
        let monthly = allotment.monthly.map_or(0, |monthly| i128::from(monthly.thousandths()));
        self.occasions.count(Occasion::Allotted);
        if lapsed > 0 {
            self.occasions.count(Occasion::Lapsed);
        }
        let bounded = allotment.most.is_some();
        let whole = credits == monthly || (bounded && (0..monthly).contains(&credits));
        // What carries over lapses only where less may be there than before.
        let may_lapse = if allotment.carries_over && !bounded { 0 } else { before.max(0) };
        if !whole || !(0..=may_lapse).contains(&lapsed) {
            let what =
                format!("{account}, {before} in the pool, is allotted {gift:?} by {allotment:?}");
            return Err(self.violation("every-credit-has-a-place", what));
        }
        self.expect_pools(&[(account, before + credits - lapsed)], "is given a month")
    }
}
