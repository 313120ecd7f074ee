//! The workload: what users and importers do, and what the rim does for them. What administrators
//! do is in `decisions`.
//!
//! Invariant: whatever is asked for is in the [`Truth`](super::truth::Truth) before it is asked, and
//! marked certain only after the engine acknowledged it.

use super::acts;
use super::checkers::Violation;
use super::machine::Line;
use super::network::Side;
use super::planted::Planted;
use super::truth::{Ask, Fate, Figures, Input, Noted};
use super::world::{Step, World};
use core::time::Duration;
use std::collections::BTreeMap;
use tallyroll_engine::counts::{SpoolJob, decide};
use tallyroll_engine::device::Retention;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::UnknownEvent;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::DirectoryEntry;
use tallyroll_schema::{Act, Event, JobId, UserAlias, Wall};

/// Users who walk from device to device.
pub(super) const USERS: u64 = 5;
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;
/// Events of one of a bulk history's great commits, and how many of those there are.
const BULK: (usize, u64) = (4_500, 4);

impl World {
    /// One operation somewhere. Returns whether there was a machine to do it.
    pub(super) fn operate(&mut self) -> Result<bool, Violation> {
        let index = self.entropy.index(self.devices.len());
        if self.entropy.percent(9) {
            if self.cloud.process.is_none() {
                return Ok(false);
            }
            self.operate_cloud()?;
            return Ok(true);
        }
        if self.devices[index].process.is_none() {
            return Ok(false);
        }
        if self.planted == Some(Planted::SilentClone) && self.operations == 60 {
            self.run_clone(index)?;
            return Ok(true);
        }
        match self.entropy.below(100) {
            _ if self.plan.bulk && (50..50 + BULK.1).contains(&self.operations) => {
                if self.devices[0].process.is_none() {
                    return Ok(false);
                }
                self.record(0, BULK.0)?;
            }
            _ if self.plan.bulk && self.operations == 60 => self.lose_power_after_sealing(0)?,
            0..2 if self.plan.rekeys => self.change_keys(index)?,
            _ if self.plan.leases && self.entropy.percent(30) => self.pay(index)?,
            0..20 => self.work_on_job(index)?,
            20..80 => {
                let count = [1, 1, 1, 2, 5, 12][self.entropy.index(6)];
                self.record(index, count)?;
            }
            80..94 => {
                self.print_lines(index);
                self.import(index)?;
            }
            _ => self.seal(index)?,
        }
        Ok(true)
    }

    /// Users do things; the rim mints, prices and commits them together.
    fn record(&mut self, index: usize, count: usize) -> Step {
        let mut events = Vec::with_capacity(count);
        let mut jobs = Vec::with_capacity(count);
        for _ in 0..count {
            let user = self.entropy.below(USERS) as usize;
            let Some(alias) = self.alias(index, user)? else { return Ok(()) };
            let job = JobId(self.entropy.bytes());
            let (act, figures) = acts::draw(&mut self.entropy, job, user_name(user));
            let wall = self.devices[index].clock.show(self.now).wall;
            events.push((LogClass::Ledger, self.price(index, act, job, alias)?));
            jobs.push((job, alias, figures, wall));
        }
        if self.entropy.percent(20) {
            let uptime_seconds = self.now.as_secs();
            events.push((LogClass::Telemetry, HeartbeatSent { uptime_seconds }.into()));
        }
        if self.entropy.percent(3) {
            let body = Bytes(self.entropy.bytes::<40>().to_vec());
            let unknown = UnknownEvent { code: 0x7fff, version: 9, body };
            events.push((LogClass::Ledger, Event::Unknown(unknown)));
        }
        self.commit(index, &events, &jobs)?;
        Ok(())
    }

    fn price(
        &mut self,
        index: usize,
        act: Act,
        job: JobId,
        alias: UserAlias,
    ) -> Result<Event, Violation> {
        let terms = self.devices[index].process.as_ref().map(|device| device.terms(job));
        decide(&terms.unwrap_or_default(), act, job, Some(alias))
            .map_err(|error| self.violation("conserves", format!("an act is refused: {error}")))
    }

    /// Commits events, the inputs among them noted before and after. Returns whether it was done.
    pub(super) fn commit(
        &mut self,
        index: usize,
        events: &[(LogClass, Event)],
        jobs: &[(JobId, UserAlias, Figures, Wall)],
    ) -> Result<bool, Violation> {
        let machine = &mut self.devices[index];
        let (device, now) = (machine.id, machine.clock.show(self.now));
        for (job, user, figures, at) in jobs {
            let asked = (machine.life, self.moment);
            let input = Input { device, asks: Vec::new(), fate: Fate::Open, asked };
            let input = self.truth.inputs.entry(*job).or_insert(input);
            input.asked = asked;
            input.asks.push(Ask { user: *user, at: *at, figures: *figures });
        }
        if self.planted == Some(Planted::AcknowledgesEarly) && self.entropy.percent(3) {
            self.acknowledge_early(index, &events[0].1)?;
            return Ok(false);
        }
        let Some(process) = &mut machine.process else { return Ok(false) };
        let committed = process.commit(now, events);
        self.trace.note(self.now, format_args!("device {index} commits {}", events.len()));
        let Some(positions) = self.device_outcome(index, committed)? else { return Ok(false) };
        self.count_bent_clock(index);
        for (position, (_, event)) in positions.into_iter().zip(events) {
            let noted = Noted { event: event.clone(), wall: now.wall, at: self.moment };
            self.acknowledge(self.devices[index].life, position, noted)?;
        }
        for (job, ..) in jobs {
            if let Some(input) = self.truth.inputs.get_mut(job) {
                input.fate = Fate::Certain;
            }
        }
        self.set_seal_timer(index);
        Ok(true)
    }

