//! Answers about the books: statements, corrections, closed months, meters.
//!
//! Invariant: a statement names its two cuts, and its balances are what a view shows at them. Names
//! are those known now. The rules are the engine's.

use super::desk::Desk;
use super::fleet::find;
use super::people::{self, Whose};
use super::views::commit_of;
use super::{At, Failure, Period};
use crate::keeper::Replica;
use serde::Serialize;
use tallyroll_engine::counts::{AccountKind, Line, Month, Reconciled, Standings};
use tallyroll_engine::hub::Correction;
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{CommitPosition, Credits, Position, SubjectId, Wall};

/// A user's statement.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Stated {
    user: String,
    subject: SubjectId,
    kind: AccountKind,
    /// The group that a user is a member of: its balance is the group's, of which this is their part.
    group: Option<String>,
    /// The commit after which it begins; `null`: from the first on.
    after: Option<CommitPosition>,
    /// The last commit in it, and when that was.
    at: CommitPosition,
    committed_at: Wall,
    incomplete: u64,
    misplaced: u64,
    opening: Standings,
    closing: Standings,
    rows: Vec<StatedLine>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct StatedLine {
    #[serde(flatten)]
    line: Line,
    device_name: Option<String>,
    /// Of a group's: whose line it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    /// Of a correction: the group that it went to.
    #[serde(skip_serializing_if = "Option::is_none")]
    borne_by_name: Option<String>,
}

/// A correction that is made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Corrected {
    /// Who was charged.
    user: Option<String>,
    subject: SubjectId,
    /// The group whose balance got it, for it bears the charge.
    group: Option<String>,
    corrects: Position,
    credits: Credits,
    position: Position,
}

/// A month that is closed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Closed {
    month: Month,
    /// The first that was closed with it.
    from: Month,
    /// The commit whose cut its figures are.
    at: CommitPosition,
}

/// Meters against counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Meters {
    at: CommitPosition,
    committed_at: Wall,
    rows: Vec<MeterRow>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct MeterRow {
    #[serde(flatten)]
    reconciled: Reconciled,
    device_name: Option<String>,
}

impl Desk {
    pub(super) async fn reconcile(
        &self,
        month: Option<Month>,
        device: Option<String>,
    ) -> Result<Meters, Failure> {
        Ok(self.keeper.run(move |replica| meters(replica, month, device.as_deref())).await?)
    }

    pub(super) async fn statement(&self, whose: Whose, period: Period) -> Result<Stated, Failure> {
        Ok(self.keeper.run(move |replica| statement(replica, whose, period)).await?)
    }

    pub(super) async fn correct(&self, asked: Correction) -> Result<Corrected, Failure> {
        let corrected = self.keeper.run(move |replica| {
            let (corrects, credits) = (asked.corrects, asked.credits);
            let done = replica.hub.correct(replica.now(), asked)?;
            let (subject, position) = (done.charged, done.position);
            let user = name_of(replica, subject);
            let group = Some(done.account).filter(|account| *account != subject);
            let group = group.map(|group| people::shown(replica, group));
            Ok(Corrected { user, subject, group, corrects, credits, position })
        });
        Ok(corrected.await?)
    }

    pub(super) async fn close(&self, month: Month, earlier: bool) -> Result<Closed, Failure> {
        let closed = self.keeper.run(move |replica| {
            let (from, at) = replica.hub.close_months(replica.now(), month, earlier)?;
            Ok(Closed { month, from, at })
        });
        Ok(closed.await?)
    }
}

fn name_of(replica: &Replica, subject: SubjectId) -> Option<String> {
    replica.people.title(subject).map(str::to_owned)
}

fn meters(replica: &Replica, month: Option<Month>, device: Option<&str>) -> Result<Meters> {
    let hub = &replica.hub;
    let device = device.map(|device| find(replica, device)).transpose()?.map(|(device, _)| device);
    let wanted = |row: &Reconciled| {
        month.is_none_or(|month| row.month == month)
            && device.is_none_or(|device| row.device == device)
    };
    let row = |reconciled: Reconciled| {
        let record = hub.fleet().device(reconciled.device);
        MeterRow { device_name: record.map(|record| record.name.clone()), reconciled }
    };
    let mut rows: Vec<_> = hub.reconcile()?.into_iter().filter(wanted).map(row).collect();
    rows.sort_by(|a, b| {
        let order = |row: &MeterRow| (row.device_name.clone(), row.reconciled.device);
        (a.reconciled.month, order(a)).cmp(&(b.reconciled.month, order(b)))
    });
    let at = hub.last_commit();
    Ok(Meters { at, committed_at: hub.committed_at(at)?, rows })
}

fn statement(replica: &Replica, whose: Whose, period: Period) -> Result<Stated> {
    let (hub, subject) = (&replica.hub, people::find(replica, &whose)?);
    let (after, at) = match period {
        // A month begins after all that came before its first millisecond.
        Period::Month(month) => {
            let now = replica.now().wall;
            let before = |time: Wall| hub.commit_at(Wall(time.0.saturating_sub(1)), now);
            if replica.now().wall < month.begins() {
                return Err(Error::Rejected(format!("{month} has not begun")));
            }
            let until = before(month.next().begins())?.ok_or_else(|| {
                Error::Rejected(format!("nothing was committed by the end of {month}"))
            })?;
            (before(month.begins())?, until)
        }
        Period::Between { from, to } => {
            let after = match from {
                Some(At::Time(time)) => hub.commit_at(time, replica.now().wall)?,
                from => from.map(|from| commit_of(replica, from)).transpose()?,
            };
            (after, to.map_or(Ok(hub.last_commit()), |to| commit_of(replica, to))?)
        }
    };
    if let Some(after) = after.filter(|after| *after > at) {
        let why = format!("a statement from commit {after} to {at} ends before it begins");
        return Err(Error::Rejected(why));
    }
    let (stated, counts) = hub.statement(subject, after, at)?;
    let device_name = |line: &Line| {
        let record = line.device.and_then(|device| hub.fleet().device(device));
        record.map(|record| record.name.clone())
    };
    let shown = |subject: SubjectId| people::shown(replica, subject);
    let member = |line: &Line| line.subject.filter(|one| whose.group && *one != subject).map(shown);
    let rows = stated.lines.into_iter().map(|line| StatedLine {
        device_name: device_name(&line),
        member: member(&line),
        borne_by_name: line.borne_by.map(shown),
        line,
    });
    Ok(Stated {
        subject,
        kind: counts.accounts().kind(subject),
        group: counts.accounts().group_of(subject).map(shown),
        after,
        at,
        committed_at: hub.committed_at(at)?,
        incomplete: counts.incomplete(),
        misplaced: counts.misplaced(),
        opening: stated.opening,
        closing: stated.closing,
        rows: rows.collect(),
        user: whose.name,
    })
}
