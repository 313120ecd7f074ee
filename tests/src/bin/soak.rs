//! `soak`: branches on bad lines, parted and killed for as long as it is told, and then audited.
//! Owns arguments and output; the soak itself is in `tallyroll_tests::soak`.
//!
//! Exit codes: 0 all held, 2 usage, 3 something did not; then the processes' files are kept.

use clap::Parser;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use tallyroll_tests::soak::{Options, run};

/// Kills a cloud and three branches, parts them and loses their packets; then looks for every acknowledged act.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Kills of each process; 200 an hour unless said.
    #[arg(long)]
    kills: Option<u64>,
    /// The seed of lines, acts and partitions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Violations shown; more are only counted.
const SHOWN: usize = 20;
const KILLS_AN_HOUR: u64 = 200;

fn main() -> ExitCode {
    let Arguments { minutes, kills, seed } = Arguments::parse();
    let kills = kills.unwrap_or_else(|| (KILLS_AN_HOUR * u64::from(minutes)).div_ceil(60));
    let options = Options { length: Duration::from_secs(u64::from(minutes) * 60), kills, seed };
    // Kept until all is known to hold: a soak that cannot go on leaves its evidence, too.
    let dir = tempfile::tempdir().expect("a directory for temporary files").keep();
    println!("seed {seed}: {minutes} min, {kills} kills of each process, in {}", dir.display());
    let place = dir.clone();
    let soak = std::thread::spawn(move || run(&options, &place, &mut |line| println!("{line}")));
    match soak.join() {
        Ok(report) => {
            println!("{report}");
            if report.audit.violations.is_empty() {
                drop(fs::remove_dir_all(&dir)); // what is left of it is in the way of nobody
                return ExitCode::SUCCESS;
            }
            for violation in report.audit.violations.iter().take(SHOWN) {
                println!("  {violation}");
            }
        }
        Err(_) => println!("it could not go on: why stands above, on stderr"),
    }
    println!("files are kept in {}", dir.display());
    ExitCode::from(3)
}
