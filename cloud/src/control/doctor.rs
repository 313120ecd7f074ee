//! Answers about the cloud's own health: what is frozen, and who could thaw it; what is in
//! quarantine; what was lost here and pruned at its device; which devices are turned away.
//!
//! Invariant: says what the engine says, with names put beside the devices; what is
//! accepted is durable before it is answered.

use super::Failure;
use super::desk::Desk;
use super::leases::lent;
use super::quarantine::{DiscardedLine, QuarantineLine, discarded, lines};
use crate::keeper::Replica;
use crate::links::Entry;
use core::time::Duration;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::Result;
use tallyroll_engine::counts::{CreditSum, Month};
use tallyroll_engine::hub::{DeviceRecord, Gap, Standing};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{DeviceId, EpochId, LogId, Wall};

/// Usage of an earlier month is older than this program.
const FIRST_MONTH: (u16, u8) = (2026, 1);
/// A device's clock may be ahead of ours by so much, for one of the two to be wrong a little.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How the cloud stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Health {
    frozen: Option<Frozen>,
    /// Lent to devices that are not believed to have it still, until it is written off.
    frozen_credits: CreditSum,
    /// Since when the accounts hold all, if what was before is lost.
    accounts_since: Option<Wall>,
    /// Devices that are here on their own evidence.
    readmitted: Vec<Named>,
    quarantine: Vec<QuarantineLine>,
    /// Of revoked devices, and not asked for again.
    discarded: Vec<DiscardedLine>,
    pruned: Vec<GapLine>,
    /// Months that are to be closed again.
    lost_closings: Vec<String>,
    /// Devices of ours that are not let in, as far as this process knows.
    turned_away: Vec<Entry>,
    /// Devices that recorded usage of a month that cannot be.
    clocks: Vec<WrongClock>,
}

/// A device whose clock was wrong when it recorded, or CUPS's, unless it was told of days long gone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct WrongClock {
    #[serde(flatten)]
    whose: Named,
    /// The months that it recorded usage of, and that were before anybody could, or have not begun.
    months: Vec<Month>,
}

/// What this cloud lost and its device pruned.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct GapLine {
    #[serde(flatten)]
    whose: Named,
    log: LogId,
    epoch: EpochId,
    class: Option<LogClass>,
    from_seq: u64,
    since: Wall,
    /// Nothing waits for it any more.
    retired: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Frozen {
    since: Wall,
    why: String,
    reported: Vec<Named>,
    missing: Vec<Named>,
    /// Whether it waits for devices that nobody can name, and so for an administrator's word.
    awaiting: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Named {
    device: DeviceId,
    name: Option<String>,
}

impl Desk {
    pub(super) async fn doctor(
        &self,
        accept_loss: bool,
        await_devices: bool,
    ) -> Result<Health, Failure> {
        let health = self.keeper.run(move |replica| {
            if await_devices {
                replica.hub.await_devices(replica.now())?;
            }
            if accept_loss {
                replica.hub.accept_loss(replica.now())?;
            }
            health(replica)
        });
        Ok(Health { turned_away: self.attention.list(), ..health.await? })
    }
}

fn health(replica: &Replica) -> Result<Health> {
    let named = |device: DeviceId| {
        let name = replica.hub.fleet().device(device).map(|record| record.name.clone());
        Named { device, name }
    };
    let frozen = replica.hub.recovery().map(|recovery| Frozen {
        since: recovery.since,
        why: recovery.why,
        reported: recovery.reported.into_iter().map(named).collect(),
        missing: recovery.missing.into_iter().map(named).collect(),
        awaiting: recovery.awaiting,
    });
    let believed = |(_, record): &(&DeviceId, &DeviceRecord)| {
        record.readmitted.is_some() && record.standing != Standing::Revoked
    };
    let readmitted = replica.hub.fleet().devices().iter().filter(believed);
    let readmitted = readmitted.map(|(device, _)| named(*device)).collect();
    let accounts_since = replica.hub.accounts_since();
    let logs = replica.hub.logs()?;
    let pruned = replica.hub.gaps()?.into_iter().map(|gap| {
        let Gap { device, log, epoch, from: from_seq, since, retired } = gap;
        let class = logs.iter().find(|one| one.log == log).map(|one| one.class);
        GapLine { whose: named(device), log, epoch, class, from_seq, since, retired }
    });
    let pruned = pruned.collect();
    let (quarantine, discarded) = (lines(replica)?, discarded(replica)?);
    Ok(Health {
        frozen,
        frozen_credits: CreditSum::from_thousandths(lent(replica).1),
        accounts_since,
        readmitted,
        quarantine,
        discarded,
        pruned,
        lost_closings: replica
            .hub
            .lost_closings()?
            .iter()
            .map(|(month, _)| month.to_string())
            .collect(),
        turned_away: Vec::new(),
        clocks: wrong_clocks(replica)
            .map(|(device, months)| WrongClock { whose: named(device), months })
            .collect(),
    })
}

/// By device, the months of its usage that its clock cannot have shown rightly.
fn wrong_clocks(replica: &Replica) -> impl Iterator<Item = (DeviceId, Vec<Month>)> {
    let ahead = u64::try_from(AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
    let last = Month::at(Wall(replica.now().wall.0.saturating_add(ahead)));
    let first = Month::of(FIRST_MONTH.0, FIRST_MONTH.1).unwrap_or(last);
    let mut wrong: BTreeMap<DeviceId, BTreeSet<Month>> = BTreeMap::new();
    for key in replica.hub.counts().usage().keys() {
        let month = Month(key.month);
        if !(first..=last).contains(&month) {
            wrong.entry(key.device).or_default().insert(month);
        }
    }
    wrong.into_iter().map(|(device, months)| (device, months.into_iter().collect()))
}
