//! Guarantee 1, acknowledged is durable: positions returned and receipts kept outlive every crash.
//!
//! Invariant: looked for on what a power cut at this very moment would leave, at the same position
//! and with the same content; and at the cloud for everything that a device keeps a receipt of.

use super::{CloudRecords, Violation, conserves, recorded_again};
use crate::sim::bugs::soundly;
use crate::sim::disk::SimStore;
use crate::sim::image::Image;
use crate::sim::machine::TENANT;
use crate::sim::truth::Noted;
use crate::sim::world::{Step, World};
use std::collections::BTreeSet;
use tallyroll_engine::store::rows::{BatchRow, TipRow, epoch_key, seq_key};
use tallyroll_engine::store::{Rows, Store};
use tallyroll_schema::event::counts::{CountSource, PagesPrinted};
use tallyroll_schema::{EpochId, Event, Head, LogId, Position};

/// A device went down: its acknowledged events are on its disk.
pub(crate) fn device(world: &World, index: usize, redb: bool) -> Step {
    let disk = world.devices[index].disk.durable_image();
    let image = soundly(|| Image::read(&disk, redb))
        .map_err(|error| world.violation("durable", format!("device {index}'s disk: {error}")))?;
    on_its_disk(world, index, &image)
}

/// What a machine acknowledged lies where it was, or with the evidence; or it was pruned, once a
/// receipt covered it.
fn on_its_disk(world: &World, index: usize, image: &Image) -> Step {
    let life = world.devices[index].life;
    for ((_, position), noted) in world.truth.acknowledged.range(of(life)) {
        let pruned = image.pruned.get(&(position.log, position.epoch));
        if pruned.is_some_and(|pruned| pruned.covers(position.seq)) {
            receipted(world, index, position)?;
            continue;
        }
        let aside = image.evidence.get(position);
        if !aside.is_some_and(|records| records.iter().any(|record| noted.is(record))) {
            holds(world, &image.records, position, noted, &format!("device {index}"))?;
        }
    }
    Ok(())
}

/// Only what the cloud has may be pruned.
fn receipted(world: &World, index: usize, position: &Position) -> Step {
    let receipt = world.truth.receipts.get(&(position.log, position.epoch));
    if receipt.is_some_and(|receipt| receipt.head.position.seq >= position.seq) {
        return Ok(());
    }
    let what = format!("device {index} pruned {position}, of which there is no receipt");
    Err(world.violation("durable", what))
}

fn of(life: u64) -> impl std::ops::RangeBounds<(u64, Position)> {
    let at = |seq| {
        let (log, nonce) = if seq == 0 { ([0; 32], [0; 16]) } else { ([0xff; 32], [0xff; 16]) };
        let counter = if seq == 0 { 0 } else { u32::MAX };
        (life, Position { log: LogId(log), epoch: EpochId { counter, nonce }, seq })
    };
    at(0)..=at(u64::MAX)
}

/// The cloud went down: everything a device keeps a receipt of is on its disk.
pub(crate) fn cloud(world: &World) -> Step {
    let disk = world.cloud.disk.durable_image();
    let store = SimStore::open(&disk, world.plan.redb)
        .map_err(|error| world.violation("durable", format!("the cloud's disk: {error}")))?;
    for receipt in world.truth.receipts.values() {
        if !holds_head(&store, &receipt.head) {
            let what = format!("receipted {} is not in the cloud", receipt.head.position);
            return Err(world.violation("durable", what));
        }
    }
    Ok(())
}

/// Everything acknowledged is at both ends.
pub(super) fn at_the_end(world: &World, held: &CloudRecords, images: &[Image]) -> Step {
    // With a device's disk gone and the cloud's tail too, what only those two had is nowhere.
    if world.truth.tails_lost == 0 || world.truth.copied.is_empty() {
        cloud(world)?;
    }
    let out = logs_kept_out(world)?;
    let again = recorded_again(held);
    let jobs = conserves::stored(held).jobs;
    for ((_, position), noted) in &world.truth.acknowledged {
        let aside = again.get(position);
        if aside.is_some_and(|records| records.iter().any(|record| noted.is(record))) {
            continue;
        }
        // A page-log line that a copy counted is not recorded again.
        if let Event::PagesPrinted(PagesPrinted { source: CountSource::PageLog, job, .. }) =
            &noted.event
            && held.get(position).is_none_or(|record| !noted.is(record))
            && !world.truth.copied.is_empty()
            && jobs.contains_key(job)
        {
            continue;
        }
        if out.contains(&position.log) && !held.contains_key(position) {
            continue;
        }
        holds(world, held, position, noted, "the cloud")?;
    }
    for (index, image) in images.iter().enumerate() {
        on_its_disk(world, index, image)?;
    }
    Ok(())
}

/// The logs of devices that are revoked, and whose later events nobody released.
fn logs_kept_out(world: &World) -> Result<BTreeSet<LogId>, Violation> {
    let mut logs = BTreeSet::new();
    for machine in world.devices.iter().filter(|machine| world.stays_out(machine.id)) {
        let Some(process) = &machine.process else { continue };
        let status = process.status();
        let status = status.map_err(|error| world.violation("durable", error.to_string()))?;
        logs.extend(status.logs.iter().map(|log| log.log));
    }
    Ok(logs)
}

/// Whether a store has a log up to a head, by the hashes it stored.
pub(crate) fn holds_head<S: Store>(store: &S, head: &Head) -> bool {
    let Position { log, epoch, seq } = head.position;
    let rows = Rows::new(TENANT, store);
    let tip = rows.get::<TipRow>(&(log, epoch)).ok().flatten();
    let upto = seq_key(log, epoch, seq + 1);
    let last = rows.last_before::<BatchRow>(&epoch_key(log, epoch), &upto).ok().flatten();
    tip.is_some_and(|tip| tip.next_seq > seq)
        && last
            .is_some_and(|row| row.hash == head.hash && row.batch.header().end_seq() == Ok(seq + 1))
}

fn holds(
    world: &World,
    records: &CloudRecords,
    position: &Position,
    noted: &Noted,
    who: &str,
) -> Result<(), Violation> {
    let wrong = |what: &str| world.violation("durable", format!("{position} {what} at {who}"));
    let bytes = records.get(position).ok_or_else(|| wrong("is missing"))?;
    if noted.is(bytes) { Ok(()) } else { Err(wrong("is another event")) }
}
