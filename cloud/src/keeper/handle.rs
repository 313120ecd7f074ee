//! The keeper's handle: what others ask of the thread that owns the replica, and watch of it.
//!
//! Invariant: an answer comes after the fsync behind it, or not at all: then there was no room for it, or the keeper
//! has ended, and nothing is known of what was asked.

use super::unpacking::Unpacking;
use super::{Asked, Job, Replica};
use tallyroll_engine::Error;
use tallyroll_engine::sync::{Effect, Reply};
use tallyroll_schema::{CommitPosition, DeviceId};
use tokio::sync::{mpsc, oneshot, watch};

/// A handle to the keeper.
#[derive(Debug, Clone)]
pub struct Keeper {
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) commits: watch::Receiver<CommitPosition>,
    pub(super) decisions: watch::Receiver<u64>,
    pub(super) full: watch::Receiver<bool>,
    pub(super) unpacking: Unpacking,
}

/// Why the keeper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] Error),
    /// There is no room for what was asked; nothing of it is stored.
    #[error("the cloud's disk is full: nothing of this is stored, come again")]
    Full,
    /// The keeper has ended; its error was, or will be, the process's.
    #[error("the cloud's writer has stopped; start it again, what is durable will be replayed")]
    Gone,
}

impl Keeper {
    /// Carries out what a device's session asked for; the receiver gets the reply, or
    /// none, for the reason that [`Keeper::why_unanswered`] gives.
    ///
    /// # Errors
    /// The keeper has ended.
    pub async fn perform(
        &self,
        device: DeviceId,
        effect: Effect,
    ) -> Result<oneshot::Receiver<Reply>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let place = self.jobs.reserve().await.map_err(|_| Unanswered::Gone)?;
        let (effect, ahead) = self.unpacking.unpack(effect).await.ok_or(Unanswered::Gone)?;
        place.send(Job::Perform(Box::new(Asked { device, effect, ahead, reply })));
        Ok(answer)
    }

    /// Runs a function on the replica.
    ///
    /// # Errors
    /// The function's, or the keeper has ended: then nobody knows what is durable.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Replica) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let work = move |replica: &mut Replica| match work(replica) {
            Err(error) if replica.hub.is_closed() => Err(error),
            done => {
                drop(reply.send(done)); // the asker may be gone
                Ok(())
            }
        };
        self.jobs.send(Job::Run(Box::new(work))).await.map_err(|_| Unanswered::Gone)?;
        Ok(answer.await.map_err(|_| Unanswered::Gone)??)
    }

    /// Why a reply did not come.
    pub fn why_unanswered(&self) -> Unanswered {
        if self.is_full() { Unanswered::Full } else { Unanswered::Gone }
    }

    /// Whether the last write found no room.
    pub fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// The newest commit.
    pub fn last_commit(&self) -> CommitPosition {
        *self.commits.borrow()
    }

    /// Watches for commits.
    pub fn commits(&self) -> watch::Receiver<CommitPosition> {
        self.commits.clone()
    }

    /// Watches for what this cloud decided: new offers, another standing.
    pub fn decisions(&self) -> watch::Receiver<u64> {
        self.decisions.clone()
    }

    /// Lets the keeper finish what waits, and end.
    pub async fn stop(&self) {
        drop(self.jobs.send(Job::Stop).await); // it may have ended already
    }

    /// Returns when the keeper has ended.
    pub async fn ended(&self) {
        self.jobs.closed().await;
    }
}
