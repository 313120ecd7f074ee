//! The keeper's handle: what others ask of the thread that owns the replica, and watch of it.
//!
//! Invariant: an answer comes after the fsync behind it, or not at all: then the keeper has ended, and
//! nothing is known of what was asked.

use super::clock::Clock;
use super::{DiskDevice, Entry, Job, Query, Recorded, Spent};
use crate::identity::NextKeys;
use core::time::Duration;
use std::sync::Arc;
use tallyroll_engine::Error;
use tallyroll_engine::store::RedbMoment;
use tallyroll_engine::sync::{Effect, Reply};
use tallyroll_schema::wire::ActRequest;
use tallyroll_schema::{Act, ServerAct, Wall};
use tokio::sync::{mpsc, oneshot, watch};

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
    /// Whether they can be proven to a cloud that loses that again.
    pub provable: bool,
    /// Grows whenever what may be spent here may have changed: credits were lent, refused or recalled.
    pub rights: u64,
}

/// A handle to the keeper.
#[derive(Clone)]
pub struct Keeper {
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) linked: watch::Sender<bool>,
    /// Held by who reads or changes the file of keys: what the device says of its keys, and what the file
    /// says, is about the same ones only while nobody else changes either.
    pub(super) keys: Arc<tokio::sync::Mutex<()>>,
}

/// The keeper has ended; its error was, or will be, the process's.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the device's writer has stopped; start again, what is durable will be replayed")]
pub struct Gone;

impl Keeper {
    /// Waits until nobody else is at the file of keys, and keeps others from it.
    pub(crate) async fn at_the_keys(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.keys.clone().lock_owned().await
    }

    /// The same, unless somebody else is at it now.
    pub(crate) fn at_the_keys_now(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.keys.clone().try_lock_owned().ok()
    }

    /// Ends the keeper, and with it the process, as after a sync of its own that failed: nothing more is promised.
    pub(crate) fn end(&self, why: Error) {
        let jobs = self.jobs.clone();
        drop(tokio::spawn(async move { drop(jobs.send(Job::End(why)).await) })); // or it has ended already
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

    /// Records an act like [`Keeper::record`], but only if this device has a right to what it costs:
    /// it is spent, durably, before the answer. Without one the cloud is asked, and
    /// [`Progress::rights`] grows with its answer: try again then.
    ///
    /// # Errors
    /// The keeper has ended; nothing is known of this act.
    pub async fn spend(&self, act: Act) -> Result<Spent, Gone> {
        self.spend_if(act, true).await
    }

    /// Whether an act could be spent for now: as [`Keeper::spend`], but for recording it. What could be is
    /// answered with [`Spent::Already`].
    ///
    /// # Errors
    /// The keeper has ended.
    pub async fn may_spend(&self, act: Act) -> Result<Spent, Gone> {
        self.spend_if(act, false).await
    }

    async fn spend_if(&self, act: Act, records: bool) -> Result<Spent, Gone> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Spend { act, records, reply }).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Has leases given back that nobody spent from for so long; [`LEASE_IDLE`] if never said.
    ///
    /// # Errors
    /// The keeper has ended.
    pub async fn set_lease_idle(&self, idle: Duration) -> Result<(), Gone> {
        self.jobs.send(Job::LeaseIdle(idle)).await.map_err(|_| Gone)
    }

    /// Prices an act by the card held here and notes its request, durably: it may be sent to the account
    /// server then. Also says whether it was noted before.
    ///
    /// # Errors
    /// The keeper has ended; or, within, the device refuses it.
    pub async fn ask_to_act(
        &self,
        act: ServerAct,
    ) -> Result<Result<(ActRequest, bool), Error>, Gone> {
        self.query(move |device| device.ask(Clock::start().now(), &act)).await
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
