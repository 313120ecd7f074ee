//! The system's clocks, as the engine takes them.
//!
//! Invariant: the monotonic time only runs forward, whatever becomes of the wall
//! clock, which is passed on as it is, with its standing.
//! What a time means is left to the engine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tallyroll_engine::device::Now;
use tallyroll_schema::{ClockQuality, Wall};

/// Before this software was written no clock can be right: 1 November 2026.
const RELEASED: Wall = Wall(1_793_491_200_000);

/// Reads the clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time.
    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        let quality = if wall < RELEASED { ClockQuality::Suspect } else { ClockQuality::Unknown };
        Now { wall, quality, monotonic: self.started.elapsed() }
    }
}
