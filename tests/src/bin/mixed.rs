//! `mixed`: builds the first version out of git's history and plays it against today's, as an upgrade would.
//! Owns arguments and output; the stories are `tallyroll_tests::mixed`'s.
//!
//! Exit codes: 0 all held, 1 there is no first version here, 2 usage, 3 something did not hold; then the processes' files are kept.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tallyroll_tests::mixed::{FIRST_LANDED, build, run};

/// Mixes clouds and branches of the first version with today's, upgrades them in place, kills them, and audits the books.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the old version is built, and found built by the next run: source and target, a gigabyte.
    folder: PathBuf,
    /// The commit of the old version.
    #[arg(long, default_value = FIRST_LANDED)]
    commit: String,
    /// Only stories whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    let Arguments { folder, commit, only } = Arguments::parse();
    let old = match build(&commit, &folder) {
        Ok(old) => old,
        Err(why) => {
            eprintln!("mixed: {why}");
            return ExitCode::from(1);
        }
    };
    // Kept until all is known to hold.
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let rows = run(&old, &only, dir.path(), &mut |row| println!("{row}"));
    let wrong = rows.iter().filter(|row| !row.wrong.is_empty()).count();
    println!("{} held, {wrong} did not", rows.len() - wrong);
    if wrong == 0 && !rows.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("files are kept in {}", dir.keep().display());
    ExitCode::from(3)
}
