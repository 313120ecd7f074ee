//! The naive counter counts what the cloud holds, and its rows are the engine's.
//! Invariant: it is fed the events as the cloud's command prints them, some of them twice, and shares no code
//! with the engine. That the events are the right ones is left to the checkers.

use tallyroll_engine::counts::Report;
use tallyroll_tests::recount::{self, compare, lines_of};
use tallyroll_tests::sim::entropy::Entropy;
use tallyroll_tests::sim::{Options, live};

/// Histories whose events go through the counter.
const COUNTED: u64 = 12;
/// So many lines in a hundred come again.
const DUPLICATES: u64 = 30;

#[test]
fn the_naive_counter_and_the_views_agree() {
    let options = Options::new(11, COUNTED);
    for history in 0..COUNTED {
        let mut compared = 0;
        let outcome = live(&options, history, |world| {
            let cloud = world.cloud_process().unwrap();
            let report =
                Report { counts: cloud.counts(), user_name: &|_, _| None, device_name: &|_| None };
            let mut entropy = Entropy::new(11, history, "lines");
            let feed = |out: &mut _| lines_of(cloud, &mut entropy, DUPLICATES, out);
            let (_, rows, difference) = compare(&report, feed).unwrap();
            assert_eq!(difference, None, "history {history}");
            compared = rows;
        });
        assert!(compared > 0, "history {history}: {:?}", outcome.violation);
    }
}

/// The full size, 10 million events: `cargo run --release -p tallyroll-tests --bin recount`.
#[test]
fn a_hundred_thousand_events_of_an_office_are_counted_alike_by_both() {
    let options = recount::Options {
        events: 100_000,
        duplicates: DUPLICATES,
        devices: 8,
        users: 100,
        seed: 1,
    };
    let report = recount::run(&options).unwrap();
    assert_eq!(report.difference, None);
    let (events, again) = (report.events, report.again);
    assert!(events >= 100_000 && report.lines > events * 5 / 4, "{report:?}");
    assert!(again * 100 > events * 20, "{again} of {events} came again, 20 in a hundred wanted");
    assert!(report.rows > 1_000, "{report:?}");
}
