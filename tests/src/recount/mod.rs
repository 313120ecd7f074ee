//! An office's events through real engines, with duplicates, counted twice: by the views, and naively.
//!
//! Invariant: so many in a hundred of the bursts come to the cloud again, some at once and some much later,
//! and as many of the lines to the naive counter, which gets the logs in another order than they were
//! written in. It shares no code with the engine.

mod carry;
mod naive;
mod office;

use crate::sim::entropy::Entropy;
use carry::{Carrier, Way};
use core::time::Duration;
use office::Office;
use tallyroll_engine::Result;
use tallyroll_engine::counts::Report as Rows;
use tallyroll_engine::device::{Device, DeviceConfig, Now};
use tallyroll_engine::hub::{Hub, HubConfig, Invitation, pin_hash};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::MemoryFile;
use tallyroll_engine::store::MemoryStore;
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::{Hash, PublicKey, TenantId, Wall};

pub use naive::{compare, lines_of};

const TENANT: TenantId = TenantId([1; 16]);
/// 2026-10-15: the events of a run are spread over three months.
const BEGINS: u64 = 1_792_000_000_000;
const SPREAD_MILLISECONDS: u64 = 60 * 86_400_000;
/// Jobs at a device between two sessions with the cloud.
const JOBS_A_SESSION: u64 = 200;

/// What to count.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many events devices record at least.
    pub events: u64,
    /// How many bursts and lines in a hundred come again.
    pub duplicates: u64,
    /// How many devices.
    pub devices: usize,
    /// How many users, each known at every device.
    pub users: u64,
    /// The seed of everything.
    pub seed: u64,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Events that devices recorded.
    pub events: u64,
    /// Events that came to the cloud again.
    pub again: u64,
    /// Lines that the naive counter read, those that it read again included.
    pub lines: u64,
    /// Rows that were compared.
    pub rows: usize,
    /// The first row that differs, if any does.
    pub difference: Option<String>,
}

type Edge = Device<MemoryFile, MemoryStore>;
type Cloud = Hub<MemoryStore>;

/// Records, syncs and counts.
///
/// # Errors
/// The engine's, or the naive counter's.
pub fn run(options: &Options) -> core::result::Result<Report, String> {
    let cloud = record(options).map_err(|error| error.to_string())?;
    let (cloud, events, again) = cloud;
    let mut entropy = Entropy::new(options.seed, 0, "lines");
    let rows = Rows { counts: cloud.counts(), user_name: &|_, _| None, device_name: &|_| None };
    let (lines, rows, difference) =
        compare(&rows, |out| lines_of(&cloud, &mut entropy, options.duplicates, out))?;
    Ok(Report { events, again, lines, rows, difference })
}

fn record(options: &Options) -> Result<(Cloud, u64, u64)> {
    let mut cloud = cloud()?;
    let devices: Vec<Edge> =
        (0..options.devices).map(|index| enrolled(&mut cloud, index)).collect::<Result<_>>()?;
    let mut office = Office::new(options, &mut cloud, &devices)?;
    let mut carriers: Vec<(Edge, Carrier)> =
        devices.into_iter().map(|device| (device, Carrier::new(options.duplicates))).collect();
    let (mut recorded, mut again) = (0, 0);
    let mut entropy = Entropy::new(options.seed, 0, "sessions");
    while recorded < options.events {
        let index = entropy.index(carriers.len());
        let Some((device, carrier)) = carriers.get_mut(index) else { break };
        for _ in 0..JOBS_A_SESSION {
            recorded += office.job(device, at(options, recorded))?;
        }
        device.seal(at(options, recorded))?;
        let now = at(options, recorded);
        let way = Way { device, cloud: &mut cloud, now, entropy: &mut entropy };
        again += carrier.carry(way, false)?;
        office.decide(&mut cloud, at(options, recorded))?;
    }
    for (device, carrier) in &mut carriers {
        device.seal(at(options, recorded))?;
        let now = at(options, recorded);
        let way = Way { device, cloud: &mut cloud, now, entropy: &mut entropy };
        again += carrier.carry(way, true)?;
    }
    Ok((cloud, recorded, again))
}

/// The time when so many events were recorded.
fn at(options: &Options, recorded: u64) -> Now {
    let spread = u128::from(recorded) * u128::from(SPREAD_MILLISECONDS);
    let passed = (spread / u128::from(options.events.max(1))) as u64;
    Now {
        wall: Wall(BEGINS + passed),
        monotonic: Duration::from_millis(1 + passed),
        ..Now::default()
    }
}

fn cloud() -> Result<Cloud> {
    let config = HubConfig {
        tenant: TENANT,
        signer: Signer::from_seed(&[2; 32]),
        directory_key: PublicKey([3; 32]),
        anchor: None,
    };
    let began = Now { wall: Wall(BEGINS), ..Now::default() };
    Hub::open(config, MemoryStore::default(), began, [4; 32])
}

fn enrolled(cloud: &mut Cloud, index: usize) -> Result<Edge> {
    let (name, seed) = (format!("device-{index}"), [index as u8 + 10; 32]);
    let (salt, began) = (Hash([5; 32]), Now { wall: Wall(BEGINS), ..Now::default() });
    let pin_hash = pin_hash(&salt, "ABCD-EFGH");
    cloud.invite(began, Invitation { name: name.clone(), pin_hash, salt, processing: false })?;
    let (signer, tls) = (Signer::from_seed(&seed), seed);
    let request = JoinRequest {
        pin: "abcdefgh".into(),
        signing_key: signer.public_key(),
        proof: signer.sign_enrolment(&name, &tls),
        agent: String::new(),
        name,
    };
    let welcome = cloud.join(began, &request, Hash(tls), [index as u8; 16])?.welcome;
    let config = DeviceConfig {
        tenant: welcome.tenant,
        signer,
        next_signer: None,
        cloud_key: welcome.cloud_key,
        public_log: welcome.public_log,
        anchor: Some(Hash([9; 32])),
    };
    Device::open(config, MemoryFile::default(), MemoryStore::default(), began, seed)
}
