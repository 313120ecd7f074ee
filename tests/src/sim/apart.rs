//! What is kept apart: batches that reach the cloud damaged, and what a revoked device still had;
//! and the administrator who decides about it.
//!
//! Invariant: damage is done to what a device sends, on its way, never to its disk; so once it is
//! discarded the device brings the same again, whole; but not a revoked one. What a device wrote
//! beyond its revocation counts only if it is released.

use super::checkers::Violation;
use super::faults::Fault;
use super::network::{ConnectionId, Side};
use super::truth::{CLOUD, Extents, Noted, Revocation};
use super::world::{Step, World};
use tallyroll_engine::Error;
use tallyroll_engine::hub::{Quarantined, Standing};
use tallyroll_schema::event::fleet::DeviceRevoked;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::Message;
use tallyroll_schema::{Batch, DeviceId, Signature, SignedHead};

/// Why devices are revoked here.
const REASON: &str = "stolen";

impl World {
    /// The device's next batch or head is damaged on its way.
    pub(super) fn poison(&mut self, index: usize) {
        self.devices[index].poisons = true;
    }

    /// What the other end hears of a message.
    pub(super) fn on_its_way(&mut self, id: ConnectionId, side: Side, sent: Message) -> Message {
        let index = self.connections.get(&id).map(|connection| connection.device);
        let Some(index) =
            index.filter(|index| side == Side::Device && self.devices[*index].poisons)
        else {
            return sent;
        };
        let damaged = match &sent {
            Message::Batch(batch) => self.damaged(batch).map(Message::Batch),
            Message::Head(SignedHead { head, signature }) => {
                let mut signature = signature.0;
                signature[self.entropy.index(64)] ^= 1 << self.entropy.below(8);
                let signature = Signature(signature);
                Some(Message::Head(SignedHead { head: *head, signature }))
            }
            _ => None,
        };
        let Some(damaged) = damaged else { return sent };
        self.devices[index].poisons = false;
        self.truth.poisoned.insert(self.devices[index].id);
        self.trace.note(self.now, format_args!("{id} is damaged"));
        damaged
    }

    /// A bit of its records, or their number.
    fn damaged(&mut self, batch: &Batch) -> Option<Batch> {
        let (mut header, mut payload) = (*batch.header(), batch.payload().to_vec());
        if self.entropy.percent(50) {
            header.count += 1;
        } else {
            let at = self.entropy.index(payload.len());
            payload[at] ^= 1 << self.entropy.below(8);
        }
        Batch::encode(header, &payload).ok()
    }

    /// An administrator hears that a device was stolen: one in a history.
    pub(super) fn revoke(&mut self, index: usize) -> Step {
        if self.revoking.is_none() {
            self.revoking = Some(self.devices[index].id);
        }
        self.revoke_pending()
    }

    /// Asks for it until it is acknowledged.
    pub(super) fn revoke_pending(&mut self) -> Step {
        let Some(device) = self.revoking.filter(|device| !self.truth.revoked.contains_key(device))
        else {
            return Ok(());
        };
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let known = process.fleet().device(device).map(|record| record.standing);
        if known != Some(Standing::Revoked) {
            let now = self.cloud.clock.show(self.now);
            let revoked = process.revoke(now, device, REASON.into());
            let Some(position) = self.cloud_outcome(revoked)? else { return Ok(()) };
            let event = DeviceRevoked { device, reason: REASON.into() }.into();
            let noted = Noted { event, wall: now.wall, at: self.moment };
            self.acknowledge(CLOUD, position, noted)?;
        }
        let held = self.held_of(device)?;
        let released = self.entropy.percent(40);
        self.trace.note(self.now, format_args!("{device} is revoked"));
        if self.has_more_than(device, &held) {
            self.happened.count(Fault::Revoked);
        }
        self.truth.revoked.insert(device, Revocation { held, released });
        self.disconnect(device)
    }

    /// What was discarded of a revoked device is not asked for again, so what follows cannot count, either.
    fn leave_out(&mut self, device: DeviceId) -> Step {
        let held = self.held_of(device)?;
        self.truth.revoked.insert(device, Revocation { held, released: false });
        Ok(())
    }

