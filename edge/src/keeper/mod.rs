//! The keeper: the one thread that owns the device's replica.
//!
//! Everything durable is asked of it through a bounded queue, and answered after
//! the fsync. Invariant: recordings that wait together share one commit (group
//! commit), and a tail is sealed when the engine says it is due. After a failed
//! write the keeper ends and, with it, the process: what is durable is replayed
//! at the next start. A write that found no room is none: [`room`] goes on.

mod forgetting;
mod recording;
mod room;

pub use recording::{Entry, Recorded};

use crate::data_dir::DataDir;
use crate::identity::{Enrolment, Keys, NextKeys};
use crate::journal_file::DiskFile;
use crate::reserve::Reserve;
use core::time::Duration;
use recording::Recorder;
use room::unless_full;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tallyroll_engine::device::{Device, DeviceConfig, Now, Rotation};
use tallyroll_engine::store::{RedbMoment, RedbStore};
use tallyroll_engine::sync::{Effect, Reply};
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::{ClockQuality, Hash, Wall};
use tokio::sync::{mpsc, oneshot, watch};

/// A device's replica on real files.
pub type DiskDevice = Device<DiskFile, RedbStore>;

/// redb's page cache: a printer's working set is its newest pages.
const STORE_CACHE_BYTES: usize = 2 * 1024 * 1024;
/// Jobs that may wait: enough to fill a group commit, few enough to push back.
const QUEUE_LEN: usize = 256;

type Query = Box<dyn FnOnce(&mut DiskDevice) + Send>;

enum Job {
    Record { entries: Vec<Entry>, reply: oneshot::Sender<Vec<Recorded>> },
    Perform { effect: Effect, reply: oneshot::Sender<Reply> },
    Moment { reply: oneshot::Sender<Result<(RedbMoment, Wall), Error>> },
    RotateKeys { next: NextKeys, reply: oneshot::Sender<Result<(), Error>> },
    Query(Query),
}

/// What others may watch of the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Grows with each sealing.
    pub sealed: u64,
    /// Grows with each new alias.
    pub minted: u64,
    /// Whether new work is refused because there is no room on the disk.
    pub full: bool,
    /// Whether the cloud has confirmed new keys that are not yet used.
    pub rekeyed: bool,
}

/// A handle to the keeper.
#[derive(Clone)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    progress: watch::Receiver<Progress>,
    linked: watch::Sender<bool>,
    /// Held by who reads or changes the file of keys: what the device says of its keys, and what the file
    /// says, is about the same ones only while nobody else changes either.
    keys: Arc<tokio::sync::Mutex<()>>,
}

/// The keeper has ended; its error was, or will be, the process's.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the device's writer has stopped; start again, what is durable will be replayed")]
pub struct Gone;

/// Why there is no replica, or none any more. A diagnostic of its own, so that a command which fails with it
/// can tell by its exit code whether the same may succeed later.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeeperError {
    /// The replica's files cannot be used.
    #[error("cannot open {}", root.display())]
    Open {
        /// The data directory.
        root: PathBuf,
        /// Why not.
        source: Error,
    },
    /// A write failed.
    #[error("the device's writer has stopped")]
    Stopped(#[source] Error),
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

/// Opens the replica in `dir`.
///
/// # Errors
/// Storage failed or is damaged.
pub fn open(dir: &DataDir, keys: Keys, enrolment: &Enrolment) -> Result<DiskDevice, KeeperError> {
    open_files(dir, keys, enrolment)
        .map_err(|source| KeeperError::Open { root: dir.root().to_owned(), source })
}

fn open_files(dir: &DataDir, keys: Keys, enrolment: &Enrolment) -> Result<DiskDevice, Error> {
    crate::scrub::remove_unfinished(dir)?;
    let file = store_file(&dir.store())?;
    let anchor = crate::anchor::read(&file);
    let store = open_store(file)?;
    let journal =
        DiskFile::open(&dir.journal()).map_err(|source| storage("opening the journal", source))?;
    let mut nonces = [0; 32];
    getrandom::fill(&mut nonces)
        .map_err(|why| storage("asking for entropy", std::io::Error::other(why)))?;
    let config = DeviceConfig {
        tenant: enrolment.tenant,
        signer: keys.signer,
        next_signer: keys.next.map(|next| next.signer),
        cloud_key: enrolment.cloud_key,
        public_log: enrolment.public_log,
        anchor,
    };
    Device::open(config, journal, store, Clock::start().now(), nonces)
}

/// Opens the file of a store, or makes an empty one.
pub(crate) fn store_file(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|source| storage("opening the store", source))
}

