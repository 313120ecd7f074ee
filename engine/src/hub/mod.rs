//! The cloud's replica: every device's logs, the cloud's own, and the fleet's figures.
//!
//! Owns the way of an event at the cloud: admit, number, commit, fold, receipt.
//! Invariant: one store commit holds a burst, its commit numbers and its receipt;
//! receipts and decisions leave only after it. Views are folded from what was
//! committed and from nothing else. Clock, entropy and names are arguments.

mod accounts;
#[cfg(test)]
mod accounts_tests;
mod acts;
mod admission;
mod allotments;
#[cfg(test)]
mod allotments_tests;
mod balances;
mod behind;
mod books;
mod decide;
mod discarded;
mod enrol;
mod fleet;
mod forget;
mod forks;
mod funds;
mod gaps;
mod leases;
mod moments;
mod past;
mod people;
mod quarantine;
mod read;
mod readmit;
mod rebuild;
mod recovery;
mod retire;
mod stage;
mod sync;

pub use accounts::Left;
pub use acts::{ANOTHER_ACTS, Acted, AskedAct};
pub use allotments::rest as rest_of_allotments;
pub use books::{Corrected, Correction, MonthBooks};
pub use discarded::Discarded;
pub use enrol::{Invitation, NewDevice, pin_hash};
pub use fleet::{DeviceRecord, Fleet, Standing};
pub use forget::Forgetting;
pub use forks::Fork;
pub use funds::Funds;
pub use gaps::Gap;
pub use leases::{Anchor, HeldLease};
pub use people::{CLOUD, Named};
pub use quarantine::Quarantined;
pub use read::{LogSummary, Verified};
pub use rebuild::{Root, rebuild};
pub use recovery::{Recovery, mark_restored};

use crate::counts::Counts;
use crate::device::{Now, create_log, timestamp};
use crate::fold::{Cut, Replay};
use crate::keys::Signer;
use crate::log::newest_time;
use crate::planted::{Bug, planted};
use crate::store::rows::{
    CloudErasure, CloudLogs, CloudRecovery, CloudRole, CommitRow, LogRow, RoomProbe, TipRow,
    split_epoch_key,
};
use crate::store::{Changes, Rows, Store};
use crate::{Error, Kind, Result};
use core::ops::{ControlFlow, RangeInclusive};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{
    CommitPosition, DeviceId, EpochId, Hash, HybridTime, LogId, PublicKey, TenantId,
};

/// Room is tried for with so many bytes: a small write finds some in a page that is there.
const PROBE_BYTES: RangeInclusive<usize> = 64 * 1024..=1024 * 1024;

/// Who a cloud is.
#[derive(Debug)]
pub struct HubConfig {
    /// The tenant.
    pub tenant: TenantId,
    /// Signs decisions and receipts.
    pub signer: Signer,
    /// The X25519 key that devices seal names to.
    pub directory_key: PublicKey,
    /// What stands outside the store and does not come along when it is copied,
    /// where there is such a thing.
    pub anchor: Option<Hash>,
}

/// The cloud's replica over its store.
#[derive(Debug)]
pub struct Hub<S> {
    config: HubConfig,
    store: S,
    logs: CloudLogs,
    device_logs: BTreeMap<DeviceId, (LogId, EpochId)>,
    /// Each device's ledger and telemetry, so that it has one of each.
    written_by: BTreeMap<(DeviceId, LogClass), LogId>,
    last_commit: CommitPosition,
    hybrid: HybridTime,
    fleet: Replay<Fleet>,
    counts: Replay<Counts>,
    /// Committed, and not in the counts yet.
    behind: behind::Behind,
    /// What is at hand of the past, once somebody asked.
    past: Option<past::Past>,
    recovery: CloudRecovery,
    /// Devices that told, since the start, of all that they hold of this cloud's logs.
    surveyed: BTreeSet<DeviceId>,
    /// Our own logs whose open epoch began since the start, so that nobody can hold more of it than we do.
    fresh: BTreeSet<LogId>,
    /// Devices that gave back some of these and have yet to tell that it was all.
    giving: BTreeSet<DeviceId>,
    role: CloudRole,
    /// What is left to erase of people who are forgotten.
    erasure: CloudErasure,
    /// The last number of a lease that may have left.
    allocated: u64,
    /// Requests for leases that wait for others', and since when.
    waiting: leases::Waiting,
    /// Acts that wait for what was wanted back for them.
    awaited: acts::Awaited,
    /// Whether something changed since devices were told of balances.
    untold: bool,
    /// Figures that may count something twice are folded anew not before this, by the monotonic clock.
    settle_after: Duration,
    /// Commits since the start that hold something of our own logs.
    decided: u64,
    /// Bursts that found a quarantine full, since the start.
    quarantine_overflow: u64,
    /// For the nonces of epochs to come.
    entropy: [u8; 32],
    /// Bytes of the largest write that found no room, until as many find some.
    full: Option<usize>,
    closed: bool,
}

