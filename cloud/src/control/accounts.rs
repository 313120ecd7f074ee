//! Answers about one account: its figures, where its credits are, what it is given each month.
//!
//! Invariant: figures are those of one commit, and add up: granted = charged + held + leased + pool, less
//! what was spent after it was written off. A member's account is their group's.

use super::desk::Desk;
use super::people::{Monthly, Whose, find, shown};
use super::views::commit_of;
use super::{At, Failure};
use crate::keeper::Replica;
use serde::Serialize;
use std::borrow::Cow;
use tallyroll_engine::Result;
use tallyroll_engine::counts::{
    AccountKind, Accounts, Allotment, Counts, CreditSum, Gift, Month, month_of,
};
use tallyroll_engine::hub::{Funds, rest_of_allotments};
use tallyroll_schema::{CommitPosition, Credits, DeviceId, Position, SubjectId};

/// An account's figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Balance {
    at: CommitPosition,
    name: String,
    subject: SubjectId,
    kind: AccountKind,
    /// The group whose balance it is, for a member.
    group: Option<String>,
    granted: CreditSum,
    charged: CreditSum,
    corrected: CreditSum,
    balance: CreditSum,
    held: CreditSum,
    available: CreditSum,
    /// Of what is available, what no device holds.
    pool: CreditSum,
    /// And what devices hold.
    leased: Vec<Leased>,
    allotment: Option<Given>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Leased {
    device: DeviceId,
    device_name: Option<String>,
    /// For whom: of a group's, which member.
    user: String,
    credits: CreditSum,
    /// Whether nobody can spend it any more, and it waits to be written off.
    frozen: bool,
}

/// What an account is given each month.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Given {
    monthly: Credits,
    carries_over: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    most: Option<Credits>,
    from: String,
    /// What is given each month until it begins, by what was said before.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_then: Option<Credits>,
    /// The month for which it was given last.
    last: Option<String>,
    /// What is left of it and of those before: it is used before all else.
    left: CreditSum,
}

/// What came of an allotment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Allotted {
    name: String,
    subject: SubjectId,
    /// Absent: stopped.
    allotment: Option<Given>,
    /// Whether what is left of it is kept.
    carries_over: bool,
    /// Whether it was until now, and is not any more.
    kept_before: bool,
    /// What was given of it at once.
    given: Option<GivenNow>,
    /// If nothing was, why not.
    not_given: Option<NotGiven>,
    /// The group whose balance counts for a member, while their own allotment rests.
    group: Option<String>,
    position: Position,
}

/// A gift.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct GivenNow {
    credits: Credits,
    lapsed: Credits,
}

/// Why nothing was given of an allotment when it was laid down.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum NotGiven {
    Stopped,
    Member,
    BeginsLater,
    /// This month's was.
    GivenBefore,
    /// The clock is wrong: it shows a time before this software's release.
    WrongClock,
}

impl Desk {
    pub(super) async fn allot(
        &self,
        whose: Whose,
        monthly: Option<Monthly>,
    ) -> Result<Allotted, Failure> {
        let allotted = self.keeper.run(move |replica| {
            let (subject, now) = (find(replica, &whose)?, replica.now());
            let this = month_of(now.wall);
            let allotment = match monthly {
                None => Allotment { monthly: None, carries_over: false, most: None, from: this },
                Some(Monthly { credits, carries_over, most, from }) => {
                    let (monthly, from) = (Some(credits), from.unwrap_or(this));
                    Allotment { monthly, carries_over, most, from }
                }
            };
            let kept = |accounts: &Accounts| !accounts.lapses(subject, this.max(allotment.from));
            let kept_before = kept(replica.hub.counts().accounts());
            let (position, gift) = replica.hub.lay_down_allotment(now, subject, allotment)?;
            let counts = replica.hub.counts();
            let funds = Funds::of_accounts(counts).get(&subject).copied().unwrap_or_default();
            let accounts = counts.accounts();
            let group = accounts.group_of(subject);
            let why = match allotment {
                Allotment { monthly: None, .. } => NotGiven::Stopped,
                _ if group.is_some() => NotGiven::Member,
                Allotment { from, .. } if from > this => NotGiven::BeginsLater,
                _ if accounts.was_given(subject, this) => NotGiven::GivenBefore,
                _ => NotGiven::WrongClock,
            };
            Ok(Allotted {
                name: whose.name,
                subject,
                allotment: given(counts, this, subject, &funds),
                carries_over: kept(accounts),
                kept_before: kept_before && !kept(accounts),
                not_given: gift.is_none().then_some(why),
                given: gift.map(|Gift { credits, lapsed, .. }| GivenNow { credits, lapsed }),
                group: group.map(|group| shown(replica, group)),
                position,
            })
        });
        Ok(allotted.await?)
    }

