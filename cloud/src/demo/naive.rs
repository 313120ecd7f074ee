//! The independent sum: what the books must say, from the jobs alone.
//!
//! Deliberately naive, and deliberately without the engine: no log, no event, no
//! rate card, no fold. Invariant: nothing here calls what it is to check.

use super::workload::BranchWork;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The price of an impression on a new cloud's rate card: one credit.
const THOUSANDTHS_PER_IMPRESSION: i64 = 1_000;
/// A log's first event says who writes it; each branch has a ledger and a telemetry log.
const LOGS_AT_BRANCH: u64 = 2;

/// What one place must show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Books {
    /// Thousandths of a credit charged, by user.
    pub(super) charged: BTreeMap<String, i64>,
    /// Impressions, by month (`2026-11`, UTC) and user.
    pub(super) impressions: BTreeMap<(String, String), u64>,
}

/// What one branch must show, and how much it must have written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BranchBooks {
    /// Its figures.
    pub(super) books: Books,
    /// Prints in its ledger: one for each page_log line.
    pub(super) prints: u64,
    /// All events in its logs.
    pub(super) events: u64,
}

/// What everybody must show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// By branch.
    pub(super) branches: BTreeMap<String, BranchBooks>,
    /// Thousandths of a credit charged in all, by user.
    pub(super) charged: BTreeMap<String, i64>,
}

/// Adds it all up.
pub(super) fn sum(work: &[BranchWork]) -> Expected {
    let mut expected = Expected::default();
    for BranchWork { branch, jobs } in work {
        let here = expected.branches.entry(branch.clone()).or_default();
        for job in jobs {
            let user = job.user.to_owned();
            let credits = i64::from(job.impressions) * THOUSANDTHS_PER_IMPRESSION;
            *here.books.charged.entry(user.clone()).or_default() += credits;
            *expected.charged.entry(user.clone()).or_default() += credits;
            let month = (month(job.at), user);
            *here.books.impressions.entry(month).or_default() += u64::from(job.impressions);
            here.prints += job.lines_written();
        }
        here.events = here.prints + LOGS_AT_BRANCH;
    }
    expected
}

fn month(at: i64) -> String {
    let time = Timestamp::from_second(at).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::workload::workload;
    use super::*;

    #[test]
    fn the_whole_is_the_sum_of_its_branches() {
        let work = workload(5, 4, 300);
        let expected = sum(&work);
        let impressions: u64 =
            work.iter().flat_map(|branch| &branch.jobs).map(|job| u64::from(job.impressions)).sum();
        let charged: i64 = expected.charged.values().sum();
        assert_eq!(charged, i64::try_from(impressions).unwrap() * 1000);
        let by_branch = expected.branches.values().flat_map(|branch| branch.books.charged.values());
        assert_eq!(by_branch.sum::<i64>(), charged);
        let by_month =
            expected.branches.values().flat_map(|branch| branch.books.impressions.values());
        assert_eq!(by_month.sum::<u64>(), impressions);
    }

    #[test]
    fn a_job_of_two_lines_is_charged_once() {
        let work = workload(5, 1, 200);
        let expected = sum(&work);
        let branch = &expected.branches["branch-1"];
        assert!(branch.prints > 200, "some job has two lines");
        assert_eq!(branch.prints, work[0].lines().count() as u64);
        assert_eq!(branch.events, branch.prints + 2);
    }

    #[test]
    fn a_month_ends_at_midnight_in_utc() {
        assert_eq!(month(1_793_491_199), "2026-10");
        assert_eq!(month(1_793_491_200), "2026-11");
    }
}
