//! Processes that start, stop and fail, and machines that lose their power.
//!
//! Invariant: after an error that leaves open what is durable, the process must refuse everything
//! and is ended; the next one finds what the disk kept. Whenever a machine went down, what it had
//! acknowledged is looked for on what a power cut would leave.

use super::checkers::{Violation, durable, receipts};
use super::disk::{Accident, Disk};
use super::faults::Fault;
use super::machine::DeviceMachine;
use super::network::{ConnectionId, Side};
use super::planted::Planted;
use super::truth::Noted;
use super::world::{Happening, Step, World};
use core::time::Duration;
use tallyroll_engine::hub::{Hub, Invitation, pin_hash};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::{Error, Kind, Result as EngineResult};
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Event, Hash, Position};

const PIN: &str = "K7Q2-M9XD";

impl World {
    /// The cloud's first start; it may take several.
    pub(super) fn found_cloud(&mut self) -> Step {
        if self.plan.has(Fault::CrashCloud) && self.entropy.percent(50) {
            let after = self.entropy.below(3);
            self.cloud.disk.arm(after, Accident::PowerCut);
        }
        while self.cloud.process.is_none() {
            self.start_cloud()?;
        }
        self.cloud.disk.disarm();
        Ok(())
    }

    /// Adds a device that the cloud knows.
    pub(super) fn enrol(&mut self, index: usize, disk: Disk) -> Step {
        let (seed, salt) = (self.entropy.bytes(), Hash(self.entropy.bytes()));
        let (tls, nonce) = (Hash(self.entropy.bytes()), self.entropy.bytes());
        let (signer, name) = (Signer::from_seed(&seed), format!("device-{index}"));
        let now = self.cloud.clock.show(self.now);
        let Some(cloud) = &mut self.cloud.process else { return Ok(()) };
        let invitation = Invitation {
            name: name.clone(),
            pin_hash: pin_hash(&salt, PIN),
            salt,
            processing: false,
        };
        let request = JoinRequest {
            proof: signer.sign_enrolment(&name, tls.as_bytes()),
            signing_key: signer.public_key(),
            name,
            pin: PIN.into(),
            agent: "sim".into(),
        };
        let joined = cloud
            .invite(now, invitation)
            .and_then(|_| cloud.join(now, &request, tls, nonce))
            .map_err(|error| self.violation("liveness", format!("enrolment: {error}")))?;
        let cloud = (joined.welcome.cloud_key, joined.welcome.public_log);
        let mut machine = DeviceMachine::new(index, seed, disk, cloud);
        machine.clock.origin = self.some_time(Duration::from_secs(100_000));
        self.devices.push(machine);
        Ok(())
    }

    /// A device's process starts.
    pub(super) fn restart(&mut self, index: usize) -> Step {
        if self.devices[index].process.is_some() {
            return Ok(());
        }
        let nonces = self.entropy.bytes();
        self.devices[index].clock.origin = self.some_time(Duration::from_secs(100_000));
        let machine = &self.devices[index];
        let started = machine.start(&machine.disk, self.plan.redb, self.now, nonces);
        let Some(process) = self.device_outcome(index, started)? else { return Ok(()) };
        self.trace.note(self.now, format_args!("device {index} runs"));
        if let Ok(status) = process.status() {
            self.devices[index].own_logs = status.logs.iter().map(|log| log.log).collect();
        }
        self.devices[index].process = Some(process);
        receipts::found(self, index)?;
        self.devices[index].seal_timer = None;
        self.set_seal_timer(index);
        let wait = self.some_time(Duration::from_millis(500));
        self.after(wait, Happening::Connect(index));
        Ok(())
    }

    /// The cloud's process starts.
    pub(super) fn restart_cloud(&mut self) -> Step {
        if self.cloud.process.is_some() { Ok(()) } else { self.start_cloud() }
    }

    fn start_cloud(&mut self) -> Step {
        if self.now < self.cloud.back_at {
            self.at(self.cloud.back_at, Happening::RestartCloud);
            return Ok(());
        }
        let nonces = self.entropy.bytes();
        let started = self.cloud.start(&self.cloud.disk, self.plan.redb, self.now, nonces);
        let Some(process) = self.cloud_outcome(started)? else { return Ok(()) };
        self.trace.note(self.now, format_args!("the cloud runs"));
        if process.counts().newest_card().is_none() {
            return Err(self.violation("durable", "a founded cloud has no rate card".into()));
        }
        self.cloud.process = Some(process);
        if self.plan.books {
            let at_hand = self.cloud.process.as_mut().map_or(Ok(()), Hub::keep_past);
            if self.cloud_outcome(at_hand)?.is_none() {
                return Ok(());
            }
        }
        let (now, noted) = (self.cloud.clock.show(self.now), self.cloud.allocations);
        let checked =
            self.cloud.process.as_mut().map(|cloud| cloud.check_allocations(now, Some(noted)));
        match checked {
            Some(checked) => self.cloud_outcome(checked).map(drop),
            None => Ok(()),
        }
    }

