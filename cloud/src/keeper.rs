//! The keeper: the one thread that owns the cloud's replica.
//!
//! Everything durable is asked of it through a bounded queue, and answered after
//! the fsync. Invariant: what sessions ask for together shares one commit (group
//! commit). After a failed write nothing more is answered: the keeper ends and,
//! with it, the process; what is durable is replayed at the next start. A write
//! that found no room ends only the sessions that asked for it: they come again.

mod handle;
mod replica;
mod unpacking;

pub use handle::{Keeper, Unanswered};
pub use replica::Replica;

use crate::links::Live;
use crate::people::{self, AliasOf};
use core::time::Duration;
use std::thread::JoinHandle;
use tallyroll_engine::Error;
use tallyroll_engine::hub::Recovery;
use tallyroll_engine::store::rows::DirectoryRow;
use tallyroll_engine::sync::{Effect, Reply};
use tallyroll_schema::{CommitPosition, DeviceId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};
use unpacking::{Unpacked, Unpacking};

/// Jobs that may wait, and jobs of one commit at most: a burst has a megabyte.
const QUEUE_LEN: usize = 32;
/// Requests for credits that could not be answered for want of room are tried again no sooner.
const ANSWER_PAUSE: Duration = Duration::from_millis(100);

type Work = Box<dyn FnOnce(&mut Replica) -> Result<(), Error> + Send>;

enum Job {
    Perform(Box<Asked>),
    Run(Work),
    Stop,
}

/// A keeper that is running, to be waited for.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Waits until the keeper has ended.
    ///
    /// # Errors
    /// What ended it early.
    pub async fn join(self) -> Result<(), Error> {
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        joined.ok().and_then(Result::ok).unwrap_or(Err(Error::Closed)) // it panicked, and said why
    }
}

/// Starts the keeper's thread; where devices are served, `live` knows them, and it answers those that
/// ask for credits. It needs the runtime for its timer.
pub fn start(replica: Replica, live: Option<Live>) -> (Keeper, Running) {
    let (jobs, queue) = mpsc::channel(QUEUE_LEN);
    let (committed, commits) = watch::channel(replica.hub.last_commit());
    let (decided, decisions) = watch::channel(replica.hub.decided());
    let (said_full, full) = watch::channel(false);
    let frozen = replica.hub.may_readmit();
    let names = Vec::new();
    let keeping = Keeping { replica, committed, decided, said_full, frozen, names, live };
    let runtime = Handle::current();
    let thread = std::thread::spawn(move || keeping.run(&runtime, queue));
    let unpacking = Unpacking::default();
    (Keeper { jobs, commits, decisions, full, unpacking }, Running { thread })
}

struct Keeping {
    replica: Replica,
    committed: watch::Sender<CommitPosition>,
    decided: watch::Sender<u64>,
    said_full: watch::Sender<bool>,
    /// As it was told last.
    frozen: bool,
    /// Stored, and not linked to people yet.
    names: Vec<(AliasOf, DirectoryRow)>,
    live: Option<Live>,
}

/// What a session asked for.
struct Asked {
    device: DeviceId,
    effect: Effect,
    ahead: Unpacked,
    reply: oneshot::Sender<Reply>,
}

impl Keeping {
    fn run(mut self, runtime: &Handle, mut queue: mpsc::Receiver<Job>) -> Result<(), Error> {
        let mut waiting = Vec::new();
        while runtime.block_on(self.wait(&mut queue, &mut waiting)) {
            let mut group = Vec::new();
            for job in waiting.drain(..) {
                match job {
                    Job::Perform(asked) => group.push(*asked),
                    Job::Run(work) => {
                        self.perform(core::mem::take(&mut group))?;
                        self.count()?;
                        work(&mut self.replica)?;
                        self.tell_balances()?;
                        self.say_full();
                        self.announce()?;
                    }
                    Job::Stop => {
                        self.perform(group)?;
                        return self.count();
                    }
                }
            }
            self.perform(group)?;
            let hub = &mut self.replica.hub;
            while hub.is_behind() && queue.is_empty() {
                hub.catch_up_a_batch()?;
            }
            if hub.is_behind() && !hub.is_far_behind() {
                continue; // what waits is receipted before what came is counted
            }
            self.count()?;
            let now = self.replica.now();
            self.replica.hub.settle_counts(now)?;
            self.answer_requests()?;
        }
        Ok(())
    }

    /// Waits for jobs, or until a request for credits has waited long enough for others to give some
    /// back, or figures are to be folded anew; returns whether there may be more.
    async fn wait(&self, queue: &mut mpsc::Receiver<Job>, waiting: &mut Vec<Job>) -> bool {
        let hub = &self.replica.hub;
        let answers = self.live.as_ref().and_then(|_| hub.answers_due());
        let Some(due) = answers.into_iter().chain(hub.settle_due()).min() else {
            return queue.recv_many(waiting, QUEUE_LEN).await > 0;
        };
        let pause = due.saturating_sub(self.replica.now().monotonic).max(ANSWER_PAUSE);
        let received = queue.recv_many(waiting, QUEUE_LEN);
        tokio::time::timeout(pause, received).await.map_or(true, |count| count > 0)
    }

    /// Answers devices that asked for credits, where any can be reached.
    fn answer_requests(&mut self) -> Result<(), Error> {
        let Some(live) = &self.live else { return Ok(()) };
        match self.replica.answer_requests(&live.devices()) {
            Err(Error::Full(why)) if !self.replica.hub.is_closed() => {
                warn!(why, "devices that ask for credits wait for room");
            }
            done => done?,
        }
        self.announce()
    }

