//! Guarantee 4, never rewrites: what the cloud stores is what the device wrote, byte for byte.
//!
//! Invariant: compared are stored bytes with stored bytes, of whole batches too; every chain, head
//! and receipt verifies; and the hybrid times of a log only grow, whatever the clocks did.

use super::CloudRecords;
use crate::sim::image::Image;
use crate::sim::machine::TENANT;
use crate::sim::world::{Step, World};
use tallyroll_engine::log::open;
use tallyroll_engine::store::Rows;
use tallyroll_engine::store::rows::BatchRow;
use tallyroll_schema::{Batch, HybridTime, Position, Record};

pub(super) fn at_the_end(world: &World, held: &CloudRecords, images: &[Image]) -> Step {
    for (machine, image) in world.devices.iter().zip(images) {
        let out = world.stays_out(machine.id);
        for (position, record) in &image.records {
            if out && !held.contains_key(position) {
                continue;
            }
            if held.get(position) != Some(record) {
                let what = format!("{position} has other bytes at the cloud than at its device");
                return Err(world.violation("never-rewrites", what));
            }
        }
    }
    if !world.plan.redb {
        batches_are_verbatim(world, images)?;
    }
    everything_verifies(world)?;
    times_grow(world, held)
}

fn batches_are_verbatim(world: &World, images: &[Image]) -> Step {
    let rows = world.cloud.disk.rows();
    let rows = Rows::new(TENANT, &rows);
    let taken_in = world.devices.iter().zip(images);
    let taken_in = taken_in.filter(|(machine, _)| !world.stays_out(machine.id));
    let written = taken_in.flat_map(|(machine, image)| {
        let poisoned = world.truth.poisoned.contains(&machine.id);
        image.batches.iter().map(move |(position, batch)| (poisoned, position, batch))
    });
    for (poisoned, Position { log, epoch, seq }, batch) in written {
        let row = rows.get::<BatchRow>(&(*log, *epoch, *seq)).ok().flatten();
        // What was damaged on its way, and says the same: only how it is packed is another.
        let unpacked = |batch: &Batch| open(batch.clone()).map(|opened| opened.records).ok();
        let same =
            |there: &Batch| there == batch || (poisoned && unpacked(there) == unpacked(batch));
        if row.is_none_or(|row| !same(&row.batch)) {
            let what = format!("the batch at {log}/{epoch}/{seq} is another one at the cloud");
            return Err(world.violation("never-rewrites", what));
        }
    }
    Ok(())
}

fn everything_verifies(world: &World) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let failed =
        |error: tallyroll_engine::Error| world.violation("never-rewrites", error.to_string());
    for summary in cloud.logs().map_err(failed)? {
        let kept = world.truth.receipts.get(&(summary.log, summary.epoch));
        let receipt = kept.filter(|_| world.truth.tails_lost == 0 || world.truth.copied.is_empty());
        let verified = cloud.verify_log(summary.log, summary.epoch, receipt).map_err(failed)?;
        if let Some((position, why)) = verified.wrong {
            return Err(world.violation("never-rewrites", format!("{position}: {why}")));
        }
        if verified.events != summary.events || verified.signed != summary.events {
            let (signed, events) = (verified.signed, summary.events);
            let what = format!("{}: {signed} of {events} events are signed", summary.log);
            return Err(world.violation("never-rewrites", what));
        }
    }
    Ok(())
}

fn times_grow(world: &World, held: &CloudRecords) -> Step {
    let mut last: Option<(Position, HybridTime)> = None;
    for (position, bytes) in held {
        let Ok((record, _)) = Record::split(bytes) else { continue };
        let time = record.header.time.hybrid;
        if let Some((before, earlier)) = last
            && (before.log, before.epoch) == (position.log, position.epoch)
            && time <= earlier
        {
            let what = format!("{position} is at {time}, the event before it at {earlier}");
            return Err(world.violation("never-rewrites", what));
        }
        last = Some((*position, time));
    }
    Ok(())
}
