//! Acts on their way to the account server, and who waits for their answers.
//!
//! Invariant: what is told as not asked was never sent; an act whose answer did not come is told as not
//! known. Nothing is sent that nobody waits for, and no request twice at a time. What is noted of it on
//! the disk is the desk's.

use super::LinkState;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_schema::RequestId;
use tallyroll_schema::limits::links::{ACT_PATIENCE, ACTS_UNDER_WAY_MAX};
use tallyroll_schema::wire::{ActOutcome, ActRequest};
use tokio::sync::{mpsc, oneshot, watch};

/// What is heard of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The account server's word.
    Answer(ActOutcome),
    /// It was never sent, and why.
    NotAsked(String),
    /// It was sent, and nobody knows what became of it.
    Unknown,
}

/// An act and who waits for it.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) request: ActRequest,
    pub(super) answer: oneshot::Sender<Heard>,
}

/// The way to the account server.
#[derive(Debug, Clone)]
pub struct Acts {
    queue: mpsc::Sender<Asking>,
    link: watch::Receiver<LinkState>,
    under_way: Arc<Mutex<BTreeSet<RequestId>>>,
}

/// The link's end of it, and what the link tells of itself.
#[derive(Debug)]
pub struct LinkEnd {
    pub(super) state: watch::Sender<LinkState>,
    queue: tokio::sync::Mutex<mpsc::Receiver<Asking>>,
}

/// Both ends, before the link is first made.
pub fn ends() -> (LinkEnd, Acts) {
    let (state, link) = watch::channel(LinkState::Connecting);
    let (queue, asked) = mpsc::channel(ACTS_UNDER_WAY_MAX);
    let acts = Acts { queue, link, under_way: Arc::default() };
    (LinkEnd { state, queue: tokio::sync::Mutex::new(asked) }, acts)
}

/// A request's place among those under way.
struct Place<'a>(&'a Acts, RequestId);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Acts {
    /// What is known of the link.
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.link.clone()
    }

    /// Why nothing can be asked now, if nothing can. Whether nothing ever can is the desk's to know.
    pub fn refusal(&self) -> Option<String> {
        let link = self.link.borrow();
        let why = match &*link {
            LinkState::Up { .. } | LinkState::Stopped { .. } => return None,
            LinkState::Connecting => "the link is not up yet",
            LinkState::Down { why, .. } => why,
        };
        Some(format!(
            "the account server cannot be reached, so nothing of this is asked for: {why}; try again when \
             `tallyroll-edge status` says that the link is up"
        ))
    }

    /// Asks, and waits for the answer as long as one may take.
    pub async fn ask(&self, request: ActRequest) -> Heard {
        let id = request.request;
        if !self.lock().insert(id) {
            return Heard::NotAsked(format!("request {id} is being asked by somebody else here"));
        }
        let _place = Place(self, id);
        let (answer, heard) = oneshot::channel();
        let patience: Duration = ACT_PATIENCE;
        let asked = async {
            match self.queue.send(Asking { request, answer }).await {
                Ok(()) => heard.await.unwrap_or(Heard::Unknown),
                Err(_) => Heard::NotAsked("the agent stops".into()),
            }
        };
        tokio::time::timeout(patience, asked).await.unwrap_or(Heard::Unknown)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<RequestId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner) // a set is always whole
    }
}

impl LinkEnd {
    /// The next act that somebody waits for; without an agent's clients, none ever.
    pub(super) async fn next(&self) -> Asking {
        let mut queue = self.queue.lock().await;
        while let Some(asking) = queue.recv().await {
            if !asking.answer.is_closed() {
                return asking;
            }
        }
        core::future::pending().await
    }

    /// The link is down: whoever was not sent yet hears so.
    pub(super) async fn turn_away(&self, why: &str) {
        let mut queue = self.queue.lock().await;
        while let Ok(asking) = queue.try_recv() {
            let why = format!("the link was lost before it was asked: {why}; try again");
            drop(asking.answer.send(Heard::NotAsked(why)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u8) -> ActRequest {
        ActRequest { request: RequestId([number; 8]), act: String::new(), charge: None }
    }

    #[tokio::test]
    async fn who_was_sent_and_not_answered_does_not_know_and_who_was_not_sent_does() {
        let (link, acts) = ends();
        assert!(acts.refusal().is_some_and(|why| why.contains("not up yet")));
        let twice = async {
            let sent = link.next().await;
            let again = acts.ask(request(1)).await;
            assert!(matches!(again, Heard::NotAsked(_)), "{again:?}");
            drop(sent); // as when the session ends
        };
        let (heard, ()) = tokio::join!(acts.ask(request(1)), twice);
        assert_eq!(heard, Heard::Unknown);

        let turned_away = async {
            tokio::task::yield_now().await;
            link.turn_away("silence").await;
        };
        let (heard, ()) = tokio::join!(acts.ask(request(1)), turned_away);
        assert!(matches!(&heard, Heard::NotAsked(why) if why.contains("silence")), "{heard:?}");
        assert!(acts.lock().is_empty());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_sent() {
        let ((link, acts), pause) = (ends(), Duration::from_millis(50));
        assert!(tokio::time::timeout(pause, acts.ask(request(1))).await.is_err(), "nobody answers");
        assert!(tokio::time::timeout(pause, link.next()).await.is_err(), "it is passed over");
        assert!(acts.lock().is_empty());
    }
}
