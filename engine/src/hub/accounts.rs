//! Groups that share a balance, and what accounts are given each month.
//!
//! Invariant: who joins brings their whole account; who leaves takes nothing along but what devices
//! hold for them, so that a group's pool is the same before and after. An account gets a month's
//! allotment once, however often it is asked for; a month in which nobody asked is not made up for, so a
//! clock that is off by years gives one allotment for each month that it shows, and no more.

use super::Hub;
use super::funds::Funds;
use crate::counts::{Accounts, Allotment, CreditSum, Gift, month_of};
use crate::device::Now;
use crate::planted::{Bug, planted};
use crate::store::Store;
use crate::{Error, Result};
use tallyroll_schema::event::allotments::{AllotmentGiven, AllotmentLaidDown};
use tallyroll_schema::event::people::{GroupJoined, GroupLeft};
use tallyroll_schema::limits::GRANT_THOUSANDTHS_MAX;
use tallyroll_schema::{ClockQuality, Credits, Event, Position, SubjectId};

/// Gifts in one batch: far below what a batch holds.
const GIFTS_MAX: usize = 1000;

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
        let joined = GroupJoined { group, member, used };
        Ok((self.account(now, &[joined.clone().into()])?, joined))
    }

    /// Gives a member an account of their own again, in which is what devices hold for them.
    ///
    /// # Errors
    /// They are a member of no group; storage failed.
    pub fn leave_group(&mut self, now: Now, member: SubjectId) -> Result<(Position, GroupLeft)> {
        let Some(group) = self.counts().accounts().group_of(member) else {
            return Err(Error::Rejected("they are a member of no group".into()));
        };
        let own = self.own_funds(member);
        let settled = i64::try_from(-own.pool()).map_err(|_| {
            Error::Rejected("what they used is more than one decision can settle".into())
        })?;
        let settled = Credits::from_thousandths(settled);
        let used = Some(amount(own.used()));
        let left = GroupLeft { group, member, settled, used };
        Ok((self.account(now, &[left.clone().into()])?, left))
    }

    /// Where a person's own credits are, whether they are a member of a group or not.
    fn own_funds(&self, member: SubjectId) -> Funds {
        Funds::of_subjects(self.counts()).get(&member).copied().unwrap_or_default()
    }

    /// Lays down what an account is given each month, and gives it at once where it begins this month.
    ///
    /// # Errors
    /// Nothing or absurdly much a month; the month is none; storage failed.
    pub fn lay_down_allotment(
        &mut self,
        now: Now,
        account: SubjectId,
        allotment: Allotment,
    ) -> Result<Position> {
        let Allotment { monthly, carries_over, most, from } = allotment;
        for credits in monthly.iter().chain(&most) {
            if !(1..=GRANT_THOUSANDTHS_MAX).contains(&credits.thousandths()) {
                let billion = Credits::from_thousandths(GRANT_THOUSANDTHS_MAX);
                let why = format!("{credits} credits a month: more than 0, and at most {billion}");
                return Err(Error::Rejected(why));
            }
        }
        let (year, month) = calendar(from)?;
        let laid_down = AllotmentLaidDown { account, monthly, carries_over, most, year, month };
        let position = self.account(now, &[laid_down.into()])?;
        self.give_allotments(now)?;
        Ok(position)
    }

    /// Gives every account what it is due this month and did not have yet; returns how many were given.
    /// A clock from before this software's release gives nothing.
    ///
    /// # Errors
    /// Storage failed.
    pub fn give_allotments(&mut self, now: Now) -> Result<usize> {
        let month = month_of(now.wall);
        if now.quality == ClockQuality::Suspect {
            return Ok(0);
        }
        let accounts = self.counts().accounts();
        let due = |(account, allotment): &(SubjectId, Allotment)| {
            allotment.from <= month
                && allotment.monthly.is_some()
                && (planted(Bug::GiftGivenAgain) || !accounts.was_given(*account, month))
                && accounts.account(*account) == *account // a member's rests
        };
        let due: Vec<(SubjectId, Allotment)> = accounts.allotments().filter(due).collect();
        if due.is_empty() {
            return Ok(0);
        }
        let (year, calendar_month) = calendar(month)?;
        let funds = Funds::of_accounts(self.counts());
        let given = due.iter().map(|(account, allotment)| {
            let of_account = funds.get(account).copied().unwrap_or_default();
            let Gift { credits, lapsed, used, allotted } =
                gift(accounts, *account, allotment, &of_account);
            let (account, month) = (*account, calendar_month);
            AllotmentGiven { account, year, month, credits, lapsed, used, allotted }.into()
        });
        let given: Vec<Event> = given.collect();
        for given in given.chunks(GIFTS_MAX) {
            self.account(now, given)?;
        }
        Ok(given.len())
    }
}

