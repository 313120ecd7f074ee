//! Guarantee 4, found: what a device brings that does not verify is not admitted, whoever signed it;
//! and a device takes in no receipt but the cloud's and no stranger's log.
//!
//! Invariant: tried on copies of machines that lived through the history, so that nothing of it
//! stays; each forgery is refused, and what is sound is admitted, once.

use crate::sim::bugs::soundly;
use crate::sim::checkers::Violation;
use crate::sim::entropy::Entropy;
use crate::sim::forgery::{self, Forgery};
use crate::sim::machine::{CloudProcess, DeviceMachine, DeviceProcess, TENANT};
use crate::sim::world::{Step, World};
use tallyroll_engine::device::Now;
use tallyroll_engine::hub::LogSummary;
use tallyroll_engine::log::Tip;
use tallyroll_engine::merge::Burst;
use tallyroll_engine::store::Rows;
use tallyroll_engine::store::rows::BatchRow;
use tallyroll_engine::sync::{Effect, OfferKind, Reply};
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Commit, CommitPosition, DeviceId, EpochId, Hash, Head, LogId, Receipt};

/// Forgeries tried in one history; each wants a copy of the cloud.
const TRIED: usize = 3;

pub(super) fn at_the_end(world: &World) -> Step {
    revoked_is_revoked(world)?;
    if world.plan.redb {
        return Ok(()); // the same engine over slower rows
    }
    let mut entropy = world.entropy.clone();
    let mut forgeries = Forgery::ALL;
    entropy.shuffle(&mut forgeries);
    for forgery in forgeries.into_iter().take(TRIED) {
        tried(world, &mut entropy, forgery)?;
    }
    let mut device = device_that_wrote(world, &mut entropy)?;
    receipt_is_believed_by_signature(world, &mut entropy, &mut device)?;
    strangers_logs_are_refused(world, &mut entropy, &mut device)
}

/// Of a device that is not believed nothing more was taken in.
fn revoked_is_revoked(world: &World) -> Step {
    for (device, revocation) in &world.truth.revoked {
        if !revocation.released && world.held_of(*device)? != revocation.held {
            let what = format!("more was taken in of {device}, which is revoked");
            return Err(world.violation("verifies", what));
        }
    }
    Ok(())
}

fn tried(world: &World, entropy: &mut Entropy, forgery: Forgery) -> Step {
    let failed = |error: tallyroll_engine::Error| world.violation("verifies", error.to_string());
    let now = world.cloud.clock.show(world.now);
    let image = world.cloud.disk.durable_image();
    let mut cloud = world.cloud.start(&image, false, world.now, [0; 32]).map_err(failed)?;
    // The epoch that a copied device is writing may have ended, without its having heard of it yet.
    let only = |machine: &&DeviceMachine| {
        !world.truth.copied.contains_key(&machine.id) && !world.is_revoked(machine.id)
    };
    let machines: Vec<_> = world.devices.iter().filter(only).collect();
    if machines.is_empty() {
        return Ok(());
    }
    let machine = machines[entropy.index(machines.len())];
    let Some(Ok(offers)) = machine.process.as_ref().map(|process| process.offers()) else {
        return Ok(());
    };
    let of_cloud = cloud.offers(machine.id).map_err(failed)?;
    let mut open = offers.iter().filter(|offer| offer.kind == OfferKind::Open);
    let mut about = of_cloud.iter().filter(|offer| offer.class == LogClass::Device);
    let open = if forgery == Forgery::Tail { about.next_back() } else { open.next() };
    let Some(open) = open else { return Ok(()) };
    let Head { position, hash } = open.head;
    let epoch = (position.log, position.epoch);
    let tip = Tip { next_seq: position.seq + 1, hash };
    let first = first_end(world, epoch).unwrap_or(tip);
    let Some(burst) = soundly(|| forgery.forge(entropy, machine, epoch, tip, first)) else {
        return Err(world.violation("verifies", format!("{forgery:?} could not be made")));
    };
    let mut from = machine.id;
    if forgery == Forgery::OtherDevice {
        let other = world.devices.iter().find(|other| other.id != from);
        from = other.map_or(DeviceId([9; 16]), |other| other.id);
    }
    if forgery == Forgery::Revoked {
        cloud.revoke(now, from, "stolen".into()).map_err(failed)?;
    }
    let before = cloud.last_commit();
    let reply = brought(&mut cloud, now, from, &burst).map_err(failed)?;
    let admitted = match &reply {
        // Kept apart, it counts as arrived for its device, without a receipt.
        Reply::Persisted { receipt: None, .. } => has(&cloud, &burst).map_err(failed)?,
        reply => matches!(reply, Reply::Persisted { .. }),
    };
    if admitted != (forgery == Forgery::None) {
        let what = format!("{forgery:?}, brought by device {}: {reply:?}", machine.index);
        return Err(world.violation("verifies", what));
    }
    if !admitted {
        return Ok(());
    }
    let after = cloud.last_commit();
    let again = brought(&mut cloud, now, from, &burst).map_err(failed)?;
    let next = match after.epoch == before.epoch {
        true => before.index + 1,
        false => 1, // the process's first
    };
    if again != reply || after.index != next || cloud.last_commit() != after {
        let what = format!("the same burst twice: {reply:?}, then {again:?}");
        return Err(world.violation("verifies", what));
    }
    Ok(())
}