    pub(super) async fn balance(&self, whose: Whose, at: Option<At>) -> Result<Balance, Failure> {
        Ok(self.keeper.run(move |replica| balance(replica, whose, at)).await?)
    }
}

fn balance(replica: &Replica, whose: Whose, at: Option<At>) -> Result<Balance> {
    let (hub, subject) = (&replica.hub, find(replica, &whose)?);
    let past = at.map(|at| commit_of(replica, at)).transpose()?;
    let (at, counts) = match past {
        None => (hub.last_commit(), Cow::Borrowed(hub.counts())),
        Some(position) => (position, Cow::Owned(hub.counts_at(position)?)),
    };
    let account = counts.accounts().account(subject);
    let month = match past {
        None => month_of(replica.now().wall),
        Some(position) => month_of(hub.committed_at(position)?),
    };
    let funds = Funds::of_accounts(&counts).get(&account).copied().unwrap_or_default();
    let group = counts.accounts().group_of(subject);
    let name = |subject| replica.people.title(subject).map(str::to_owned);
    let leases = counts.rights().leases().iter().filter(|(key, lease)| {
        lease.outstanding() > 0 && counts.account(key.device, key.user) == Some(account)
    });
    let holder = |device, alias| {
        let subject = counts.subject(device, alias);
        subject.map_or_else(String::new, |subject| shown(replica, subject))
    };
    let leased = leases.map(|(key, lease)| Leased {
        device: key.device,
        device_name: hub.fleet().device(key.device).map(|record| record.name.clone()),
        user: holder(key.device, key.user),
        credits: CreditSum::from_thousandths(lease.outstanding()),
        frozen: hub.is_frozen(key),
    });
    Ok(Balance {
        at,
        name: whose.name,
        subject,
        kind: counts.accounts().kind(subject),
        group: group.map(|group| name(group).unwrap_or_else(|| group.short())),
        granted: CreditSum::from_thousandths(funds.granted),
        charged: CreditSum::from_thousandths(funds.charged),
        corrected: CreditSum::from_thousandths(funds.corrected),
        balance: CreditSum::from_thousandths(funds.balance()),
        held: CreditSum::from_thousandths(funds.held),
        available: CreditSum::from_thousandths(funds.balance() - funds.held),
        pool: CreditSum::from_thousandths(funds.pool()),
        leased: leased.collect(),
        allotment: given(&counts, month, account, &funds),
    })
}

/// What was said last of what an account is given, as of some month.
fn given(counts: &Counts, month: u32, account: SubjectId, funds: &Funds) -> Option<Given> {
    let accounts = counts.accounts();
    let Allotment { monthly, carries_over, most, from } = accounts.allotment(account)?;
    let holds = accounts.allotment_in(account, month).filter(|_| from > month);
    Some(Given {
        monthly: monthly?,
        carries_over,
        most,
        from: Month(from).to_string(),
        until_then: holds.and_then(|holds| holds.monthly),
        last: accounts.last_gift(account).map(|(month, _)| Month(month).to_string()),
        left: CreditSum::from_thousandths(rest_of_allotments(accounts, account, funds)),
    })
}