    /// The alias of a user at a device, minted if need be; `None` when the device went down.
    pub(super) fn alias(
        &mut self,
        index: usize,
        user: usize,
    ) -> Result<Option<UserAlias>, Violation> {
        let (machine, name) = (&mut self.devices[index], user_name(user));
        let Some(process) = &mut machine.process else { return Ok(None) };
        let known = process.alias(&name);
        if let Some(Some(alias)) = self.device_outcome(index, known)? {
            return Ok(Some(alias));
        }
        let entry = DirectoryEntry {
            alias: UserAlias(self.entropy.bytes()),
            sealed: self.entropy.bytes::<64>().to_vec(),
        };
        let machine = &mut self.devices[index];
        let Some(process) = &mut machine.process else { return Ok(None) };
        let minted = process.mint(vec![(name, entry.clone())]);
        if self.device_outcome(index, minted)?.is_none() {
            return Ok(None);
        }
        let (id, life) = (self.devices[index].id, self.devices[index].life);
        self.truth.minted.insert((id, entry.alias), (life, self.moment));
        self.with_session(index, |session| session.offer_directory(vec![entry.clone()]))?;
        Ok(Some(entry.alias))
    }

    /// CUPS goes on writing its log, whatever our process does.
    fn print_lines(&mut self, index: usize) {
        for _ in 0..self.entropy.between(1, 3) {
            let user = self.entropy.below(USERS) as usize;
            let totals = self.entropy.percent(50).then(|| JobId(self.entropy.bytes()));
            let mut total = 0;
            for _ in 0..self.entropy.between(1, 3) {
                let key = JobId(self.entropy.bytes());
                let impressions = self.entropy.between(1, 30) as u32;
                total += impressions;
                let machine = &mut self.devices[index];
                // Now and then a line of an old log, which was rotated before it was read.
                let days = if key.0[0] < 16 { 31 } else { 0 };
                let printed_at =
                    Wall(machine.clock.show(self.now).wall.0.saturating_sub(days * DAY));
                let total = totals.map(|job| (job, total));
                machine.page_log.push(Line { key, user, impressions, total, printed_at });
            }
        }
    }

    /// What the rim makes of a line: the increase, where CUPS logged a running total.
    fn impressions(
        &mut self,
        index: usize,
        line: &Line,
        so_far: &mut BTreeMap<JobId, SpoolJob>,
    ) -> Result<Option<u32>, Violation> {
        let Some((job, total)) = line.total else { return Ok(Some(line.impressions)) };
        let Some(process) = &self.devices[index].process else { return Ok(None) };
        let before = match so_far.get(&job) {
            Some(before) => *before,
            None => {
                let asked = process.spool_job(job);
                let Some(before) = self.device_outcome(index, asked)? else { return Ok(None) };
                before
            }
        };
        let after = before.after(0, Some(total));
        so_far.insert(job, after);
        Ok(Some((after.impressions() - before.impressions()) as u32))
    }

