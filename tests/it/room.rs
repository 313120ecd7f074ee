//! A disk without room at any write: each call of a run that wants room is answered with ENOSPC by strace, once or from
//! then on, one case a run.
//! Invariant shown here: nobody panics; who finds no room refuses and says so, or ends and says so; what was
//! acknowledged is there after the next start, once, and all goes on. With room again it does so without a start.
//! A disk that is really full is `pressure`'s.

mod agent;
mod cases;
mod cloud;

use cases::{Seen, is_unknown};
use std::time::{Duration, Instant};

use tallyroll_tests::fleet::{Process, Ran};

use crate::traced::Call;

/// How long may pass until what must come without room does.
const SOON: Duration = Duration::from_secs(3);

/// Whether a text says that the disk is why.
fn names_the_disk(text: &str) -> bool {
    ["No space left", "disk is full", "no room"].iter().any(|words| text.contains(words))
}

/// Whether a process that refused without naming the disk was about to end: then it says why itself.
fn is_ending(process: &mut Process) -> bool {
    let until = Instant::now() + SOON;
    while process.is_running() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    !process.is_running()
}

/// What must hold of a process that ended, or was ended; whether it did by itself.
fn judge(ran: &Ran, seen: &Seen) -> bool {
    let calls = || seen.iter().flatten();
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    // The store closes last, with everything durable: the next start finds it not closed, and that is all.
    let closes = |failed: &Call| {
        let is_last = calls().all(|call| call.path != failed.path || call.began <= failed.ended);
        is_last && failed.path == "store.redb" && ran.stderr.contains("stopping")
    };
    match ran.code() {
        None | Some(0) if calls().all(|call| !is_unknown(call) || closes(call)) => false,
        Some(75) if calls().any(|call| call.failed) => {
            assert!(names_the_disk(&ran.stderr), "{ran:?}");
            true
        }
        _ => panic!("{ran:?} {:?}", calls().filter(|call| call.failed).collect::<Vec<_>>()),
    }
}
