//! Groups that share a balance.
//!
//! Invariant: who joins brings their whole account; who leaves takes nothing along but what devices
//! hold for them, so that a group's pool is the same before and after. What of that is an allotment that
//! lapses goes on to lapse where it comes to. What a month gives is [`super::allotments`]'s.

use super::Hub;
use super::allotments::{amount, calendar, rest};
use super::funds::Funds;
use crate::counts::month_of;
use crate::device::Now;
use crate::store::Store;
use crate::{Error, Result};
use tallyroll_schema::event::people::{GroupJoined, GroupLeft, Lapsing};
use tallyroll_schema::{Credits, Position, SubjectId};

/// A member that left.
#[derive(Debug, Clone)]
pub struct Left {
    /// Where that stands.
    pub position: Position,
    /// What was decided.
    pub event: GroupLeft,
    /// What the group's balance is less by it, and the person's own is from then on; thousandths.
    pub along: i128,
}

impl<S: Store> Hub<S> {
    /// Has a person's account count as a group's from now on.
    ///
    /// # Errors
    /// It is no group, or no person who could join; storage failed.
    pub fn join_group(
        &mut self,
        now: Now,
        group: SubjectId,
        member: SubjectId,
    ) -> Result<(Position, GroupJoined)> {
        let accounts = self.counts().accounts();
        let refused = |why: &str| Err(Error::Rejected(why.into()));
        match accounts.group_of(member) {
            _ if !accounts.is_group(group) => return refused("this is no group"),
            _ if accounts.is_group(member) => return refused("a group joins no group"),
            Some(other) if other == group => return refused("they are a member of it already"),
            Some(_) => {
                return refused(
                    "they are a member of another group; let them leave that one first",
                );
            }
            None => {}
        }
        let used = Some(amount(self.own_funds(member).used()));
        let lapsing = self.lapsing_brought(month_of(now.wall), group, member)?;
        let joined = GroupJoined { group, member, used, lapsing };
        Ok((self.account(now, &[joined.clone().into()])?, joined))
    }

    /// Gives a member an account of their own again, in which is what devices hold for them.
    ///
    /// # Errors
    /// They are a member of no group; storage failed.
    pub fn leave_group(&mut self, now: Now, member: SubjectId) -> Result<Left> {
        let Some(group) = self.counts().accounts().group_of(member) else {
            return Err(Error::Rejected("they are a member of no group".into()));
        };
        let own = self.own_funds(member);
        let settled = i64::try_from(-own.pool()).map_err(|_| {
            Error::Rejected("what they used is more than one decision can settle".into())
        })?;
        let along = own.balance() + i128::from(settled);
        let settled = Credits::from_thousandths(settled);
        let used = Some(amount(own.used()));
        let lapsing = self.lapsing_taken(month_of(now.wall), group, &own)?;
        let event = GroupLeft { group, member, settled, used, lapsing };
        Ok(Left { position: self.account(now, &[event.clone().into()])?, event, along })
    }

    /// What is left of a person's own allotment, if it lapses.
    fn lapsing_brought(
        &self,
        month: u32,
        group: SubjectId,
        member: SubjectId,
    ) -> Result<Option<Lapsing>> {
        let (accounts, funds) = (self.counts().accounts(), Funds::of_accounts(self.counts()));
        if !accounts.lapses(member, month) {
            return Ok(None);
        }
        let of = |account| funds.get(&account).copied().unwrap_or_default();
        let brought = rest(accounts, member, &of(member));
        let there = rest(accounts, group, &of(group));
        let months = [(member, brought), (group, there)].into_iter().filter(|(_, left)| *left > 0);
        let months = months.filter_map(|(account, _)| accounts.rest(account));
        // Of two months, as the first: nothing of it outlives its own.
        let Some(month) = months.map(|rest| rest.month).min().filter(|_| brought > 0) else {
            return Ok(None);
        };
        let used = accounts.used_here(group, of(group).used());
        lapsing(brought, there + brought, used, month).map(Some)
    }

    /// What devices and jobs hold of a group's allotment for a member, if it lapses: it is used before all else.
    fn lapsing_taken(&self, month: u32, group: SubjectId, own: &Funds) -> Result<Option<Lapsing>> {
        let (accounts, funds) = (self.counts().accounts(), Funds::of_accounts(self.counts()));
        let of_group = funds.get(&group).copied().unwrap_or_default();
        let there = rest(accounts, group, &of_group);
        let taken = own.out().min(there);
        match accounts.rest(group).filter(|_| taken > 0 && accounts.lapses(group, month)) {
            None => Ok(None),
            Some(of) => {
                let used = accounts.used_here(group, of_group.used());
                lapsing(taken, there - taken, used, of.month).map(Some)
            }
        }
    }

    /// Where a person's own credits are, whether they are a member of a group or not.
    fn own_funds(&self, member: SubjectId) -> Funds {
        Funds::of_subjects(self.counts()).get(&member).copied().unwrap_or_default()
    }
}

/// All but the month in thousandths.
fn lapsing(credits: i128, of_group: i128, used: i128, month: u32) -> Result<Lapsing> {
    let (year, month) = calendar(month)?;
    let [credits, of_group, used] = [credits, of_group, used].map(amount);
    Ok(Lapsing { credits, of_group, used, year, month })
}
