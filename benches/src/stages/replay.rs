//! Replay: from stored batches to balances and totals, and what each layer of it takes.
//!
//! Invariant: one core, from the cloud's real store, with the system's cache warm; no snapshot is used but where
//! opening is measured. Each layer does all that those before it do, so that the differences are its own.

use super::backlog::After;
use crate::Outcome;
use crate::disk::{Counter, StoreFile};
use crate::measure::{Plan, Spread, seconds};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_cloud::identity::Identity;
use tallyroll_engine::counts::Counts;
use tallyroll_engine::fold::Replay;
use tallyroll_engine::log::{Opened, Tip, open};
use tallyroll_engine::store::rows::{BatchRow, CommitRow};
use tallyroll_engine::store::{RedbStore, Rows};
use tallyroll_schema::{Records, TenantId};

/// As large as the cloud's.
const CACHE_BYTES: usize = 64 << 20;

/// What is done with a stored batch; returns how many of its events it was done with.
type Layer<'a> = (&'static str, Box<dyn FnMut(BatchRow) -> Outcome<u64> + 'a>);

/// A cloud's store, opened by itself, and whose it is.
///
/// # Errors
/// Files.
pub fn store(cloud: &Path) -> Outcome<(RedbStore, TenantId)> {
    let dir = DataDir::new(cloud);
    let Identity { tenant, .. } = Identity::open_or_create(&dir)?;
    let file = StoreFile::open(&dir.store(), &Counter::default())?;
    Ok((RedbStore::open(file, CACHE_BYTES)?, tenant))
}

/// Measures and prints.
///
/// # Errors
/// Files, or the engine.
pub fn run(plan: &Plan, after: Option<After>) -> Outcome {
    let Some(after) = after.filter(|_| plan.wants("replay")) else { return Ok(()) };
    let mut opening = Vec::new();
    let mut folded = None;
    for _ in 0..plan.runs {
        let dir = DataDir::new(after.cloud.path());
        let (took, opened) = seconds(|| Ok(tallyroll_cloud::opening::open(&dir)?))?;
        opening.push(took * 1e3);
        folded = Some(opened.replica.hub.counts().clone());
    }
    println!("opening a cloud of {} events: {} ms", after.events, Spread::of(opening));

    let (store, tenant) = store(after.cloud.path())?;
    let rows = Rows::new(tenant, &store);
    let last = rows.last::<CommitRow>(&[])?.and_then(|(key, _)| CommitRow::position(&key));
    let last = last.ok_or("a cloud without a commit")?;
    let mut rates = Vec::new();
    for _ in 0..plan.runs {
        let (took, replay) = seconds(|| Ok(Replay::<Counts>::at(&rows, last)?))?;
        if folded.as_ref().is_some_and(|folded| folded != replay.view()) {
            return Err("what was replayed is not what the cloud shows".into());
        }
        rates.push(after.events as f64 / took);
    }
    let rates = Spread::of(rates);
    let checked = "one core, from stored batches, rows and framing checked";
    plan.note("replay", "tallyroll", "events/s", checked, rates)?;
    println!("replay to balances and totals: {rates} events/s a core, without the chain");
    let opened =
        |row: BatchRow| Ok::<Opened, Box<dyn std::error::Error + Send + Sync>>(open(row.batch)?);
    let layers: [Layer<'_>; 4] = [
        ("rows read, their checksums", Box::new(|row| Ok(row.batch.header().count.into()))),
        ("+ uncompressed, framed", Box::new(|row| Ok(opened(row)?.batch.header().count.into()))),
        (
            "+ the chain",
            Box::new(|row| {
                let opened = opened(row)?;
                let next_seq = opened.batch.header().first_seq;
                let tip = Tip { next_seq, ..Tip::START };
                black_box(tip.advance(tenant, &opened.batch, &opened.records));
                Ok(opened.batch.header().count.into())
            }),
        ),
        (
            "uncompressed, framed, events decoded",
            Box::new(|row| {
                let mut count = 0;
                for record in Records::new(&opened(row)?.records) {
                    black_box(record?.event()?);
                    count += 1;
                }
                Ok(count)
            }),
        ),
    ];
    for (name, mut work) in layers {
        let mut rates = Vec::new();
        for _ in 0..plan.runs {
            let (took, events) = seconds(|| {
                let (mut events, mut failed) = (0, None);
                rows.scan::<BatchRow>(&[], &[], &mut |_, row| match work(row) {
                    Ok(count) => {
                        events += count;
                        Ok(ControlFlow::Continue(()))
                    }
                    Err(why) => {
                        failed = Some(why);
                        Ok(ControlFlow::Break(()))
                    }
                })?;
                failed.map_or(Ok(events), Err)
            })?;
            rates.push(events as f64 / took);
        }
        println!("  of it, {name}: {} events/s", Spread::of(rates));
    }
    Ok(())
}
