//! Bursts are unpacked beside the keeper, not by it, while they wait for their turn.
//!
//! Invariant: what is unpacked and not yet stored is bounded for all sessions together; for what is beyond, and for
//! what is so small that a thread would take longer, the keeper does it.

use std::sync::Arc;
use tallyroll_engine::merge::Ahead;
use tallyroll_engine::sync::Effect;
use tallyroll_schema::limits::AHEAD_RECORDS_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Records of a burst from which on it is worth a thread, bytes: they take that about as long as a fsync.
const WORTH_BYTES: usize = 64 * 1024;
/// What one permit stands for, bytes.
const PERMIT_BYTES: usize = 1024;

/// What may still be unpacked.
#[derive(Debug, Clone)]
pub(super) struct Unpacking(Arc<Semaphore>);

impl Default for Unpacking {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AHEAD_RECORDS_MAX / PERMIT_BYTES)))
    }
}

/// What is unpacked of an effect, and the room that it takes until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    pub(super) ahead: Ahead,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Unpacking {
    /// Unpacks what an effect brings, if there is room; `None` if the process ends.
    pub(super) async fn unpack(&self, effect: Effect) -> Option<(Effect, Unpacked)> {
        let Effect::Persist(burst) = effect else { return Some((effect, Unpacked::default())) };
        let stated = Ahead::stated(&burst);
        let permits = u32::try_from(stated.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let room = match stated >= WORTH_BYTES {
            true => self.0.clone().try_acquire_many_owned(permits).ok(),
            false => None,
        };
        if room.is_none() {
            return Some((Effect::Persist(burst), Unpacked::default()));
        }
        let unpack = move || (Ahead::of(&burst), Effect::Persist(burst));
        let (ahead, effect) = tokio::task::spawn_blocking(unpack).await.ok()?;
        Some((effect, Unpacked { ahead, room }))
    }
}