    /// One commit for all, then a reply for each; [`Self::count`] comes later.
    fn perform(&mut self, group: Vec<Asked>) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        let (mut effects, mut replies, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = Vec::new();
        for Asked { device, effect, ahead, reply } in group {
            if let Effect::StoreDirectory(entries) = &effect {
                let sealed = |entry: &tallyroll_schema::wire::DirectoryEntry| {
                    (
                        (device, entry.alias),
                        DirectoryRow { sealed: entry.sealed.clone(), mail: None },
                    )
                };
                names.extend(entries.iter().map(sealed));
            }
            let Unpacked { ahead, room } = ahead;
            effects.push((device, effect, ahead));
            held.push(room);
            replies.push(reply);
        }
        let now = self.replica.now();
        let answers = match self.replica.hub.take(now, effects) {
            Err(Error::Full(why)) if !self.replica.hub.is_closed() => {
                self.say_full();
                warn!(why, "nothing can be stored; devices are told to come again");
                return Ok(()); // the replies' senders are dropped
            }
            done => done?,
        };
        drop(held); // what is kept of it has a bound of its own
        for (reply, answer) in replies.into_iter().zip(answers) {
            drop(reply.send(answer)); // the session may be gone
        }
        self.names.append(&mut names);
        Ok(())
    }

    /// Counts what is committed, and tells of it.
    fn count(&mut self) -> Result<(), Error> {
        self.replica.hub.catch_up()?;
        if self.replica.heard_of_forgetting() {
            self.replica.settle_forgotten()?; // before a name that comes is taken for a forgotten one's
        }
        let now = self.replica.now();
        let Replica { hub, people, .. } = &mut self.replica;
        match people::take_in(hub, people, now, self.names.iter().cloned()) {
            Err(Error::Full(why)) => warn!(why, "names wait for room to be linked"),
            done => {
                done?;
                self.names.clear();
            }
        }
        self.tell_balances()?;
        self.say_full();
        self.announce()
    }

    /// Tells devices what changed for their users.
    fn tell_balances(&mut self) -> Result<(), Error> {
        let now = self.replica.now();
        match self.replica.hub.tell_balances(now) {
            Err(Error::Full(why)) => warn!(why, "balances wait for room to be told"),
            told => told?,
        }
        Ok(())
    }

    fn say_full(&self) {
        let full = self.replica.hub.is_full();
        let changed =
            self.said_full.send_if_modified(|said| core::mem::replace(said, full) != full);
        if changed && !full {
            info!("there is room on the disk again");
        }
    }

    /// Tells who listens of what was committed; sessions, if it holds something of this cloud's own.
    fn announce(&mut self) -> Result<(), Error> {
        let frozen = self.replica.hub.may_readmit();
        let turned = core::mem::replace(&mut self.frozen, frozen) != frozen;
        if turned {
            match self.replica.hub.recovery() {
                Some(recovery) => tell_frozen(&recovery),
                None => {
                    info!("thawed: this cloud's own logs go on, in new epochs");
                    self.replica.note_last()?; // what is known now stands for all
                }
            }
        }
        if turned {
            self.replica.settle_forgotten()?; // of what was lost, devices may have heard
        }
        let last = self.replica.hub.last_commit();
        self.committed.send_if_modified(|known| core::mem::replace(known, last) != last);
        let decided = self.replica.hub.decided();
        self.decided.send_if_modified(|known| core::mem::replace(known, decided) != decided);
        Ok(())
    }
}

/// Says in the log that this cloud's own logs are frozen.
pub(crate) fn tell_frozen(Recovery { why, missing, .. }: &Recovery) {
    let missing = missing.len();
    warn!(why, missing, "frozen: this cloud's own logs wait; `tallyroll doctor` says for whom");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use crate::opening::open;
    use tallyroll_schema::{Credits, SubjectId};

    fn cloud() -> (tempfile::TempDir, Keeper, Running) {
        let root = tempfile::tempdir().unwrap();
        let (keeper, running) = start(open(&DataDir::new(root.path())).unwrap().replica, None);
        (root, keeper, running)
    }

    #[tokio::test]
    async fn a_decision_is_announced_and_a_question_is_not() {
        let (_root, keeper, running) = cloud();
        let mut decisions = keeper.decisions();
        let before = keeper.last_commit();
        assert_eq!(keeper.run(|replica| Ok(replica.hub.last_commit())).await.unwrap(), before);
        assert!(!decisions.has_changed().unwrap());
        let grant = |replica: &mut Replica| {
            let (now, subject) = (replica.now(), SubjectId([1; 16]));
            replica.hub.grant(now, subject, Credits::from_thousandths(1), String::new())
        };
        keeper.run(grant).await.unwrap();
        decisions.changed().await.unwrap();
        assert!(keeper.last_commit() > before);
        keeper.stop().await;
        running.join().await.unwrap();
        assert!(matches!(keeper.run(grant).await, Err(Unanswered::Gone)));
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_and_ends_nothing() {
        let (_root, keeper, _running) = cloud();
        let revoke = |replica: &mut Replica| {
            replica.hub.revoke(replica.now(), DeviceId([1; 16]), String::new())
        };
        let refused = keeper.run(revoke).await;
        assert!(matches!(refused, Err(Unanswered::Engine(Error::Rejected(_)))), "{refused:?}");
        keeper.run(|_| Ok(())).await.unwrap();
    }
}