/// Opens the store in a file.
pub(crate) fn open_store(file: File) -> Result<RedbStore, Error> {
    let backend = redb::backends::FileBackend::new(file)
        .map_err(|why| storage("opening the store", std::io::Error::other(why)))?;
    RedbStore::open(backend, STORE_CACHE_BYTES)
}

fn storage(doing: &'static str, source: std::io::Error) -> Error {
    Error::Storage { doing, source }
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
        };
        keeping.run(&runtime, queue)
    });
    (Keeper { jobs, progress, linked, keys: Arc::default() }, Running { thread })
}

impl Keeper {
    /// Waits until nobody else is at the file of keys, and keeps others from it.
    pub(crate) async fn at_the_keys(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.keys.clone().lock_owned().await
    }

    /// The same, unless somebody else is at it now.
    pub(crate) fn at_the_keys_now(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.keys.clone().try_lock_owned().ok()
    }

    /// Records entries in order; the answers come once all that went in is durable.
    ///
    /// # Errors
    /// The keeper has ended; nothing is known of these entries.
    pub async fn record(&self, entries: Vec<Entry>) -> Result<Vec<Recorded>, Gone> {
        self.submit_recording(entries).await?.await.map_err(|_| Gone)
    }

    /// Queues entries; the receiver gets the answers.
    ///
    /// # Errors
    /// The keeper has ended.
    pub async fn submit_recording(
        &self,
        entries: Vec<Entry>,
    ) -> Result<oneshot::Receiver<Vec<Recorded>>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Record { entries, reply }).await.map_err(|_| Gone)?;
        Ok(answer)
    }

    /// Carries out what a session asked for; the receiver gets the reply.
    ///
    /// Without room the reply's sender is dropped, and [`Progress::full`] says so.
    ///
    /// # Errors
    /// The keeper has ended.
    pub async fn perform(&self, effect: Effect) -> Result<oneshot::Receiver<Reply>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Perform { effect, reply }).await.map_err(|_| Gone)?;
        Ok(answer)
    }

    /// Runs a function on the replica.
    ///
    /// # Errors
    /// The keeper has ended.
    pub async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut DiskDevice) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |device| drop(reply.send(ask(device))));
        self.jobs.send(Job::Query(query)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Seals the tail, so that all that is durable is in the store, and gives the store as it is
    /// then, and when that is. Reading it keeps nobody waiting.
    ///
    /// # Errors
    /// The keeper has ended; or, within, the store cannot be read.
    pub async fn moment(&self) -> Result<Result<(RedbMoment, Wall), Error>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Moment { reply }).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Has new keys sign from now on.
    ///
    /// # Errors
    /// The keeper has ended; or, within, the device refuses it.
    pub async fn rotate_keys(&self, next: NextKeys) -> Result<Result<(), Error>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::RotateKeys { next, reply }).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Tells the keeper whether a link is up, which decides when tails are sealed.
    pub fn set_linked(&self, linked: bool) {
        self.linked.send_replace(linked);
    }

    /// Watches sealing and minting.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Returns when the keeper has ended.
    pub async fn ended(&self) {
        self.jobs.closed().await;
    }
}

/// Reads the system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

/// Before this software was written no clock can be right: 1 November 2026.
const RELEASED: Wall = Wall(1_793_491_200_000);

impl Clock {
    /// A clock whose monotonic time begins now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        let quality = if wall < RELEASED { ClockQuality::Suspect } else { ClockQuality::Unknown };
        Now { wall, quality, monotonic: self.started.elapsed() }
    }
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

    /// Waits for jobs, the link's coming up, or the time to seal.
    async fn wait(&mut self, queue: &mut mpsc::Receiver<Job>, waiting: &mut Vec<Job>) -> usize {
        let linked = *self.linked.borrow_and_update();
        let due =
            [self.device.seal_due(linked), self.device.prune_due()].into_iter().flatten().min();
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
                Job::Perform { effect, reply } => {
                    self.record(core::mem::take(&mut recordings))?;
                    let answer = unless_full(self.device.perform(self.clock.now(), effect))?;
                    self.watch_rotation()?;
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
        self.progress.send_if_modified(|progress| {
            let changed = progress.rekeyed != rekeyed;
            progress.rekeyed = rekeyed;
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
        if minted {
            self.progress.send_modify(|progress| progress.minted += 1);
        }
        let mut answers = answers.into_iter();
        for (count, reply) in replies {
            drop(reply.send(answers.by_ref().take(count).collect())); // the asker may be gone
        }
        Ok(())
    }
}