    /// What came of asking a device's engine: the value, or `None` and the device is down.
    pub(super) fn device_outcome<T>(
        &mut self,
        index: usize,
        result: EngineResult<T>,
    ) -> Result<Option<T>, Violation> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        self.trace.note(self.now, format_args!("device {index} stops: {error}"));
        if !self.devices[index].disk.is_dead() {
            self.judge(&format!("device {index}"), &error)?;
            let now = self.devices[index].clock.show(self.now);
            let heartbeat = Event::from(HeartbeatSent { uptime_seconds: 0 });
            // Where there was no room nothing was written, and it may go on.
            if let Some(process) = &mut self.devices[index].process
                && error.kind() != Kind::Full
                && process.commit(now, &[(LogClass::Telemetry, heartbeat)]).is_ok()
            {
                let what = format!("device {index} went on after `{error}`");
                return Err(self.violation("durable", what));
            }
        }
        self.device_down(index)?;
        Ok(None)
    }

    /// The same for the cloud's engine.
    pub(super) fn cloud_outcome<T>(
        &mut self,
        result: EngineResult<T>,
    ) -> Result<Option<T>, Violation> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        self.trace.note(self.now, format_args!("the cloud stops: {error}"));
        if !self.cloud.disk.is_dead() {
            self.judge("the cloud", &error)?;
            let now = self.cloud.clock.show(self.now);
            // A full disk ends nothing: what was refused may succeed once there is room.
            if let Some(process) = &mut self.cloud.process
                && error.kind() != Kind::Full
                && process.perform(now, Vec::new()).is_ok()
            {
                let what = format!("the cloud went on after `{error}`");
                return Err(self.violation("durable", what));
            }
        }
        self.cloud_down()?;
        Ok(None)
    }

    /// An error that no accident explains is a violation.
    fn judge(&self, who: &str, error: &Error) -> Step {
        match error.kind() {
            Kind::Closed | Kind::Full => Ok(()),
            kind => Err(self.violation("durable", format!("{who}: {kind:?}: {error}"))),
        }
    }

    /// The power of a device goes, between two writes.
    pub(super) fn cut_power(&mut self, index: usize) -> Step {
        self.devices[index].disk.cut_power();
        self.device_down(index)
    }

    /// A device's process is gone; another starts later.
    fn device_down(&mut self, index: usize) -> Step {
        let redb = self.plan.redb;
        let machine = &mut self.devices[index];
        machine.process = None; // before the recovery, so that its last wish is not written
        machine.work.clear();
        machine.seal_timer = None;
        if machine.disk.is_dead() {
            self.happened.count(Fault::CrashDevice);
        }
        machine.disk.recover();
        self.happened.add(&machine.disk.take_happened());
        if self.planted == Some(Planted::StaleSnapshot) {
            super::sabotage::stale_snapshot(&machine.disk);
        }
        let connection = machine.connection.take();
        durable::device(self, index, redb)?;
        if let Some(id) = connection {
            self.drop_end(id, Side::Device);
        }
        // A service manager waits longer each time; here it just waits.
        let longest = if self.is_healing() { Duration::from_secs(2) } else { self.plan.span / 40 };
        let wait = self.some_time(longest.max(Duration::from_secs(1)));
        self.after(wait, Happening::Restart(index));
        Ok(())
    }

    pub(super) fn cloud_down(&mut self) -> Step {
        self.cloud.process = None;
        self.cloud.work.clear();
        self.cloud.working = false;
        if self.cloud.disk.is_dead() {
            self.happened.count(Fault::CrashCloud);
        }
        self.cloud.disk.recover();
        self.happened.add(&self.cloud.disk.take_happened());
        if self.planted == Some(Planted::AltersRecord) {
            super::sabotage::alter_record(&self.cloud.disk);
        }
        if self.truth.tails_lost == 0 {
            durable::cloud(self)?;
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.drop_end(id, Side::Cloud);
        }
        let longest = if self.is_healing() { Duration::from_secs(2) } else { self.plan.span / 80 };
        let wait = self.some_time(longest.max(Duration::from_secs(1)));
        self.after(wait, Happening::RestartCloud);
        Ok(())
    }

    /// An end died with its process; the other one notices later.
    pub(super) fn drop_end(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = connection.end(side);
        (end.session, end.reachable) = (None, false);
        if connection.is_over() {
            self.connections.remove(&id);
            return;
        }
        let wait = self.some_time(Duration::from_secs(5));
        self.after(wait, Happening::Notice(id, side.other()));
    }

    /// A position was returned: nobody may ever have got it for something else.
    pub(super) fn acknowledge(&mut self, life: u64, position: Position, noted: Noted) -> Step {
        super::checkers::never_forks::acknowledged(self, life, position, &noted)?;
        self.truth.acknowledged.insert((life, position), noted);
        Ok(())
    }
}
