//! The checkers: one guarantee each, a file each.
//!
//! Invariant: a checker compares what an outside observer knows with what is stored or shown, and
//! names what is missing or wrong; it never mends anything. Those that can, look while it happens;
//! at the end, when everything is healed, all of them look at everything.

mod accounts;
mod books;
pub(crate) mod bounded;
pub(crate) mod conserves;
mod converges;
pub(crate) mod durable;
mod every_credit_has_a_place;
mod jobs;
pub(crate) mod liveness;
pub(crate) mod never_forks;
mod never_overspends;
mod never_rewrites;
pub(crate) mod receipts;
mod verifies;

use super::bugs::soundly;
use super::image::Image;
use super::occasions::Occasion;
use super::world::{Step, World};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::{Event, Position, Record};

/// A guarantee that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Whose checker found it.
    pub checker: &'static str,
    /// What was wrong, and when.
    pub what: String,
}

/// The names of all checkers.
pub const NAMES: [&str; 11] = [
    "durable",
    "converges",
    "never-rewrites",
    "never-forks",
    "never-overspends",
    "every-credit-has-a-place",
    "bounded",
    "conserves",
    "receipts",
    "verifies",
    "liveness",
];

/// Every record the cloud holds, as stored.
pub(crate) type CloudRecords = BTreeMap<Position, Vec<u8>>;

/// The records that were recorded again, by the place where they stood.
pub(crate) fn recorded_again(held: &CloudRecords) -> BTreeMap<Position, BTreeSet<Vec<u8>>> {
    let mut again: BTreeMap<Position, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for bytes in held.values() {
        if let Ok(Event::EventResubmitted(event)) =
            Record::split(bytes).and_then(|(r, _)| r.event())
        {
            again.entry(event.resubmitted_from).or_default().insert(event.record.0);
        }
    }
    again
}

/// The records without those that were recorded again: they count there, and no more at the place that
/// they had, should they be found there, too.
pub(crate) fn counted_here(held: &CloudRecords) -> impl Iterator<Item = (&Position, &Vec<u8>)> {
    let again = recorded_again(held);
    let elsewhere = move |position, bytes| {
        again.get(position).is_some_and(|all: &BTreeSet<Vec<u8>>| all.contains(bytes))
    };
    held.iter().filter(move |(position, bytes)| !elsewhere(*position, *bytes))
}

/// All records that count, where they do, and whether they were recorded again there.
pub(crate) fn counted(held: &CloudRecords) -> Vec<(Position, Vec<u8>, bool)> {
    let mut again: BTreeMap<(Position, Vec<u8>), Position> = BTreeMap::new();
    for (position, bytes) in held {
        if let Ok(Event::EventResubmitted(event)) =
            Record::split(bytes).and_then(|(r, _)| r.event())
        {
            again.entry((event.resubmitted_from, event.record.0)).or_insert(*position);
        }
    }
    let here = counted_here(held).map(|(position, bytes)| (*position, bytes.clone(), false));
    here.chain(again.into_iter().map(|((_, bytes), position)| (position, bytes, true))).collect()
}

/// All guarantees, when everything is healed.
pub(crate) fn at_the_end(world: &mut World) -> Step {
    let held = soundly(|| cloud_records(world))?;
    let mut images = Vec::new();
    for machine in &world.devices {
        let image = soundly(|| Image::read(&machine.disk.durable_image(), world.plan.redb));
        let image = image.map_err(|error| world.violation("durable", error.to_string()))?;
        images.push(image);
    }
    soundly(|| never_rewrites::at_the_end(world, &held, &images))?;
    durable::at_the_end(world, &held, &images)?;
    receipts::at_the_end(world)?;
    never_forks::at_the_end(world)?;
    never_forks::opened_once(world, &held, &images)?;
    converges::at_the_end(world, &held)?;
    if conserves::at_the_end(world, &held)? > 0 {
        world.occasions.count(Occasion::Adjusted);
    }
    never_overspends::at_the_end(world, &held)?;
    let cloud = world.cloud.process.as_ref();
    if cloud.is_some_and(|cloud| cloud.leases().iter().any(|lease| lease.came_after > 0)) {
        world.occasions.count(Occasion::CameAfter);
    }
    every_credit_has_a_place::at_the_end(world, &held)?;
    verifies::at_the_end(world)?;
    for (position, record) in &held {
        world.trace.note_bytes(position.to_string().as_bytes());
        world.trace.note_bytes(record);
    }
    Ok(())
}

fn cloud_records(world: &World) -> Result<CloudRecords, Violation> {
    let mut held = CloudRecords::new();
    let Some(cloud) = &world.cloud.process else { return Ok(held) };
    let read = cloud.logs().and_then(|logs| {
        for log in logs {
            cloud.read_log(log.log, log.epoch, 0, &mut |position, record| {
                held.insert(position, record.bytes.to_vec());
                core::ops::ControlFlow::Continue(())
            })?;
        }
        Ok(())
    });
    read.map_err(|error| world.violation("durable", format!("the cloud's log: {error}")))?;
    Ok(held)
}
