//! The keeper: the one thread that owns the device's replica.
//!
//! Everything durable is asked of it through a bounded queue, and answered after
//! the fsync. Invariant: recordings that wait together share one commit (group
//! commit), and a tail is sealed when the engine says it is due. After a failed
//! write the keeper ends and, with it, the process: what is durable is replayed
//! at the next start. A write that found no room is none: [`room`] goes on.

mod checks;
mod clock;
mod forgetting;
mod handle;
mod opening;
mod recent;
mod recording;
mod room;
mod spending;

pub(crate) use checks::is_recorded;
pub use checks::{is_name, no_name};
pub use clock::Clock;
pub use handle::{Gone, Keeper, Progress};
pub use opening::{KeeperError, open};
pub(crate) use opening::{make_journal, open_store, store_file};
pub use recording::{Entry, Recorded};
pub use spending::{HELD_HERE, LEASE_IDLE, Short, Spent};

use crate::data_dir::DataDir;
use crate::identity::{Enrolment, NextKeys};
use crate::journal_file::DiskFile;
use crate::reserve::Reserve;
use core::time::Duration;
use recording::Recorder;
use room::unless_full;
use spending::Spending;
use std::sync::Arc;
use tallyroll_engine::device::{Device, Rotation};
use tallyroll_engine::store::{RedbMoment, RedbStore};
use tallyroll_engine::sync::{Effect, Reply};
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::{Act, Hash, Wall};
use tokio::sync::{mpsc, oneshot, watch};

/// A device's replica on real files.
pub type DiskDevice = Device<DiskFile, RedbStore>;

/// Jobs that may wait: enough to fill a group commit, few enough to push back.
const QUEUE_LEN: usize = 256;

type Query = Box<dyn FnOnce(&mut DiskDevice) + Send>;

enum Job {
    Record { entries: Vec<Entry>, reply: oneshot::Sender<Vec<Recorded>> },
    Spend { act: Act, records: bool, reply: oneshot::Sender<Spent> },
    LeaseIdle(Duration),
    Perform { effect: Effect, reply: oneshot::Sender<Reply> },
    Moment { reply: oneshot::Sender<Result<(RedbMoment, Wall), Error>> },
    RotateKeys { next: NextKeys, reply: oneshot::Sender<Result<(), Error>> },
    Query(Query),
    End(Error),
}

/// A keeper that is running, to be waited for.
pub struct Running {
    thread: std::thread::JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Waits until every handle is dropped and the keeper has ended.
    ///
    /// # Errors
    /// What ended it early.
    pub fn join(self) -> Result<(), KeeperError> {
        self.thread.join().unwrap_or(Err(Error::Closed)).map_err(KeeperError::Stopped)
    }
}

/// Starts the keeper's thread; it needs the runtime for its timer.
pub fn start(dir: &DataDir, device: DiskDevice, enrolment: Enrolment) -> (Keeper, Running) {
    let (reserve, dir) = (Reserve::find(dir.reserve()), dir.clone());
    let (jobs, queue) = mpsc::channel(QUEUE_LEN);
    let (progress_sender, progress) = watch::channel(Progress::default());
    let (linked, linked_receiver) = watch::channel(false);
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::spawn(move || {
        let keeping = Keeping {
            recorder: Recorder::new(enrolment),
            dir,
            forget_after: Duration::ZERO,
            device,
            reserve,
            clock: Clock::start(),
            progress: progress_sender,
            linked: linked_receiver,
            spending: Spending::default(),
        };
        keeping.run(&runtime, queue)
    });
    (Keeper { jobs, progress, linked, keys: Arc::default() }, Running { thread })
}

struct Keeping {
    device: DiskDevice,
    dir: DataDir,
    /// Erasing failed, and is tried again after this.
    forget_after: Duration,
    reserve: Reserve,
    recorder: Recorder,
    clock: Clock,
    progress: watch::Sender<Progress>,
    linked: watch::Receiver<bool>,
    spending: Spending,
}

impl Keeping {
    fn run(
        mut self,
        runtime: &tokio::runtime::Handle,
        mut queue: mpsc::Receiver<Job>,
    ) -> Result<(), Error> {
        let mut waiting = Vec::new();
        self.reserve.restore()?;
        loop {
            self.tend_leases()?;
            self.ask_if_flagged()?;
            self.seal_if_due()?;
            self.mind_room()?;
            self.prune()?;
            self.forget()?;
            match runtime.block_on(self.wait(&mut queue, &mut waiting)) {
                0 if queue.is_closed() && queue.is_empty() => break,
                _ => self.work(core::mem::take(&mut waiting))?,
            }
        }
        unless_full(self.device.seal(self.clock.now()))?; // without room it stays in the journal
        Ok(())
    }

