//! Durable append at a device, 1, 10 and 100 events a commit, sealing included as it falls due.
//!
//! Invariant: the bare file is written where the journal was, with as many bytes, one fdatasync a commit, in
//! turn with ours. Bytes on the disk are counted below journal and store, in pages that were dirty at a sync.

use crate::Outcome;
use crate::bare::write_and_sync;
use crate::disk::{Counter, Journal, StoreFile};
use crate::measure::{Plan, Spread, seconds};
use crate::site::{at, for_commit};
use crate::workload::Office;
use std::path::Path;
use std::time::Duration;
use tallyroll_engine::device::{Device, DeviceConfig, Now};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::store::RedbStore;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Event, LogId, PublicKey, Record, TenantId, Timestamp};

/// One for the whole stage, commits each run.
const SIZES: [(usize, u64); 3] = [(1, 2_000), (10, 1_000), (100, 1_000)];
const CACHE_BYTES: usize = 2 << 20;

type Counted = (Device<Journal, RedbStore>, Counter, Counter);

/// Measures and prints.
///
/// # Errors
/// Files, or the engine.
pub fn run(plan: &Plan) -> Outcome {
    if !plan.wants("append") {
        return Ok(());
    }
    for (per_commit, commits) in SIZES {
        append(plan, per_commit, commits.min(plan.events / per_commit as u64))?;
    }
    Ok(())
}

/// A device on real files below `dir`, counted.
fn device(dir: &Path) -> Outcome<Counted> {
    let config = DeviceConfig {
        tenant: TenantId([1; 16]),
        signer: Signer::from_seed(&[2; 32]),
        next_signer: None,
        cloud_key: PublicKey([3; 32]),
        public_log: LogId([4; 32]),
        anchor: None,
    };
    let (below_journal, below_store) = (Counter::default(), Counter::default());
    let store = StoreFile::open(&dir.join("store"), &below_store)?;
    let store = RedbStore::open(store, CACHE_BYTES)?;
    let journal = Journal::open(&dir.join("journal"), &below_journal)?;
    let device = Device::open(config, journal, store, Now::default(), [5; 32])?;
    Ok((device, below_journal, below_store))
}

fn append(plan: &Plan, per_commit: usize, commits: u64) -> Outcome {
    let dir = plan.temporary()?;
    let (mut device, below_journal, below_store) = device(dir.path())?;
    let mut happenings = Office::of_one_device(1).happenings();
    let (mut rates, mut bare_rates, mut sealing) = (Vec::new(), Vec::new(), 0.0);
    let mut record_bytes = 0u64;
    let events = per_commit as f64 * commits as f64;
    let (journal_before, store_before) = (below_journal.traffic(), below_store.traffic());
    for _ in 0..plan.runs {
        let mut groups = Vec::new();
        for _ in 0..commits {
            let group: Vec<_> = happenings.by_ref().take(per_commit).collect();
            let now = group.last().map(|happened| at(happened.at)).unwrap_or_default();
            // Not the office's hours, in which an hourly sealing would come every few commits.
            let now = Now { monotonic: Duration::ZERO, ..now };
            groups.push((now, for_commit(group.into_iter())));
        }
        record_bytes += groups.iter().map(|(_, events)| bytes_of(events)).sum::<u64>();
        below_journal.note_writes();
        let (took, sealed) = seconds(|| commit_all(&mut device, &groups))?;
        rates.push(events / took);
        sealing += sealed;
        let writes = below_journal.take_writes();
        bare_rates.push(events / write_and_sync(&dir.path().join("bare"), &writes)?);
    }
    let (journal, store) = (below_journal.traffic(), below_store.traffic());
    let all_commits = (plan.runs as u64 * commits) as f64;
    let journal_pages = (journal.pages - journal_before.pages) as f64 / all_commits;
    let store_pages = (store.pages - store_before.pages) as f64 / all_commits;
    let amplification = (journal_pages + store_pages) * 4096.0 * all_commits / record_bytes as f64;
    let (ours, bare) = (Spread::of(rates), Spread::of(bare_rates));
    println!(
        "append {per_commit:>3} a commit: {ours} events/s durable, sealing {:.0} % of the time; bare write+fdatasync {bare}; \
         ratio {:.2}; pages a commit {journal_pages:.2} journal + {store_pages:.2} store; {:.0} record bytes an event, \
         ×{amplification:.1} on the disk",
        100.0 * sealing / (all_commits * per_commit as f64 / ours.median),
        ours.median / bare.median,
        record_bytes as f64 / (all_commits * per_commit as f64),
    );
    let stage = format!("append {per_commit} a commit");
    plan.note(&stage, "tallyroll", "events/s", "fdatasync before each answer", ours)?;
    plan.note(&stage, "bare write+fdatasync", "events/s", "fdatasync before each answer", bare)?;
    Ok(())
}

/// Commits groups, and seals when it is due; returns the seconds of that.
fn commit_all(
    device: &mut Device<Journal, RedbStore>,
    groups: &[(Now, Vec<(LogClass, Event)>)],
) -> Outcome<f64> {
    let mut sealing = 0.0;
    for (now, events) in groups {
        device.commit(*now, events)?;
        if device.seal_due(false).is_some_and(|due| due <= now.monotonic) {
            sealing += seconds(|| Ok(device.seal(*now)?))?.0;
        }
    }
    Ok(sealing)
}

fn bytes_of(events: &[(LogClass, Event)]) -> u64 {
    let bytes = |(_, event): &(LogClass, Event)| {
        Record::encode(event, Timestamp::default()).map_or(0, |record| record.len() as u64)
    };
    events.iter().map(bytes).sum()
}
