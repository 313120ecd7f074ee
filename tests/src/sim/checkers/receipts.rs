//! Receipts: each verifies, covers only what is durable at the moment it leaves, and names a commit
//! that no other one names; a device never goes back to an older one.
//!
//! Invariant: asked of the disk as a power cut would leave it, not of the process. On redb that
//! costs a copy of the database, so there one receipt in eight is looked at.

use super::durable::holds_head;
use crate::sim::disk::SimStore;
use crate::sim::faults::Fault;
use crate::sim::machine::TENANT;
use crate::sim::world::{Step, World};
use tallyroll_engine::device::LogStatus;
use tallyroll_engine::keys::verify_receipt;
use tallyroll_schema::{Position, Receipt};

/// The cloud sends a receipt.
pub(crate) fn sent(world: &mut World, receipt: &Receipt) -> Step {
    let known = world.truth.verified.contains(&receipt.signature.0);
    if !known && !verify_receipt(TENANT, &world.cloud.public_key(), receipt) {
        return Err(world.violation("receipts", "one with a wrong signature".into()));
    }
    world.truth.verified.insert(receipt.signature.0);
    let named = world.truth.commits.insert(receipt.commit.position, receipt.head);
    // By a clock that stands still, a process begins where one did that nothing tells of any more.
    let again = world.truth.tails_lost_unnoticed > 0 && world.plan.has(Fault::BadClock);
    if !again && named.is_some_and(|head| head != receipt.head) {
        let (number, head) = (receipt.commit.position, receipt.head.position);
        let what = format!("commit {number} is that of {head} and of another head");
        return Err(world.violation("receipts", what));
    }
    let durable = if !world.plan.redb {
        world.cloud.disk.with_rows(|rows| holds_head(rows, &receipt.head))
    } else if receipt.commit.position.index.is_multiple_of(8) {
        let store = SimStore::open(&world.cloud.disk.durable_image(), true);
        store.is_ok_and(|store| holds_head(&store, &receipt.head))
    } else {
        true
    };
    if durable {
        return Ok(());
    }
    let what = format!("one for {}, which a power cut would lose", receipt.head.position);
    Err(world.violation("receipts", what))
}

/// How far a device's receipt for an epoch goes.
pub(crate) fn covered(world: &World, index: usize, receipt: &Receipt) -> u64 {
    let Position { log, epoch, .. } = receipt.head.position;
    let status = world.devices[index].process.as_ref().and_then(|process| process.status().ok());
    let logs = status.map_or(Vec::new(), |status| status.logs);
    let here = logs.iter().find(|here| (here.log, here.epoch) == (log, epoch));
    here.map_or(0, |log| log.durable_cloud)
}

/// A device, whose receipt went as far as `before`, carried out keeping another one.
pub(crate) fn kept(world: &mut World, index: usize, receipt: &Receipt, before: u64) -> Step {
    let Some(process) = &world.devices[index].process else { return Ok(()) };
    let position = receipt.head.position;
    let status = process.status();
    let logs = status.map_err(|error| world.violation("receipts", error.to_string()))?.logs;
    let here = |log: &&LogStatus| (log.log, log.epoch) == (position.log, position.epoch);
    let log = logs.iter().find(here);
    if log.is_none_or(|log| position.seq >= log.sealed) {
        return Ok(()); // a copy's, or of what this one forgot when it was restored
    }
    let Some(kept) = log.and_then(|log| log.receipt) else {
        return Err(world.violation("receipts", format!("none is kept for {position}")));
    };
    if kept.head.position.seq < position.seq || kept.head.position.seq + 1 < before {
        return Err(world.violation("receipts", format!("an older one is kept than {position}")));
    }
    world.truth.receipts.insert((position.log, position.epoch), kept);
    Ok(())
}

/// A device starts: a receipt whose commit nobody answered for may lie on its disk all the same.
pub(crate) fn found(world: &mut World, index: usize) -> Step {
    let Some(process) = &world.devices[index].process else { return Ok(()) };
    let logs =
        process.status().map_err(|error| world.violation("receipts", error.to_string()))?.logs;
    for receipt in logs.into_iter().filter_map(|log| log.receipt) {
        let Position { log, epoch, seq } = receipt.head.position;
        let known = world.truth.receipts.get(&(log, epoch));
        let newer = known.is_none_or(|known| known.head.position.seq < seq);
        if newer && world.truth.verified.contains(&receipt.signature.0) {
            world.truth.receipts.insert((log, epoch), receipt);
        }
    }
    Ok(())
}

/// What devices keep is what was sent.
pub(super) fn at_the_end(world: &World) -> Step {
    for receipt in world.truth.receipts.values() {
        if !verify_receipt(TENANT, &world.cloud.public_key(), receipt) {
            return Err(world.violation("receipts", "one kept does not verify".into()));
        }
    }
    Ok(())
}
