//! Copies of disks: old ones put back, a device's or the cloud's, and clones that run beside their
//! originals.
//!
//! Invariant: only a disk's copies are made here, never an event's. What a disk that is gone had
//! acknowledged since its copy, and the cloud has not, is excused: it went with the disk.

use super::checkers::Violation;
use super::disk::SimStore;
use super::faults::Fault;
use super::machine::{Backup, TENANT};
use super::truth::{CLOUD, Corrected, Fate};
use super::world::{Happening, Step, World};
use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_engine::hub::mark_restored;
use tallyroll_engine::log::open;
use tallyroll_engine::store::Rows;
use tallyroll_engine::store::rows::BatchRow;
use tallyroll_schema::{BatchHeader, Event, Hash, Position, Record, Records};

/// Machines a history may have, with its clones.
const MACHINES_MAX: usize = 10;

impl World {
    /// A device's disk is copied; the next time, the copy is put back.
    pub(super) fn copy_or_restore(&mut self, index: usize) -> Step {
        let machine = &mut self.devices[index];
        match machine.backup.take() {
            None => {
                let disk = machine.disk.durable_image();
                machine.backup = Some(Backup { disk, taken_at: self.moment });
                Ok(())
            }
            Some(backup) => self.restore_copy(index, backup),
        }
    }

    fn restore_copy(&mut self, index: usize, backup: Backup) -> Step {
        self.cut_power(index)?;
        self.happened.count(Fault::OldCopy);
        let moved = self.entropy.percent(50);
        let (anchor, life) = (Hash(self.entropy.bytes()), self.entropy.below(CLOUD >> 1) + 1000);
        let machine = &mut self.devices[index];
        let (id, old_life) = (machine.id, machine.life);
        machine.disk = backup.disk.image();
        machine.life = life;
        if moved {
            machine.anchor = anchor;
        }
        let what = if moved { "elsewhere" } else { "where it was" };
        self.trace.note(self.now, format_args!("device {index} is an old copy, {what}"));
        self.excuse(old_life, backup.taken_at, life)?;
        *self.truth.copied.entry(id).or_default() += 1;
        if !moved {
            self.truth.perfectly_copied.insert(id);
        }
        Ok(())
    }

    /// A copy of a device starts as a machine of its own.
    pub(super) fn clone_device(&mut self, index: usize) -> Step {
        if self.devices.len() >= MACHINES_MAX {
            return Ok(());
        }
        self.happened.count(Fault::Clone);
        let (moved, anchor) = (self.entropy.percent(50), Hash(self.entropy.bytes()));
        let number = self.devices.len();
        let original = &self.devices[index];
        let mut clone = original.clone_at(number, original.disk.durable_image().image());
        let id = original.id;
        if moved {
            clone.anchor = anchor;
        }
        let what = if moved { "elsewhere" } else { "unnoticed" };
        self.trace.note(self.now, format_args!("device {number} is a copy of {index}, {what}"));
        // What the original's disk holds, the copy's holds too.
        let known = self.truth.acknowledged.iter().filter(|((life, _), _)| *life == original.life);
        let inherited: Vec<_> = known.map(|(key, noted)| (key.1, noted.clone())).collect();
        for (position, noted) in inherited {
            self.truth.acknowledged.insert((clone.life, position), noted);
        }
        self.devices.push(clone);
        *self.truth.copied.entry(id).or_default() += 1;
        // The original's epoch ends with the first one that continues it, whichever copy's.
        self.truth.perfectly_copied.insert(id);
        self.after(Duration::ZERO, Happening::Restart(number));
        Ok(())
    }

    /// The cloud's disk is copied; the next time, the copy is put back, and the restore noted; or all of the
    /// machine is put back in its place, and nothing tells.
    pub(super) fn copy_or_restore_cloud(&mut self) -> Step {
        let Some(backup) = self.cloud.backup.take() else {
            let disk = self.cloud.disk.durable_image();
            self.cloud.backup = Some(Backup { disk, taken_at: self.moment });
            self.cloud.allocations_then = self.cloud.allocations;
            return Ok(());
        };
        self.cloud.disk.cut_power();
        self.cloud_down()?;
        self.happened.count(Fault::TailLost);
        let in_place = self.entropy.percent(40);
        let how = if in_place { ", and does not know" } else { "" };
        self.trace.note(self.now, format_args!("the cloud is an old copy{how}"));
        let before = self.held_at_the_cloud()?;
        self.cloud.disk = backup.disk.image();
        if in_place {
            self.cloud.allocations = self.cloud.allocations_then;
            self.cloud.back_at = self.now + Duration::from_secs(1);
            self.truth.tails_lost_unnoticed += 1;
            self.note_lent(before)?;
        } else {
            let marked = SimStore::open(&self.cloud.disk, self.plan.redb)
                .and_then(|mut store| mark_restored(TENANT, &mut store));
            marked.map_err(|error| self.violation("durable", format!("the backup: {error}")))?;
        }
        self.truth.tails_lost += 1;
        self.persisted.clear();
        self.truth.ended.clear();
        self.excuse_cloud(backup.taken_at, !in_place)
    }

