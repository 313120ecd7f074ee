//! Guarantee 2, converges: equal sets of events give byte-equal views, however they came together.
//!
//! Invariant: compared are archives, byte for byte, of the running view, of one folded from the
//! stored records with the logs in another order, of one replayed by commit positions, and of one
//! that a new process has; and a device's own figures with the cloud's for it.

use super::{CloudRecords, Violation, counted_here};
use crate::sim::world::{Step, World};
use std::collections::BTreeMap;
use tallyroll_engine::counts::Counts;
use tallyroll_engine::fold::{Origin, View};
use tallyroll_engine::hub::LogSummary;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{CommitPosition, EpochId, LogId, Record};

pub(super) fn at_the_end(world: &mut World, held: &CloudRecords) -> Step {
    the_past_agrees(world)?;
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let failed = |error: tallyroll_engine::Error| world.violation("converges", error.to_string());
    let shown = cloud.counts().archive();
    let mut logs = cloud.logs().map_err(failed)?;
    let replayed = cloud.counts_at(cloud.last_commit()).map_err(failed)?;
    let image = world.cloud.disk.durable_image();
    let restarted = world.cloud.start(&image, world.plan.redb, world.now, [0; 32]);
    let restarted = restarted.map_err(failed)?;
    equal(world, &shown, &replayed.archive(), "replayed by commit positions")?;
    equal(world, &shown, &restarted.counts().archive(), "of a new process")?;
    drop(restarted);
    let mut entropy = world.entropy.clone();
    entropy.shuffle(&mut logs);
    equal(world, &shown, &refold(&logs, held).archive(), "folded in another order")?;
    devices_agree(world, &logs, held)?;
    world.trace.note_bytes(&shown);
    Ok(())
}

/// What a cloud has at hand of the past is what it folds anew, in the middle as at the end.
fn the_past_agrees(world: &World) -> Step {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let last = cloud.last_commit();
    for index in [last.index / 2, last.index - last.index / 8, last.index] {
        let at = CommitPosition { index: index.max(1), ..last };
        let both = cloud.counts_at(at).and_then(|folded| Ok((folded, cloud.figures_at(at)?)));
        match both {
            Ok((folded, at_hand)) if figures(&folded) == figures(&at_hand) => {}
            Ok(_) => {
                let what = format!("the figures at hand of {at} differ from those folded anew");
                return Err(world.violation("converges", what));
            }
            Err(error) => return Err(world.violation("converges", error.to_string())),
        }
    }
    Ok(())
}

/// All of the counts that is shown of the past.
fn figures(counts: &Counts) -> impl PartialEq + '_ {
    let links: Vec<_> = counts.links().collect();
    let unused = (counts.incomplete(), counts.misplaced());
    (counts.usage(), counts.granted(), counts.books(), counts.accounts(), links, unused)
}

fn equal(world: &World, shown: &[u8], other: &[u8], which: &str) -> Step {
    if shown == other {
        return Ok(());
    }
    Err(world.violation("converges", format!("the cloud's view differs from the one {which}")))
}

/// The counts, log after log in the order given.
fn refold(logs: &[LogSummary], held: &CloudRecords) -> Counts {
    let mut by_epoch: BTreeMap<(LogId, EpochId), Vec<_>> = BTreeMap::new();
    for (position, bytes) in counted_here(held) {
        by_epoch.entry((position.log, position.epoch)).or_default().push((position, bytes));
    }
    let mut counts = Counts::default();
    for log in logs.iter().filter(|log| Counts::CLASSES.contains(&log.class)) {
        let device = log.device.filter(|_| log.class == LogClass::Ledger);
        for (position, bytes) in by_epoch.remove(&(log.log, log.epoch)).unwrap_or_default() {
            if let Ok((record, _)) = Record::split(bytes) {
                let origin = Origin { device, class: log.class, position: *position };
                counts.fold(&origin, &record);
            }
        }
    }
    counts
}

fn devices_agree(world: &World, logs: &[LogSummary], held: &CloudRecords) -> Result<(), Violation> {
    let Some(cloud) = &world.cloud.process else { return Ok(()) };
    let mut unknown = BTreeMap::new();
    for machine in &world.devices {
        let Some(process) = &machine.process else { continue };
        let index = machine.index;
        // What the cloud did in its jobs is not its own.
        let own =
            |log: &&LogSummary| log.device == Some(machine.id) && log.class == LogClass::Ledger;
        let own: Option<Vec<LogSummary>> =
            world.plan.acts.then(|| logs.iter().filter(own).cloned().collect());
        let own = own.map(|logs| refold(&logs, held));
        let there = own.as_ref().unwrap_or_else(|| cloud.counts()).usage().iter();
        let there = there.filter(|(key, _)| key.device == machine.id);
        // What is kept out of the cloud is still the device's own.
        let kept_out = world.stays_out(machine.id);
        if !kept_out && !process.counts().usage().iter().eq(there) {
            let what = format!("device {index}'s figures differ from the cloud's for it");
            return Err(world.violation("converges", what));
        }
        let image = machine.disk.durable_image();
        let restarted = machine.start(&image, world.plan.redb, world.now, [0; 32]);
        let restarted = restarted
            .map_err(|error| world.violation("converges", format!("device {index}: {error}")))?;
        if restarted.counts().archive() != process.counts().archive() {
            let what = format!("device {index}'s figures differ after a restart");
            return Err(world.violation("converges", what));
        }
        unknown.insert(machine.id, process.counts().incomplete()); // copies have each other's
    }
    let kept_out = world.devices.iter().any(|machine| world.stays_out(machine.id));
    let (unknown, there) = (unknown.values().sum::<u64>(), cloud.counts().incomplete());
    if there > unknown || (there < unknown && !kept_out) {
        let what = format!("{unknown} unknown events at the devices, others at the cloud");
        return Err(world.violation("converges", what));
    }
    Ok(())
}
