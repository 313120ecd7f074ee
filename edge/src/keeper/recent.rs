//! What the keeper remembers of a user who spends: how much of late, in which jobs, what was refused.
//!
//! Invariant: nothing here is a right or outlives the process; it is bounded by the hour and by the jobs that
//! run. Times are the monotonic clock's. What follows from it is [`super::spending`]'s.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use tallyroll_schema::{Credits, JobId, Position};

/// Recent use, by which a lease is sized, is that of the last hour, by the minute.
const RECENT_MINUTES: u64 = 60;
/// After a refusal the cloud is asked again so much later, each time twice as late,
const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(2);
/// but no later than this: somebody may wait for a top-up.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(8);
/// A job in which nothing was done for so long needs its lease no more than others do.
const JOB_RUNS: Duration = Duration::from_secs(60);
/// Who did nothing for so long is forgotten here, but for the lease.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(RECENT_MINUTES * 60);

/// What a user did of late.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When they spent, or wanted to.
    pub(super) last: Duration,
    /// Spent in the minutes of the last hour, thousandths, oldest first.
    minutes: VecDeque<(u64, i128)>,
    /// Jobs that began and did not end, and when something was done in them.
    jobs: BTreeMap<JobId, Duration>,
    pub(super) refused: Option<Refusal>,
    /// When more was asked for because the lease ends soon.
    pub(super) renewed: Option<Duration>,
}

/// A refusal, when it was seen, and how long nothing is asked for since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    answers: Position,
    seen: Duration,
    pause: Duration,
}

impl Recent {
    /// Who spends for the first time that is known of, or wants to.
    pub(super) fn since(now: Duration) -> Self {
        Self { last: now, ..Self::default() }
    }

    /// Whether nothing here matters any more, but for what they were lent.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        let over = now >= self.last.saturating_add(FORGOTTEN_AFTER);
        over && self.runs_until(now).is_none()
    }

    /// Spent within the last hour, thousandths.
    pub(super) fn used(&self, now: Duration) -> i128 {
        let this = minute(now);
        let recent = self.minutes.iter().filter(|(minute, _)| minute + RECENT_MINUTES > this);
        recent.map(|(_, spent)| spent).sum()
    }

    pub(super) fn spend(&mut self, now: Duration, credits: Credits) {
        self.last = now;
        let (this, spent) = (minute(now), i128::from(credits.thousandths()));
        match self.minutes.back_mut() {
            Some((minute, sum)) if *minute == this => *sum += spent,
            _ => self.minutes.push_back((this, spent)),
        }
        self.minutes.retain(|(minute, _)| minute + RECENT_MINUTES > this);
    }

    /// Something was done in a job, which may begin with it.
    pub(super) fn note_job(&mut self, now: Duration, job: JobId, begins: bool) {
        if begins || self.jobs.contains_key(&job) {
            self.jobs.insert(job, now);
        }
        self.jobs.retain(|_, last| now < last.saturating_add(FORGOTTEN_AFTER));
    }

    pub(super) fn end_job(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }

    /// When the last job that runs here will not any more, unless something is done in it.
    pub(super) fn runs_until(&self, now: Duration) -> Option<Duration> {
        let until = self.jobs.values().max()?.saturating_add(JOB_RUNS);
        (now < until).then_some(until)
    }

    /// Whether so much may be asked for now, after the refusal of `last`.
    pub(super) fn may_ask(&mut self, now: Duration, refusal: Position) -> bool {
        let known = self.refused;
        if let Some(known) = known.filter(|known| known.answers == refusal) {
            return now >= known.seen.saturating_add(known.pause);
        }
        let longer = known.map_or(REFUSED_PAUSE_MIN, |known| known.pause.saturating_mul(2));
        let pause = longer.min(REFUSED_PAUSE_MAX);
        self.refused = Some(Refusal { answers: refusal, seen: now, pause });
        false
    }
}

fn minute(now: Duration) -> u64 {
    now.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn recent_use_is_that_of_the_last_hour() {
        let mut recent = Recent::default();
        for hour in 0..3 {
            recent.spend(seconds(hour * 3600 + 5), Credits::from_thousandths(2_000));
            assert_eq!(recent.used(seconds(hour * 3600 + 5)), 2_000 + hour.min(1) as i128 * 500);
            recent.spend(seconds(hour * 3600 + 65), Credits::from_thousandths(500));
        }
        assert_eq!(recent.used(seconds(2 * 3600 + 70)), 2_500);
        assert_eq!(recent.used(seconds(3 * 3600 + 10)), 500);
        assert_eq!(recent.used(seconds(4 * 3600)), 0);
        assert!(recent.minutes.len() <= RECENT_MINUTES as usize);
    }

    #[test]
    fn who_was_refused_is_asked_for_less_and_less_often_but_not_never() {
        let refusal = |seq| {
            let (log, nonce) = (tallyroll_schema::LogId([1; 32]), [2; 16]);
            Position { log, epoch: tallyroll_schema::EpochId { counter: 0, nonce }, seq }
        };
        let (mut recent, mut now, mut pauses) = (Recent::default(), 0, Vec::new());
        for seq in 0..4 {
            assert!(!recent.may_ask(seconds(now), refusal(seq)), "it was refused just now");
            let pause = (0..).find(|pause| recent.may_ask(seconds(now + pause), refusal(seq)));
            pauses.extend(pause);
            now += pause.unwrap_or_default();
        }
        assert_eq!(pauses, [2, 4, 8, 8]);
    }
}