/// What an account is given now. Of an allotment is used before all else; what of it is left lapses,
/// as far as it is in the pool: what a device holds lapses once it came back. What is owed stays owed.
fn gift(accounts: &Accounts, account: SubjectId, allotment: &Allotment, funds: &Funds) -> Gift {
    let monthly = thousandths(allotment.monthly.unwrap_or(Credits::ZERO));
    let there = (funds.pool() + funds.leased).max(0);
    let used_here = accounts.used_here(account, funds.used());
    let left = accounts.allotted(account).map_or(0, |last| {
        // A correction gives back: that makes no more of it.
        let used = (used_here - thousandths(last.used)).max(0);
        (thousandths(last.allotted) - used).clamp(0, there)
    });
    let (credits, lapsed) = if allotment.carries_over {
        let room = allotment.most.map_or(monthly, |most| (thousandths(most) - there).max(0));
        (monthly.min(room), 0)
    } else {
        (monthly, left.min(funds.pool().max(0)))
    };
    let allotted = credits + left - lapsed;
    Gift {
        credits: amount(credits),
        lapsed: amount(lapsed),
        used: amount(used_here),
        allotted: amount(allotted),
    }
}

/// Year and month, 1 to 12, of year × 12 + month − 1.
fn calendar(month: u32) -> Result<(u16, u8)> {
    let year = u16::try_from(month / 12).ok().filter(|year| (1970..=9999).contains(year));
    let known = year.zip(u8::try_from(month % 12 + 1).ok());
    known.ok_or_else(|| Error::Rejected("a month is one from 1970-01 to 9999-12".into()))
}

fn thousandths(credits: Credits) -> i128 {
    i128::from(credits.thousandths())
}

