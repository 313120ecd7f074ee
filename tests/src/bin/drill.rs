//! `drill`: kills a branch and its cloud under load, and audits what they acknowledged.
//! Owns arguments and output; the drill itself is in `tallyroll_tests::drill`.
//!
//! Exit codes: 0 all held, 2 usage, 3 something did not; then the processes' files are kept.

use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;
use tallyroll_tests::drill::{Audit, Options, Report, run};

/// Kills edge and cloud with SIGKILL while events are recorded, then looks for every acknowledged one.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kills of the edge, and as many of the cloud.
    #[arg(long, default_value_t = 50)]
    kills: u64,
    /// Processes that record at the same time.
    #[arg(long, default_value_t = 4)]
    writers: u8,
    /// The seed of acts and pauses.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Violations shown; more are only counted.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    let Arguments { kills, writers, seed } = Arguments::parse();
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let began = Instant::now();
    let options = Options { kills, writers, seed };
    let report = run(&options, dir.path(), &mut |line| println!("{line}"));
    let Report { edge_kills, cloud_kills, audit } = &report;
    let Audit { acknowledged, unanswered, recorded_unanswered, events, violations } = audit;
    println!(
        "seed {seed}: {edge_kills} kills of the edge, {cloud_kills} of the cloud, in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    println!(
        "{acknowledged} acts acknowledged; {unanswered} more lost their answer, {recorded_unanswered} of them recorded"
    );
    println!("{events} events at the cloud, {} violations", violations.len());
    if violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    for violation in violations.iter().take(SHOWN) {
        println!("  {violation}");
    }
    println!("files are kept in {}", dir.keep().display());
    ExitCode::from(3)
}
