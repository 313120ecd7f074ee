//! Guarantee 5, never forks silently: no position ever has two contents.
//!
//! Invariant: one disk acknowledges a position once. An end that speaks of a fork, or refuses what
//! the other one wrote, has seen the engine contradict itself, unless the device is known to have
//! been copied; then its epochs are at most two for each copy, and without a perfect copy nothing
//! is recorded again. Nothing is kept apart but what was damaged, what a revoked device brings, and
//! what one copy adds to another's history.

use super::{CloudRecords, Violation};
use crate::sim::faults::Fault;
use crate::sim::image::Image;
use crate::sim::network::Side;
use crate::sim::truth::{CLOUD, Noted};
use crate::sim::world::{Step, World};
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use tallyroll_engine::merge::Refusal;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{ErrorCode, ErrorMessage};
use tallyroll_schema::{DeviceId, EpochId, Event, LogId, Position};

/// A position is about to be noted as acknowledged.
pub(crate) fn acknowledged(world: &World, life: u64, position: Position, noted: &Noted) -> Step {
    match world.truth.acknowledged.get(&(life, position)) {
        Some(earlier) => {
            let (first, second) = (earlier.event.name(), noted.event.name());
            let what = format!("{position} was {first} and is {second} now");
            Err(world.violation("never-forks", what))
        }
        None if life == CLOUD && world.truth.given_away.contains(&position) => {
            let (event, what) = (noted.event.name(), "was given away by a disk that is gone");
            Err(world.violation("never-forks", format!("{position} {what}, and is {event} now")))
        }
        None => Ok(()),
    }
}

/// Every epoch was opened by one process: no two have the same, wherever they began.
pub(super) fn opened_once(world: &World, held: &CloudRecords, images: &[Image]) -> Step {
    let mut opened: BTreeMap<Position, &[u8]> = BTreeMap::new();
    let records = images.iter().flat_map(|image| {
        let aside =
            image.evidence.iter().flat_map(|(at, all)| all.iter().map(move |one| (at, one)));
        image.records.iter().chain(aside)
    });
    for (at, record) in held.iter().chain(records) {
        if at.seq == 0 && at.epoch.counter > 0 {
            let first = *opened.entry(*at).or_insert(record);
            if first != record {
                return Err(world.violation("never-forks", format!("{at} was opened twice")));
            }
        }
    }
    Ok(())
}

/// An end did not admit what the other one sent.
pub(crate) fn refused(
    world: &mut World,
    (copied, apart): (bool, bool),
    side: Side,
    refusal: &Refusal,
) -> Step {
    world.trace.note(world.now, format_args!("{side:?} refuses: {refusal}"));
    match refusal {
        Refusal::Gap { .. } => Ok(()),
        Refusal::Fork { .. } | Refusal::Orphan { .. } | Refusal::Ended { .. } if copied => Ok(()),
        Refusal::Fork { .. } | Refusal::Orphan { .. } | Refusal::Ended { .. } => {
            Err(found(world, "never-forks", &refusal.to_string()))
        }
        Refusal::Quarantined { .. } | Refusal::QuarantineFull(_)
            if (apart || copied) && side == Side::Cloud =>
        {
            if apart {
                world.happened.count(Fault::Poison);
            }
            Ok(())
        }
        Refusal::Pruned { .. } => Err(found(world, "durable", &refusal.to_string())),
        Refusal::Poison(_)
        | Refusal::Denied(_)
        | Refusal::Closed { .. }
        | Refusal::Quarantined { .. }
        | Refusal::QuarantineFull(_) => Err(found(world, "never-rewrites", &refusal.to_string())),
    }
}

/// An end tells the other one of an error.
pub(crate) fn told(world: &World, (copied, apart): (bool, bool), error: &ErrorMessage) -> Step {
    match error.code {
        ErrorCode::Fork if copied => Ok(()),
        ErrorCode::Fork => Err(found(world, "never-forks", &error.text)),
        ErrorCode::Poison if copied => Ok(()),
        ErrorCode::Poison | ErrorCode::Denied if apart => Ok(()),
        ErrorCode::Pruned => Err(found(world, "durable", &error.text)),
        ErrorCode::Poison | ErrorCode::Denied => Err(found(world, "never-rewrites", &error.text)),
        _ => Ok(()),
    }
}

/// The cloud took in the first batch of a later epoch: the one that it continues has ended.
pub(crate) fn began(world: &mut World, (log, epoch): (LogId, EpochId)) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let mut parent = None;
    let read = cloud.read_log(log, epoch, 0, &mut |_, record| {
        if let Ok(Event::EpochOpened(opened)) = record.event() {
            parent = Some(opened.parent);
        }
        ControlFlow::Break(())
    });
    let logs = read.and_then(|()| cloud.logs());
    let logs = logs.map_err(|error| world.violation("never-forks", error.to_string()))?;
    // An epoch of the cloud's own that it thought lost may come back from a copy that turns up later.
    let own = |class| matches!(class, LogClass::Ledger | LogClass::Telemetry);
    let mut held = logs.iter().filter(|held| held.log == log && own(held.class));
    let ended = held.find(|held| Some(held.epoch) == parent);
    if let Some(ended) = ended {
        world.truth.ended.entry((log, ended.epoch)).or_insert(ended.events);
    }
    Ok(())
}

/// A copied device's logs have few epochs, and what was not copied has one.
pub(super) fn at_the_end(world: &World) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let logs = cloud.logs().map_err(|error| world.violation("never-forks", error.to_string()))?;
    for log in &logs {
        let ended = world.truth.ended.get(&(log.log, log.epoch));
        if ended.is_some_and(|end| log.events != *end) {
            let (epoch, end) = (log.epoch, ended.copied().unwrap_or(0));
            let what = format!("epoch {epoch} ended at seq {end} and goes to {}", log.events);
            return Err(world.violation("never-forks", what));
        }
    }
    let own = |class| matches!(class, LogClass::Ledger | LogClass::Telemetry);
    let mut epochs: BTreeMap<(DeviceId, LogId), u64> = BTreeMap::new();
    for log in logs.iter().filter(|log| own(log.class)) {
        let device = log.device.unwrap_or(DeviceId([0; 16]));
        *epochs.entry((device, log.log)).or_default() += 1;
    }
    for ((device, log), epochs) in epochs {
        let copies = world.truth.copied.get(&device).copied().unwrap_or(0);
        let lost = if copies > 0 { world.truth.tails_lost } else { 0 };
        if epochs > 1 + 2 * (copies + lost) {
            let what = format!("{epochs} epochs of {log}, whose device was copied {copies} times");
            return Err(world.violation("never-forks", what));
        }
    }
    for (key, usage) in cloud.counts().usage() {
        let device = &key.device;
        let lost = world.truth.tails_lost > 0 && world.truth.copied.contains_key(device);
        // While the end of an epoch was kept apart, the next one may have ended it.
        let lost = lost || world.truth.poisoned.contains(device);
        if usage.unbacked != 0 && !lost && !world.truth.perfectly_copied.contains(device) {
            let what = format!("{key:?} is recorded again, and nobody copied it unnoticed");
            return Err(world.violation("never-forks", what));
        }
    }
    Ok(())
}

fn found(world: &World, checker: &'static str, text: &str) -> Violation {
    world.violation(checker, format!("among honest machines: {text}"))
}