impl<S: Store> Hub<S> {
    /// Opens the replica; in an empty store, creates the cloud's logs and
    /// publishes the default rate card. `nonces` is 32 random bytes.
    ///
    /// # Errors
    /// Storage failed or is damaged.
    pub fn open(config: HubConfig, mut store: S, now: Now, nonces: [u8; 32]) -> Result<Self> {
        let tenant = config.tenant;
        let existing = Rows::new(tenant, &store).get::<CloudLogs>(&())?;
        let mut fresh = BTreeSet::new();
        let mut logs = match existing {
            Some(logs) => logs,
            None => {
                let logs = create_logs(&config, &mut store, now, nonces)?;
                fresh.insert(logs.public.0);
                logs
            }
        };
        let rows = Rows::new(tenant, &store);
        let last = rows.last::<CommitRow>(&[])?;
        let last_commit = last.and_then(|(key, _)| CommitRow::position(&key));
        let last_commit = last_commit.unwrap_or_default();
        if existing.is_some() && !planted(Bug::CommitEpochKept) {
            let open = logs.commit_epoch.max(last_commit.epoch);
            logs.commit_epoch = recovery::commit_epoch_after(open, logs.accounts.0, now, &nonces);
        }
        let (device_logs, written_by) = known_logs(&rows)?;
        let public = logs.public.0;
        rows.scan::<TipRow>(public.as_bytes(), public.as_bytes(), &mut |key, _| {
            // One that was given back may be newer than the last that was opened here.
            let newest = split_epoch_key(key).filter(|place| place.1 > logs.public.1);
            logs.public = newest.unwrap_or(logs.public);
            Ok(ControlFlow::Continue(()))
        })?;
        let mut hybrid = HybridTime::default();
        for epoch in [&logs.public, &logs.accounts].into_iter().chain(device_logs.values()) {
            hybrid = hybrid.max(newest_time(&rows, *epoch)?);
        }
        let (fleet, counts) = (Replay::load(&rows)?, Replay::load(&rows)?);
        let recovery = rows.get(&())?.unwrap_or_default();
        let role = rows.get(&())?.unwrap_or_default();
        let erasure = rows.get(&())?.unwrap_or_default();
        let mut hub = Self {
            config,
            logs,
            device_logs,
            written_by,
            last_commit,
            hybrid,
            fleet,
            counts,
            behind: behind::Behind::default(),
            past: None,
            recovery,
            surveyed: BTreeSet::new(),
            fresh,
            giving: BTreeSet::new(),
            role,
            erasure,
            allocated: 0,
            waiting: leases::Waiting::new(),
            awaited: acts::Awaited::new(),
            untold: true,
            settle_after: Duration::ZERO,
            decided: 0,
            quarantine_overflow: 0,
            entropy: nonces,
            store,
            full: None,
            closed: false,
        };
        hub.check_anchor(now)?;
        hub.thaw_if_all_reported(now)?; // the last start may have ended before this
        hub.tell_all_enrolled(now)?;
        hub.tell_retired(now)?;
        // Not only in an empty store: the last start may have ended before this.
        hub.publish_first_card(now)?;
        Ok(hub)
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.config.tenant
    }

    /// The key that signs decisions and receipts.
    pub fn public_key(&self) -> PublicKey {
        self.config.signer.public_key()
    }

    /// The tenant's public log.
    pub fn public_log(&self) -> LogId {
        self.logs.public.0
    }

    /// The devices, at the newest commit.
    pub fn fleet(&self) -> &Fleet {
        self.fleet.view()
    }

    /// The counts, at the newest commit.
    ///
    /// # Panics
    /// Between [`Self::take`] and [`Self::catch_up`]: a figure that is behind is none.
    pub fn counts(&self) -> &Counts {
        assert!(!self.is_behind(), "what is committed is counted before figures are read");
        self.counts.view()
    }

    /// How far each log is in the counts.
    pub fn counted(&self) -> &Cut {
        self.counts.cut()
    }

    /// The newest commit.
    pub fn last_commit(&self) -> CommitPosition {
        self.last_commit
    }

    /// Whether a write failed, other than for want of room: nothing more is done until a restart.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// All that is kept; for a copy of it.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Whether the last write found no room: nothing of it was stored, the next may find some.
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Tries whether there is room again, if there was none.
    ///
    /// # Errors
    /// [`Error::Full`] while there is none; storage failed.
    pub fn try_room(&mut self) -> Result<()> {
        self.refuse_if_closed()?;
        let Some(bytes) = self.full else { return Ok(()) };
        let mut rows = self.rows();
        rows.put(&(), &RoomProbe(Bytes(vec![0; bytes])));
        let probe = rows.into_changes();
        self.commit_changes(probe)?;
        let mut rows = self.rows();
        rows.delete::<RoomProbe>(&());
        let probed = rows.into_changes();
        self.commit_changes(probed)
    }

