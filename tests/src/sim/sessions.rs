//! Driving the sync sessions, as the rims do: frames out, frames in, effects carried out.
//!
//! Invariant: an effect is answered only after the store carried it out; effects of connections
//! that are gone are carried out all the same, and answered to nobody.

use super::checkers::{bounded, never_forks, receipts};
use super::faults::Fault;
use super::machine::TENANT;
use super::network::{Connection, ConnectionId, Side};
use super::planted::Planted;
use super::world::{Arrival, Happening, Step, World};
use core::time::Duration;
use tallyroll_engine::merge::Ahead;
use tallyroll_engine::sync::{Effect, Opening, Output, Reply, Role, Session, SessionConfig};
use tallyroll_schema::DeviceId;
use tallyroll_schema::wire::{ErrorMessage, Message, StreamKind, encode_frame};

/// Effects of all sessions that the cloud carries out with one commit.
const GROUP: usize = 16;

impl World {
    /// A device connects, if it can; else it tries again later.
    pub(super) fn connect(&mut self, index: usize) -> Step {
        let machine = &self.devices[index];
        if machine.connection.is_some() || machine.process.is_none() {
            return Ok(());
        }
        let never = self.planted == Some(Planted::NeverReconnects) && index == 0;
        if never && self.next_connection > 2 * self.plan.devices as u64 {
            return Ok(());
        }
        if machine.partitioned_until > self.now {
            self.happened.count(Fault::Partition);
            let until = machine.partitioned_until;
            let wait = self.some_time(Duration::from_secs(2));
            self.at(until + wait, Happening::Connect(index));
            return Ok(());
        }
        self.settle_keys(index)?;
        let machine = &self.devices[index];
        let opening = machine.process.as_ref().map(|process| process.opening());
        let names = machine.process.as_ref().map(|process| process.unstored_directory());
        let (Some(opening), Some(names)) = (opening, names) else { return Ok(()) };
        let Some(opening) = self.device_outcome(index, opening)? else { return Ok(()) };
        let Some(names) = self.device_outcome(index, names)? else { return Ok(()) };
        let device = self.devices[index].id;
        let answer = self.cloud.process.as_ref().map(|process| process.opening(device));
        let Some(answer) = answer else {
            self.try_again(index);
            return Ok(());
        };
        let Some(answer) = self.cloud_outcome(answer)? else { return Ok(()) };

        let id = self.next_connection;
        self.next_connection += 1;
        let mut connection = Connection::new(index);
        connection.end(Side::Device).session = Some(self.session(index, Side::Device, opening));
        connection.end(Side::Cloud).session = Some(self.session(index, Side::Cloud, answer));
        if let Some(session) = &mut connection.end(Side::Device).session {
            session.offer_directory(names);
        }
        self.connections.insert(id, connection);
        self.devices[index].connection = Some(id);
        self.trace.note(self.now, format_args!("device {index} connects as {id}"));
        self.set_seal_timer(index);
        self.pump(id, Side::Device)?;
        self.pump(id, Side::Cloud)
    }

    fn session(&self, index: usize, side: Side, opening: Opening) -> Session {
        let role = if side == Side::Device { Role::Device } else { Role::Cloud };
        let wide = self.planted == Some(Planted::WideWindow) && side == Side::Cloud;
        let window = self.plan.window * if wide { 16 } else { 1 };
        let device = self.devices[index].id;
        let config = SessionConfig { role, tenant: TENANT, device, window, agent: "sim".into() };
        Session::new(config, opening, self.now)
    }

    /// The device tries to connect again after a while.
    pub(super) fn try_again(&mut self, index: usize) {
        // Who is not believed is told to come again much later.
        let revoked = self.truth.revoked.contains_key(&self.devices[index].id);
        let longest = Duration::from_secs(if revoked { 20 } else { 2 });
        let wait = self.some_time(longest);
        self.after(wait + Duration::from_millis(10), Happening::Connect(index));
    }

