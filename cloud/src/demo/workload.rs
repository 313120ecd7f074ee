//! What the branches print: seeded jobs, and the page_log lines CUPS would write of them.
//!
//! Owns the truth of the demo: each [`Job`] says who printed how many impressions,
//! before any of it becomes text. Invariant: one seed gives one workload. Lines are
//! as awkward as real ones: titles that look like figures, names with spaces, job
//! numbers that start again, reprints that log a running total twice.

use jiff::Timestamp;
use jiff::tz::Offset;

/// The same people work at several branches.
const USERS: [&str; 9] = [
    "anna",
    "bert",
    "chen wei",
    "dörte",
    "eve.o'neill",
    "Ömer Şahin",
    "front-desk",
    "grace",
    "total",
];
/// Users at one branch.
const USERS_AT_BRANCH: usize = 6;
const TITLES: [&str; 12] = [
    "invoice",
    "quarterly report 2026",
    "total 8 - localhost",
    "  two  spaces ",
    "Ünïcödé – naïve.pdf",
    "a [21/Nov/2026:01:02:03 +0100] total 9 - x - -",
    "100% %T %j.txt",
    "\"quoted\" 'it'.docx",
    "- - -",
    "смета № 7.xls",
    "tab\there",
    "iso_a4_210x297mm two-sided-long-edge",
];
const MEDIA: [&str; 4] = ["-", "iso_a4_210x297mm", "na_letter_8.5x11in", "iso_a3_297x420mm"];
/// One branch logs its times east of Greenwich, the next one west of it.
const OFFSETS: [i32; 2] = [3600, -(3 * 3600 + 1800)];
/// 31 October 2026, 18:00 UTC; the day's printing goes on past midnight into another month.
const BEGIN: i64 = 1_793_469_600;
const WORKDAY_SECONDS: i64 = 12 * 3600;

/// One printed job, as the printer knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// Who printed it.
    pub(super) user: &'static str,
    /// When its last line was written, seconds since the Unix epoch.
    pub(super) at: i64,
    /// Sides marked, all copies and blank backs included.
    pub(super) impressions: u32,
    /// Its page_log lines: one, or two for a job that was printed in two goes.
    lines: Vec<String>,
}

impl Job {
    /// How many lines the page_log has of it.
    pub(super) fn lines_written(&self) -> u64 {
        self.lines.len() as u64
    }
}

/// What one branch prints, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BranchWork {
    /// Also the name the branch is enrolled under.
    pub(super) branch: String,
    /// Its jobs.
    pub(super) jobs: Vec<Job>,
}

impl BranchWork {
    /// The page_log, line by line, each with its newline.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.jobs.iter().flat_map(|job| job.lines.iter().map(String::as_str))
    }
}

/// Deals `jobs` jobs out to `branches` branches.
pub(super) fn workload(seed: u64, branches: usize, jobs: usize) -> Vec<BranchWork> {
    let mut dice = Dice(seed);
    let branch = |index: usize| {
        let share = jobs / branches + usize::from(index < jobs % branches);
        branch_work(&mut dice, index, share)
    };
    (0..branches).map(branch).collect()
}

fn branch_work(dice: &mut Dice, index: usize, jobs: usize) -> BranchWork {
    let first_user = dice.below(USERS.len());
    let pause = (WORKDAY_SECONDS / i64::try_from(jobs.max(1)).unwrap_or(i64::MAX)).max(2);
    // CUPS begins again with job 1 when its spool is cleared.
    let spool_cleared_before = jobs / 3 + dice.below(jobs / 3 + 1);
    let queue =
        Queue { name: format!("hall-{}", index + 1), offset: OFFSETS[index % OFFSETS.len()] };
    let (mut now, mut number) = (BEGIN, 0);
    let mut printed = Vec::with_capacity(jobs);
    for ordinal in 0..jobs {
        number = if ordinal == spool_cleared_before { 1 } else { number + 1 };
        now += pause;
        let user = USERS[(first_user + dice.below(USERS_AT_BRANCH)) % USERS.len()];
        let title = format!("{} {ordinal}", dice.pick(&TITLES));
        printed.push(queue.print(dice, now, number, user, &title));
    }
    BranchWork { branch: format!("branch-{}", index + 1), jobs: printed }
}

