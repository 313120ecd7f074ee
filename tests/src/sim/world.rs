//! The world of one history: virtual time, machines, connections, and what comes next.
//!
//! Invariant: one thread, one queue ordered by time and then by age; everything random is drawn
//! from the history's own source. So a history is a function of seed, number and options.
//! What happens at each event is told in the files beside this one.

use super::checkers::{self, Violation};
use super::disk::{Broken, Disk};
use super::entropy::Entropy;
use super::faults::{Fault, Happened, Plan};
use super::jobs::Running;
use super::machine::{CloudMachine, CloudProcess, DeviceMachine};
use super::network::{Connection, ConnectionId, Side};
use super::occasions::Occasions;
use super::planted::Planted;
use super::server::Served;
use super::trace::Trace;
use super::truth::Truth;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tallyroll_schema::wire::StreamKind;
use tallyroll_schema::{DeviceId, EpochId, LogId, SubjectId, UserAlias};

/// Copies of a device connect so often, at the end, to have each other's events.
const GATHERED_AGAIN: Duration = Duration::from_secs(10);

/// More steps than any history takes that comes to an end; an honest one takes some ten thousand.
const STEPS_MAX: u64 = 2_000_000;

/// What a step comes to.
pub(crate) type Step = Result<(), Violation>;

/// Everything in sync again so long after the last fault is gone, or it is a violation.
pub(super) const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// Something that comes to pass at a time.
#[derive(Debug)]
pub(super) enum Happening {
    /// The next operation of the workload.
    Operation,
    /// The next fault.
    Accident,
    /// A frame arrives.
    Arrival(Arrival),
    /// An end of a connection notices that it is gone.
    Notice(ConnectionId, Side),
    /// A session's own deadline.
    SessionTimer(ConnectionId, Side),
    /// A device connects.
    Connect(usize),
    /// A device carries out effects.
    DeviceWork(usize),
    /// The cloud does.
    CloudWork,
    /// A device's seal timer fires.
    Seal(usize),
    /// A device's process starts again.
    Restart(usize),
    /// The cloud's does.
    RestartCloud,
    /// A device's disk has room again; the cloud's, when `None`.
    RoomAgain(Option<usize>),
    /// Looks whether everything is healed.
    Inspection,
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) connection: ConnectionId,
    pub(super) to: Side,
    pub(super) stream: StreamKind,
    pub(super) number: u64,
    pub(super) frame: Vec<u8>,
}

/// One history under way.
#[derive(Debug)]
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) planted: Option<Planted>,
    pub(crate) now: Duration,
    /// What has come to pass so far: much can at one time, in an order.
    pub(crate) moment: u64,
    queue: BTreeMap<(Duration, u64), Happening>,
    queued: u64,
    pub(crate) entropy: Entropy,
    pub(crate) devices: Vec<DeviceMachine>,
    pub(crate) cloud: CloudMachine,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) next_connection: ConnectionId,
    pub(crate) truth: Truth,
    pub(crate) happened: Happened,
    pub(crate) occasions: Occasions,
    pub(crate) trace: Trace,
    pub(crate) operations: u64,
    /// The device that was stolen, if one was.
    pub(super) revoking: Option<DeviceId>,
    /// Aliases of those who pay, which are linked or about to be.
    pub(super) paying: BTreeSet<(DeviceId, UserAlias)>,
    pub(super) pending_links: VecDeque<(DeviceId, UserAlias, SubjectId)>,
    /// Whether the payers' group is asked for, and not acknowledged yet.
    pub(super) founding: bool,
    /// Jobs that users may go on with.
    pub(super) jobs: Vec<Running>,
    /// Jobs of payers in which the cloud acts.
    pub(super) served: Vec<Served>,
    /// Where the cloud stands in each epoch, as it said itself.
    pub(super) persisted: BTreeMap<(LogId, EpochId), u64>,
    healing_since: Option<Duration>,
    /// Devices whose whole page log was imported once more after the last fault.
    imported: BTreeSet<usize>,
    /// When all connected once more, so that copies of a device have each other's events.
    gathered: Option<Duration>,
    done: bool,
}