    /// Does what an end's session wants.
    pub(super) fn pump(&mut self, id: ConnectionId, side: Side) -> Step {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
            let Some(session) = &mut connection.end(side).session else { return Ok(()) };
            match session.poll_output() {
                Some(Output::Send { stream, message }) => self.send(id, side, stream, message)?,
                Some(Output::Perform(effect)) => self.queue_effect(id, side, effect),
                Some(Output::Close(error)) => self.close(id, side, &error)?,
                None => {
                    if let Some(deadline) = session.deadline() {
                        self.at(deadline, Happening::SessionTimer(id, side));
                    }
                    return Ok(());
                }
            }
        }
    }

    fn send(&mut self, id: ConnectionId, side: Side, stream: StreamKind, message: Message) -> Step {
        match &message {
            Message::Receipt(receipt) => receipts::sent(self, receipt)?,
            Message::Error(error) => {
                let (copied, apart) = (self.is_of_copies(id), self.is_kept_apart(id));
                never_forks::told(self, (copied, apart), error)?;
            }
            _ => {}
        }
        bounded::sent(self, id, side, &message)?;
        let jitter = if self.plan.has(Fault::Reordering) { 4 } else { 0 };
        let delay = self.some_time(self.plan.latency * jitter) + self.plan.latency;
        let (to, time) = (side.other(), self.now + delay);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if !connection.end(to).reachable {
            self.lost(id);
            return Ok(());
        }
        let (number, time) = connection.send(to, stream, time);
        let message = self.on_its_way(id, side, message);
        let frame = encode_frame(&message);
        self.at(time, Happening::Arrival(Arrival { connection: id, to, stream, number, frame }));
        self.count_towards_cut(id, side, &message);
        Ok(())
    }

    /// Whether the device of a connection was copied; of one that is gone, whether any was.
    fn is_of_copies(&self, id: ConnectionId) -> bool {
        match self.connections.get(&id) {
            Some(one) => self.truth.copied.contains_key(&self.devices[one.device].id),
            None => !self.truth.copied.is_empty(),
        }
    }

    fn lost(&mut self, id: ConnectionId) {
        let device = self.connections.get(&id).map(|connection| connection.device);
        let cut_off = device.is_some_and(|index| self.devices[index].partitioned_until > self.now);
        self.happened.count(if cut_off { Fault::Partition } else { Fault::Loss });
    }

    pub(super) fn arrive(&mut self, arrival: Arrival) -> Step {
        let Arrival { connection: id, to, stream, number, frame } = arrival;
        let Some(connection) = self.connections.get_mut(&id) else {
            self.lost(id);
            return Ok(());
        };
        let end = connection.end(to);
        if !end.reachable || end.session.is_none() {
            self.lost(id);
            return Ok(());
        }
        let arrived = end.arrive(stream, number, &frame);
        let (in_order, messages) = arrived.map_err(|why| {
            self.violation("never-rewrites", format!("a frame is unreadable: {why}"))
        })?;
        if !in_order {
            self.happened.count(Fault::Reordering);
        }
        self.trace.note(self.now, format_args!("{id} {to:?} {stream:?} {number} {}", frame.len()));
        for message in messages {
            if let Message::Error(error) = &message {
                let (log, epoch) = (error.log, error.epoch);
                let why = &error.text;
                self.trace.note(
                    self.now,
                    format_args!("{id} {to:?} is told of {log:?} {epoch:?}: {why}"),
                );
            }
            let connection = self.connections.get_mut(&id);
            if let Some(session) = connection.and_then(|one| one.end(to).session.as_mut()) {
                session.handle(stream, message);
            }
        }
        self.pump(id, to)?;
        self.send_away_if_done(id)
    }

    pub(super) fn session_timer(&mut self, id: ConnectionId, side: Side) -> Step {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(session) = &mut connection.end(side).session else { return Ok(()) };
        if session.deadline().is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        session.handle_timeout(now);
        self.pump(id, side)
    }

    fn close(&mut self, id: ConnectionId, side: Side, error: &ErrorMessage) -> Step {
        self.trace.note(self.now, format_args!("{id} {side:?} closes: {}", error.text));
        bounded::closed(self, error)?;
        let wait = self.plan.latency * 5;
        self.after(wait, Happening::Notice(id, side.other()));
        self.notice(id, side)
    }

    /// An end learns that the connection is gone.
    pub(super) fn notice(&mut self, id: ConnectionId, side: Side) -> Step {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let end = connection.end(side);
        (end.session, end.reachable) = (None, false);
        let (index, over) = (connection.device, connection.is_over());
        if over {
            self.connections.remove(&id);
        }
        if side == Side::Device && self.devices[index].connection == Some(id) {
            self.devices[index].connection = None;
            self.try_again(index);
        }
        Ok(())
    }

    fn queue_effect(&mut self, id: ConnectionId, side: Side, effect: Effect) {
        let Some(index) = self.connections.get(&id).map(|connection| connection.device) else {
            return;
        };
        let wait = self.some_time(Duration::from_millis(30));
        match side {
            Side::Device => {
                let machine = &mut self.devices[index];
                machine.work.push_back((id, effect));
                if machine.work.len() == 1 {
                    self.after(wait, Happening::DeviceWork(index));
                }
            }
            Side::Cloud => {
                let device = self.devices[index].id;
                self.cloud.work.push_back((id, device, effect));
                if !self.cloud.working {
                    self.cloud.working = true;
                    self.after(wait * 3, Happening::CloudWork);
                }
            }
        }
    }

    pub(super) fn device_works(&mut self, index: usize) -> Step {
        let work = core::mem::take(&mut self.devices[index].work);
        for (id, effect) in work {
            let now = self.devices[index].clock.show(self.now);
            let receipt = match &effect {
                Effect::KeepReceipt(receipt) => Some(*receipt),
                _ => None,
            };
            let before = receipt.map_or(0, |receipt| receipts::covered(self, index, &receipt));
            let Some(process) = &mut self.devices[index].process else { return Ok(()) };
            let performed = process.perform(now, effect);
            let Some(reply) = self.device_outcome(index, performed)? else { return Ok(()) };
            if let Some(receipt) = receipt.filter(|_| reply != Reply::StartOver) {
                receipts::kept(self, index, &receipt, before)?;
            }
            self.complete(id, Side::Device, reply)?;
        }
        Ok(())
    }

    pub(super) fn cloud_works(&mut self) -> Step {
        self.cloud.working = false;
        // What waits may be taken before what came is counted.
        self.cloud_takes()?;
        while self.cloud.process.is_some()
            && !self.cloud.work.is_empty()
            && self.entropy.below(2) == 0
        {
            self.cloud_takes()?;
        }
        let now = self.cloud.clock.show(self.now);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let counted = process.catch_up().and_then(|()| process.settle_counts(now));
        if self.cloud_outcome(counted)?.is_none() {
            return Ok(());
        }
        self.answer_requests()?;
        if self.cloud.process.as_ref().is_some_and(|process| process.settle_due().is_some()) {
            self.after(Duration::from_secs(1), Happening::CloudWork);
        }
        if !self.cloud.work.is_empty() && !self.cloud.working {
            self.cloud.working = true;
            let wait = self.some_time(Duration::from_millis(30));
            self.after(wait, Happening::CloudWork);
        }
        Ok(())
    }

    fn cloud_takes(&mut self) -> Step {
        let now = self.cloud.clock.show(self.now);
        let Some(process) = &mut self.cloud.process else { return Ok(()) };
        let group = self.cloud.work.len().min(GROUP);
        let work: Vec<_> = self.cloud.work.drain(..group).collect();
        let revoking = self.revoking;
        let apart = |device: &DeviceId| revoking == Some(*device);
        let ids: Vec<_> = work.iter().map(|(id, device, _)| (*id, apart(device))).collect();
        let with_ahead = |(_, device, effect)| {
            let ahead = ahead(&effect);
            (device, effect, ahead)
        };
        let effects = work.into_iter().map(with_ahead).collect();
        let decided = process.decided();
        let performed = process.take(now, effects);
        let Some(replies) = self.cloud_outcome(performed)? else { return Ok(()) };
        if self.cloud.process.as_ref().is_some_and(|process| process.decided() != decided) {
            self.tell_of_new_decisions()?;
        }
        let mut began = Vec::new();
        for ((id, apart), reply) in ids.into_iter().zip(replies) {
            if let Reply::Persisted { epoch, next_seq, .. } = &reply
                && !apart
            {
                let before = self.persisted.insert(*epoch, *next_seq);
                if before == Some(*next_seq) {
                    self.happened.count(Fault::Duplication);
                }
                if before.is_none() && epoch.1.counter > 0 {
                    began.push(*epoch);
                }
            }
            self.complete(id, Side::Cloud, reply)?;
        }
        for epoch in began {
            never_forks::began(self, epoch)?;
        }
        Ok(())
    }

    /// Living sessions offer what the cloud's logs have now.
    pub(super) fn tell_of_new_decisions(&mut self) -> Step {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let device = self.devices[connection.device].id;
            if self.revoking == Some(device) {
                continue;
            }
            let Some(process) = &self.cloud.process else { return Ok(()) };
            let offers = process.offers(device);
            if let (Some(session), Ok(offers)) = (&mut connection.end(Side::Cloud).session, offers)
            {
                session.grew(offers);
            }
            self.pump(id, Side::Cloud)?;
        }
        Ok(())
    }

    fn complete(&mut self, id: ConnectionId, side: Side, reply: Reply) -> Step {
        let refused = match &reply {
            Reply::Refused { epoch, refusal, .. } => Some((*epoch, refusal)),
            Reply::NotFetched(log, epoch, refusal) | Reply::Stays(log, epoch, refusal) => {
                Some(((*log, *epoch), refusal))
            }
            _ => None,
        };
        if let Some(((log, epoch), refusal)) = refused {
            self.trace.note(self.now, format_args!("{id} {side:?} stops {log} {epoch}"));
            let excuses = (self.is_of_copies(id), self.is_kept_apart(id));
            never_forks::refused(self, excuses, side, refusal)?;
        }
        let connection = self.connections.get_mut(&id);
        if let Some(session) = connection.and_then(|one| one.end(side).session.as_mut()) {
            session.complete(reply);
        }
        self.pump(id, side)?;
        self.send_away_if_done(id)
    }
}

/// Every other burst is unpacked before its turn.
fn ahead(effect: &Effect) -> Ahead {
    match effect {
        Effect::Persist(burst) if burst.head.head.position.seq % 2 == 0 => Ahead::of(burst),
        _ => Ahead::default(),
    }
}
