//! The soak: branches on bad lines, parted from their cloud for minutes and killed all the while, for an hour.
//! Owns the order of things: rounds of an open line, a partition and its healing, and kills that keep up with the
//! clock. Acts, their outside journal and the audit at the end are the drill's; the lines are the proxy's.
//! Invariant: after each healing nothing is killed until everything acknowledged is at the cloud, and that is timed.
//! The seed fixes lines, acts and partitions, not what the system's scheduler makes of them.

mod report;
mod site;

pub use report::{Report, Traffic};

use std::path::Path;
use std::time::{Duration, Instant};

use crate::drill::{Account, books, lost_by_kill};
use crate::fleet::{Branch, Cloud, Memory, disk_used};
use crate::sim::entropy::Entropy;
use site::Site;

/// From the healing of a partition until all that was acknowledged by then is durable at the cloud, at most.
pub const SYNC_MAX: Duration = Duration::from_secs(30);
/// After so long it is not waited for any more.
const SYNC_GIVEN_UP: Duration = Duration::from_secs(120);
/// The chance of each line that a packet is lost, each way; each has its branch.
const LOSSES: [f64; 3] = [0.05, 0.12, 0.2];
/// No partition is longer, and none is longer than this part of the whole.
const PARTITION_MAX: Duration = Duration::from_secs(240);
const PARTITIONS_MIN: u32 = 6;
/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(100);

/// What a soak does.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long, without the audit.
    pub length: Duration,
    /// Kills of each process, spread over it.
    pub kills: u64,
    /// What lines, acts and partitions are drawn from.
    pub seed: u64,
}

/// Runs a soak in `dir` and says what it does to `tell`.
///
/// # Panics
/// When a process does not come up again.
pub fn run(options: &Options, dir: &Path, tell: &mut dyn FnMut(&str)) -> Report {
    let mut soak = Soak::start(options, dir);
    let longest = PARTITION_MAX.min(options.length / PARTITIONS_MIN);
    while soak.began.elapsed() < options.length {
        let open = soak.draw(Duration::ZERO, longest / 4);
        soak.kill_for(open);
        let partition = soak.draw(longest / 4, longest);
        let parted = soak.part();
        let cut = Instant::now();
        soak.kill_for(partition);
        soak.report.partitions += parted as u64;
        soak.report.parted += cut.elapsed() * parted as u32;
        let synced = soak.heal();
        tell(&format!(
            "{:.0} s: {parted} of {} branches parted for {:.0} s, in sync after {:.1} s; {} kills of each",
            soak.began.elapsed().as_secs_f64(),
            LOSSES.len(),
            partition.as_secs_f64(),
            synced.as_secs_f64(),
            soak.kills_due(),
        ));
    }
    tell("the last kills, and the audit");
    soak.end()
}

struct Soak {
    options: Options,
    began: Instant,
    entropy: Entropy,
    cloud: Cloud,
    sites: Vec<Site>,
    report: Report,
}

impl Soak {
    fn start(options: &Options, dir: &Path) -> Self {
        let mut cloud = Cloud::start(dir.join("cloud"));
        let site = |(number, loss)| Site::open(dir, &mut cloud, number, loss, options.seed);
        let sites = (0..).zip(LOSSES).map(site).collect();
        Self {
            options: *options,
            began: Instant::now(),
            entropy: Entropy::new(options.seed, 0, "soak"),
            cloud,
            sites,
            report: Report::default(),
        }
    }

    fn draw(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let millis = |length: Duration| length.as_millis() as u64;
        Duration::from_millis(self.entropy.between(millis(shortest), millis(longest)))
    }

    /// Cuts the lines of some branches, at least one; returns how many.
    fn part(&mut self) -> usize {
        let mut order: Vec<usize> = (0..self.sites.len()).collect();
        self.entropy.shuffle(&mut order);
        order.truncate(1 + self.entropy.index(order.len()));
        for site in &order {
            self.sites[*site].line.set_cut(true);
        }
        order.len()
    }