    /// How far the cloud's logs of a device go.
    pub(crate) fn held_of(&self, device: DeviceId) -> Result<Extents, Violation> {
        let Some(cloud) = &self.cloud.process else { return Ok(Extents::new()) };
        let logs = cloud.logs().map_err(|error| self.violation("verifies", error.to_string()))?;
        let own = |class| matches!(class, LogClass::Ledger | LogClass::Telemetry);
        let its = logs.into_iter().filter(|log| log.device == Some(device) && own(log.class));
        Ok(its.map(|log| ((log.log, log.epoch), log.events)).collect())
    }

    fn has_more_than(&self, device: DeviceId, held: &Extents) -> bool {
        let machine = self.devices.iter().find(|machine| machine.id == device);
        let status = machine.and_then(|machine| machine.process.as_ref()?.status().ok());
        let logs = status.map_or(Vec::new(), |status| status.logs);
        logs.iter()
            .any(|log| log.durable_local > held.get(&(log.log, log.epoch)).copied().unwrap_or(0))
    }

    /// Whether a device is revoked, or about to be.
    pub(crate) fn is_revoked(&self, device: DeviceId) -> bool {
        self.revoking == Some(device)
    }

    /// Whether what a device has beyond its revocation is to stay out.
    pub(crate) fn stays_out(&self, device: DeviceId) -> bool {
        self.truth.revoked.get(&device).is_some_and(|revocation| !revocation.released)
    }

    /// Whether a connection's device may meet with refusals: it was revoked, or its bytes damaged.
    pub(super) fn is_kept_apart(&self, id: ConnectionId) -> bool {
        let apart = |device| self.is_revoked(device) || self.truth.poisoned.contains(&device);
        match self.connections.get(&id) {
            Some(one) => apart(self.devices[one.device].id),
            None => self.revoking.is_some() || !self.truth.poisoned.is_empty(),
        }
    }

    /// A revoked device that has left all it had is sent away.
    pub(super) fn send_away_if_done(&mut self, id: ConnectionId) -> Step {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let index = connection.device;
        let session = &connection.end(Side::Cloud).session;
        let has_all = session.as_ref().is_some_and(|session| session.has_all());
        let device = self.devices[index].id;
        let busy = self.cloud.work.iter().any(|(of, ..)| *of == id);
        if has_all && !busy && self.truth.revoked.contains_key(&device) {
            self.disconnect(device)?;
        }
        Ok(())
    }

    /// All connections of a device end.
    fn disconnect(&mut self, device: DeviceId) -> Step {
        let of = |id: &ConnectionId| {
            self.connections.get(id).is_some_and(|one| self.devices[one.device].id == device)
        };
        let ids: Vec<ConnectionId> = self.connections.keys().copied().filter(of).collect();
        for id in ids {
            self.notice(id, Side::Cloud)?;
            self.notice(id, Side::Device)?;
        }
        Ok(())
    }

    /// An administrator decides about all that is in quarantine.
    pub(super) fn decide_about_quarantine(&mut self) -> Step {
        let Some(process) = &self.cloud.process else { return Ok(()) };
        let open = process.quarantine();
        let Some(open) = self.cloud_outcome(open)? else { return Ok(()) };
        for Quarantined { device, entry } in open {
            let of_revoked = self.truth.revoked.get(&device);
            if of_revoked.is_some_and(|revocation| entry.revoked && !revocation.released) {
                continue;
            }
            let now = self.cloud.clock.show(self.now);
            let Some(process) = &mut self.cloud.process else { return Ok(()) };
            let released = match entry.revoked {
                true => Some(process.release(now, entry.id, REASON.into())),
                false => None,
            };
            // Among what a revoked device brought may be what was damaged.
            let discards = matches!(released, None | Some(Err(Error::Refused(_))));
            let decided = match released {
                Some(released) if !discards => released,
                _ => process.discard(now, entry.id, REASON.into()),
            };
            self.trace.note(self.now, format_args!("{} of {device} is decided", entry.id));
            if self.cloud_outcome(decided)?.is_none() {
                return Ok(());
            }
            if discards && entry.revoked {
                self.leave_out(device)?;
            }
            self.disconnect(device)?;
        }
        Ok(())
    }
}
