//! A cloud and its branches as processes of their own, with real files and real QUIC on loopback.
//! Owns starting them, killing them, and reading what they say. Invariant: a process ends with its handle,
//! every wait has a limit, and when a test fails its processes' last words are shown.
//! The harness panics where it cannot go on; what holds or not is judged by those who use it.

mod branch;
mod calendar;
mod cloud;
mod process;
mod programs;
mod recording;
mod usage;

pub use branch::{Branch, Standing};
pub use cloud::{Cloud, Invitation};
pub use process::{Process, Ran, run};
pub use programs::{Programs, program};
pub use recording::{Answer, Recording};
pub use usage::{Memory, cpu_time, disk_used};

use std::time::{Duration, Instant};

/// How long a process may take for what it does at once: start, answer, stop.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the first value that `look` gives, looking every few milliseconds.
///
/// # Panics
/// When there is none within `limit`.
#[track_caller]
pub fn wait_for<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `holds` does.
///
/// # Panics
/// When it does not within `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(limit, what, || holds().then_some(()));
}
