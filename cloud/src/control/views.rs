//! Answers about figures: balances, totals, devices; and the credits granted.
//!
//! Invariant: every view names the commit position it stands at and how many
//! records it could not use; the same position gives the same figures for ever.
//! Names are those known now: they are no part of what is folded.

use super::desk::Desk;
use super::people::{Whose, find};
use super::{At, Failure, Figures};
use crate::keeper::Replica;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tallyroll_engine::Result;
use tallyroll_engine::counts::{BalanceRow, Counts, CreditSum, Report, TotalsRow, Usage};
use tallyroll_engine::hub::{Fleet, Standing};
use tallyroll_schema::{CommitPosition, Credits, DeviceId, Position, SubjectId, Wall};

/// A view and where it stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Viewed {
    at: CommitPosition,
    /// Records written by a newer version.
    incomplete: u64,
    /// Records where their writer may not write.
    misplaced: u64,
    /// Since when grants are held, if those before are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts_since: Option<Wall>,
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
    credits: Credits,
    position: Position,
}

impl Desk {
    pub(super) async fn view(&self, figures: Figures, at: Option<At>) -> Result<Viewed, Failure> {
        Ok(self.keeper.run(move |replica| view(replica, figures, at)).await?)
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
            Ok(Granted { user, subject, credits, position })
        });
        Ok(granted.await?)
    }
}

fn view(replica: &Replica, figures: Figures, at: Option<At>) -> Result<Viewed> {
    let hub = &replica.hub;
    let past = match at {
        None => None,
        Some(At::Position(position)) => Some(position),
        Some(At::Time(time)) => Some(hub.commit_at(time)?),
    };
    let (at, counts) = match past {
        None => (hub.last_commit(), Cow::Borrowed(hub.counts())),
        Some(position) => (position, Cow::Owned(hub.counts_at(position)?)),
    };
    let report = Report {
        counts: &counts,
        user_name: &|device, alias| replica.people.shown(&counts, device, alias).map(str::to_owned),
        device_name: &|device| hub.fleet().device(device).map(|record| record.name.clone()),
    };
    let rows = match (figures, past) {
        (Figures::Balances, _) => Rows::Balances(report.balances()),
        (Figures::Totals, _) => Rows::Totals(report.totals()),
        (Figures::Devices, None) => Rows::Devices(usage_rows(hub.fleet(), &counts)),
        (Figures::Devices, Some(position)) => {
            Rows::Devices(usage_rows(&hub.fleet_at(position)?, &counts))
        }
    };
    let accounts_since = hub.accounts_since();
    let (incomplete, misplaced) = (counts.incomplete(), counts.misplaced());
    Ok(Viewed { at, incomplete, misplaced, accounts_since, rows })
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
