//! What accounts are given each month.
//!
//! Invariant: an account gets a month's allotment once, however often it is asked for; a month in which nobody
//! asked is not made up for, so a clock that is off by years gives one allotment for each month that it shows,
//! and no more. What of an account is allotment is used before all else; what was granted never lapses.

use super::Hub;
use super::funds::Funds;
use crate::counts::{Accounts, Allotment, CreditSum, Gift, Month, month_of, thousandths};
use crate::device::Now;
use crate::store::Store;
use crate::{Error, Result};
use tallyroll_schema::event::allotments::{AllotmentGiven, AllotmentLaidDown};
use tallyroll_schema::limits::GRANT_THOUSANDTHS_MAX;
use tallyroll_schema::{ClockQuality, Credits, Event, Position, SubjectId};

/// Gifts in one batch: far below what a batch holds.
const GIFTS_MAX: usize = 1000;

impl<S: Store> Hub<S> {
    /// Lays down what an account is given each month, and gives it at once where it begins this month;
    /// returns what was given.
    ///
    /// # Errors
    /// Nothing or absurdly much a month, or more than may be there; the month is none, or past; storage failed.
    pub fn lay_down_allotment(
        &mut self,
        now: Now,
        account: SubjectId,
        allotment: Allotment,
    ) -> Result<(Position, Option<Gift>)> {
        let this = month_of(now.wall);
        let Allotment { monthly, carries_over, most, from } = match allotment.monthly {
            Some(_) => allotment,
            // What was to be kept is kept.
            None => {
                let before = self.counts().accounts().allotment_in(account, allotment.from);
                let from = allotment.from;
                before.map_or(allotment, |before| Allotment { monthly: None, from, ..before })
            }
        };
        check_monthly(monthly, most)?;
        let accounts = self.counts().accounts();
        let before = [accounts.allotment_in(account, from), accounts.allotment(account)];
        if monthly.is_none() && before.iter().flatten().all(|before| before.monthly.is_none()) {
            let why = "they are allotted nothing, so there is nothing to stop";
            return Err(Error::Rejected(why.into()));
        }
        if monthly.is_some() && self.counts().accounts().is_forgotten(account) {
            return Err(Error::Rejected("they are forgotten, and given nothing".into()));
        }
        if monthly.is_some() && from < this {
            let (from, this) = (Month(from), Month(this));
            let why =
                format!("{from} is past, and no allotment is given for it; say {this} or later");
            return Err(Error::Rejected(why));
        }
        let (year, month) = calendar(from)?;
        let laid_down = AllotmentLaidDown { account, monthly, carries_over, most, year, month };
        let was_given = self.counts().accounts().was_given(account, this);
        let position = self.account(now, &[laid_down.into()])?;
        self.give_allotments(now)?;
        let last = self.counts().accounts().last_gift(account);
        let last = last.filter(|(month, _)| *month == this && !was_given);
        Ok((position, last.map(|(_, gift)| gift)))
    }

    /// Gives every account what it is due this month and did not have yet, and lets lapse what is left of
    /// allotments that were brought or stopped; returns of how many accounts. A clock from before this
    /// software's release gives nothing; while this cloud is frozen, nothing lapses.
    ///
    /// # Errors
    /// Storage failed.
    pub fn give_allotments(&mut self, now: Now) -> Result<usize> {
        let month = month_of(now.wall);
        if now.quality == ClockQuality::Suspect {
            return Ok(0);
        }
        let accounts = self.counts().accounts();
        let mut due = accounts.due(month);
        let may_lapse = self.recovery.frozen_since.is_none();
        due.retain(|(_, allotment)| allotment.is_some() || may_lapse);
        if due.is_empty() {
            return Ok(0);
        }
        let (year, calendar_month) = calendar(month)?;
        let funds = Funds::of_accounts(self.counts());
        let given = due.iter().map(|(account, allotment)| {
            let of_account = funds.get(account).copied().unwrap_or_default();
            let Gift { credits, lapsed, used, allotted } =
                gift(accounts, *account, allotment.as_ref(), month, &of_account);
            // What is thought to be left may have been lent, and spent, in what this cloud lost: it lapses later.
            let (lapsed, allotted) = match may_lapse {
                true => (lapsed, allotted),
                false => (Credits::ZERO, amount(thousandths(allotted) + thousandths(lapsed))),
            };
            let (account, month) = (*account, calendar_month);
            let nothing_due = allotment.is_none().then_some(true);
            AllotmentGiven { account, year, month, credits, lapsed, used, allotted, nothing_due }
                .into()
        });
        let given: Vec<Event> = given.collect();
        for given in given.chunks(GIFTS_MAX) {
            self.account(now, given)?;
        }
        Ok(given.len())
    }
}