    /// Imports a device's page log from its start; what is counted already is left out. Returns
    /// whether everything to the end is counted.
    pub(super) fn import(&mut self, index: usize) -> Result<bool, Violation> {
        let Some(process) = &self.devices[index].process else { return Ok(false) };
        let unconfirmed = process.is_unconfirmed();
        // A restored device asks the cloud first which lines it counted.
        if self.device_outcome(index, unconfirmed)? != Some(false) {
            return Ok(false);
        }
        let lines = self.devices[index].page_log.clone();
        for chunk in lines.chunks(4) {
            let (mut events, mut jobs) = (Vec::new(), Vec::new());
            let mut so_far = BTreeMap::new();
            for line in chunk {
                let Some(process) = &mut self.devices[index].process else { return Ok(false) };
                let asked = process.is_imported(line.key);
                let Some(counted) = self.device_outcome(index, asked)? else { return Ok(false) };
                if counted && self.planted != Some(Planted::ImportsUnasked) {
                    continue;
                }
                let Some(alias) = self.alias(index, line.user)? else { return Ok(false) };
                let impressions = self.impressions(index, line, &mut so_far)?;
                let Some(impressions) = impressions else { return Ok(false) };
                let (act, figures) = acts::of_line(line, user_name(line.user), impressions);
                events.push((LogClass::Ledger, self.price(index, act, line.key, alias)?));
                jobs.push((line.key, alias, figures, line.printed_at));
            }
            if !events.is_empty() && !self.commit(index, &events, &jobs)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Seals now; the rim does so by its timer, and before a backup.
    pub(super) fn seal(&mut self, index: usize) -> Step {
        let now = self.devices[index].clock.show(self.now);
        let Some(process) = &mut self.devices[index].process else { return Ok(()) };
        let sealed = process.seal(now);
        let Some(sealed) = self.device_outcome(index, sealed)? else { return Ok(()) };
        self.trace.note(self.now, format_args!("device {index} seals: {sealed}"));
        self.prune(index)?;
        let Some(process) = &self.devices[index].process else { return Ok(()) };
        let offers = process.offers();
        let Some(offers) = self.device_outcome(index, offers)? else { return Ok(()) };
        self.with_session(index, |session| session.grew(offers))
    }

    /// Prunes as on a full disk, where devices do that.
    fn prune(&mut self, index: usize) -> Step {
        let now = self.devices[index].clock.show(self.now);
        let Some(process) = &mut self.devices[index].process else { return Ok(()) };
        if !self.plan.prunes {
            return Ok(());
        }
        process.set_retention(Retention { keep: Duration::MAX, limit: None });
        process.set_reserve(false);
        let pruned = process.prune(now);
        process.set_reserve(true);
        if let Some(bytes) = self.device_outcome(index, pruned)? {
            self.trace.note(self.now, format_args!("device {index} prunes {bytes} bytes"));
        }
        Ok(())
    }

    /// Sets the rim's timer for the next seal.
    pub(super) fn set_seal_timer(&mut self, index: usize) {
        let now = self.now;
        let machine = &mut self.devices[index];
        let Some(process) = &machine.process else { return };
        let due = process.seal_due(machine.connection.is_some());
        let monotonic = machine.clock.monotonic(now);
        let at = due.map(|due| now + due.saturating_sub(monotonic));
        if at.is_some() && at != machine.seal_timer {
            machine.seal_timer = at;
            self.at(at.unwrap_or_default(), super::world::Happening::Seal(index));
        }
    }

    /// The timer fired: seals if it is time indeed.
    pub(super) fn seal_if_due(&mut self, index: usize) -> Step {
        let now = self.now;
        let machine = &mut self.devices[index];
        if machine.seal_timer.is_none_or(|at| at > now) {
            return Ok(());
        }
        machine.seal_timer = None;
        let monotonic = machine.clock.monotonic(now);
        let linked = machine.connection.is_some();
        let due = machine.process.as_ref().and_then(|process| process.seal_due(linked));
        if due.is_some_and(|due| due <= monotonic) {
            self.seal(index)?;
        }
        self.set_seal_timer(index);
        Ok(())
    }

    /// Gives a device's living session something to send.
    fn with_session(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut tallyroll_engine::sync::Session),
    ) -> Step {
        let Some(id) = self.devices[index].connection else { return Ok(()) };
        let connection = self.connections.get_mut(&id);
        if let Some(session) = connection.and_then(|one| one.end(Side::Device).session.as_mut()) {
            act(session);
        }
        self.pump(id, Side::Device)
    }

    fn lose_power_after_sealing(&mut self, index: usize) -> Step {
        self.seal(index)?;
        self.cut_power(index)
    }

    /// Planted: positions are told before anything is written, and then the power goes.
    fn acknowledge_early(&mut self, index: usize, event: &Event) -> Step {
        let machine = &self.devices[index];
        let wall = machine.clock.show(self.now).wall;
        let Some(Ok(status)) = machine.process.as_ref().map(|process| process.status()) else {
            return Ok(());
        };
        let ledger = &status.logs[0];
        let (log, epoch, seq) = (ledger.log, ledger.epoch, ledger.durable_local);
        let position = tallyroll_schema::Position { log, epoch, seq };
        let noted = Noted { event: event.clone(), wall, at: self.moment };
        self.acknowledge(self.devices[index].life, position, noted)?;
        self.cut_power(index)
    }

    /// Planted: the disk is copied, and the copy runs beside the device.
    fn run_clone(&mut self, index: usize) -> Step {
        let copy = self.devices[index].disk.image();
        let started = self.devices[index].start(&copy, self.plan.redb, self.now, [0; 32]);
        self.record(index, 1)?;
        if self.devices[index].process.is_none() {
            return Ok(()); // an accident came first; nobody was told of two contents
        }
        let now = self.devices[index].clock.show(self.now);
        let heartbeat = |uptime_seconds| Event::from(HeartbeatSent { uptime_seconds });
        let Ok(mut clone) = started else { return Ok(()) };
        let events = [(LogClass::Ledger, heartbeat(1))];
        let Ok(positions) = clone.commit(now, &events) else { return Ok(()) };
        let noted = Noted { event: heartbeat(1), wall: now.wall, at: self.moment };
        self.acknowledge(self.devices[index].life, positions[0], noted)
    }
}

/// A user's name.
pub(super) fn user_name(user: usize) -> String {
    format!("user {user}")
}