impl World {
    /// A fleet of enrolled devices, before its first operation.
    pub(super) fn new(
        (seed, history): (u64, u64),
        plan: Plan,
        planted: Option<Planted>,
        verbose: bool,
    ) -> Result<Self, Violation> {
        let mut entropy = Entropy::new(seed, history, "world");
        let broken = planted.map_or(Broken::default(), Planted::cloud_disk);
        let disk = |name: &str, broken| {
            Disk::new(plan.sector_bytes, Entropy::new(seed, history, name), broken)
        };
        let cloud = CloudMachine::new(entropy.bytes(), disk("cloud", broken));
        let mut world = Self {
            planted,
            now: Duration::ZERO,
            moment: 0,
            queue: BTreeMap::new(),
            queued: 0,
            devices: Vec::new(),
            cloud,
            connections: BTreeMap::new(),
            next_connection: 0,
            truth: Truth::default(),
            happened: Happened::default(),
            occasions: Occasions::default(),
            trace: Trace::new(verbose),
            operations: 0,
            revoking: None,
            paying: BTreeSet::new(),
            pending_links: VecDeque::new(),
            founding: false,
            jobs: Vec::new(),
            served: Vec::new(),
            persisted: BTreeMap::new(),
            healing_since: None,
            imported: BTreeSet::new(),
            gathered: None,
            done: false,
            entropy,
            plan,
        };
        world.found_cloud()?;
        let broken = planted.map_or(Broken::default(), Planted::device_disk);
        for index in 0..world.plan.devices {
            let disk = Disk::new(
                world.plan.sector_bytes,
                Entropy::new(seed, history, &format!("device {index}")),
                broken,
            );
            world.enrol(index, disk)?;
            world.after(Duration::ZERO, Happening::Restart(index));
        }
        world.after(Duration::ZERO, Happening::Operation);
        world.after(Duration::ZERO, Happening::Accident);
        Ok(world)
    }

    /// Lives the history to its end.
    pub(super) fn run(&mut self) -> Step {
        while !self.done {
            let Some(((now, _), happening)) = self.queue.pop_first() else { break };
            self.now = now;
            self.moment += 1;
            if self.moment > STEPS_MAX {
                return Err(self.violation("liveness", format!("no end after {STEPS_MAX} steps")));
            }
            self.happen(happening)?;
        }
        checkers::at_the_end(self)
    }

    fn happen(&mut self, happening: Happening) -> Step {
        match happening {
            Happening::Operation => self.next_operation(),
            Happening::Accident => self.next_accident(),
            Happening::Arrival(arrival) => self.arrive(arrival),
            Happening::Notice(connection, side) => self.notice(connection, side),
            Happening::SessionTimer(connection, side) => self.session_timer(connection, side),
            Happening::Connect(index) => self.connect(index),
            Happening::DeviceWork(index) => self.device_works(index),
            Happening::CloudWork => self.cloud_works(),
            Happening::Seal(index) => self.seal_if_due(index),
            Happening::Restart(index) => self.restart(index),
            Happening::RestartCloud => self.restart_cloud(),
            Happening::RoomAgain(machine) => {
                let disk = machine.map_or(&self.cloud.disk, |index| &self.devices[index].disk);
                disk.set_full(false);
                Ok(())
            }
            Happening::Inspection => self.inspect(),
        }
    }

    fn next_operation(&mut self) -> Step {
        if self.operate()? {
            self.operations += 1;
        }
        if self.operations >= self.plan.operations {
            return self.heal();
        }
        let mean = self.plan.span / self.plan.operations as u32;
        let wait = mean.mul_f64(self.entropy.below(2000) as f64 / 1000.0);
        self.after(wait, Happening::Operation);
        Ok(())
    }

