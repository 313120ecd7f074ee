//! Planted bugs: each turns its own checker red and no other one.
//! Invariant: every checker has at least one, so none of them can be a checker that never fails.
//! The bugs themselves, and whose they are, are in the simulator's `planted`; those of the engine are in
//! its own `planted`, and found by the test `planted`, which is a run of its own.

use tallyroll_tests::sim::bugs::{Bug, finder};
use tallyroll_tests::sim::planted::Planted;
use tallyroll_tests::sim::{Options, checkers, run};

#[test]
fn each_planted_bug_is_found_by_its_checker_and_by_no_other() {
    for (planted, checker) in Planted::ALL {
        let options = Options { planted: Some(planted), ..Options::new(3, 16) };
        let found: Vec<_> = run(&options).violations().map(|(_, one)| one.clone()).collect();
        assert!(!found.is_empty(), "{planted:?} is not found in 16 histories");
        for violation in found {
            assert_eq!(violation.checker, checker, "{planted:?}: {}", violation.what);
        }
    }
}

#[test]
fn every_checker_has_a_planted_bug() {
    for checker in checkers::NAMES {
        let shown = Planted::ALL.iter().any(|(_, finder)| *finder == checker)
            || Bug::ALL.iter().any(|bug| finder(*bug) == checker);
        assert!(shown, "nothing shows that `{checker}` can turn red; plant a bug for it");
    }
}

#[test]
fn every_bug_of_the_engine_is_meant_for_a_checker() {
    assert!(Bug::ALL.len() >= 30, "at least thirty are wanted, {} are there", Bug::ALL.len());
    for bug in Bug::ALL {
        assert!(checkers::NAMES.contains(&finder(*bug)), "{bug:?}: no checker {}", finder(*bug));
    }
}