fn amount(thousandths: i128) -> Credits {
    CreditSum::from_thousandths(thousandths).nearest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{HubConfig, Named};
    use crate::keys::Signer;
    use crate::store::MemoryStore;
    use tallyroll_schema::event::counts::ChargeCorrected;
    use tallyroll_schema::{PublicKey, TenantId, UserAlias, Wall};

    const ADA: SubjectId = SubjectId([1; 16]);
    const OFFICE: SubjectId = SubjectId([2; 16]);
    /// 1 November 2026, and a month.
    const NOVEMBER: u64 = 1_793_491_200_000;
    const MONTH: u64 = 31 * 86_400_000;
    const FROM: u32 = 2026 * 12 + 10;

    fn hub() -> Hub<MemoryStore> {
        let (tenant, signer) = (TenantId([1; 16]), Signer::from_seed(&[2; 32]));
        let config = HubConfig { tenant, signer, directory_key: PublicKey([3; 32]), anchor: None };
        Hub::open(config, MemoryStore::default(), at(0), [4; 32]).expect("opens")
    }

    fn at(months: u64) -> Now {
        Now { wall: Wall(NOVEMBER + months * MONTH), ..Now::default() }
    }

    fn credits(whole: i64) -> Credits {
        Credits::from_thousandths(whole * 1000)
    }

    fn pool(hub: &Hub<MemoryStore>, account: SubjectId) -> i128 {
        hub.funds().get(&account).copied().unwrap_or_default().pool() / 1000
    }

    fn allotted(carries_over: bool, most: Option<i64>) -> (Hub<MemoryStore>, Allotment) {
        let mut hub = hub();
        let monthly = Some(credits(100));
        let allotment = Allotment { monthly, carries_over, most: most.map(credits), from: FROM };
        hub.lay_down_allotment(at(0), ADA, allotment).expect("lays down");
        assert_eq!(pool(&hub, ADA), 100, "it begins this month");
        (hub, allotment)
    }

    #[test]
    fn who_cannot_join_is_told_why() {
        let mut hub = hub();
        let [office, other] = [OFFICE, SubjectId([3; 16])];
        let named = [office, other].map(|subject| Named {
            subject,
            alias: UserAlias(subject.0),
            sealed: vec![1],
            mail: None,
            founds_group: true,
        });
        hub.name(at(0), named.to_vec(), Vec::new()).expect("founds");
        let mut join = |group, member| {
            hub.join_group(at(0), group, member).map(drop).map_err(|why| why.to_string())
        };
        let refused = |why: &str| Err(why.to_owned());
        assert_eq!(join(ADA, ADA), refused("this is no group"));
        assert_eq!(join(office, other), refused("a group joins no group"));
        assert_eq!(join(office, ADA), Ok(()));
        assert_eq!(join(office, ADA), refused("they are a member of it already"));
        let another = "they are a member of another group; let them leave that one first";
        assert_eq!(join(other, ADA), refused(another));
    }

    #[test]
    fn a_month_is_given_once_and_a_wrong_clock_gives_no_years() {
        let (mut hub, _) = allotted(true, None);
        for _ in 0..3 {
            hub = hub.restart(at(0));
            assert_eq!(hub.give_allotments(at(0)).expect("asks"), 0);
        }
        // Ten years ahead for a while, as often as one likes: one month more.
        for _ in 0..3 {
            hub.give_allotments(at(120)).expect("asks");
            hub.give_allotments(at(0)).expect("asks");
        }
        assert_eq!(pool(&hub, ADA), 200);
        hub.give_allotments(at(1)).expect("asks");
        assert_eq!(pool(&hub, ADA), 300, "the right clock goes on");
        // Off for three months: those are not made up for.
        hub.give_allotments(at(5)).expect("asks");
        assert_eq!(pool(&hub, ADA), 400);
        let before_release = Now { wall: Wall(0), quality: ClockQuality::Suspect, ..at(0) };
        assert_eq!(hub.give_allotments(before_release).expect("asks"), 0);
        let back = Now { wall: Wall(NOVEMBER - MONTH), ..at(0) };
        assert_eq!(hub.give_allotments(back).expect("asks"), 0, "before it begins");
    }

    #[test]
    fn what_is_left_lapses_and_a_top_up_does_not() {
        let (mut hub, allotment) = allotted(false, None);
        hub.grant(at(0), ADA, credits(50), "a top-up".into()).expect("grants");
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!(pool(&hub, ADA), 150, "100 lapsed, 100 were given");
        // Used: 120, of which 100 are the allotment's and 20 the top-up's.
        let funds = Funds { granted: 150_000, charged: 120_000, ..Funds::default() };
        let given = gift(hub.counts().accounts(), ADA, &allotment, &funds);
        assert_eq!((given.credits, given.lapsed), (credits(100), Credits::ZERO));
        // Of 150, 90 are lent: what of the allotment is not in the pool stays with the device.
        let lent = Funds { granted: 150_000, leased: 90_000, ..Funds::default() };
        let given = gift(hub.counts().accounts(), ADA, &allotment, &lent);
        assert_eq!((given.lapsed, given.allotted), (credits(60), credits(140)));
        // Less used than before, by a correction: no more lapses than was allotted.
        let lighter = Funds { granted: 150_000, corrected: 40_000, ..Funds::default() };
        let given = gift(hub.counts().accounts(), ADA, &allotment, &lighter);
        assert_eq!((given.lapsed, given.allotted), (credits(100), credits(100)));
        // In debt: nothing lapses, and what is owed stays owed.
        let owing = Funds { granted: 150_000, charged: 180_000, ..Funds::default() };
        let given = gift(hub.counts().accounts(), ADA, &allotment, &owing);
        assert_eq!((given.credits, given.lapsed), (credits(100), Credits::ZERO));
    }

    fn found(hub: &mut Hub<MemoryStore>) {
        let (subject, alias, sealed) = (OFFICE, UserAlias([3; 16]), vec![1; 80]);
        let named = Named { subject, alias, sealed, mail: None, founds_group: true };
        hub.name(at(0), vec![named], Vec::new()).expect("founds");
    }

    /// The office is allotted 100 a month, and has a top-up of 50.
    fn office() -> Hub<MemoryStore> {
        let mut hub = hub();
        found(&mut hub);
        hub.grant(at(0), OFFICE, credits(50), "a top-up".into()).expect("grants");
        let monthly = Some(credits(100));
        let allotment = Allotment { monthly, carries_over: false, most: None, from: FROM };
        hub.lay_down_allotment(at(0), OFFICE, allotment).expect("lays down");
        hub
    }

    /// As if Ada had been charged so much.
    fn uses(hub: &mut Hub<MemoryStore>, whole: i64) {
        let position = Position { log: hub.logs.accounts.0, epoch: hub.logs.accounts.1, seq: 1 };
        let (subject, credits) = (ADA, credits(-whole));
        let (corrects, reason, by) = (position, "used".into(), None);
        let used = ChargeCorrected { subject, corrects, credits, reason, by };
        hub.account(at(0), &[used.into()]).expect("charges");
    }

    #[test]
    fn what_a_member_used_of_an_allotment_stays_used_when_they_leave() {
        let mut hub = office();
        hub.join_group(at(0), OFFICE, ADA).expect("joins");
        uses(&mut hub, 80);
        hub.leave_group(at(0), ADA).expect("leaves");
        assert_eq!(pool(&hub, OFFICE), 70);
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!(pool(&hub, OFFICE), 150, "20 of the allotment were left, and lapsed");
        // Once more, and in another month than they came.
        hub.join_group(at(1), OFFICE, ADA).expect("joins");
        uses(&mut hub, 30);
        hub.give_allotments(at(2)).expect("gives");
        assert_eq!(pool(&hub, OFFICE), 150, "70 lapsed");
        uses(&mut hub, 10);
        hub.leave_group(at(2), ADA).expect("leaves");
        hub.give_allotments(at(3)).expect("gives");
        assert_eq!(pool(&hub, OFFICE), 150, "90 lapsed");
    }

    #[test]
    fn what_a_member_used_before_they_came_is_used_of_nobodys_allotment() {
        let mut hub = office();
        hub.grant(at(0), ADA, credits(300), String::new()).expect("grants");
        uses(&mut hub, 300);
        hub.join_group(at(0), OFFICE, ADA).expect("joins");
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!(pool(&hub, OFFICE), 150, "100 were left, and lapsed");
    }

    #[test]
    fn an_allotment_that_was_brought_into_a_group_does_not_lapse_again_for_who_left() {
        let (mut hub, _) = allotted(false, None);
        found(&mut hub);
        hub.join_group(at(0), OFFICE, ADA).expect("joins");
        hub.leave_group(at(0), ADA).expect("leaves");
        assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (100, 0), "it is the group's");
        hub.grant(at(0), ADA, credits(50), "a top-up".into()).expect("grants");
        hub.give_allotments(at(1)).expect("gives");
        assert_eq!(pool(&hub, ADA), 150, "a top-up never lapses");
    }

    #[test]
    fn what_carries_over_is_bounded_and_a_stop_stops() {
        let (mut hub, allotment) = allotted(true, Some(250));
        for (month, expected) in [(1, 200), (2, 250), (3, 250)] {
            hub.give_allotments(at(month)).expect("gives");
            assert_eq!(pool(&hub, ADA), expected, "month {month}");
        }
        let stop = Allotment { monthly: None, ..allotment };
        hub.lay_down_allotment(at(3), ADA, stop).expect("stops");
        hub.grant(at(3), ADA, credits(-100), String::new()).expect("takes");
        hub.give_allotments(at(4)).expect("asks");
        assert_eq!(pool(&hub, ADA), 150);
        let nothing = Allotment { monthly: Some(Credits::ZERO), ..allotment };
        hub.lay_down_allotment(at(4), ADA, nothing).expect_err("is none");
    }

    #[test]
    fn who_leaves_takes_nothing_and_the_group_keeps_its_pool() {
        let mut hub = hub();
        found(&mut hub);
        hub.grant(at(0), OFFICE, credits(10), String::new()).expect("grants");
        hub.grant(at(0), ADA, credits(7), String::new()).expect("grants");
        hub.join_group(at(0), OFFICE, ADA).expect("joins");
        hub.join_group(at(0), OFFICE, ADA).expect_err("is a member");
        hub.join_group(at(0), OFFICE, OFFICE).expect_err("is a group");
        assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (17, 0));
        let (_, left) = hub.leave_group(at(0), ADA).expect("leaves");
        assert_eq!((left.settled, left.used), (credits(-7), Some(Credits::ZERO)));
        assert_eq!((pool(&hub, OFFICE), pool(&hub, ADA)), (17, 0));
        hub.leave_group(at(0), ADA).expect_err("is no member");
    }
}
