//! What the measurements share: a device on real files, seeded events, medians.
//!
//! Invariant: every figure is printed beside a limit measured in the same run, on
//! the same disk, with the same durability. Nothing here fails for being slow.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;
use tallyroll_engine::device::{Device, DeviceConfig, Now};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::journal::JournalFile;
use tallyroll_engine::store::RedbStore;
use tallyroll_schema::event::counts::{Charge, ColorMode, CountSource, PagesPrinted};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Credits, Event, JobId, LogId, PublicKey, TenantId, UserAlias, Wall};

/// The tenant of every measurement.
pub const TENANT: TenantId = TenantId([1; 16]);

/// A journal on a real file.
#[derive(Debug)]
pub struct Disk(pub File);

impl JournalFile for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Opens or makes a file for reading and writing.
///
/// # Errors
/// The system's.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// A device on real files below `dir`.
///
/// # Errors
/// Its files cannot be used.
pub fn device(dir: &Path) -> Result<Device<Disk, RedbStore>, Box<dyn std::error::Error>> {
    let backend = redb::backends::FileBackend::new(open(&dir.join("store"))?)?;
    let config = DeviceConfig {
        tenant: TENANT,
        signer: Signer::from_seed(&[2; 32]),
        next_signer: None,
        cloud_key: PublicKey([3; 32]),
        public_log: LogId([4; 32]),
        anchor: None,
    };
    let store = RedbStore::open(backend, 2 << 20)?;
    let journal = Disk(open(&dir.join("journal"))?);
    Ok(Device::open(config, journal, store, now(0), [5; 32])?)
}

/// A clock that moves with the events.
pub fn now(milliseconds: u64) -> Now {
    Now { wall: Wall(1_795_000_000_000 + milliseconds), ..Now::default() }
}

/// The `n`-th print of a seeded office: Zipf-like users, random job ids.
pub fn event(n: u64) -> (LogClass, Event) {
    let random = splitmix(n);
    let user = 1 + (1 << (random % 8)) as u8 % 100;
    let impressions = 1 + (random >> 8) as u32 % 12;
    let event = PagesPrinted {
        job: JobId(splitmix(random).to_le_bytes()),
        user: UserAlias([user; 16]),
        impressions,
        sheets: None,
        color: ColorMode::Monochrome,
        sides: None,
        media: None,
        source: CountSource::Device,
        job_number: None,
        acted_at: None,
        charge: Charge {
            credits: Credits::from_thousandths(i64::from(impressions) * 1000),
            card: 1,
            backing: None,
        },
        spool_job: None,
        running_total: None,
        page: None,
    };
    (LogClass::Ledger, event.into())
}

fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Seconds of `runs` runs: minimum, median, maximum.
pub fn seconds(runs: usize, mut run: impl FnMut()) -> [f64; 3] {
    let mut times: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    [at(0), at(times.len() / 2), at(times.len() - 1)]
}
