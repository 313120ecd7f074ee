//! Liveness: once every fault is gone, everything is in sync within a stated time.
//!
//! Invariant: in sync means that every event of every device is sealed, held by the cloud and
//! receipted, every name stored, and the cloud's word to each device has arrived.

use super::Violation;
use crate::sim::world::World;
use tallyroll_engine::sync::Offer;
use tallyroll_schema::DeviceId;

/// What is still missing somewhere, if anything is.
pub(crate) fn missing(world: &World) -> Result<Option<String>, Violation> {
    let Some(cloud) = &world.cloud.process else { return Ok(Some("the cloud is down".into())) };
    for machine in &world.devices {
        let index = machine.index;
        let Some(process) = &machine.process else {
            return Ok(Some(format!("device {index} is down")));
        };
        let failed =
            |error: tallyroll_engine::Error| world.violation("liveness", error.to_string());
        for log in process.status().map_err(failed)?.logs {
            if log.durable_cloud != log.durable_local {
                let (there, here) = (log.durable_cloud, log.durable_local);
                let class = log.class;
                let what =
                    format!("device {index} {class:?}: {there} of {here} events in the cloud");
                return Ok(Some(what));
            }
        }
        let unstored = process.unstored_directory().map_err(failed)?;
        if !unstored.is_empty() {
            return Ok(Some(format!("device {index}: {} names not stored", unstored.len())));
        }
        let held = process.opening().map_err(failed)?.held;
        for Offer { head, .. } in cloud.offers(machine.id).map_err(failed)? {
            let place = (head.position.log, head.position.epoch);
            let tip = held.iter().find(|(epoch, _)| *epoch == place);
            if tip.is_none_or(|(_, tip)| tip.next_seq <= head.position.seq) {
                return Ok(Some(format!("device {index}: the cloud's log {}", head.position)));
            }
        }
    }
    let directory =
        cloud.directory().map_err(|error| world.violation("liveness", error.to_string()))?;
    let stored = |name: &&(DeviceId, _)| directory.iter().any(|(key, _)| key == *name);
    Ok(world
        .truth
        .minted
        .iter()
        .find(|name| !stored(name))
        .map(|(_, alias)| format!("the cloud has no name for {alias}")))
}