    /// What it lent and does not know of, it may lend again until it hears of that.
    fn note_lent(&mut self, before: BTreeMap<Position, Vec<u8>>) -> Step {
        let held = self.held_at_the_cloud()?;
        for (_, bytes) in before.into_iter().filter(|(position, _)| !held.contains_key(position)) {
            let record = Record::split(&bytes);
            if let Ok(Event::LeaseGranted(lease)) = record.and_then(|(record, _)| record.event()) {
                let lent = self.truth.lent_unknown.entry(lease.subject).or_default();
                *lent += i128::from(lease.credits.thousandths());
            }
        }
        Ok(())
    }

    /// What the cloud decided after its copy was made, and no device has, went with its disk.
    fn excuse_cloud(&mut self, since: u64, knows: bool) -> Step {
        let held = self.held_at_the_cloud()?;
        let living: BTreeSet<u64> = self.devices.iter().map(|machine| machine.life).collect();
        let given_away = &mut self.truth.given_away;
        self.truth.acknowledged.retain(|(life, position), noted| {
            let kept = *life == CLOUD && noted.at <= since;
            let kept = kept
                || living.contains(life)
                || held.get(position).is_some_and(|record| noted.is(record));
            given_away.extend((*life == CLOUD && knows && !kept).then_some(*position));
            kept
        });
        let (mut granted, mut links) = (BTreeSet::new(), BTreeMap::new());
        let mut corrected = BTreeSet::new();
        for bytes in held.values() {
            match Record::split(bytes).and_then(|(record, _)| record.event()) {
                Ok(Event::CreditsGranted(event)) => drop(granted.insert(event.reason)),
                Ok(Event::ChargeCorrected(event)) => drop(corrected.insert(event.reason)),
                Ok(Event::SubjectLinked(event)) => {
                    links.insert((event.device, event.alias), event.subject);
                }
                _ => {}
            }
        }
        self.truth.grants.retain(|reason, _| granted.contains(reason));
        let had = |(reason, asked): (&String, &mut Corrected)| {
            asked.fate = if corrected.contains(reason) { asked.fate } else { Fate::Open };
        };
        self.truth.corrections.iter_mut().for_each(had);
        self.truth.closed.clear(); // the commits that months were closed at may be gone
        self.truth.links = links;
        Ok(())
    }

    /// A disk is gone. What it acknowledged after its copy was made counts if the cloud has it;
    /// what it acknowledged before, its copy has.
    fn excuse(&mut self, old: u64, since: u64, new: u64) -> Step {
        let held = self.held_at_the_cloud()?;
        let acknowledged = core::mem::take(&mut self.truth.acknowledged);
        for ((life, position), noted) in acknowledged {
            if life != old {
                self.truth.acknowledged.insert((life, position), noted);
            } else if noted.at <= since {
                self.truth.acknowledged.insert((new, position), noted);
            } else if held.get(&position).is_some_and(|record| noted.is(record)) {
                self.truth.acknowledged.insert((old, position), noted);
            }
        }
        for input in self.truth.inputs.values_mut().filter(|input| input.asked.0 == old) {
            if input.asked.1 > since {
                input.fate = Fate::Open;
            }
            input.asked.0 = new;
        }
        self.truth.minted.retain(|_, (life, at)| *life != old || *at <= since);
        for (life, _) in self.truth.minted.values_mut().filter(|(life, _)| *life == old) {
            *life = new;
        }
        Ok(())
    }

    /// What the cloud's disk would keep through a power cut now.
    fn held_at_the_cloud(&self) -> Result<BTreeMap<Position, Vec<u8>>, Violation> {
        let mut held = BTreeMap::new();
        let read = SimStore::open(&self.cloud.disk.durable_image(), self.plan.redb);
        let read = read.and_then(|store| {
            Rows::new(TENANT, &store).scan::<BatchRow>(&[], &[], &mut |_, row| {
                let BatchHeader { log, epoch, first_seq, .. } = *row.batch.header();
                for (seq, record) in (first_seq..).zip(Records::new(&open(row.batch)?.records)) {
                    held.insert(Position { log, epoch, seq }, record?.bytes.to_vec());
                }
                Ok(ControlFlow::Continue(()))
            })
        });
        read.map_err(|error| self.violation("durable", format!("the cloud's disk: {error}")))?;
        Ok(held)
    }
}