/// Whether the cloud's logs go as far as a burst.
fn has(cloud: &CloudProcess, burst: &Burst) -> tallyroll_engine::Result<bool> {
    let (log, epoch) = burst.epoch();
    let held = |held: &LogSummary| (held.log, held.epoch) == (log, epoch);
    let held = cloud.logs()?.into_iter().find(held);
    Ok(held.is_some_and(|held| held.events > burst.head.head.position.seq))
}

fn brought(
    cloud: &mut CloudProcess,
    now: Now,
    from: DeviceId,
    burst: &Burst,
) -> tallyroll_engine::Result<Reply> {
    let replies = cloud.perform(now, vec![(from, Effect::Persist(burst.clone()))])?;
    Ok(replies.into_iter().next().unwrap_or(Reply::Done))
}

/// Where an epoch's first batch ends.
fn first_end(world: &World, (log, epoch): (LogId, EpochId)) -> Option<Tip> {
    world.cloud.disk.with_rows(|rows| {
        let row: BatchRow = Rows::new(TENANT, rows).get(&(log, epoch, 0)).ok()??;
        Some(Tip { next_seq: row.batch.header().end_seq().ok()?, hash: row.hash })
    })
}

/// A copy of some device, with one more event sealed.
fn device_that_wrote(
    world: &World,
    entropy: &mut Entropy,
) -> Result<(usize, DeviceProcess), Violation> {
    let failed = |error: tallyroll_engine::Error| world.violation("verifies", error.to_string());
    let index = entropy.index(world.devices.len());
    let machine = &world.devices[index];
    let image = machine.disk.durable_image();
    let mut device = machine.start(&image, false, world.now, [0; 32]).map_err(failed)?;
    let now = machine.clock.show(world.now);
    let heartbeat = HeartbeatSent { uptime_seconds: 1 };
    device.commit(now, &[(LogClass::Ledger, heartbeat.into())]).map_err(failed)?;
    device.seal(now).map_err(failed)?;
    Ok((index, device))
}

/// It is told that this is durable: by a stranger, or by the cloud of another history.
fn receipt_is_believed_by_signature(
    world: &World,
    entropy: &mut Entropy,
    (index, device): &mut (usize, DeviceProcess),
) -> Step {
    let failed = |error: tallyroll_engine::Error| world.violation("verifies", error.to_string());
    let machine = &world.devices[*index];
    let offers = device.offers().map_err(failed)?;
    let Some(open) = offers.iter().find(|offer| offer.kind == OfferKind::Open) else {
        return Ok(());
    };
    let now = machine.clock.show(world.now);
    let commit = Commit { position: CommitPosition::default(), received_at: now.wall };
    let by_stranger = entropy.percent(50);
    let (signer, head) = match by_stranger {
        true => (machine.config().signer, open.head),
        false => (world.cloud.signer(), Head { hash: Hash(entropy.bytes()), ..open.head }),
    };
    let receipt: Receipt = signer.sign_receipt(TENANT, head, commit);
    device.perform(now, Effect::KeepReceipt(receipt)).map_err(failed)?;
    let kept = device.status().map_err(failed)?.logs.into_iter().filter_map(|log| log.receipt);
    if kept.into_iter().any(|kept| kept == receipt) {
        let whose = if by_stranger { "a stranger's" } else { "another history's" };
        return Err(world.violation("verifies", format!("{whose} receipt is kept")));
    }
    Ok(())
}

/// It is sent a log that is neither its own nor the cloud's.
fn strangers_logs_are_refused(
    world: &World,
    entropy: &mut Entropy,
    (index, device): &mut (usize, DeviceProcess),
) -> Step {
    let failed = |error: tallyroll_engine::Error| world.violation("verifies", error.to_string());
    let Some(burst) = soundly(|| forgery::log_of_a_stranger(entropy)) else { return Ok(()) };
    let now = world.devices[*index].clock.show(world.now);
    match device.perform(now, Effect::Persist(burst)).map_err(failed)? {
        Reply::Refused { .. } => Ok(()),
        reply => {
            let what = format!("device {index} is sent a stranger's log: {reply:?}");
            Err(world.violation("verifies", what))
        }
    }
}
