//! Guarantee 1, acknowledged is durable: positions returned and receipts kept outlive every crash.
//!
//! Invariant: looked for on what a power cut at this very moment would leave, at the same position
//! and with the same content; and at the cloud for everything that a device keeps a receipt of.

use super::{CloudRecords, Violation};
use crate::sim::disk::SimStore;
use crate::sim::image::Image;
use crate::sim::machine::TENANT;
use crate::sim::truth::Noted;
use crate::sim::world::{Step, World};
use tallyroll_engine::store::rows::{BatchRow, TipRow, epoch_key, seq_key};
use tallyroll_engine::store::{Rows, Store};
use tallyroll_schema::{Head, Position, Record};

/// A device went down: its acknowledged events are on its disk.
pub(crate) fn device(world: &World, index: usize, redb: bool) -> Step {
    let disk = world.devices[index].disk.durable_image();
    let image = Image::read(&disk, redb)
        .map_err(|error| world.violation("durable", format!("device {index}'s disk: {error}")))?;
    let logs: Vec<_> = image.records.keys().map(|position| position.log).collect();
    let mine = |position: &Position| logs.binary_search(&position.log).is_ok();
    for (position, noted) in world.truth.acknowledged.iter().filter(|(place, _)| mine(place)) {
        holds(world, &image.records, position, noted, &format!("device {index}"))?;
    }
    Ok(())
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
    cloud(world)?;
    for (position, noted) in &world.truth.acknowledged {
        holds(world, held, position, noted, "the cloud")?;
        let device = images.iter().find(|image| image.records.contains_key(position));
        if let Some(image) = device {
            holds(world, &image.records, position, noted, "its device")?;
        }
    }
    for index in 0..images.len() {
        device(world, index, world.plan.redb)?;
    }
    Ok(())
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
    let (record, _) = Record::split(bytes).map_err(|_| wrong("does not read"))?;
    let same = record.header.time.wall == noted.wall && record.event().as_ref() == Ok(&noted.event);
    if same { Ok(()) } else { Err(wrong("is another event")) }
}
