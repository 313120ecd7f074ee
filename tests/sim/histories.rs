//! The histories of CI: nothing is violated, every fault took effect, and one seed is one history.
//! Invariant: shares are counted from what happened, of operations too, never from what was planned.
//! Whether a checker would have noticed is left to `planted`.

use std::process::Command;
use tallyroll_tests::sim::faults::Fault;
use tallyroll_tests::sim::occasions::Occasion;
use tallyroll_tests::sim::{Options, Summary, rerun_line, run};

/// Fails with what was violated and how to see it again.
pub(crate) fn assert_clean(options: &Options, summary: &Summary) {
    let told: Vec<String> = summary
        .violations()
        .map(|(history, found)| {
            let line = rerun_line(options, history);
            format!("history {history}: {}: {}\n  {line}", found.checker, found.what)
        })
        .collect();
    let (seed, wrong) = (options.seed, told.len());
    assert!(told.is_empty(), "seed {seed}: {wrong} histories violated\n{}", told.join("\n"));
}

#[test]
fn a_thousand_histories_keep_every_guarantee_and_meet_every_fault() {
    let options = Options::new(1, 1000);
    let summary = run(&options);
    println!("{}digest {}", summary.table(), summary.digest);
    assert_clean(&options, &summary);
    for fault in Fault::ALL {
        let with = summary.histories_with(fault);
        assert!(
            with >= 50,
            "{fault:?} took effect in {with} of 1000 histories, at least 50 wanted"
        );
    }
    for occasion in Occasion::ALL {
        let with = summary.histories_in_which(occasion);
        // Of what was written off, something comes only from a device that has not heard of it.
        let wanted = if occasion == Occasion::CameAfter { 10 } else { 50 };
        assert!(
            with >= wanted,
            "{occasion:?} in {with} of 1000 histories, at least {wanted} wanted"
        );
    }
    let redb = summary.histories_on_redb();
    assert!(redb >= 50, "{redb} of 1000 histories ran on redb, at least 50 wanted");
    for outcome in &summary.outcomes {
        let (history, operations) = (outcome.history, outcome.operations);
        assert!(operations >= 200, "history {history} had {operations} operations");
    }
}

#[test]
fn one_seed_gives_one_history_in_two_processes_and_on_any_number_of_threads() {
    let digest = |threads: &str| {
        let simulate = env!("CARGO_BIN_EXE_simulate");
        let arguments = ["--histories", "60", "--seed", "7", "--threads", threads];
        let output = Command::new(simulate).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().to_owned()
    };
    let first = digest("1");
    assert!(first.starts_with("digest "), "{first}");
    assert_eq!(first, digest("2"));
}
