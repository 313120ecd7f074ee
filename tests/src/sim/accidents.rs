//! Provoking faults: which one strikes next, where, and for how long.
//!
//! Invariant: only faults of the history's plan are provoked, none once healing has begun. Whether
//! one took effect is counted where it does.

use super::disk::{Accident, Disk};
use super::faults::Fault;
use super::network::{ConnectionId, Cut, Side};
use super::world::{Happening, Step, World};
use core::time::Duration;
use tallyroll_schema::wire::Message;
use tallyroll_schema::{ClockQuality, Wall};

/// Accidents a history is planned to have.
const ACCIDENTS: u32 = 30;
const YEAR_MILLISECONDS: i64 = 365 * 24 * 3600 * 1000;

impl World {
    pub(super) fn next_accident(&mut self) -> Step {
        if self.is_healing() {
            return Ok(());
        }
        let faults: Vec<Fault> = self.plan.faults.iter().copied().collect();
        if !faults.is_empty() {
            let fault = faults[self.entropy.index(faults.len())];
            self.provoke(fault)?;
        }
        let mean = self.plan.span / ACCIDENTS;
        let wait = self.some_time(mean * 2);
        self.after(wait, Happening::Accident);
        Ok(())
    }

    fn provoke(&mut self, fault: Fault) -> Step {
        let index = self.entropy.index(self.devices.len());
        self.trace.note(self.now, format_args!("{fault:?} near device {index}"));
        match fault {
            Fault::Loss => self.cut_some_connection(Cut::Clean),
            Fault::Duplication => self.cut_some_connection(Cut::Lingering),
            Fault::Reordering => {} // every message has its own delay in such a history
            Fault::Partition => {
                let longest = self.plan.span / 4;
                let until = self.now + self.some_time(longest);
                self.devices[index].partitioned_until = until;
                if let Some(id) = self.devices[index].connection {
                    self.cut(id, Cut::Clean);
                }
            }
            Fault::CrashDevice if self.entropy.percent(20) => {
                if self.devices[index].process.is_some() {
                    return self.cut_power(index);
                }
            }
            Fault::CrashDevice => {
                let accident =
                    if self.entropy.percent(50) { Accident::PowerCut } else { Accident::Kill };
                self.arm(index, accident);
            }
            Fault::TornWrite | Fault::LostWrite | Fault::ReorderedWrite => {
                self.arm(index, Accident::PowerCut);
            }
            Fault::CrashCloud => {
                let accident =
                    if self.entropy.percent(50) { Accident::PowerCut } else { Accident::Kill };
                let after = self.some_writes();
                self.cloud.disk.arm(after, accident);
            }
            Fault::FailedSync => {
                let after = self.some_writes();
                self.some_disk(index).0.arm(after, Accident::FailedSync);
            }
            Fault::DiskFull => {
                let (disk, machine) = self.some_disk(index);
                disk.set_full(true);
                let longest = self.plan.span / 20;
                let wait = self.some_time(longest);
                self.after(wait, Happening::RoomAgain(machine));
            }
            Fault::BadClock => self.bend_clock(index),
            Fault::OldCopy => return self.copy_or_restore(index),
            Fault::Clone => return self.clone_device(index),
            Fault::TailLost => return self.copy_or_restore_cloud(),
            Fault::Poison => self.poison(index),
            Fault::Revoked => return self.revoke(index),
        }
        Ok(())
    }

    fn some_writes(&mut self) -> u64 {
        self.entropy.below(if self.plan.redb { 60 } else { 8 })
    }

    fn arm(&mut self, index: usize, accident: Accident) {
        let after = self.some_writes();
        self.devices[index].disk.arm(after, accident);
    }

    /// A device's disk, or now and then the cloud's.
    fn some_disk(&mut self, index: usize) -> (Disk, Option<usize>) {
        if self.entropy.percent(30) {
            (self.cloud.disk.clone(), None)
        } else {
            (self.devices[index].disk.clone(), Some(index))
        }
    }

    /// Some connection will be cut after a few more messages, wherever they are then.
    fn cut_some_connection(&mut self, cut: Cut) {
        let after = self.entropy.below(5);
        let at = self.entropy.index(self.connections.len().max(1));
        if let Some(connection) = self.connections.values_mut().nth(at) {
            connection.cut_after = Some((after, cut));
        }
    }

    /// Counts a message towards the cut that is to come.
    pub(super) fn count_towards_cut(&mut self, id: ConnectionId, side: Side, message: &Message) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some((left, cut)) = connection.cut_after else { return };
        let ends_burst = side == Side::Device && matches!(message, Message::Head(_));
        if cut == Cut::Lingering && !ends_burst {
            return;
        }
        match left.checked_sub(1) {
            Some(left) if cut == Cut::Clean => connection.cut_after = Some((left, cut)),
            _ => {
                connection.cut_after = None;
                self.cut(id, cut);
            }
        }
    }

    /// Cuts a connection. Each end notices when it does.
    fn cut(&mut self, id: ConnectionId, cut: Cut) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let index = connection.device;
        connection.end(Side::Device).reachable = false;
        connection.end(Side::Cloud).reachable = cut == Cut::Lingering;
        self.trace.note(self.now, format_args!("connection {id} is cut: {cut:?}"));
        let cloud_in = self.some_time(Duration::from_secs(8));
        self.after(cloud_in, Happening::Notice(id, Side::Cloud));
        if cut == Cut::Lingering {
            self.after(Duration::ZERO, Happening::Notice(id, Side::Device));
            self.after(Duration::ZERO, Happening::Connect(index));
        } else {
            let device_in = self.some_time(Duration::from_secs(3));
            self.after(device_in, Happening::Notice(id, Side::Device));
        }
    }

    fn bend_clock(&mut self, index: usize) {
        let years = self.entropy.between(1, 80) as i64;
        let (kind, back) = (self.entropy.below(5), self.entropy.percent(50));
        let now = self.now;
        let at_cloud = self.entropy.percent(20);
        let clock = if at_cloud { &mut self.cloud.clock } else { &mut self.devices[index].clock };
        let sign = if back { -1 } else { 1 };
        match kind {
            0 => clock.offset = sign * years * YEAR_MILLISECONDS,
            1 => clock.offset += sign * years * 60_000,
            2 => clock.frozen = Some(clock.show(now).wall),
            3 => (clock.frozen, clock.offset) = (Some(Wall(0)), clock.offset),
            _ => (clock.frozen, clock.offset) = (None, 0),
        }
        clock.quality = [ClockQuality::Unknown, ClockQuality::Suspect][usize::from(back)];
    }
}