    /// Opens all lines and waits, without another kill, for what was acknowledged until now; returns how long.
    fn heal(&mut self) -> Duration {
        for site in &self.sites {
            site.line.set_cut(false);
        }
        let healed = Instant::now();
        let goals: Vec<u64> = self.sites.iter().map(|site| site.branch.standing().local).collect();
        for (site, goal) in self.sites.iter().zip(goals) {
            while site.branch.standing().cloud < goal && healed.elapsed() < SYNC_GIVEN_UP {
                std::thread::sleep(TICK);
            }
        }
        let took = healed.elapsed();
        self.report.longest_sync = self.report.longest_sync.max(took);
        if took > SYNC_MAX {
            let standings: Vec<_> = self.sites.iter().map(|site| site.branch.standing()).collect();
            self.report.audit.violations.push(format!(
                "{:.0} s: in sync {took:.1?} after healing, at most {SYNC_MAX:?} was promised; now {standings:?}",
                self.began.elapsed().as_secs_f64()
            ));
        }
        took
    }

    /// Kills of each process that are due by now.
    fn kills_due(&self) -> u64 {
        let part = self.began.elapsed().as_secs_f64() / self.options.length.as_secs_f64();
        (self.options.kills as f64 * part.min(1.0)) as u64
    }

    /// Lets so much time pass, and kills what is due.
    fn kill_for(&mut self, length: Duration) {
        let began = Instant::now();
        while began.elapsed() < length {
            std::thread::sleep(TICK);
            self.kill_due();
        }
    }

    /// Kills one process that has been killed less often than is due, if there is one.
    fn kill_due(&mut self) {
        let due = self.kills_due();
        let mut late: Vec<Option<usize>> =
            (0..self.sites.len()).map(Some).filter(|at| self.killed(*at) < due).collect();
        if self.killed(None) < due {
            late.push(None);
        }
        if late.is_empty() {
            return;
        }
        // Not all that are due go at once.
        std::thread::sleep(Duration::from_millis(self.entropy.below(1000)));
        match late[self.entropy.index(late.len())] {
            Some(site) => self.sites[site].kill(&mut self.entropy, &mut self.report),
            None => self.kill_cloud(),
        }
    }

    fn killed(&self, site: Option<usize>) -> u64 {
        site.map_or(self.report.cloud_kills, |site| self.sites[site].kills)
    }

    fn kill_cloud(&mut self) {
        self.look_at_cloud();
        let branches: Vec<&Branch> = self.sites.iter().map(|site| &site.branch).collect();
        let lost = lost_by_kill(&mut self.cloud, &branches);
        self.report.audit.violations.extend(lost);
        self.report.cloud_kills += 1;
    }

    /// Notes what the cloud takes; it must not have ended by itself.
    fn look_at_cloud(&mut self) {
        let memory = self.cloud.id().map(Memory::of).unwrap_or_default();
        self.report.cloud_memory = self.report.cloud_memory.max(memory.peak);
        if !self.cloud.is_running() {
            self.report.audit.violations.push("the cloud has ended by itself".into());
        }
    }

    /// The kills that are left, everything in sync, and the audit.
    fn end(mut self) -> Report {
        while (0..self.sites.len())
            .map(Some)
            .chain([None])
            .any(|at| self.killed(at) < self.options.kills)
        {
            self.kill_due();
        }
        self.heal();
        self.report.length = self.began.elapsed();
        self.look_at_cloud();
        let Self { cloud, sites, mut report, .. } = self;
        let written: Vec<_> = sites.into_iter().map(|site| site.close(&mut report)).collect();
        let accounts: Vec<Account<'_>> = written
            .iter()
            .map(|(name, branch, written)| Account { name, branch, written })
            .collect();
        let audit = books::check(&cloud, &accounts);
        report.disk_cloud = disk_used(cloud.data());
        report.disk_branches = accounts.iter().map(|of| disk_used(of.branch.data())).collect();
        let before = std::mem::replace(&mut report.audit, audit);
        report.audit.violations.splice(0..0, before.violations);
        report
    }
}