struct Queue {
    name: String,
    offset: i32,
}

impl Queue {
    fn print(&self, dice: &mut Dice, at: i64, number: u32, user: &'static str, title: &str) -> Job {
        let (pages, copies) = (dice.up_to(12), if dice.below(5) == 0 { dice.up_to(4) } else { 1 });
        let duplex = dice.below(3) == 0;
        let sides = if duplex { "two-sided-long-edge" } else { dice.pick(&["one-sided", "-"]) };
        // The blank back of an odd document passes the marker too.
        let impressions = if duplex { pages.next_multiple_of(2) } else { pages } * copies;
        let media = dice.pick(&MEDIA);
        let line = |at: i64, total: u32| {
            let Self { name, .. } = self;
            let time = self.time(at);
            format!(
                "{name} {user} {number} [{time}] total {total} - localhost {title} {media} {sides}\n"
            )
        };
        let jammed_after = impressions / 2;
        let jammed = jammed_after > 0 && dice.below(16) == 0;
        let mut lines = Vec::with_capacity(2);
        lines.extend(jammed.then(|| line(at - 1, jammed_after)));
        lines.push(line(at, impressions));
        Job { user, at, impressions, lines }
    }

    /// As CUPS writes it: `21/Nov/2026:01:02:03 +0100`.
    fn time(&self, at: i64) -> String {
        let zone = Offset::from_seconds(self.offset).unwrap_or(Offset::UTC).to_time_zone();
        let time = Timestamp::from_second(at).unwrap_or(Timestamp::MAX).to_zoned(zone);
        time.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for a workload, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound - 1`, nearly evenly.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap_or_default()
    }

    /// 1 to `most`.
    fn up_to(&mut self, most: u8) -> u32 {
        u32::try_from(self.below(most.into())).unwrap_or_default() + 1
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn one_seed_gives_one_workload_and_another_seed_another() {
        assert_eq!(workload(7, 3, 120), workload(7, 3, 120));
        assert_ne!(workload(7, 3, 120), workload(8, 3, 120));
    }

    #[test]
    fn every_job_is_dealt_out() {
        for (branches, jobs) in [(1, 1), (3, 2), (3, 120), (8, 2001)] {
            let work = workload(1, branches, jobs);
            assert_eq!(work.len(), branches);
            assert_eq!(work.iter().map(|branch| branch.jobs.len()).sum::<usize>(), jobs);
        }
    }

    #[test]
    fn it_is_as_awkward_as_it_claims() {
        let work = workload(42, 8, 2000);
        let lines: Vec<&str> = work.iter().flat_map(BranchWork::lines).collect();
        assert!(lines.len() > 2000, "some jobs were printed in two goes");
        assert!(lines.iter().any(|line| line.contains("/Nov/2026")), "past midnight");
        assert!(TITLES.iter().all(|title| lines.iter().any(|line| line.contains(title))));
        let first = |line: &&&str| line.starts_with("hall-1 ") && line.contains(" 1 [");
        assert_eq!(lines.iter().filter(first).count(), 2, "the spool was cleared once");
        let at =
            |index: usize| work[index].jobs.iter().map(|job| job.user).collect::<BTreeSet<_>>();
        assert!((1..8).any(|other| !at(0).is_disjoint(&at(other))), "people move about");
    }

    #[test]
    fn a_line_is_one_that_cups_writes() {
        let queue = Queue { name: "hall".into(), offset: -12_600 };
        assert_eq!(queue.time(1_795_219_323), "20/Nov/2026:20:32:03 -0330");
        let work = workload(3, 1, 1);
        let line = work[0].lines().next().unwrap();
        assert!(line.starts_with("hall-1 ") && line.ends_with('\n'), "{line}");
        assert!(line.contains("[31/Oct/2026:") || line.contains("[01/Nov/2026:"), "{line}");
    }
}
