//! A process under strace, which fails one sync of each thread and writes down all of them.
//! Owns the counting: `each` goes through the syncs of a run to their end. Invariant: what failed is known by what
//! strace saw, and what must hold of every process that met a failed sync is judged here, in one place.
//! What a run does, and what must hold after it, is its test's.

use std::fmt;
use std::path::Path;
use std::process::{Child, Command};

use tallyroll_tests::fleet::{PATIENCE, Process, Ran, wait_until};

use crate::traced;
pub(super) use crate::traced::{Call as Sync, From, now, under};

/// Runs at the same time: they mostly wait.
const ABREAST: usize = 6;
/// No run has so many.
const SYNCS_MAX: usize = 120;
const CALLS: [&str; 2] = ["fdatasync", "fsync"];

/// The sync that fails: so many calls of this name into a thread. strace counts each call by itself, too, so that those
/// of one name would hide those of the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nth {
    call: &'static str,
    count: usize,
}

impl fmt::Display for Nth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.call, self.count)
    }
}

/// The options of strace that write to `out…`, a file a thread, and fail the `nth` sync of each thread.
pub(super) fn strace(out: &Path, nth: Option<Nth>) -> Command {
    let mut command = traced::strace(out, &CALLS.join(","));
    if let Some(Nth { call, count }) = nth {
        command.args(["-e", &format!("inject={call}:error=EIO:when={count}")]);
    }
    command
}

/// Attached to a process that runs, to all of its threads.
pub(super) fn attach(out: &Path, nth: Nth, process: u32) -> Child {
    traced::attach(strace(out, Some(nth)), process)
}

/// All that strace wrote to `out…`.
pub(super) fn syncs(out: &Path) -> Vec<Sync> {
    traced::threads(out).concat()
}

/// Runs `case` with the first call, the second, the third, … until one was not hit; says where each was.
pub(super) fn each(
    what: &str,
    case: impl Fn(Nth) -> Option<Sync> + std::marker::Sync,
) -> Vec<Sync> {
    let hits: Vec<Sync> = CALLS.into_iter().flat_map(|call| each_of(call, what, &case)).collect();
    eprintln!("{what}: {} syncs failed", hits.len());
    assert!(!hits.is_empty(), "{what}: none failed");
    hits
}

fn each_of(
    call: &'static str,
    what: &str,
    case: &(impl Fn(Nth) -> Option<Sync> + std::marker::Sync),
) -> Vec<Sync> {
    let mut hits = Vec::new();
    for first in (1..=SYNCS_MAX).step_by(ABREAST) {
        let found: Vec<Option<Sync>> = std::thread::scope(|scope| {
            let nths = (first..first + ABREAST).map(|count| Nth { call, count });
            let runs: Vec<_> = nths.map(|nth| (nth, scope.spawn(move || case(nth)))).collect();
            let ended = runs.into_iter();
            ended.map(|(nth, run)| run.join().unwrap_or_else(|_| panic!("{what}, {nth}"))).collect()
        });
        let is_end = found.last().is_some_and(Option::is_none);
        hits.extend(found.into_iter().flatten());
        if is_end {
            return hits;
        }
    }
    panic!("{what}: {SYNCS_MAX} calls of {call}, and there is no end to it");
}

/// What must hold of a process that met `syncs` and ended so.
pub(super) fn judge(ran: &Ran, syncs: &[Sync]) -> Option<Sync> {
    let failed = syncs.iter().find(|sync| sync.failed).cloned();
    let Some(failed) = failed else {
        assert_eq!(ran.code(), Some(0), "nothing failed: {ran:?}");
        return None;
    };
    let after = syncs.iter().find(|sync| sync.path == failed.path && sync.began > failed.ended);
    // The store closes last, with everything durable: the next start finds it not closed, and that is all. An agent was
    // told to stop then, and a command has printed its answer, for which its test looks.
    let is_last = syncs.iter().all(|sync| sync.began <= failed.ended);
    let may_close = ran.stderr.contains("stopping") || !ran.stdout.is_empty();
    let closing = is_last && may_close && failed.path.ends_with("/store.redb");
    if !(closing && ran.code() == Some(0)) {
        assert_eq!(ran.code(), Some(1), "{failed:?}: {ran:?}");
        assert!(ran.stderr.contains("os error 5"), "{failed:?}: {ran:?}");
    }
    assert!(after.is_none(), "it went on after {failed:?}: {after:?}");
    Some(failed)
}

/// Waits until a process has ended, by itself or, once `done` holds, as it is told to.
pub(super) fn end(mut process: Process, stderr: &Path, mut done: impl FnMut() -> bool) -> Ran {
    wait_until(PATIENCE, "it is done or has failed", || !process.is_running() || done());
    let status = process.stop();
    let stderr = std::fs::read_to_string(stderr).unwrap_or_default();
    Ran { status, stdout: String::new(), stderr }
}
