//! Answers about figures: balances, totals, devices; and the credits granted.
//!
//! Invariant: every view names the commit position it stands at and how many
//! records it could not use; the same position gives the same figures for ever.
//! Names are those known now: they are no part of what is folded.

use super::desk::Desk;
use super::people::{Whose, find, shown};
use super::{At, Failure, Figures};
use crate::keeper::Replica;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tallyroll_engine::counts::{
    AccountKind, BalanceRow, Counts, CreditSum, Month, Report, TotalsRow, Usage,
};
use tallyroll_engine::hub::{Fleet, Standing};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{CommitPosition, Credits, DeviceId, Position, SubjectId, Wall};

/// A view and where it stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Viewed {
    at: CommitPosition,
    /// When that was, by the cloud's clock.
    committed_at: Wall,
    /// Of a time: the next commit, if some before it may be lost that had been made by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_before: Option<CommitPosition>,
    /// Records written by a newer version.
    incomplete: u64,
    /// Records where their writer may not write.
    misplaced: u64,
    /// Since when grants are held, if those before are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts_since: Option<Wall>,
    /// The month that was asked for, and the commit that it was closed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    month: Option<Month>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<CommitPosition>,
    /// Months whose figures are fixed; `--month` shows them, and what came later.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed: Vec<Month>,
    rows: Rows,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Rows {
    Balances(Vec<BalanceRow>),
    Totals(Vec<TotalsRow>),
    Devices(Vec<UsageRow>),
}

/// One device's usage in all.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct UsageRow {
    device: DeviceId,
    name: String,
    standing: Standing,
    enrolled_at: Wall,
    impressions: u64,
    sheets: u64,
    captured: u64,
    converted: u64,
    sent: u64,
    saved: u64,
    charged: CreditSum,
}

/// Credits given.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Granted {
    user: String,
    subject: SubjectId,
    kind: AccountKind,
    /// The group whose balance got it, for a member.
    group: Option<String>,
    credits: Credits,
    /// What no device has been lent of that balance; less than nothing: devices hold it.
    pool: CreditSum,
    position: Position,
}

impl Desk {
    pub(super) async fn view(
        &self,
        figures: Figures,
        at: Option<At>,
        month: Option<Month>,
    ) -> Result<Viewed, Failure> {
        Ok(self.keeper.run(move |replica| view(replica, figures, at, month)).await?)
    }

    pub(super) async fn grant(
        &self,
        whose: Whose,
        credits: Credits,
        reason: String,
    ) -> Result<Granted, Failure> {
        let granted = self.keeper.run(move |replica| {
            let subject = find(replica, &whose)?;
            let user = whose.name;
            let position = replica.hub.grant(replica.now(), subject, credits, reason)?;
            let accounts = replica.hub.counts().accounts();
            let (kind, group) = (accounts.kind(subject), accounts.group_of(subject));
            let funds = replica.hub.funds().get(&group.unwrap_or(subject)).copied();
            let pool = CreditSum::from_thousandths(funds.unwrap_or_default().pool());
            let group = group.map(|group| shown(replica, group));
            Ok(Granted { user, subject, kind, group, credits, pool, position })
        });
        Ok(granted.await?)
    }
}

/// The commit that a moment means.
pub(super) fn commit_of(replica: &Replica, at: At) -> Result<CommitPosition> {
    match at {
        At::Position(position) => Ok(position),
        At::Time(time) => {
            let nothing = || Error::Rejected("nothing was committed by that time".into());
            replica.hub.commit_at(time, replica.now().wall)?.ok_or_else(nothing)
        }
    }
}

fn view(
    replica: &mut Replica,
    figures: Figures,
    at: Option<At>,
    month: Option<Month>,
) -> Result<Viewed> {
    if at.is_some() || month.is_some() {
        replica.hub.keep_past()?;
    }
    let hub = &replica.hub;
    let past = at.map(|at| commit_of(replica, at)).transpose()?;
    let lost_before = match (at, past) {
        (Some(At::Time(_)), Some(position)) => hub.lost_after(position)?,
        _ => None,
    };
    let at = past.unwrap_or(hub.last_commit());
    let books = match (month, figures) {
        (None, _) => None,
        (Some(month), Figures::Totals) => Some((month, hub.month_books(month, at)?)),
        (Some(_), _) => {
            let why = "--month goes with totals, and with a statement; leave it out, or say --at";
            return Err(Error::Rejected(why.into()));
        }
    };
    let (counts, before, closed_at) = match (books, past) {
        (Some((_, books)), _) => (Cow::Owned(books.counts), books.before, books.closed),
        (None, None) => (Cow::Borrowed(hub.counts()), None, None),
        (None, Some(position)) => (Cow::Owned(hub.figures_at(position)?), None, None),
    };
    let report = Report {
        counts: &counts,
        user_name: &|device, alias| replica.people.shown(&counts, device, alias).map(str::to_owned),
        device_name: &|device| hub.fleet().device(device).map(|record| record.name.clone()),
    };
    let rows = match (figures, past) {
        (Figures::Balances, _) => Rows::Balances(report.balances()),
        (Figures::Totals, _) => Rows::Totals(match month {
            None => report.totals(),
            Some(month) => {
                let before = before.as_ref().map(|(last, counts)| (*last, counts));
                report.booked_in(month, before)
            }
        }),
        (Figures::Devices, None) => Rows::Devices(usage_rows(hub.fleet(), &counts)),
        (Figures::Devices, Some(position)) => {
            Rows::Devices(usage_rows(&hub.fleet_at(position)?, &counts))
        }
    };
    let accounts_since = hub.accounts_since();
    let (incomplete, misplaced) = (counts.incomplete(), counts.misplaced());
    let closed = hub.closed_months(counts.books())?.into_iter().map(|(month, _)| month).collect();
    let committed_at = hub.committed_at(at)?;
    Ok(Viewed {
        at,
        committed_at,
        lost_before,
        incomplete,
        misplaced,
        accounts_since,
        month,
        closed_at,
        closed,
        rows,
    })
}

fn usage_rows(fleet: &Fleet, counts: &Counts) -> Vec<UsageRow> {
    let mut sums: BTreeMap<DeviceId, Usage> = BTreeMap::new();
    for (key, usage) in counts.usage() {
        sums.entry(key.device).or_default().add(usage);
    }
    let row = |(device, record): (&DeviceId, &tallyroll_engine::hub::DeviceRecord)| {
        let usage = sums.get(device).copied().unwrap_or_default();
        UsageRow {
            device: *device,
            name: record.name.clone(),
            standing: record.standing,
            enrolled_at: record.enrolled_at,
            impressions: usage.impressions,
            sheets: usage.sheets,
            captured: usage.captured,
            converted: usage.converted,
            sent: usage.sent,
            saved: usage.saved,
            charged: CreditSum::from_thousandths(usage.charged),
        }
    };
    let mut rows: Vec<UsageRow> = fleet.devices().iter().map(row).collect();
    rows.sort_by(|a, b| (&a.name, a.device).cmp(&(&b.name, b.device)));
    rows
}
