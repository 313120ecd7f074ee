//! The system's clocks, as the engine wants them.
//!
//! Invariant: monotonic time begins with the clock and never runs back; a wall clock from before
//! this software was written is told to be wrong. Who asks when is everybody's own.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tallyroll_engine::device::Now;
use tallyroll_schema::{ClockQuality, Wall};

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