    /// Asks for balances whose sync request flag is set, once their users' jobs have ended.
    fn ask_if_flagged(&mut self) -> Result<(), Error> {
        for user in self.device.balances_to_ask() {
            match self.device.ask_balance(self.clock.now(), user) {
                Err(why) if matches!(why.kind(), Kind::Full | Kind::Rejected) => break, // no room, or retired
                asked => asked?,
            }
        }
        Ok(())
    }

    /// Waits for jobs, the link's coming up, or the time to seal.
    async fn wait(&mut self, queue: &mut mpsc::Receiver<Job>, waiting: &mut Vec<Job>) -> usize {
        let linked = *self.linked.borrow_and_update();
        let due = [self.device.seal_due(linked), self.device.prune_due(), self.spending.due()];
        let due = due.into_iter().flatten().min();
        let now = self.clock.now().monotonic;
        let pause = due.map_or(Duration::MAX, |due| due.saturating_sub(now));
        tokio::select! {
            count = queue.recv_many(waiting, QUEUE_LEN) => count,
            Ok(()) = self.linked.changed() => 1,
            () = tokio::time::sleep(pause.min(Duration::from_secs(3600))) => 1,
        }
    }

    fn seal_if_due(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        let linked = *self.linked.borrow();
        match self.device.seal_due(linked) {
            Some(due) if due <= now.monotonic => {
                self.reserve.restore()?;
                self.seal(now)
            }
            _ => Ok(()),
        }
    }

    /// Does the jobs in order; neighbouring recordings share commits.
    fn work(&mut self, jobs: Vec<Job>) -> Result<(), Error> {
        let mut recordings = Vec::new();
        for job in jobs {
            match job {
                Job::Record { entries, reply } => {
                    recordings.push((entries, reply));
                    continue;
                }
                Job::Spend { act, records, reply } => {
                    self.record(core::mem::take(&mut recordings))?;
                    drop(reply.send(self.spend(act, records)?)); // the asker may be gone
                }
                Job::LeaseIdle(idle) => self.spending.set_idle(idle),
                Job::Perform { effect, reply } => {
                    self.record(core::mem::take(&mut recordings))?;
                    let brings = matches!(effect, Effect::Persist(_));
                    let answer = unless_full(self.device.perform(self.clock.now(), effect))?;
                    self.watch_rotation()?;
                    if brings {
                        self.rights_changed();
                    }
                    if let Some(answer) = answer {
                        drop(reply.send(answer)); // the session may be gone
                    }
                }
                Job::Moment { reply } => {
                    self.record(core::mem::take(&mut recordings))?;
                    let now = self.clock.now();
                    self.seal(now)?;
                    let moment = match self.device.is_full() {
                        true => Err(Error::Full("a backup seals what is not sealed yet".into())),
                        false => self.device.store().moment(),
                    };
                    drop(reply.send(moment.map(|moment| (moment, now.wall)))); // or nobody waits
                }
                Job::RotateKeys { next, reply } => {
                    self.record(core::mem::take(&mut recordings))?;
                    let fingerprint = Hash(next.tls.fingerprint().0);
                    let now = self.clock.now();
                    let rotated = self.device.rotate_keys(now, next.signer, fingerprint);
                    self.progress.send_modify(|progress| progress.sealed += 1);
                    match rotated {
                        Err(why) if why.kind() == Kind::Closed => return Err(why),
                        rotated => drop(reply.send(rotated)), // the asker may be gone
                    }
                }
                Job::End(why) => return Err(why),
                Job::Query(query) => {
                    self.record(core::mem::take(&mut recordings))?;
                    query(&mut self.device);
                    self.watch_rotation()?;
                }
            }
        }
        self.record(recordings)
    }

    /// After whatever may have moved a change of keys.
    fn watch_rotation(&self) -> Result<(), Error> {
        let rekeyed = self.device.rotation()? == Rotation::Confirmed;
        let provable = rekeyed && self.device.can_prove_next_keys()?;
        self.progress.send_if_modified(|progress| {
            let changed = (progress.rekeyed, progress.provable) != (rekeyed, provable);
            (progress.rekeyed, progress.provable) = (rekeyed, provable);
            changed
        });
        Ok(())
    }

    fn record(
        &mut self,
        recordings: Vec<(Vec<Entry>, oneshot::Sender<Vec<Recorded>>)>,
    ) -> Result<(), Error> {
        let (mut entries, mut replies) = (Vec::new(), Vec::new());
        for (more, reply) in recordings {
            replies.push((more.len(), reply));
            entries.extend(more);
        }
        if replies.is_empty() {
            return Ok(());
        }
        let (answers, minted) = self.recorder.record(&mut self.device, self.clock, entries)?;
        self.say_minted(minted);
        let mut answers = answers.into_iter();
        for (count, reply) in replies {
            drop(reply.send(answers.by_ref().take(count).collect())); // the asker may be gone
        }
        Ok(())
    }

    fn say_minted(&self, minted: bool) {
        if minted {
            self.progress.send_modify(|progress| progress.minted += 1);
        }
    }
}
