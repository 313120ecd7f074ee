//! Running many histories: the options, the threads, the sum at the end.
//!
//! Invariant: histories are independent and the digest is taken in the order of their numbers, so
//! neither the number of threads nor their speed shows in it.

use super::bugs::{self, Bug};
use super::checkers::Violation;
use super::entropy::Entropy;
use super::faults::{Fault, Happened, Plan};
use super::leases::PAYERS;
use super::occasions::{Occasion, Occasions};
use super::planted::Planted;
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many histories of a hundred have as many devices and payers as there may be.
const CROWD_PERCENT: u64 = 12;
/// So many histories of a hundred have devices that prune.
const PRUNING_PERCENT: u64 = 20;
/// And in so many they change their keys.
const REKEYING_PERCENT: u64 = 20;
/// In so many histories users pay from balances.
const LEASES_PERCENT: u64 = 40;
/// Of those, histories in which the cloud acts in their jobs.
const ACTS_PERCENT: u64 = 60;
/// Of those, too, histories in which users share balances and are given some each month.
const ACCOUNTS_PERCENT: u64 = 70;
/// In so many histories months are closed and charges corrected.
const BOOKS_PERCENT: u64 = 22;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed of everything.
    pub seed: u64,
    /// How many histories.
    pub histories: u64,
    /// Only this one of them.
    pub only: Option<u64>,
    /// The faults that may be provoked.
    pub faults: BTreeSet<Fault>,
    /// A bug to be found, in what drives the engine.
    pub planted: Option<Planted>,
    /// A bug to be found, in the engine; wants the feature `planted`.
    pub bug: Option<Bug>,
    /// Threads to run them on.
    pub threads: usize,
    /// Print each history's trace.
    pub verbose: bool,
}

impl Options {
    /// So many histories of a seed, with every fault, on two threads.
    pub fn new(seed: u64, histories: u64) -> Self {
        let faults = Fault::ALL.into_iter().collect();
        let (planted, bug) = (None, None);
        Self { seed, histories, only: None, faults, planted, bug, threads: 2, verbose: false }
    }
}

/// What one history came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its number.
    pub history: u64,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// Which faults took effect, and how often.
    pub happened: Happened,
    /// What administrators did that only some histories have, and how often.
    pub occasions: Occasions,
    /// Operations carried out.
    pub operations: u64,
    /// Whether it ran on redb.
    pub redb: bool,
    /// Of all that happened in it.
    pub digest: [u8; 32],
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// In the order of their numbers.
    pub outcomes: Vec<Outcome>,
    /// Of all histories.
    pub digest: String,
}

/// Runs the histories.
pub fn run(options: &Options) -> Summary {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let history = next.fetch_add(1, Ordering::Relaxed);
            if history >= options.histories {
                return;
            }
            if options.only.is_none_or(|only| only == history) {
                let outcome = live(options, history, |_| ());
                let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                outcomes.insert(history, outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..options.threads).for_each(|_| drop(scope.spawn(work)));
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcomes: Vec<Outcome> = outcomes.into_values().collect();
    let mut hasher = blake3::Hasher::new();
    for outcome in &outcomes {
        hasher.update(&outcome.history.to_le_bytes()).update(&outcome.digest);
    }
    Summary { digest: hasher.finalize().to_hex().to_string(), outcomes }
}

/// Lives one history; `look` sees its world at the end, when nothing was wrong with it.
pub fn live(options: &Options, history: u64, look: impl FnOnce(&World)) -> Outcome {
    let mut entropy = Entropy::new(options.seed, history, "plan");
    let mut apart = Entropy::new(options.seed, history, "apart");
    let mut plan = Plan::draw(&mut entropy, &mut apart, &options.faults);
    // From a source of its own: what else is in a history stays what it was.
    let prunes = Entropy::new(options.seed, history, "prunes").percent(PRUNING_PERCENT);
    let rekeys = Entropy::new(options.seed, history, "rekeys").percent(REKEYING_PERCENT);
    plan.leases = Entropy::new(options.seed, history, "leases").percent(LEASES_PERCENT);
    let acts = Entropy::new(options.seed, history, "acts").percent(ACTS_PERCENT);
    plan.acts = acts && plan.leases;
    let accounts = Entropy::new(options.seed, history, "accounts").percent(ACCOUNTS_PERCENT);
    plan.accounts = accounts && plan.leases;
    plan.books = Entropy::new(options.seed, history, "books").percent(BOOKS_PERCENT);
    if Entropy::new(options.seed, history, "crowd").percent(CROWD_PERCENT) {
        (plan.devices, plan.payers) = (8, PAYERS.len());
    }
    // A copy from before a change is refused for good: the engine's tests and `tests/it`.
    plan.rekeys = rekeys && !plan.faults.iter().any(|fault| fault.copies());
    plan.prunes = prunes && !plan.has(Fault::TailLost);
    if let Some(planted) = options.planted {
        planted.suit(&mut plan);
    }
    let mut outcome = Outcome {
        history,
        violation: None,
        happened: Happened::default(),
        occasions: Occasions::default(),
        operations: 0,
        redb: plan.redb,
        digest: [0; 32],
    };
    bugs::plant(options.bug);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let numbers = (options.seed, history);
        let mut world = World::new(numbers, plan, options.planted, options.verbose)?;
        let lived = world.run();
        world.machines().for_each(|disk| world.happened.add(&disk.take_happened()));
        (outcome.happened, outcome.operations) = (world.happened, world.operations);
        outcome.occasions = world.occasions;
        outcome.digest = world.trace.digest();
        if lived.is_ok() {
            look(&world);
        }
        lived
    }));
    bugs::plant(None);
    outcome.violation = match lived {
        Ok(lived) => lived.err(),
        Err(panic) => Some(Violation { checker: "no-panic", what: text_of(&*panic) }),
    };
    outcome
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".into())
}

