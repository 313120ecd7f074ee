//! From the lines of one job to its impressions: lines cannot simply be added up.
//!
//! Owns the rule. CUPS before 2.3 logs pages and, where the backend reads the printer's counter, a total
//! after them; CUPS from 2.3 on logs a running total whenever the job stops, so a job that is retried or
//! reprinted is logged as `total 2`, then `total 4`. Invariant: nothing is counted twice, and a line
//! that says nothing new about a job is taken as another job that got its number after the spool was
//! cleared. Leaves it to the caller to bring the lines of one [`super::JobKey`] in order of time.

use super::Pages;

/// Folds the lines of one job key, in order of time.
///
/// ```
/// use tallyroll_edge::counts::{JobImpressions, Pages};
/// let total = |impressions| Pages::Total { impressions };
/// let count = |lines: &[Pages]| lines.iter().fold(JobImpressions::default(), |job, line| job.after(*line)).impressions();
/// assert_eq!(count(&[total(2), total(4)]), 4); // printed, then printed again
/// assert_eq!(count(&[total(2), total(2)]), 4); // the spool was cleared between them
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobImpressions {
    closed: u64,
    running: u64,
    totalled: bool,
}

impl JobImpressions {
    /// The figure after one more line.
    #[must_use]
    pub fn after(self, line: Pages) -> Self {
        match line {
            Pages::Page { copies, .. } => Self {
                running: self.running.saturating_add(u64::from(copies)),
                totalled: false,
                ..self
            },
            Pages::Total { impressions } => {
                let total = u64::from(impressions);
                // A running total never stands still or falls; this one belongs to another job.
                let another = self.totalled && total <= self.running;
                Self {
                    closed: if another { self.impressions() } else { self.closed },
                    running: if another { total } else { self.running.max(total) },
                    totalled: true,
                }
            }
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

    fn count(lines: &[Pages]) -> u64 {
        lines.iter().fold(JobImpressions::default(), |job, line| job.after(*line)).impressions()
    }

    fn total(impressions: u32) -> Pages {
        Pages::Total { impressions }
    }

    fn page(number: u32, copies: u32) -> Pages {
        Pages::Page { number, copies }
    }

    #[test]
    fn pages_add_up_and_a_total_after_them_raises() {
        assert_eq!(count(&[page(1, 2), page(2, 2)]), 4);
        assert_eq!(count(&[page(1, 2), page(2, 2), total(4)]), 4);
        assert_eq!(count(&[page(1, 2), page(2, 2), total(3)]), 4);
        assert_eq!(count(&[page(1, 1), total(6)]), 6);
    }

    #[test]
    fn a_retried_job_is_not_counted_twice() {
        assert_eq!(count(&[total(0), total(3), total(5)]), 5);
    }

    #[test]
    fn a_number_that_was_given_again_is_another_job() {
        assert_eq!(count(&[total(5), total(2), total(3)]), 8);
    }
}
