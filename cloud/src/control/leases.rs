//! Answers about leases: where users' credits are, and taking off the books what will not come back.
//!
//! Invariant: the figures are the engine's funds and rights, with names put beside them, and add up:
//! pool + leased + frozen + held + charged = granted + corrected. What is written off is
//! durable, lease by lease, before it is answered.

use super::Failure;
use super::desk::Desk;
use super::fleet::find;
use super::people::begun_id;
use crate::keeper::Replica;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tallyroll_engine::counts::{AccountKind, CreditSum, RightKey};
use tallyroll_engine::hub::{Funds, HeldLease, Standing};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{Credits, DeviceId, Position, SubjectId, UserAlias, Wall};

/// Where the credits are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Leases {
    users: Vec<UserRow>,
    leases: Vec<LeaseRow>,
    totals: Totals,
}

/// A user's balance, and where it is; or what is with an alias that nobody is known by yet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct UserRow {
    user: Option<String>,
    subject: Option<SubjectId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<UserAlias>,
    kind: AccountKind,
    granted: CreditSum,
    charged: CreditSum,
    corrected: CreditSum,
    held: CreditSum,
    pool: CreditSum,
}

/// What a device was lent of it, all its epochs together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct LeaseRow {
    user: Option<String>,
    subject: Option<SubjectId>,
    alias: UserAlias,
    device: DeviceId,
    device_name: Option<String>,
    #[serde(flatten)]
    sums: Sums,
    spend_until: Option<Wall>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Sums {
    leased: CreditSum,
    frozen: CreditSum,
    spent: CreditSum,
    written_off: CreditSum,
    /// Of that, spent or brought back after it.
    came_after: CreditSum,
    overdrawn: CreditSum,
    copied: CreditSum,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Totals {
    granted: CreditSum,
    charged: CreditSum,
    corrected: CreditSum,
    held: CreditSum,
    pool: CreditSum,
    #[serde(flatten)]
    sums: Sums,
}

/// What was taken off the books.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct WrittenOff {
    device: DeviceId,
    device_name: String,
    user: Option<String>,
    subject: Option<SubjectId>,
    alias: UserAlias,
    credits: Credits,
    position: Position,
}

/// What a device may do that spent its lease while it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offline {
    /// Nothing.
    Stop,
    /// Charge so much beyond it, all users together, in one epoch.
    Overdraft(Credits),
}

/// What holds for devices that are cut off.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct OfflinePolicy {
    policy: &'static str,
    /// For each device.
    overdraft: Credits,
    /// Devices that may use it.
    devices: usize,
    /// What they may overdraw together.
    exposure: CreditSum,
    /// Where it was laid down now; `null` if it was only asked for.
    position: Option<Position>,
}

/// What devices hold, thousandths: what may be spent, and what is frozen.
pub(crate) fn lent(replica: &Replica) -> (i128, i128) {
    let sums = sums_of(replica.hub.leases().iter());
    (sums.leased, sums.frozen)
}

/// As [`Sums`], in thousandths.
#[derive(Debug, Default, Clone, Copy)]
struct Thousandths {
    leased: i128,
    frozen: i128,
    spent: i128,
    written_off: i128,
    came_after: i128,
    overdrawn: i128,
    copied: i128,
}

impl From<Thousandths> for Sums {
    fn from(sums: Thousandths) -> Self {
        Self {
            leased: CreditSum::from_thousandths(sums.leased),
            frozen: CreditSum::from_thousandths(sums.frozen),
            spent: CreditSum::from_thousandths(sums.spent),
            written_off: CreditSum::from_thousandths(sums.written_off),
            came_after: CreditSum::from_thousandths(sums.came_after),
            overdrawn: CreditSum::from_thousandths(sums.overdrawn),
            copied: CreditSum::from_thousandths(sums.copied),
        }
    }
}

fn sums_of<'a>(leases: impl Iterator<Item = &'a HeldLease>) -> Thousandths {
    let mut sums = Thousandths::default();
    for lease in leases {
        let left = lease.outstanding.max(0);
        if lease.frozen {
            sums.frozen += left
        } else {
            sums.leased += left
        }
        sums.spent += lease.spent;
        sums.written_off += lease.written_off;
        sums.came_after += lease.came_after;
        sums.overdrawn += lease.overdrawn;
        sums.copied += lease.copied;
    }
    sums
}

impl Desk {
    pub(super) async fn leases(&self) -> Result<Leases, Failure> {
        Ok(self.keeper.run(|replica| Ok(leases(replica))).await?)
    }

    pub(super) async fn write_off(
        &self,
        device: String,
        user: Option<String>,
        reason: String,
        in_use: bool,
    ) -> Result<Vec<WrittenOff>, Failure> {
        let written_off = self.keeper.run(move |replica| {
            let (device, device_name) = find(replica, &device)?;
            let held = replica.hub.leases().into_iter();
            let held: Vec<HeldLease> = held
                .filter(|lease| lease.device == device && lease.outstanding > 0)
                .filter(|lease| user.as_deref().is_none_or(|user| is_of(replica, lease, user)))
                .collect();
            if held.is_empty() {
                let whose = user.map_or(String::new(), |user| format!(" of {user}'s"));
                let why = format!(
                    "{device_name} holds nothing{whose}; `tallyroll leases` shows who does"
                );
                return Err(Error::Rejected(why));
            }
            let of_it: Vec<HeldLease> =
                held.iter().filter(|lease| in_use || lease.frozen).copied().collect();
            if of_it.is_empty() {
                let why = format!(
                    "{device_name} may still spend what it holds, and what it spends after a write-off may be spent \
                     elsewhere, too. A device that is lost or stolen is revoked first: `tallyroll revoke \
                     {device_name}`; or say --in-use"
                );
                return Err(Error::Rejected(why));
            }
            let mut done = Vec::new();
            for lease in of_it {
                let user = name_of(replica, &lease);
                let key = RightKey { device, epoch: lease.epoch, user: lease.user };
                let now = replica.now();
                let (position, credits) = replica.hub.write_off(now, key, reason.clone())?;
                let (device_name, alias, subject) =
                    (device_name.clone(), lease.user, lease.subject);
                done.push(WrittenOff {
                    device,
                    device_name,
                    user,
                    subject,
                    alias,
                    credits,
                    position,
                });
            }
            Ok(done)
        });
        Ok(written_off.await?)
    }