    fn rows(&self) -> Rows<'_, S> {
        Rows::new(self.config.tenant, &self.store)
    }

    fn refuse_if_closed(&self) -> Result<()> {
        if self.closed { Err(Error::Closed) } else { Ok(()) }
    }

    /// After an error nobody knows what is durable, so nothing more is done; but where there was
    /// no room nothing was.
    fn closing<T>(&mut self, result: Result<T>) -> Result<T> {
        self.closed |=
            result.as_ref().is_err_and(|why| why.kind() != Kind::Full) && !planted(Bug::HubGoesOn);
        result
    }

    fn commit_changes(&mut self, changes: Changes) -> Result<()> {
        let bytes: usize = changes.values().flatten().map(Vec::len).sum();
        let committed = self.store.commit(changes);
        let committed = if planted(Bug::HubCommitIgnoresFailure) { Ok(()) } else { committed };
        let bytes = bytes.min(*PROBE_BYTES.end());
        match &committed {
            Err(why) if why.kind() == Kind::Full => {
                self.full = self.full.max(Some(bytes.max(*PROBE_BYTES.start())));
            }
            // A smaller write than the one that found no room may find some between what is stored.
            Ok(()) => self.full = self.full.filter(|lacking| *lacking > bytes),
            Err(_) => self.full = None,
        }
        self.closing(committed)
    }
}

fn create_logs<S: Store>(
    config: &HubConfig,
    store: &mut S,
    now: Now,
    nonces: [u8; 32],
) -> Result<CloudLogs> {
    let mut rows = Rows::new(config.tenant, store);
    let (public_nonce, accounts_nonce) = nonces.split_at(16);
    let mut create = |class, nonce: &[u8]| {
        let nonce = nonce.try_into().unwrap_or_default();
        let time = timestamp(HybridTime::default(), now);
        create_log(&mut rows, &config.signer, class, None, time, nonce)
    };
    let public = create(LogClass::Public, public_nonce)?;
    let accounts = create(LogClass::Accounts, accounts_nonce)?;
    let logs = CloudLogs { public, accounts, commit_epoch: 1 };
    number_first(&mut rows, now, logs);
    let changes = rows.into_changes();
    store.commit(changes)?;
    Ok(logs)
}

/// Numbers the geneses of a store's first logs as its first commits.
fn number_first<S: Store>(rows: &mut Rows<'_, S>, now: Now, logs: CloudLogs) {
    for (index, (log, epoch)) in (1..).zip([logs.public, logs.accounts]) {
        let position = CommitPosition { epoch: logs.commit_epoch, index };
        let received_at = now.wall;
        rows.put(&position, &CommitRow { log, epoch, first_seq: 0, end_seq: 1, received_at });
    }
    rows.put(&(), &logs);
}

type KnownLogs = (BTreeMap<DeviceId, (LogId, EpochId)>, BTreeMap<(DeviceId, LogClass), LogId>);

fn known_logs<S: Store>(rows: &Rows<'_, S>) -> Result<KnownLogs> {
    let (mut device_logs, mut written_by) = KnownLogs::default();
    rows.scan::<TipRow>(&[], &[], &mut |key, _| {
        let Some((log, epoch)) = split_epoch_key(key) else { return Ok(ControlFlow::Continue(())) };
        if let Some(LogRow(genesis)) = rows.get(&log)? {
            match genesis.about {
                Some(device) => drop(device_logs.insert(device, (log, epoch))),
                None => {
                    let writer = DeviceId::of_key(rows.tenant(), &genesis.writer);
                    written_by.insert((writer, genesis.class), log);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((device_logs, written_by))
}

#[cfg(test)]
impl<S: Store + Clone> Hub<S> {
    /// The hub after a restart on the same disk.
    pub(crate) fn restart(&self, now: Now) -> Self {
        let signer = Signer::from_seed(&self.config.signer.seed());
        let config = HubConfig { signer, ..self.config };
        Self::open(config, self.store.clone(), now, [0; 32]).expect("opens")
    }

    /// The hub on another state of its disk.
    pub(crate) fn restart_on(&self, store: S, now: Now) -> Self {
        let signer = Signer::from_seed(&self.config.signer.seed());
        let config = HubConfig { signer, ..self.config };
        let nonces = crate::log::journal::test_entropy();
        Self::open(config, store, now, nonces).expect("opens")
    }
}

#[cfg(test)]
mod tests;
