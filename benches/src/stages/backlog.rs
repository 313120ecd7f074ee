//! A backlog: sealed at a device, over real QUIC on loopback, durable and receipted at a real cloud.
//!
//! Invariant: timed is what a branch waits for, from its link's start to the receipt of its last event, handshake
//! included, and on until the cloud's views have it; everything on the wire is counted, both ways. Beside it, in
//! turn, a bare QUIC loop moves as many bytes as the batches have. Each run has a new cloud and a new device.

use crate::Outcome;
use crate::bare::quinn_loop;
use crate::measure::{Plan, Spread, short};
use crate::site::Cloud;
use crate::workload::Office;
use crate::workload::columns::Columns;
use std::ops::ControlFlow;
use std::path::Path;
use tallyroll_engine::store::rows::BatchRow;
use tallyroll_engine::store::{Rows, Store};
use tempfile::TempDir;

/// What a backlog leaves for the next stage: a cloud that holds it.
#[derive(Debug)]
pub struct After {
    /// Its directory.
    pub cloud: TempDir,
    /// Events it holds of the device.
    pub events: u64,
}

/// Measures and prints.
///
/// # Errors
/// Files and sockets.
pub fn run(plan: &Plan) -> Outcome<Option<After>> {
    if !["backlog", "past", "replay", "seal"].into_iter().any(|stage| plan.wants(stage)) {
        return Ok(None);
    }
    let office = Office::of_one_device(2);
    let (mut seals, mut bare_rates) = (Vec::new(), Vec::new());
    let (mut receipted, mut in_views) = (Vec::new(), Vec::new());
    let (mut wire_each, mut bare_each) = (Vec::new(), Vec::new());
    let mut after = None;
    let mut sizes = Sizes::default();
    for _ in 0..plan.runs {
        let (cloud_dir, branch_dir, bare_dir) =
            (plan.temporary()?, plan.temporary()?, plan.temporary()?);
        let serving = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let cloud = serving.block_on(Cloud::start(cloud_dir.path()))?;
        let branch = serving.block_on(cloud.enrol("branch", &branch_dir.path().join("branch")))?;
        let filled = branch.fill(office.happenings().take(plan.events as usize))?;
        let events = filled.events as f64;
        seals.push(events / filled.seal_seconds);
        let before = cloud.wire.so_far();
        let counted = serving.block_on(cloud.events())? + filled.events;
        let took = branch.sync(&cloud, counted)?;
        let [came, went, _] = cloud.wire.so_far();
        let wire = came + went - before.iter().take(2).sum::<u64>();
        receipted.push(events / took.receipted);
        in_views.push(events / took.in_views);
        wire_each.push(wire as f64 / events);
        serving.block_on(cloud.stop())?;
        drop(serving);
        sizes = Sizes::of(cloud_dir.path())?;
        let (bare_took, bare_wire) = quinn_loop(&bare_dir.path().join("bare"), sizes.batches)?;
        bare_rates.push(events / bare_took);
        bare_each.push(bare_wire as f64 / events);
        after = Some(After { cloud: cloud_dir, events: filled.events });
    }
    let floor = Columns::of(office.happenings().take(plan.events as usize)).floor();
    let each = |bytes: u64| bytes as f64 / plan.events as f64;
    if let Some(floor) = floor {
        plan.note(
            "wire",
            "floor: xz -9 of columns",
            "bytes/event",
            "no protocol",
            Spread::of(vec![each(floor)]),
        )?;
    }
    let floor = floor.map_or("unknown: no xz here".into(), |bytes| format!("{:.1}", each(bytes)));
    let (ours, bare) = (Spread::of(receipted), Spread::of(bare_rates));
    let in_views = Spread::of(in_views);
    let (seals, wire) = (Spread::of(seals), Spread::of(wire_each));
    let durable = "fsync before the receipt, verified";
    plan.note("backlog", "tallyroll", "events/s", durable, ours)?;
    plan.note("backlog, in the views", "tallyroll", "events/s", durable, in_views)?;
    plan.note("backlog", "bare quinn loop", "events/s", "fdatasync before the ack", bare)?;
    plan.note("wire", "tallyroll", "bytes/event", "all of UDP/IP, both ways", wire)?;
    let at_rest = Spread::of(vec![each(sizes.used)]);
    plan.note("at rest", "tallyroll", "bytes/event", "in use in the store", at_rest)?;
    plan.note("sealing", "tallyroll", "events/s", "durable in the store", seals)?;
    println!("seal: {seals} events/s, durable in the store, as it falls due: at 64 KiB or hourly");
    println!(
        "backlog of {} events: {ours} events/s verified, durable and receipted, {in_views} in the views; bare quinn → blake3 → \
         append+fdatasync → ack {bare}; ratio {:.2}; bytes an event on the wire {wire}, bare {}; floor by xz -9 of the \
         columns {floor}",
        short(plan.events as f64),
        ours.median / bare.median,
        Spread::of(bare_each),
    );
    println!(
        "at rest in the cloud: {:.1} bytes an event in batches, {:.1} in use in the store's file of {:.1}",
        each(sizes.batches),
        each(sizes.used),
        each(sizes.file),
    );
    Ok(after)
}

/// What lies in a cloud's store.
#[derive(Debug, Default, Clone, Copy)]
struct Sizes {
    batches: u64,
    used: u64,
    file: u64,
}

impl Sizes {
    fn of(cloud: &Path) -> Outcome<Self> {
        let (store, tenant) = super::replay::store(cloud)?;
        let mut batches = 0;
        Rows::new(tenant, &store).scan::<BatchRow>(&[], &[], &mut |_, row| {
            batches += row.batch.bytes().len() as u64;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self { batches, used: store.used_bytes()?, file: store.file_bytes()? })
    }
}
