//! Edge and cloud are killed under load, and nothing they acknowledged is missing or double.
//! The drill at its full size is a command of its own:
//! `cargo run --release -p tallyroll-tests --bin drill -- --kills 50`.

use tallyroll_tests::drill::{Options, run};

const SEED: u64 = 7;

#[test]
fn ten_kills_of_each_lose_and_double_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { kills: 10, writers: 4, seed: SEED };
    let report = run(&options, dir.path(), &mut |line| eprintln!("{line}"));
    eprintln!("{report:#?}");
    assert_eq!(report.audit.violations, [""; 0], "seed {SEED}");
    assert_eq!(report.cloud_kills, 10);
    assert!(report.audit.acknowledged > 100, "only {} acts: no load", report.audit.acknowledged);
}
