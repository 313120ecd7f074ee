//! `simulate`: runs simulated histories and says what did not hold, and how to see it again.
//!
//! Exit codes: 0 all held, 2 usage, 3 something did not. The digest at the end is a function of
//! the options alone; the rate is not.

use clap::{Parser, ValueEnum};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use tallyroll_tests::sim::bugs::Bug;
use tallyroll_tests::sim::faults::Fault;
use tallyroll_tests::sim::planted::Planted;
use tallyroll_tests::sim::{Options, rerun_line, run};

/// Runs the engine through simulated histories with faults, and checks every guarantee.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// The seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run only this one of them.
    #[arg(long)]
    history: Option<u64>,
    /// Provoke only these faults; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Plant a bug and see it found.
    #[arg(long, value_enum)]
    planted: Option<Planted>,
    /// Plant a bug in the engine and see it found; wants a build with `--features planted`.
    #[arg(long, value_parser = bug_named)]
    bug: Option<Bug>,
    /// Threads; the digest does not depend on them.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Print what happens.
    #[arg(long)]
    verbose: bool,
}

fn bug_named(name: &str) -> Result<Bug, String> {
    let named = |bug: &&Bug| format!("{bug:?}") == name;
    let found = Bug::ALL.iter().find(named).copied();
    found.ok_or_else(|| format!("no such bug; they are {:?}", Bug::ALL))
}

/// Violations shown in full; more are only counted.
const SHOWN: usize = 10;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let faults = match arguments.faults.is_empty() {
        true => Fault::value_variants().iter().copied().collect(),
        false => arguments.faults.iter().copied().collect(),
    };
    let options = Options {
        seed: arguments.seed,
        histories: arguments.histories,
        only: arguments.history,
        faults,
        planted: arguments.planted,
        bug: arguments.bug,
        threads: arguments.threads.max(1),
        verbose: arguments.verbose,
    };
    let started = Instant::now();
    let summary = run(&options);
    let seconds = started.elapsed().as_secs_f64();

    let mut text = summary.table();
    for (history, violation) in summary.violations().take(SHOWN) {
        let (checker, what) = (violation.checker, &violation.what);
        let (seed, line) = (options.seed, rerun_line(&options, history));
        text.push_str(&format!("\nseed {seed}, history {history}: {checker}: {what}\n  {line}\n"));
    }
    let (histories, violations) = (summary.outcomes.len(), summary.violations().count());
    let rate = histories as f64 / seconds;
    text.push_str(&format!(
        "\n{histories} histories, {violations} violations, {rate:.1} histories/s\n"
    ));
    text.push_str(&format!("digest {}\n", summary.digest));
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::from(if violations == 0 { 0 } else { 3 })
}
