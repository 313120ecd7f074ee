//! The kill drill: a branch and its cloud under load, killed with SIGKILL again and again, then asked for everything
//! they ever acknowledged.
//! Owns the order of things: load, kills at seeded moments, healing. Who writes is [`writers`]'s, what must hold in
//! the end [`books`]'s. Invariant: the acknowledgements are kept here, in a process that nobody kills. The seed fixes
//! acts and pauses, not what the system's scheduler makes of them.

pub mod books;
mod writers;

pub use writers::{Acts, Said, Written};

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fleet::{Branch, Cloud, wait_until};
use crate::sim::entropy::Entropy;
use writers::Writers;

/// A kill comes at most so long after there is something to kill.
const PAUSE_MILLIS_MAX: u64 = 400;
/// Of a hundred kills of the edge, so many take the cloud with them.
const BOTH_PERCENT: u64 = 25;
/// How long it may take until events reach the cloud after a kill.
const RECOVERY: Duration = Duration::from_secs(90);

/// What a drill does.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Kills of the edge, and as many of the cloud.
    pub kills: u64,
    /// Processes that record at the same time.
    pub writers: usize,
    /// What acts and pauses are drawn from.
    pub seed: u64,
}

/// What a drill did, and what did not hold.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kills of the edge.
    pub edge_kills: u64,
    /// Kills of the cloud.
    pub cloud_kills: u64,
    /// Acts that were acknowledged.
    pub acknowledged: usize,
    /// Acts whose answer a kill took; they may be recorded or not.
    pub unanswered: usize,
    /// Of these, how many are.
    pub recorded_unanswered: usize,
    /// Events of the device that the cloud holds.
    pub events: usize,
    /// What did not hold.
    pub violations: Vec<String>,
}

/// Runs a drill in `dir` and says what it does to `tell`.
///
/// # Panics
/// When a process does not come up again, or events do not reach the cloud in time.
pub fn run(options: &Options, dir: &Path, tell: &mut dyn FnMut(&str)) -> Report {
    let mut cloud = Cloud::start(dir.join("cloud"));
    let mut branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
    let writers = Writers::start(branch.data(), options.writers, options.seed);
    let mut report = Report::default();
    let mut entropy = Entropy::new(options.seed, 0, "kills");
    let began = Instant::now();
    while report.cloud_kills < options.kills {
        pause(&mut entropy);
        branch.kill_9();
        report.edge_kills += 1;
        let both = entropy.percent(BOTH_PERCENT);
        if both {
            cloud.kill_9();
            report.cloud_kills += 1;
            cloud.start_again();
        }
        writers.hold_while(|| branch.start());
        if !both {
            kill_cloud(&mut cloud, &branch, &mut entropy, &mut report);
        }
        let (kills, seconds) = (report.cloud_kills, began.elapsed().as_secs());
        if kills % 10 == 0 {
            tell(&format!("{kills} of {} kills each, {seconds} s", options.kills));
        }
    }
    let written = writers.stop();
    tell("healing");
    branch.wait_synced(RECOVERY);
    books::check(&cloud, &branch, &written, &mut report);
    report
}

/// Kills the cloud while it takes in events; what it receipted must be there when it is back.
fn kill_cloud(cloud: &mut Cloud, branch: &Branch, entropy: &mut Entropy, report: &mut Report) {
    let before = branch.standing().cloud;
    wait_until(RECOVERY, "events reach the cloud between two kills", || {
        branch.standing().cloud > before
    });
    pause(entropy);
    cloud.kill_9();
    report.cloud_kills += 1;
    let receipted = branch.standing().cloud;
    cloud.start_again();
    let held = books::events_held(cloud);
    if held < receipted {
        let kill = report.cloud_kills;
        let lost =
            format!("after kill {kill} the cloud holds {held} events, and receipted {receipted}");
        report.violations.push(lost);
    }
}

fn pause(entropy: &mut Entropy) {
    std::thread::sleep(Duration::from_millis(entropy.between(1, PAUSE_MILLIS_MAX)));
}
