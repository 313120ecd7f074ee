//! The machines: devices and the cloud, each a disk, a clock, and a process while one runs.
//!
//! Invariant: a process holds nothing that the world relies on after its end; keys, disk and the
//! outside inputs (a page log that CUPS wrote) belong to the machine.

use super::clock::Clock;
use super::disk::{Disk, JournalOn, SimStore};
use super::network::ConnectionId;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use tallyroll_engine::device::{Device, DeviceConfig, Rotation};
use tallyroll_engine::hub::{Hub, HubConfig};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::sync::Effect;
use tallyroll_schema::{DeviceId, Hash, JobId, LogId, PublicKey, TenantId, UserAlias, Wall};

/// The one tenant of a history.
pub const TENANT: TenantId = TenantId([7; 16]);

/// A device's process.
pub type DeviceProcess = Device<JournalOn, SimStore>;
/// The cloud's process.
pub type CloudProcess = Hub<SimStore>;

/// A line of a device's page log.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Its key.
    pub key: JobId,
    /// Who printed.
    pub user: usize,
    /// How much this line adds.
    pub impressions: u32,
    /// The spooler's job and its running total with this line, as newer CUPS log it.
    pub total: Option<(JobId, u32)>,
    /// When, as CUPS wrote it.
    pub printed_at: Wall,
}

/// A copy of a device's disk.
#[derive(Debug)]
pub struct Backup {
    /// The copy.
    pub disk: Disk,
    /// At which moment it was taken.
    pub taken_at: u64,
}

/// A device.
#[derive(Debug)]
pub struct DeviceMachine {
    /// Its place.
    pub index: usize,
    /// Its identity; a clone's is its original's.
    pub id: DeviceId,
    /// Which disk's life it leads: another one after an old copy was put in.
    pub life: u64,
    /// What stands outside its disk and is not copied with it.
    pub anchor: Hash,
    /// A copy of its disk, somewhere, and what was acknowledged by then.
    pub backup: Option<Backup>,
    /// What its signing key is made of.
    pub seed: [u8; 32],
    /// What its next one is made of, while the cloud has not confirmed that.
    pub next_seed: Option<[u8; 32]>,
    /// What those before it were made of.
    pub former_seeds: Vec<[u8; 32]>,
    cloud_key: PublicKey,
    public_log: LogId,
    /// The logs that it writes, once it has run.
    pub own_logs: Vec<LogId>,
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub clock: Clock,
    /// Its process, while one runs.
    pub process: Option<DeviceProcess>,
    /// The connection it uses.
    pub connection: Option<ConnectionId>,
    /// No connection can be made before this time.
    pub partitioned_until: Duration,
    /// Effects its sessions asked for.
    pub work: VecDeque<(ConnectionId, Effect)>,
    /// When its seal timer fires, by true time.
    pub seal_timer: Option<Duration>,
    /// What CUPS logged here.
    pub page_log: Vec<Line>,
    /// What it sends next is damaged on its way.
    pub poisons: bool,
    /// The aliases its rim knows, by user.
    pub aliases: BTreeMap<usize, UserAlias>,
}

impl DeviceMachine {
    /// A device of a fleet, enrolled, never started.
    pub fn new(index: usize, seed: [u8; 32], disk: Disk, cloud: (PublicKey, LogId)) -> Self {
        Self {
            index,
            id: DeviceId::of_key(TENANT, &Signer::from_seed(&seed).public_key()),
            life: index as u64,
            anchor: Hash([index as u8; 32]),
            backup: None,
            seed,
            next_seed: None,
            former_seeds: Vec::new(),
            cloud_key: cloud.0,
            public_log: cloud.1,
            own_logs: Vec::new(),
            disk,
            clock: Clock::default(),
            process: None,
            connection: None,
            partitioned_until: Duration::ZERO,
            work: VecDeque::new(),
            seal_timer: None,
            page_log: Vec::new(),
            poisons: false,
            aliases: BTreeMap::new(),
        }
    }

    /// Another machine that starts from a copy of this one's disk.
    pub fn clone_at(&self, index: usize, disk: Disk) -> Self {
        let mut clone = Self::new(index, self.seed, disk, (self.cloud_key, self.public_log));
        clone.anchor = self.anchor;
        clone.clock.calendar = self.clock.calendar;
        clone
    }

    /// What its process is started with.
    pub fn config(&self) -> DeviceConfig {
        DeviceConfig {
            tenant: TENANT,
            signer: Signer::from_seed(&self.seed),
            next_signer: self.next_seed.as_ref().map(Signer::from_seed),
            cloud_key: self.cloud_key,
            public_log: self.public_log,
            anchor: Some(self.anchor),
        }
    }

    /// What signs in its logs now.
    pub fn signer_in_force(&self) -> Signer {
        let rotation = self.process.as_ref().and_then(|process| process.rotation().ok());
        let changed = matches!(rotation, Some(Rotation::Written | Rotation::Confirmed));
        let next = self.next_seed.filter(|_| changed);
        Signer::from_seed(&next.unwrap_or(self.seed))
    }

    /// Starts a process on a disk, its own or a copy.
    ///
    /// # Errors
    /// The engine's.
    pub fn start(
        &self,
        disk: &Disk,
        redb: bool,
        now: Duration,
        nonces: [u8; 32],
    ) -> tallyroll_engine::Result<DeviceProcess> {
        let store = SimStore::open(disk, redb)?;
        let file = JournalOn(disk.clone());
        Device::open(self.config(), file, store, self.clock.show(now), nonces)
    }
}

/// The cloud.
#[derive(Debug)]
pub struct CloudMachine {
    seed: [u8; 32],
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub clock: Clock,
    /// Its process, while one runs.
    pub process: Option<CloudProcess>,
    /// Effects its sessions asked for.
    pub work: VecDeque<(ConnectionId, DeviceId, Effect)>,
    /// Whether the work is about to be done.
    pub working: bool,
    /// A copy of its disk, somewhere.
    pub backup: Option<Backup>,
    /// The number of the last allocation, which stands outside the disk.
    pub allocations: u64,
    /// What it was when its disk was copied.
    pub allocations_then: u64,
    /// Nobody puts a store back within the second in which a process began.
    pub back_at: Duration,
}

impl CloudMachine {
    /// A cloud, never started.
    pub fn new(seed: [u8; 32], disk: Disk) -> Self {
        Self {
            seed,
            disk,
            clock: Clock::default(),
            process: None,
            work: VecDeque::new(),
            working: false,
            backup: None,
            allocations: 0,
            allocations_then: 0,
            back_at: Duration::ZERO,
        }
    }

    /// Starts a process on a disk, its own or a copy.
    ///
    /// # Errors
    /// The engine's.
    pub fn start(
        &self,
        disk: &Disk,
        redb: bool,
        now: Duration,
        nonces: [u8; 32],
    ) -> tallyroll_engine::Result<CloudProcess> {
        let signer = Signer::from_seed(&self.seed);
        let config =
            HubConfig { tenant: TENANT, signer, directory_key: PublicKey([3; 32]), anchor: None };
        Hub::open(config, SimStore::open(disk, redb)?, self.clock.show(now), nonces)
    }

    /// The key that signs its decisions and receipts.
    pub fn public_key(&self) -> PublicKey {
        self.signer().public_key()
    }

    /// What signs them.
    pub fn signer(&self) -> Signer {
        Signer::from_seed(&self.seed)
    }
}