fn check_monthly(monthly: Option<Credits>, most: Option<Credits>) -> Result<()> {
    for credits in monthly.iter().chain(&most) {
        if !(1..=GRANT_THOUSANDTHS_MAX).contains(&credits.thousandths()) {
            let billion = Credits::from_thousandths(GRANT_THOUSANDTHS_MAX);
            let why = format!("{credits} credits a month: more than 0, and at most {billion}");
            return Err(Error::Rejected(why));
        }
    }
    match monthly.zip(most) {
        Some((monthly, most)) if most < monthly => Err(Error::Rejected(format!(
            "at most {most} credits of allotments are less than the {monthly} of one month; \
             carry over at least {monthly}"
        ))),
        _ => Ok(()),
    }
}

/// What an account is given in a month, or what of it lapses where nothing is due. What is left of an earlier
/// month lapses as far as it is in the pool: what a device or a job holds lapses once it came back. What carries over is
/// kept, up to the most that may be there of allotments. What is owed stays owed.
pub(super) fn gift(
    accounts: &Accounts,
    account: SubjectId,
    allotment: Option<&Allotment>,
    month: u32,
    funds: &Funds,
) -> Gift {
    let left = rest(accounts, account, funds);
    let monthly = allotment.and_then(|allotment| allotment.monthly).map_or(0, thousandths);
    let most = allotment.and_then(|allotment| allotment.most).map(thousandths);
    let (credits, lapses) = match (allotment.is_some_and(|it| it.carries_over), most) {
        (true, None) => (monthly, 0),
        (true, Some(most)) => (monthly.min((most - left).max(0)), (left - most).max(0)),
        // What came with somebody this month is of this month.
        (false, _) if accounts.rest(account).is_some_and(|rest| rest.month == month) => {
            (monthly, 0)
        }
        (false, _) => (monthly, left),
    };
    let lapsed = lapses.min(funds.pool().max(0));
    Gift {
        credits: amount(credits),
        lapsed: amount(lapsed),
        used: amount(accounts.used_here(account, funds.used())),
        allotted: amount(credits + left - lapsed),
    }
}

/// What of an account is allotment still, thousandths: it is used before all else.
pub fn rest(accounts: &Accounts, account: SubjectId, funds: &Funds) -> i128 {
    let there = (funds.pool() + funds.out()).max(0);
    accounts.rest(account).map_or(0, |rest| {
        // A correction gives back: that makes no more of it.
        let used = accounts.used_here(account, funds.used()) - thousandths(rest.used);
        (thousandths(rest.credits) - used.max(0)).clamp(0, there)
    })
}

/// Year and month, 1 to 12, of year × 12 + month − 1.
pub(super) fn calendar(month: u32) -> Result<(u16, u8)> {
    let year = u16::try_from(month / 12).ok().filter(|year| (1970..=9999).contains(year));
    let known = year.zip(u8::try_from(month % 12 + 1).ok());
    known.ok_or_else(|| Error::Rejected("a month is one from 1970-01 to 9999-12".into()))
}

pub(super) fn amount(thousandths: i128) -> Credits {
    CreditSum::from_thousandths(thousandths).nearest()
}
