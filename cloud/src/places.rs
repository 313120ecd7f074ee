//! Places: how many visitors may be connected at once, and who makes room.
//!
//! Invariant: a visitor that says nothing, or half of what it wants, keeps nobody
//! out. It has a short time to ask, and when all places are taken, the longest
//! silent one gives way to the next; who has asked keeps its place. What may be
//! asked, and how long an answer may take, is left to those who answer.

use core::time::Duration;
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tallyroll_schema::limits::local::SILENCE_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// How long nobody is let in after that failed: out of descriptors, most likely, and it passes.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The places of one socket. Visits end with it.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    silence: Duration,
    visits: JoinSet<()>,
    /// The longest silent first.
    silent: VecDeque<(Turn, AbortHandle)>,
}

/// What a visitor has until it asks or is silent for too long, whichever is first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn(Arc<AtomicBool>);

impl Turn {
    /// The visitor has asked. False if it was too late: then its visit is being ended.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Places {
    /// So many.
    pub(crate) fn new(count: usize) -> Self {
        let free = Arc::new(Semaphore::new(count));
        Self { free, silence: SILENCE_MAX, visits: JoinSet::new(), silent: VecDeque::new() }
    }

    /// The same for visitors from afar, who need longer to ask.
    pub(crate) fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Begins a visit as soon as there is a place, at once unless all have asked.
    pub(crate) async fn seat<V>(&mut self, visit: impl FnOnce(Turn) -> V)
    where
        V: Future<Output = ()> + Send + 'static,
    {
        while self.visits.try_join_next().is_some() {}
        self.silent.retain(|(turn, visit)| !turn.is_gone() && !visit.is_finished());
        if self.free.available_permits() == 0 {
            self.cut_the_longest_silent();
        }
        let Ok(place) = self.free.clone().acquire_owned().await else { return }; // it is never closed
        let turn = Turn::default();
        let visit =
            self.visits.spawn(attend(visit(turn.clone()), turn.clone(), self.silence, place));
        self.silent.push_back((turn, visit));
    }

    fn cut_the_longest_silent(&mut self) {
        while let Some((turn, visit)) = self.silent.pop_front() {
            if turn.take() {
                return visit.abort();
            }
        }
    }
}

async fn attend(
    visit: impl Future<Output = ()>,
    turn: Turn,
    silence: Duration,
    _place: OwnedSemaphorePermit,
) {
    let silence = async {
        sleep(silence).await;
        if !turn.take() {
            pending().await // it has asked, and may stay
        }
    };
    tokio::select! {
        () = visit => {}
        () = silence => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::{self, error::TryRecvError};
    use tokio::time::{Instant, timeout};

    type Visit = core::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Lasts until it is cut; the receiver sees that.
    fn endless(asks: bool) -> (impl FnOnce(Turn) -> Visit, oneshot::Receiver<()>) {
        let (held, cut) = oneshot::channel();
        let visit = move |turn: Turn| -> Visit {
            Box::pin(async move {
                let _held = held;
                assert!(!asks || turn.take());
                pending().await
            })
        };
        (visit, cut)
    }

    fn lasts(cut: &mut oneshot::Receiver<()>) -> bool {
        cut.try_recv() == Err(TryRecvError::Empty)
    }

    #[tokio::test]
    async fn the_longest_silent_gives_way() {
        let mut places = Places::new(2);
        let ((first, first_cut), (second, mut second_cut)) = (endless(false), endless(false));
        let (third, mut third_cut) = endless(false);
        for visit in [first, second, third] {
            timeout(SILENCE_MAX / 2, places.seat(visit)).await.unwrap();
        }
        first_cut.await.unwrap_err();
        assert!(lasts(&mut second_cut) && lasts(&mut third_cut));
    }

    #[tokio::test]
    async fn who_has_asked_stays_and_who_is_silent_for_long_does_not() {
        let mut places = Places::new(2);
        let ((asked, mut asked_cut), (silent, silent_cut)) = (endless(true), endless(false));
        let began = Instant::now();
        for visit in [asked, silent] {
            places.seat(visit).await;
        }
        silent_cut.await.unwrap_err();
        assert!(began.elapsed() >= SILENCE_MAX);
        assert!(lasts(&mut asked_cut));
    }

    #[tokio::test]
    async fn the_next_waits_when_all_have_asked() {
        let mut places = Places::new(1);
        let (done, until) = oneshot::channel::<()>();
        places
            .seat(|turn| async move {
                assert!(turn.take());
                drop(until.await);
            })
            .await;
        tokio::task::yield_now().await; // it asks
        let (next, _cut) = endless(false);
        let waiting = places.seat(next);
        tokio::pin!(waiting);
        timeout(Duration::from_millis(50), &mut waiting).await.unwrap_err();
        drop(done);
        timeout(SILENCE_MAX / 2, waiting).await.unwrap();
    }
}
