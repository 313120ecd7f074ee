//! The independent sum: what the books must say, from the jobs and the visitor's pages alone.
//!
//! Deliberately naive, and deliberately without the engine: no log, no event, no
//! rate card, no fold. Invariant: nothing here calls what it is to check.

use super::visit::{GIVEN, PAGES, Seen, TOP_UP, USER};
use super::workload::BranchWork;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The price of an impression on a new cloud's rate card: one credit.
const THOUSANDTHS_PER_IMPRESSION: i64 = 1_000;
/// A log's first event says who writes it; each branch has a ledger and a telemetry log.
const LOGS_AT_BRANCH: u64 = 2;
/// A job at the panel begins and ends in the ledger.
const JOB_EVENTS: u64 = 2;

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
    /// Prints in its ledger: one for each page_log line, and for each page at its panel.
    pub(super) prints: u64,
    /// Beginnings and ends of jobs at its panel.
    pub(super) jobs: u64,
    /// All events in its logs, but for what it asks its cloud for.
    pub(super) events: u64,
}

/// What everybody must show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// By branch.
    pub(super) branches: BTreeMap<String, BranchBooks>,
    /// Thousandths of a credit charged in all, by user.
    pub(super) charged: BTreeMap<String, i64>,
    /// Thousandths of a credit given and not charged, by user; below nothing where nothing was given.
    pub(super) left: BTreeMap<String, i64>,
}

/// Adds it all up.
pub(super) fn sum(work: &[BranchWork], seen: &Seen) -> Expected {
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
    expected.left = expected.charged.iter().map(|(user, sum)| (user.clone(), -sum)).collect();
    add_visit(&mut expected, seen);
    expected
}

/// All pages are copied, once each, and cost what was given.
fn add_visit(expected: &mut Expected, seen: &Seen) {
    let here = expected.branches.entry(seen.branch.clone()).or_default();
    let credits = i64::try_from(PAGES).unwrap_or(i64::MAX) * THOUSANDTHS_PER_IMPRESSION;
    let given = i64::try_from(GIVEN + TOP_UP).unwrap_or(i64::MAX) * THOUSANDTHS_PER_IMPRESSION;
    here.books.charged.insert(USER.into(), credits);
    for at in &seen.paid {
        *here.books.impressions.entry((month(*at), USER.into())).or_default() += 1;
    }
    here.prints += PAGES as u64;
    here.jobs += JOB_EVENTS;
    here.events += PAGES as u64 + JOB_EVENTS;
    expected.charged.insert(USER.into(), credits);
    expected.left.insert(USER.into(), given - credits);
}

fn month(at: i64) -> String {
    let time = Timestamp::from_second(at).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::workload::workload;
    use super::*;

    fn copied() -> Seen {
        Seen::as_it_should("branch-1")
    }

    #[test]
    fn the_whole_is_the_sum_of_its_branches() {
        let work = workload(5, 4, 300);
        let expected = sum(&work, &copied());
        let impressions: u64 =
            work.iter().flat_map(|branch| &branch.jobs).map(|job| u64::from(job.impressions)).sum();
        let impressions = impressions + PAGES as u64;
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
        let expected = sum(&work, &copied());
        let branch = &expected.branches["branch-1"];
        assert!(branch.prints > 200, "some job has two lines");
        assert_eq!(branch.prints, work[0].lines().count() as u64 + 10);
        assert_eq!(branch.events, branch.prints + 2 + 2);
    }

    #[test]
    fn what_is_left_is_what_was_given_and_not_charged() {
        let expected = sum(&workload(5, 2, 100), &copied());
        assert_eq!((expected.charged[USER], expected.left[USER]), (10_000, 0));
        let others = expected.charged.iter().filter(|(user, _)| *user != USER);
        assert!(others.into_iter().all(|(user, charged)| expected.left[user] == -charged));
    }

    #[test]
    fn a_month_ends_at_midnight_in_utc() {
        assert_eq!(month(1_793_491_199), "2026-10");
        assert_eq!(month(1_793_491_200), "2026-11");
    }
}
