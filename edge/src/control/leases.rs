//! Answers about leases: what this device may spend, and for whom.
//!
//! Invariant: figures of the open epoch, as the engine has them; what was lent to an epoch before is
//! the cloud's to show, for nobody may spend it here. A name is shown where this device knows it.

use crate::keeper::DiskDevice;
use serde::Serialize;
use tallyroll_engine::Error;
use tallyroll_engine::counts::CreditSum;
use tallyroll_schema::{UserAlias, Wall};

/// What this device may spend of a user's balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeaseRow {
    /// The user's name.
    pub user: Option<String>,
    /// The user, as this device calls them.
    pub alias: UserAlias,
    /// What is left of it.
    pub left: CreditSum,
    /// What was spent of it in this epoch.
    pub spent: CreditSum,
    /// What was charged beyond it, by the offline policy.
    pub overdrawn: CreditSum,
    /// When it ends.
    pub spend_until: Option<Wall>,
    /// Whether the cloud was asked for more and has yet to answer.
    pub asked: bool,
}

/// A row per user who was lent anything, or asks for it, by name.
pub(super) fn rows(device: &DiskDevice) -> Result<Vec<LeaseRow>, Error> {
    let names = device.names()?;
    let row = |(alias, lease): (UserAlias, tallyroll_engine::counts::Lease)| LeaseRow {
        user: names.iter().find(|(_, known)| *known == alias).map(|(name, _)| name.clone()),
        alias,
        left: CreditSum::from_thousandths(lease.outstanding().max(0)),
        spent: CreditSum::from_thousandths(lease.spent),
        overdrawn: CreditSum::from_thousandths(lease.overdrawn),
        spend_until: lease.last.map(|last| last.spend_until),
        asked: lease.pending().is_some(),
    };
    let mut rows: Vec<LeaseRow> = device.leases().into_iter().map(row).collect();
    rows.sort_by(|a, b| (&a.user, a.alias).cmp(&(&b.user, b.alias)));
    Ok(rows)
}