    pub(super) async fn offline(&self, policy: Option<Offline>) -> Result<OfflinePolicy, Failure> {
        let laid_down = self.keeper.run(move |replica| {
            let now = replica.now();
            let position = match policy {
                Some(Offline::Stop) => Some(replica.hub.publish_overdraft(now, None)?),
                Some(Offline::Overdraft(credits)) => {
                    Some(replica.hub.publish_overdraft(now, Some(credits))?)
                }
                None => None,
            };
            let overdraft = replica.hub.counts().rights().overdraft();
            let devices = replica.hub.fleet().devices().values();
            let devices = devices.filter(|device| device.standing == Standing::Active).count();
            let exposure = i128::from(overdraft.thousandths()) * devices as i128;
            let policy = if overdraft > Credits::ZERO { "overdraft" } else { "stop" };
            let exposure = CreditSum::from_thousandths(exposure);
            Ok(OfflinePolicy { policy, overdraft, devices, exposure, position })
        });
        Ok(laid_down.await?)
    }
}

fn name_of(replica: &Replica, lease: &HeldLease) -> Option<String> {
    let shown = replica.people.shown(replica.hub.counts(), lease.device, lease.user);
    shown.map(str::to_owned)
}

/// Whether a lease is a user's, by name, or by the beginning of the id of who has none.
fn is_of(replica: &Replica, lease: &HeldLease, user: &str) -> bool {
    let id = begun_id(user);
    let begins = |whole: String| id.as_ref().is_some_and(|id| whole.starts_with(id));
    name_of(replica, lease).map_or_else(
        || {
            begins(lease.user.to_string())
                || lease.subject.is_some_and(|one| begins(one.to_string()))
        },
        |name| name == user,
    )
}

fn leases(replica: &Replica) -> Leases {
    let held = replica.hub.leases();
    let (counts, credits) = (replica.hub.counts(), CreditSum::from_thousandths);
    let row = |user, subject, alias, kind, funds: &Funds| UserRow {
        user,
        subject,
        alias,
        kind,
        granted: credits(funds.granted),
        charged: credits(funds.charged),
        corrected: credits(funds.corrected),
        held: credits(funds.held),
        pool: credits(funds.pool()),
    };
    let (accounts, nobodys) = (replica.hub.funds(), Funds::of_nobody(counts));
    let of_account = |(subject, funds): (&SubjectId, &Funds)| {
        let name = replica.people.title(*subject).map(str::to_owned);
        row(name, Some(*subject), None, counts.accounts().kind(*subject), funds)
    };
    let of_alias = |((device, alias), funds): (&(DeviceId, UserAlias), &Funds)| {
        let name = replica.people.name(*device, *alias).map(str::to_owned);
        row(name, None, Some(*alias), AccountKind::User, funds)
    };
    let mut users: Vec<UserRow> =
        accounts.iter().map(of_account).chain(nobodys.iter().map(of_alias)).collect();
    users.sort_by(|a, b| (&a.user, a.subject, a.alias).cmp(&(&b.user, b.subject, b.alias)));
    let mut rows: BTreeMap<(DeviceId, UserAlias), Vec<HeldLease>> = BTreeMap::new();
    for lease in &held {
        rows.entry((lease.device, lease.user)).or_default().push(*lease);
    }
    let device_name = |device| replica.hub.fleet().device(device).map(|record| record.name.clone());
    let row = |((device, alias), leases): ((DeviceId, UserAlias), Vec<HeldLease>)| LeaseRow {
        user: leases.first().and_then(|lease| name_of(replica, lease)),
        subject: leases.first().and_then(|lease| lease.subject),
        alias,
        device,
        device_name: device_name(device),
        sums: sums_of(leases.iter()).into(),
        spend_until: leases
            .iter()
            .filter(|lease| !lease.frozen)
            .filter_map(|lease| lease.spend_until)
            .max(),
    };
    let mut leases: Vec<LeaseRow> = rows.into_iter().map(row).collect();
    leases.sort_by(|a, b| {
        (&a.user, &a.device_name, a.device).cmp(&(&b.user, &b.device_name, b.device))
    });
    let funds = || accounts.values().chain(nobodys.values());
    let sum = |of: fn(&Funds) -> i128| credits(funds().map(of).sum());
    let totals = Totals {
        granted: sum(|funds| funds.granted),
        charged: sum(|funds| funds.charged),
        corrected: sum(|funds| funds.corrected),
        held: sum(|funds| funds.held),
        pool: sum(|funds| funds.pool()),
        sums: sums_of(held.iter()).into(),
    };
    Leases { users, leases, totals }
}
