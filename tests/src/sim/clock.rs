//! A machine's clock: true time, bent as a fault has it.
//!
//! Invariant: the monotonic half only runs forward while a process lives and starts anywhere at the
//! next one; the wall half promises nothing.

use core::time::Duration;
use tallyroll_engine::device::Now;
use tallyroll_schema::{ClockQuality, Wall};

/// When every history begins: 20 November 2026, shortly before midnight UTC.
const START_MILLISECONDS: i64 = 1_795_219_000_000;

/// A clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Wall time is off by so much, milliseconds.
    pub offset: i64,
    /// So much later it is everywhere, milliseconds, since the calendar was turned.
    pub calendar: u64,
    /// Wall time stands still here.
    pub frozen: Option<Wall>,
    /// What it says of itself.
    pub quality: ClockQuality,
    /// What the monotonic half showed when true time was 0.
    pub origin: Duration,
}

impl Clock {
    /// What it shows at a true time.
    pub fn show(&self, now: Duration) -> Now {
        let running =
            START_MILLISECONDS + now.as_millis() as i64 + self.calendar as i64 + self.offset;
        let wall = self.frozen.unwrap_or(Wall(running.max(0) as u64));
        Now { wall, quality: self.quality, monotonic: self.monotonic(now) }
    }

    /// The monotonic half.
    pub fn monotonic(&self, now: Duration) -> Duration {
        self.origin + now
    }
}
