//! Seeds that once failed, each with its story.
//!
//! Invariant: a seed stays as long as the plan is drawn as it was then; the engine's own regression
//! test, named in the story, says the same without a seed.

use super::histories::assert_clean;
use tallyroll_tests::sim::faults::Fault;
use tallyroll_tests::sim::{Options, run};

fn assert_history(seed: u64, history: u64) {
    let faults = Fault::without_copies().collect(); // there were none yet
    let options = Options { only: Some(history), faults, ..Options::new(seed, history + 1) };
    assert_clean(&options, &run(&options));
}

/// A device that started again took its hybrid clock from the journal's tail alone; with the tail
/// sealed and the raw clock set back meanwhile, times ran backwards within a log. The engine's test:
/// `time_goes_on_after_a_restart_with_a_clock_set_back`.
#[test]
fn hybrid_times_ran_backwards_after_a_restart() {
    assert_history(1, 7);
}

/// A log's genesis took the raw clock, and the next record took it again: two records of one time.
/// The engine's test: `a_logs_second_record_is_later_than_its_genesis`.
#[test]
fn a_genesis_and_the_record_after_it_had_the_same_hybrid_time() {
    assert_history(1, 0);
}

/// The power went while redb made the cloud's database. The file was there, without its magic
/// number, and every later start refused it. The engine's test:
/// `a_first_start_cut_short_is_started_over_and_a_lost_header_is_corrupt`.
#[test]
fn a_database_cut_short_in_the_making_could_never_be_opened() {
    assert_history(1, 207);
}

/// An old copy of a device read the page log again before it heard from the cloud, and recorded the
/// lines again when the cloud's history of its epoch was there, though not yet the next epoch, which
/// counted them already. The engine's test: `a_line_that_a_later_epoch_counts_is_not_recorded_again`.
#[test]
fn a_page_log_line_counted_in_a_later_epoch_was_recorded_again() {
    let options = Options { only: Some(99), ..Options::new(11, 100) };
    assert_clean(&options, &run(&options));
}
