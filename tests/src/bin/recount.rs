//! `recount`: an office's events through real engines with duplicates, counted by the views and naively.
//! Owns arguments and output; the counting is `tallyroll_tests::recount`'s.
//!
//! Exit codes: 0 both agree, 2 usage, 3 they do not. What is recorded depends on the options alone.

use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;
use tallyroll_tests::recount::{Options, run};

/// Counts an office's events twice, by the views and by a naive counter in Python, and compares.
#[derive(Debug, Parser)]
struct Arguments {
    /// Events recorded at devices, at least.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// How many in a hundred come again.
    #[arg(long, default_value_t = 30)]
    duplicates: u64,
    /// Devices.
    #[arg(long, default_value_t = 8)]
    devices: usize,
    /// Users, each known at every device.
    #[arg(long, default_value_t = 100)]
    users: u64,
    /// The seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Arguments { events, duplicates, devices, users, seed } = Arguments::parse();
    let began = Instant::now();
    let report = match run(&Options { events, duplicates, devices, users, seed }) {
        Ok(report) => report,
        Err(why) => {
            eprintln!("recount: {why}");
            return ExitCode::from(3);
        }
    };
    let seconds = began.elapsed().as_secs();
    println!(
        "{} events, {} of them again; {} lines; {} rows compared; {seconds} s",
        report.events, report.again, report.lines, report.rows
    );
    match report.difference {
        None => ExitCode::SUCCESS,
        Some(difference) => {
            println!("they differ: {difference}");
            ExitCode::from(3)
        }
    }
}