impl Summary {
    /// The histories with something wrong.
    pub fn violations(&self) -> impl Iterator<Item = (u64, &Violation)> {
        let wrong = |outcome: &'_ Outcome| outcome.violation.is_some();
        let found = self.outcomes.iter().filter(move |outcome| wrong(outcome));
        found.filter_map(|outcome| Some((outcome.history, outcome.violation.as_ref()?)))
    }

    /// In how many histories a fault took effect.
    pub fn histories_with(&self, fault: Fault) -> u64 {
        self.outcomes.iter().filter(|outcome| outcome.happened.times(fault) > 0).count() as u64
    }

    /// In how many histories something was done.
    pub fn histories_in_which(&self, occasion: Occasion) -> u64 {
        self.outcomes.iter().filter(|one| one.occasions.times(occasion) > 0).count() as u64
    }

    /// How many ran on redb.
    pub fn histories_on_redb(&self) -> u64 {
        self.outcomes.iter().filter(|outcome| outcome.redb).count() as u64
    }

    /// The table of faults: class, histories, share, times.
    pub fn table(&self) -> String {
        let all = self.outcomes.len().max(1) as f64;
        let mut table =
            format!("{:<16} {:>9} {:>7} {:>10}\n", "fault", "histories", "share", "times");
        for fault in Fault::ALL {
            let (with, name) = (self.histories_with(fault), format!("{fault:?}"));
            let times: u64 = self.outcomes.iter().map(|one| one.happened.times(fault)).sum();
            let share = 100.0 * with as f64 / all;
            table.push_str(&format!("{name:<16} {with:>9} {share:>6.1}% {times:>10}\n"));
        }
        for occasion in Occasion::ALL {
            let (with, name) = (self.histories_in_which(occasion), format!("{occasion:?}"));
            let times: u64 = self.outcomes.iter().map(|one| one.occasions.times(occasion)).sum();
            let share = 100.0 * with as f64 / all;
            table.push_str(&format!("{name:<16} {with:>9} {share:>6.1}% {times:>10}\n"));
        }
        let redb = self.histories_on_redb();
        let share = 100.0 * redb as f64 / all;
        table.push_str(&format!("{:<16} {redb:>9} {share:>6.1}%\n", "(on redb)"));
        table
    }
}

/// The one line that runs a history again.
pub fn rerun_line(options: &Options, history: u64) -> String {
    let mut line = format!(
        "cargo run --release -p tallyroll-tests --bin simulate -- --seed {} --histories {} --history {history} --verbose",
        options.seed,
        history + 1
    );
    if options.faults.len() < Fault::ALL.len() {
        use clap::ValueEnum;
        let names = options.faults.iter().filter_map(|fault| fault.to_possible_value());
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        line.push_str(&format!(" --faults {}", names.join(",")));
    }
    line
}
