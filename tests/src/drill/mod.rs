//! The kill drill: a branch and its cloud under load, killed with SIGKILL again and again, then asked for everything
//! they ever acknowledged.
//! Owns the order of things: load, kills at seeded moments, healing. Who writes is [`writers`]'s, what must hold in
//! the end [`books`]'s. Invariant: the acknowledgements are kept here, in a process that nobody kills. The seed fixes
//! acts and pauses, not what the system's scheduler makes of them.

pub mod books;
mod writers;

pub use books::{Account, Audit};
pub use writers::{Acts, Said, Written};
pub(crate) use writers::{Load, Writers};

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fleet::{Branch, Cloud, wait_until};
use crate::sim::entropy::Entropy;

/// A kill comes at most so long after there is something to kill.
const PAUSE_MILLIS_MAX: u64 = 400;
/// Of a hundred kills of the edge, so many take the cloud with them.
const BOTH_PERCENT: u64 = 25;
/// As much as goes in.
const LOAD: Load = Load { burst_max: 16, pause_millis_max: 40, rest_millis_max: 0 };
/// How long it may take until events reach the cloud after a kill.
const RECOVERY: Duration = Duration::from_secs(90);

/// What a drill does.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Kills of the edge, and as many of the cloud.
    pub kills: u64,
    /// Processes that record at the same time.
    pub writers: u8,
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
    /// What was written and what became of it.
    pub audit: Audit,
}

/// Runs a drill in `dir` and says what it does to `tell`.
///
/// # Panics
/// When a process does not come up again, or events do not reach the cloud in time.
pub fn run(options: &Options, dir: &Path, tell: &mut dyn FnMut(&str)) -> Report {
    let mut cloud = Cloud::start(dir.join("cloud"));
    let mut branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
    let writers = Writers::start(&branch, LOAD, 0..options.writers, options.seed);
    let mut report = Report::default();
    let mut violations = Vec::new();
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
            report.cloud_kills += 1;
            violations.extend(kill_cloud(&mut cloud, &branch, &mut entropy));
        }
        let (kills, seconds) = (report.cloud_kills, began.elapsed().as_secs());
        if kills % 10 == 0 {
            tell(&format!("{kills} of {} kills each, {seconds} s", options.kills));
        }
    }
    let written = writers.stop();
    tell("healing");
    branch.wait_synced(RECOVERY);
    report.audit =
        books::check(&cloud, &[Account { name: "branch", branch: &branch, written: &written }]);
    report.audit.violations.splice(0..0, violations);
    report
}

/// Kills the cloud while it takes in events.
fn kill_cloud(cloud: &mut Cloud, branch: &Branch, entropy: &mut Entropy) -> Option<String> {
    let before = branch.standing().cloud;
    wait_until(RECOVERY, "events reach the cloud between two kills", || {
        branch.standing().cloud > before
    });
    pause(entropy);
    lost_by_kill(cloud, &[branch])
}

/// Kills the cloud and starts it again; says what it receipted and has no more.
pub(crate) fn lost_by_kill(cloud: &mut Cloud, branches: &[&Branch]) -> Option<String> {
    cloud.kill_9();
    let receipted: u64 = branches.iter().map(|branch| branch.standing().cloud).sum();
    cloud.start_again();
    let held = books::events_held(cloud);
    (held < receipted)
        .then(|| format!("killed, the cloud holds {held} events, and receipted {receipted}"))
}

fn pause(entropy: &mut Entropy) {
    std::thread::sleep(Duration::from_millis(entropy.between(1, PAUSE_MILLIS_MAX)));
}
