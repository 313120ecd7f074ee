//! A spooler's job from the lines of its log: they cannot simply be added up.
//!
//! Owns the rule. CUPS before 2.3 logs pages, and sometimes a total after them;
//! from 2.3 on it logs the job's running total whenever the job stops, so a job
//! that is reprinted is logged as `total 2`, then `total 4`. Invariant: nothing
//! is counted twice, and a total that says nothing new is taken as another job
//! that got the same number after the spool was cleared.

use crate::planted::{Bug, planted};
use minicbor::{Decode, Encode};

/// One spooler job so far; lines come in order of time.
///
/// ```
/// use tallyroll_engine::counts::SpoolJob;
/// let total = |job: SpoolJob, total| job.after(total, Some(total));
/// let reprinted = total(total(SpoolJob::default(), 2), 4);
/// assert_eq!(reprinted.impressions(), 4);
/// let spool_cleared_between = total(total(SpoolJob::default(), 2), 2);
/// assert_eq!(spool_cleared_between.impressions(), 4);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SpoolJob {
    #[n(0)]
    closed: u64,
    #[n(1)]
    running: u64,
    #[n(2)]
    totalled: bool,
}

impl SpoolJob {
    /// After one more line: so many impressions of a page, or the running total.
    #[must_use]
    pub fn after(self, impressions: u32, running_total: Option<u32>) -> Self {
        let Some(total) = running_total else {
            let running = self.running.saturating_add(u64::from(impressions));
            return Self { running, totalled: false, ..self };
        };
        let total = u64::from(total);
        // A running total never stands still or falls; this one belongs to another job.
        let another = self.totalled && (total <= self.running || planted(Bug::RunningTotalsAdded));
        Self {
            closed: if another { self.impressions() } else { self.closed },
            running: if another { total } else { self.running.max(total) },
            totalled: true,
        }
    }

    /// All impressions of the lines so far.
    #[must_use]
    pub fn impressions(self) -> u64 {
        self.closed.saturating_add(self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[(u32, Option<u32>)]) -> u64 {
        let after = |job: SpoolJob, line: &(u32, Option<u32>)| job.after(line.0, line.1);
        lines.iter().fold(SpoolJob::default(), after).impressions()
    }

    #[test]
    fn pages_add_up_and_a_total_after_them_raises() {
        assert_eq!(count(&[(2, None), (2, None)]), 4);
        assert_eq!(count(&[(2, None), (2, None), (0, Some(4))]), 4);
        assert_eq!(count(&[(2, None), (2, None), (0, Some(3))]), 4);
        assert_eq!(count(&[(1, None), (0, Some(6))]), 6);
    }

    #[test]
    fn a_retried_job_is_not_counted_twice() {
        assert_eq!(count(&[(0, Some(0)), (0, Some(3)), (0, Some(5))]), 5);
    }

    #[test]
    fn a_number_that_was_given_again_is_another_job() {
        assert_eq!(count(&[(0, Some(5)), (0, Some(2)), (0, Some(3))]), 8);
        // Pages after a total are the next ones of the same job: a total over them says no less.
        assert_eq!(count(&[(0, Some(5)), (1, None), (0, Some(6))]), 6);
    }
}
