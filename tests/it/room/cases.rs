//! Which calls of a run find no room, and running them.
//! Owns the choice: a run without a fault shows which calls want room, and on which files; each of them is a case, alone
//! and with all that follow it. Invariant: how many cases there were, were tried and were met is printed; none is left
//! out in silence. `TALLYROLL_EVERY_WRITE=1` tries them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::traced::{Call, strace};

const EVERY: &str = "TALLYROLL_EVERY_WRITE";
/// Runs at the same time: they mostly wait.
const ABREAST: usize = 8;
/// What wants room for bytes. `?` where not every architecture has it.
const BYTES: [&str; 4] = ["write", "pwrite64", "ftruncate", "fallocate"];
/// Of these, what database and journal write within the length that they have.
const IN_PLACE: &str = "pwrite64";
/// What wants room for a name.
const NAMES: [&str; 6] = ["openat", "?mkdir", "mkdirat", "?rename", "renameat", "renameat2"];
/// What may find out late that there is no room.
const SYNCS: [&str; 2] = ["fdatasync", "fsync"];
const JOURNAL: &str = "journal";

/// What finds no room, from its call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// That one call.
    Once,
    /// Each that makes a file longer, until the process is started anew; what lies there can be written.
    Growing,
    /// Each, what lies there too, as where nothing is written in place.
    Lasting,
}

impl How {
    fn fails(self, call: &str) -> bool {
        match self {
            Self::Once => true,
            Self::Growing => BYTES.contains(&call) && call != IN_PLACE,
            Self::Lasting => BYTES.contains(&call),
        }
    }
}

/// A case: a call of a thread of the run.
#[derive(Clone, Debug)]
pub(super) struct NoRoom {
    pub(super) how: How,
    /// Which of all cases.
    pub(super) number: usize,
    call: String,
    file: String,
    inject: Vec<String>,
    files: Vec<String>,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { how, number, call, file, inject, .. } = self;
        write!(f, "case {number}, {how:?} from {call} of {file} on ({})", inject.join(" "))
    }
}

/// What a run was seen to do, thread by thread; names of files are those within its directory.
pub(super) type Seen = Vec<Vec<Call>>;

/// strace for a run in `root`, with what finds no room.
pub(super) fn tracing(out: &Path, root: &Path, no_room: Option<&NoRoom>) -> Command {
    let mut command = strace(out, &[&BYTES[..], &NAMES, &SYNCS].concat().join(","));
    if let Some(NoRoom { inject, files, .. }) = no_room {
        for one in inject {
            command.args(["-e", &format!("inject={one}")]);
        }
        for file in files {
            let path = if file.is_empty() { root.to_owned() } else { root.join(file) };
            command.arg("-P").arg(path);
        }
    }
    command
}

/// What of it happened in `root`.
pub(super) fn seen(out: &Path, root: &Path) -> Seen {
    let within = |mut call: Call| {
        let path = Path::new(&call.path).strip_prefix(root).ok()?;
        call.path = path.to_str()?.to_owned();
        Some(call)
    };
    let threads = crate::traced::threads(out).into_iter();
    threads.map(|calls| calls.into_iter().filter_map(within).collect()).collect()
}

impl NoRoom {
    /// Whether room is there again as soon as it was missed.
    pub(super) fn is_over(&self) -> bool {
        self.how == How::Once
    }

    /// Whether a process that was ready goes on through it, and takes the end of what runs.
    pub(super) fn is_passing(&self) -> bool {
        self.how == How::Growing
    }

    /// Whether the process is killed in the end; the others are told to stop, without room as they are.
    pub(super) fn kills(&self) -> bool {
        !self.number.is_multiple_of(2) && !SYNCS.contains(&&*self.call)
    }
}

/// Whether what was written before is not known to last: that is told by no second sync.
pub(super) fn is_unknown(call: &Call) -> bool {
    let lasts = ["store.redb", JOURNAL, "identity"].contains(&&*call.path);
    call.failed && lasts && SYNCS.contains(&&*call.name)
}

