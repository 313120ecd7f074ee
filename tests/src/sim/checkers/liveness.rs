//! Liveness: once every fault is gone, everything is in sync within a stated time.
//!
//! Invariant: in sync means that every event of every device is sealed, held by the cloud and
//! receipted, every name stored, and the cloud's word to each device has arrived. Of a revoked
//! device it means that all its events are kept apart, or were released.

use super::Violation;
use crate::sim::machine::{CloudProcess, DeviceMachine};
use crate::sim::world::World;
use tallyroll_engine::device::Status;
use tallyroll_engine::sync::Offer;
use tallyroll_schema::DeviceId;
use tallyroll_schema::event::log::LogClass;

/// What is still missing somewhere, if anything is.
pub(crate) fn missing(world: &World) -> Result<Option<String>, Violation> {
    let Some(cloud) = &world.cloud.process else { return Ok(Some("the cloud is down".into())) };
    if let Some(recovery) = cloud.recovery() {
        return Ok(Some(format!("the cloud waits for {} devices", recovery.missing.len())));
    }
    if cloud.settle_due().is_some() {
        return Ok(Some("the cloud has yet to fold anew what it may count twice".into()));
    }
    let logs = cloud.logs().map_err(|error| world.violation("liveness", error.to_string()))?;
    for machine in &world.devices {
        let index = machine.index;
        let Some(process) = &machine.process else {
            return Ok(Some(format!("device {index} is down")));
        };
        let failed =
            |error: tallyroll_engine::Error| world.violation("liveness", error.to_string());
        let status = process.status().map_err(failed)?;
        if status.unconfirmed && !world.is_revoked(machine.id) {
            return Ok(Some(format!("device {index} does not know its past yet")));
        }
        if world.is_revoked(machine.id) {
            if let Some(what) = missing_apart(world, cloud, machine, &status)? {
                return Ok(Some(what));
            }
            continue;
        }
        for log in &status.logs {
            let there = logs.iter().find(|there| (there.log, there.epoch) == (log.log, log.epoch));
            let there = there.map_or(0, |there| there.events);
            let more = log.open && world.has_gathered() && there > log.durable_local;
            if there < log.durable_local || more {
                let (epoch, here) = (log.epoch, log.durable_local);
                let what = format!("device {index}, epoch {epoch}: {there} of {here} are there");
                return Ok(Some(what));
            }
            if log.open && log.durable_cloud != log.durable_local {
                let (there, here) = (log.durable_cloud, log.durable_local);
                let class = log.class;
                let what =
                    format!("device {index} {class:?}: {there} of {here} events in the cloud");
                return Ok(Some(what));
            }
        }
        for log in logs.iter().filter(|log| world.has_gathered() && log.device == Some(machine.id))
        {
            let here =
                status.logs.iter().find(|here| (here.log, here.epoch) == (log.log, log.epoch));
            let own = matches!(log.class, LogClass::Ledger | LogClass::Telemetry);
            if own && here.is_none_or(|here| here.durable_local < log.events) {
                let what = format!("device {index} has not what its copies wrote in {}", log.epoch);
                return Ok(Some(what));
            }
        }
        let unstored = process.unstored_directory().map_err(failed)?;
        if !unstored.is_empty() {
            return Ok(Some(format!("device {index}: {} names not stored", unstored.len())));
        }
        let held = process.opening().map_err(failed)?.held;
        for ((log, epoch), tip) in &held {
            let there = logs.iter().find(|there| (there.log, there.epoch) == (*log, *epoch));
            // Where another copy of it had said what it holds, and less, the cloud went on without this one's.
            let copied = world.devices.iter().filter(|other| other.id == machine.id).count() > 1;
            let ended = || {
                logs.iter().any(|later| {
                    later.log == *log
                        && later.epoch.counter > epoch.counter
                        && !matches!(later.class, LogClass::Ledger | LogClass::Telemetry)
                })
            };
            if copied && world.truth.tails_lost > 0 && ended() {
                continue;
            }
            if there.is_none_or(|there| there.events < tip.next_seq) {
                let what = format!("device {index} has more than the cloud of its log {epoch}");
                return Ok(Some(what));
            }
        }
        for Offer { head, .. } in cloud.offers(machine.id).map_err(failed)? {
            let place = (head.position.log, head.position.epoch);
            let tip = held.iter().find(|(epoch, _)| *epoch == place);
            if tip.is_none_or(|(_, tip)| tip.next_seq <= head.position.seq) {
                return Ok(Some(format!("device {index}: the cloud's log {}", head.position)));
            }
        }
    }
    if let Some((asked, _)) = cloud.unanswered().first() {
        return Ok(Some(format!("the answer to {}", asked.position)));
    }
    let directory =
        cloud.directory().map_err(|error| world.violation("liveness", error.to_string()))?;
    let stored = |name: &&(DeviceId, _)| {
        world.is_revoked(name.0) || directory.iter().any(|(key, _)| key == *name)
    };
    Ok(world
        .truth
        .minted
        .keys()
        .find(|name| !stored(name))
        .map(|(_, alias)| format!("the cloud has no name for {alias}")))
}

/// What of a revoked device's events the cloud neither has nor keeps apart nor was told to discard.
fn missing_apart(
    world: &World,
    cloud: &CloudProcess,
    machine: &DeviceMachine,
    status: &Status,
) -> Result<Option<String>, Violation> {
    let failed = |error: tallyroll_engine::Error| world.violation("liveness", error.to_string());
    let held = world.held_of(machine.id)?;
    let apart = cloud.quarantine().map_err(failed)?;
    let discarded = cloud.discarded().map_err(failed)?;
    for log in &status.logs {
        let place = (log.log, log.epoch);
        let kept = apart.iter().find(|kept| kept.entry.place() == place);
        let kept = kept.map(|kept| kept.entry.head);
        let gone = discarded.iter().find(|gone| (gone.log, gone.epoch) == place);
        let kept = kept.or(gone.map(|gone| gone.row.head)).map_or(0, |head| head.position.seq + 1);
        let there = held.get(&place).copied().unwrap_or(0).max(kept);
        if there < log.durable_local {
            let (index, here) = (machine.index, log.durable_local);
            return Ok(Some(format!("revoked device {index}: {there} of {here} are kept")));
        }
    }
    let open = world.truth.revoked.get(&machine.id).is_some_and(|one| one.released)
        && apart.iter().any(|kept| kept.device == machine.id);
    Ok(open.then(|| format!("revoked device {}: not all is released", machine.index)))
}
