//! How old what the cloud shows is: from a recording's answer at a device to the event in the cloud's view.
//!
//! Invariant: devices record through their keepers, each event durable before its answer, at random times of a
//! fixed rate; the cloud's view is read by its keeper, as any question is. Both ends are in this process and share
//! its cores and its disk; bytes are what this process had the kernel write to disks, files of both ends.

use crate::Outcome;
use crate::measure::{Plan, Spread, short};
use crate::site::{Cloud, Linked};
use crate::workload::Draw;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tallyroll_edge::keeper::{Entry, Recorded};
use tallyroll_schema::event::counts::{ColorMode, CountSource};
use tallyroll_schema::{Act, LogId, Position};
use tokio::task::JoinSet;

const DEVICES: u64 = 100;
/// Of all devices together, a second.
const RATE: u64 = 1_000;
const SECONDS: u64 = 10;

/// When each recording was answered, by log and in order.
type Answered = Arc<Mutex<BTreeMap<LogId, VecDeque<(Position, Instant)>>>>;

/// Measures and prints.
///
/// # Errors
/// Files and sockets.
pub fn run(plan: &Plan) -> Outcome {
    if !plan.wants("freshness") {
        return Ok(());
    }
    let (mut halves, mut most, mut written) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..plan.runs {
        let (cloud_dir, branches_dir) = (plan.temporary()?, plan.temporary()?);
        let serving = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (mut ages, bytes) = serving.block_on(async {
            let cloud = Cloud::start(cloud_dir.path()).await?;
            let mut devices = Vec::new();
            for number in 0..DEVICES {
                let name = format!("branch-{number}");
                let branch = cloud.enrol(&name, &branches_dir.path().join(&name)).await?;
                devices.push(branch.link()?);
            }
            for device in &devices {
                // Its user's alias is minted, and its first HAVEs are over.
                record(device, 1).await?;
                device.has_receipts().await?;
            }
            let before = disk_bytes()?;
            let ages = live(&cloud, &devices, run as u64).await?;
            let bytes = disk_bytes()? - before;
            for device in devices {
                device.stop().await?;
            }
            cloud.stop().await?;
            Outcome::Ok((ages, bytes))
        })?;
        ages.sort_by(f64::total_cmp);
        let at = |part: f64| ages.get((ages.len() as f64 * part) as usize).copied();
        halves.push(at(0.5).unwrap_or_default());
        most.push(at(0.99).unwrap_or_default());
        written.push(bytes as f64 / ages.len() as f64);
    }
    let [halves, most, written] = [halves, most, written].map(Spread::of);
    let durable = "fsync before the answer, and before the view";
    plan.note("freshness, p50", "tallyroll", "ms", durable, halves)?;
    plan.note("freshness, p99", "tallyroll", "ms", durable, most)?;
    plan.note("freshness, on disk", "tallyroll", "bytes/event", "both ends", written)?;
    println!(
        "freshness: {} events/s over {DEVICES} devices, from a recording's answer to the cloud's view: p50 {halves} ms, \
         p99 {most} ms; {written} bytes an event written to the disk, both ends",
        short(RATE as f64),
    );
    Ok(())
}

/// Records at random times on every device; returns how old each event was when the cloud's view had it,
/// milliseconds.
async fn live(cloud: &Cloud, devices: &[Linked], seed: u64) -> Outcome<Vec<f64>> {
    let answered = Answered::default();
    let mut recording = JoinSet::new();
    for (number, device) in devices.iter().enumerate() {
        let (keeper, answered) = (device.keeper.clone(), answered.clone());
        let mut draw = Draw::new(seed << 32 | number as u64);
        recording.spawn(async move {
            let mut due = Instant::now();
            for _ in 0..RATE * SECONDS / DEVICES {
                let gap = draw.exponential(1e3 * DEVICES as f64 / RATE as f64);
                due += Duration::from_millis(gap);
                tokio::time::sleep_until(due.into()).await;
                let position = record_by(&keeper, 1 + draw.below(12) as u32).await?;
                let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
                answered.entry(position.log).or_default().push_back((position, Instant::now()));
            }
            Outcome::Ok(())
        });
    }
    let expected = (RATE * SECONDS / DEVICES * DEVICES) as usize;
    let mut ages = Vec::with_capacity(expected);
    let mut commits = cloud.keeper.commits();
    while ages.len() < expected {
        // An answer may be noted after the view has the event.
        let _ = tokio::time::timeout(Duration::from_millis(20), commits.changed()).await;
        let answered = answered.clone();
        let seen = cloud.keeper.run(move |replica| {
            let (now, cut) = (Instant::now(), replica.hub.counted());
            let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
            let mut seen = Vec::new();
            for events in answered.values_mut() {
                while let Some((position, at)) = events.front()
                    && cut
                        .get(&(position.log, position.epoch))
                        .is_some_and(|end| position.seq < *end)
                {
                    seen.push(now.saturating_duration_since(*at).as_secs_f64() * 1e3);
                    events.pop_front();
                }
            }
            Ok(seen)
        });
        ages.extend(seen.await?);
    }
    while let Some(done) = recording.join_next().await {
        done??;
    }
    Ok(ages)
}

async fn record(device: &Linked, impressions: u32) -> Outcome<Position> {
    record_by(&device.keeper, impressions).await
}

async fn record_by(keeper: &tallyroll_edge::keeper::Keeper, impressions: u32) -> Outcome<Position> {
    let act = Act::Print {
        job: None,
        user: "ada".into(),
        impressions,
        sheets: None,
        color: ColorMode::Monochrome,
        sides: None,
        media: None,
        source: CountSource::Device,
        job_number: None,
        acted_at: None,
        spool_job: None,
        running_total: None,
        page: None,
    };
    match keeper.record(vec![Entry::Act(act)]).await?.pop() {
        Some(Recorded::At(position)) => Ok(position),
        other => Err(format!("is not recorded: {other:?}").into()),
    }
}

/// What this process had the kernel write to disks so far.
fn disk_bytes() -> Outcome<u64> {
    let counted = std::fs::read_to_string("/proc/self/io")?;
    let written = counted.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(written.ok_or("the kernel does not count what is written (/proc/self/io)")?.parse()?)
}