fn wants_room(call: &Call) -> bool {
    call.name != "openat" || call.creates
}

/// All cases of a run that was seen to do this.
fn cases(seen: &Seen) -> Vec<NoRoom> {
    let wanting = seen.iter().flatten().filter(|call| wants_room(call));
    let files: BTreeSet<String> = wanting.map(|call| call.path.clone()).collect();
    let files: Vec<String> = files.into_iter().collect();
    let mut found = BTreeMap::new();
    for how in [How::Once, How::Growing, How::Lasting] {
        for thread in seen {
            // strace counts all calls of a name that have to do with these files.
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for call in thread.iter().filter(|call| files.contains(&call.path)) {
                let name = &*call.name;
                *counts.entry(name).or_default() += 1;
                if !wants_room(call) || !how.fails(name) {
                    continue;
                }
                let nth = |of: &str| counts.get(of).copied().unwrap_or_default();
                let from = |of: &str| nth(of) + usize::from(of != name);
                let inject = match how {
                    How::Once => vec![format!("{name}:error=ENOSPC:when={}", nth(name))],
                    _ => {
                        let each = BYTES.into_iter().filter(|of| how.fails(of));
                        each.map(|of| format!("{of}:error=ENOSPC:when={}+", from(of))).collect()
                    }
                };
                let number = found.len();
                let (call, file, files) = (call.name.clone(), call.path.clone(), files.clone());
                let case = NoRoom { how, number, call, file, inject, files };
                found.entry((how, case.inject.clone())).or_insert(case);
            }
        }
    }
    let mut found: Vec<NoRoom> = found.into_values().collect();
    found.sort_by_key(|case| case.number);
    found
}

/// Of the cases of one call on one file every `stride`th, the first among them.
fn some(cases: Vec<NoRoom>, stride: usize) -> Vec<NoRoom> {
    let stride = if std::env::var_os(EVERY).is_some() { 1 } else { stride };
    let mut counts: BTreeMap<(How, String, String), usize> = BTreeMap::new();
    let is_chosen = |case: &NoRoom| {
        let count = counts.entry((case.how, case.call.clone(), case.file.clone())).or_default();
        *count += 1;
        (*count - 1).is_multiple_of(stride)
    };
    cases.into_iter().filter(is_chosen).collect()
}

/// What a run came to.
pub(super) struct Came {
    pub(super) seen: Seen,
    /// Whether the process ended by itself.
    pub(super) ended: bool,
}

/// Runs `run` without a fault, then each case; returns which calls on which files found no room.
pub(super) fn each(
    what: &str,
    stride: usize,
    run: impl Fn(Option<&NoRoom>) -> Came + Sync,
) -> BTreeSet<String> {
    let cases = cases(&run(None).seen);
    let all = cases.len();
    let chosen = some(cases, stride);
    let tried = chosen.len();
    let (waiting, done) = (Mutex::new(chosen.into_iter()), Mutex::new((0, 0, BTreeSet::new())));
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let case = waiting.lock().unwrap().next();
                let Some(case) = case else { return };
                let ran = catch_unwind(AssertUnwindSafe(|| run(Some(&case))));
                let Came { seen, ended } = ran.unwrap_or_else(|_| panic!("{what}, {case}"));
                let failed = seen.iter().flatten().filter(|call| call.failed);
                let failed: Vec<String> =
                    failed.map(|call| format!("{} {}", call.name, call.path)).collect();
                let (met, ends, calls) = &mut *done.lock().unwrap();
                *met += usize::from(!failed.is_empty());
                *ends += usize::from(ended);
                calls.extend(failed);
            }
        };
        for _ in 0..ABREAST {
            scope.spawn(work);
        }
    });
    let (met, ends, calls) = done.into_inner().unwrap();
    eprintln!(
        "{what}: {all} cases, {tried} tried, {met} met no room, {ends} ended by it; {calls:?}"
    );
    assert!(met > 0, "{what}: none met it");
    calls
}