    /// The last fault is over: from now on everything must find together.
    fn heal(&mut self) -> Step {
        self.trace.note(self.now, format_args!("healing"));
        self.healing_since = Some(self.now);
        for machine in &mut self.devices {
            machine.partitioned_until = self.now;
            machine.poisons = false;
            machine.disk.disarm();
            machine.disk.set_full(false);
        }
        self.cloud.disk.disarm();
        self.cloud.disk.set_full(false);
        self.after(Duration::ZERO, Happening::RestartCloud);
        for index in 0..self.devices.len() {
            self.after(Duration::ZERO, Happening::Restart(index));
            self.after(Duration::from_secs(1), Happening::Connect(index));
        }
        self.after(Duration::ZERO, Happening::Inspection);
        Ok(())
    }

    /// Whether faults are over.
    pub(super) fn is_healing(&self) -> bool {
        self.healing_since.is_some()
    }

    fn inspect(&mut self) -> Step {
        self.link_pending()?;
        self.found_pending()?;
        self.revoke_pending()?;
        self.decide_about_quarantine()?;
        let mut imported = true;
        for index in 0..self.devices.len() {
            if !self.imported.contains(&index) && self.import(index)? {
                self.imported.insert(index);
            }
            imported &= self.imported.contains(&index);
        }
        let since = self.healing_since.unwrap_or(self.now);
        match checkers::liveness::missing(self)? {
            None if imported && self.pending_links.is_empty() && !self.founding => {
                if self.gathered.is_some() || self.truth.copied.is_empty() {
                    self.done = true;
                } else {
                    self.healing_since = Some(self.now);
                    self.gather()?;
                }
            }
            missing if self.now > since + HEALED_WITHIN => {
                let missing = missing.unwrap_or_else(|| "an import or a link".into());
                let what = format!("{} s after healing: {missing}", HEALED_WITHIN.as_secs());
                return Err(self.violation("liveness", what));
            }
            // What one copy writes when it learns of another, that one learns at its next contact.
            _ if self.gathered.is_some_and(|at| self.now > at + GATHERED_AGAIN) => self.gather()?,
            _ => self.after(Duration::from_millis(500), Happening::Inspection),
        }
        Ok(())
    }

    /// Whether everything of every copy is to be at all of them.
    pub(crate) fn has_gathered(&self) -> bool {
        self.gathered.is_some()
    }

    /// Everything of each machine is at the cloud: all connect once more.
    fn gather(&mut self) -> Step {
        self.gathered = Some(self.now);
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.notice(id, Side::Cloud)?;
            self.notice(id, Side::Device)?;
        }
        self.after(Duration::from_millis(500), Happening::Inspection);
        Ok(())
    }

    /// Queues something.
    pub(super) fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now + wait, happening);
    }

    /// Queues something for a time.
    pub(super) fn at(&mut self, time: Duration, happening: Happening) {
        self.queued += 1;
        self.queue.insert((time.max(self.now), self.queued), happening);
    }

    /// A random time up to `longest`.
    pub(super) fn some_time(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.entropy.below(longest.as_micros() as u64 + 1))
    }

    /// The cloud's process; at the end of a good history there is one.
    pub fn cloud_process(&self) -> Option<&CloudProcess> {
        self.cloud.process.as_ref()
    }

    /// The disks of all machines.
    pub(super) fn machines(&self) -> impl Iterator<Item = Disk> + use<> {
        let devices = self.devices.iter().map(|machine| machine.disk.clone());
        devices.chain([self.cloud.disk.clone()]).collect::<Vec<_>>().into_iter()
    }

    /// A promise is broken.
    pub(crate) fn violation(&self, checker: &'static str, what: String) -> Violation {
        Violation { checker, what: format!("{what} (at {:.3} s)", self.now.as_secs_f64()) }
    }

    /// Counts that a clock was bent when it mattered.
    pub(super) fn count_bent_clock(&mut self, index: usize) {
        let clock = &self.devices[index].clock;
        if clock.frozen.is_some() || clock.offset != 0 {
            self.happened.count(Fault::BadClock);
        }
    }
}
