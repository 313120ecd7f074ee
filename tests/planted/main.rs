//! Every bug planted in the engine is found in CI's histories, by the checker that it was meant for.
//!
//! Invariant: the histories are those of CI, seed and faults and all; nothing is bent so that a bug
//! has its occasion. Found means that a history's first violation is that checker's; what others
//! found in earlier histories is told and does not count, nor does a panic. A run of its own:
//! `cargo test --release -p tallyroll-tests --features planted --test planted [-- NAME...]`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tallyroll_tests::sim::bugs::{Bug, finder};
use tallyroll_tests::sim::{Options, live};

/// CI's seed and its histories.
const SEED: u64 = 1;
const HISTORIES: u64 = 1000;
const THREADS: usize = 2;

/// What came of looking for a bug.
struct Found {
    history: Option<u64>,
    /// Who else spoke, in earlier histories.
    earlier: BTreeSet<&'static str>,
}

fn look_for(bug: Bug) -> Found {
    let options = Options { bug: Some(bug), ..Options::new(SEED, HISTORIES) };
    let mut earlier = BTreeSet::new();
    for history in 0..HISTORIES {
        match live(&options, history, |_| ()).violation {
            Some(found) if found.checker == finder(bug) => {
                return Found { history: Some(history), earlier };
            }
            Some(found) => drop(earlier.insert(found.checker)),
            None => {}
        }
    }
    Found { history: None, earlier }
}

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |bug: &&Bug| named.is_empty() || named.contains(&format!("{bug:?}"));
    let bugs: Vec<Bug> = Bug::ALL.iter().filter(wanted).copied().collect();
    std::panic::set_hook(Box::new(|_| ())); // one in a history is a finding, told in the list
    println!("{:<26} {:<15} {:>7}  what it does", "bug", "checker", "history");

    let started = Instant::now();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let Found { history, earlier } = look_for(bug);
            let at = history.map_or("never".to_owned(), |history| history.to_string());
            let others: Vec<_> = earlier.into_iter().collect();
            let others = if others.is_empty() {
                String::new()
            } else {
                format!(" (earlier: {})", others.join(", "))
            };
            let (name, checker, what) = (format!("{bug:?}"), finder(bug), bug.what());
            println!("{name:<26} {checker:<15} {at:>7}  {what}{others}");
            if history.is_none() {
                missed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));

    let missed = missed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (all, seconds) = (bugs.len(), started.elapsed().as_secs());
    println!("\n{} of {all} planted bugs found, in {seconds} s", all - missed.len());
    if bugs.is_empty() || !missed.is_empty() {
        println!("not found in {HISTORIES} histories of seed {SEED}: {}", missed.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
