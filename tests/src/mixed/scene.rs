//! What a story plays on: one cloud and its branches, each of the version that it is at the moment.
//! Owns load under kill -9, changing a version in place, and what must hold whenever all is in sync.
//! Invariant: what was acknowledged is kept here, outside of every process; users, grants and charges are added up
//! from it and from nothing that a program shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::drill::books::{self, Account};
use crate::drill::{Load, Writers, Written};
use crate::fleet::{Branch, Cloud, Programs, cpu_time, wait_until};
use crate::sim::entropy::Entropy;

/// Of each branch; twice as many would only take longer.
const WRITERS: u8 = 2;
const LOAD: Load = Load { burst_max: 8, pause_millis_max: 50, rest_millis_max: 50 };
/// How long it may take until all is at the cloud: an old agent that lost its line waits up to 20 s before it tries again.
const SYNC: Duration = Duration::from_secs(60);
/// See [`is_in_sync`].
const NO_USE: &str = "a device takes the cloud's public log and its own";
/// A quiet process takes no more than this of one core.
const QUIET_PERCENT: u128 = 10;
const QUIET_FOR: Duration = Duration::from_secs(2);

/// A branch, and what was recorded there.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) branch: Branch,
    pub(super) written: Written,
}

/// A cloud, its branches, and all that should be there.
pub(super) struct Scene {
    pub(super) cloud: Cloud,
    pub(super) sites: Vec<Site>,
    granted: BTreeMap<String, i64>,
    entropy: Entropy,
    writers: u8,
}

impl Scene {
    /// A new cloud of a version.
    pub(super) fn new(dir: &Path, cloud: &Programs, seed: u64) -> Self {
        let cloud = Cloud::start_of(dir.join("cloud"), cloud);
        let entropy = Entropy::new(seed, 0, "mixed");
        Self { cloud, sites: Vec::new(), granted: BTreeMap::new(), entropy, writers: 0 }
    }

    /// A new branch of a version joins.
    pub(super) fn join(&mut self, dir: &Path, name: &'static str, programs: &Programs) {
        let mut branch = Branch::new(dir.join(name));
        branch.set_programs(programs);
        drop(branch.join(&self.cloud.enroll(name)).succeeded());
        branch.start();
        self.sites.push(Site { name, branch, written: Written::default() });
    }

    /// Gives each user that the cloud knows the same.
    pub(super) fn grant_all(&mut self, credits: i64) {
        let text = credits.to_string();
        for user in self.users() {
            drop(self.cloud.run(&["grant", &user, &text]).succeeded());
            *self.granted.entry(user).or_default() += credits;
        }
    }

    /// Has all branches record while each process is killed so often, and starts again.
    pub(super) fn work(&mut self, kills: u32) {
        let (first, per_site) = (self.writers, WRITERS);
        let start = |(at, site): (u8, &Site)| {
            let first = first + at * per_site;
            Writers::start(&site.branch, LOAD, first..first + per_site, 1)
        };
        let writers: Vec<Writers> = (0..).zip(&self.sites).map(start).collect();
        self.writers += writers.len() as u8 * WRITERS;
        for _ in 0..kills {
            for (site, writers) in self.sites.iter_mut().zip(&writers) {
                std::thread::sleep(Duration::from_millis(self.entropy.between(100, 500)));
                site.branch.kill_9();
                writers.hold_while(|| site.branch.start());
            }
            std::thread::sleep(Duration::from_millis(self.entropy.between(100, 500)));
            self.cloud.kill_9();
            self.cloud.start_again();
        }
        std::thread::sleep(Duration::from_millis(500));
        for (site, writers) in self.sites.iter_mut().zip(writers) {
            let Written { said, acknowledged, refused } = writers.stop();
            site.written.said.extend(said);
            site.written.acknowledged.extend(acknowledged);
            site.written.refused.extend(refused);
        }
    }

    /// The cloud goes on as another version, its branches notice nothing but that it was away.
    pub(super) fn change_cloud(&mut self, programs: &Programs, by_kill: bool) {
        if by_kill {
            self.cloud.kill_9()
        } else {
            self.cloud.stop()
        }
        self.cloud.set_programs(programs);
        self.cloud.start_again();
    }

    /// A branch goes on as another version.
    pub(super) fn change_branch(&mut self, at: usize, programs: &Programs, by_kill: bool) {
        let branch = &mut self.sites[at].branch;
        if by_kill {
            branch.kill_9()
        } else {
            branch.stop()
        }
        branch.set_programs(programs);
        branch.start();
    }

    /// Waits until all is at the cloud; says what is not as it should be.
    pub(super) fn audit(&mut self) -> Vec<String> {
        self.wait_synced();
        fn account(Site { name, branch, written }: &Site) -> Account<'_> {
            Account { name, branch, written }
        }
        let accounts: Vec<Account<'_>> = self.sites.iter().map(account).collect();
        let mut wrong = books::check(&self.cloud, &accounts).violations;
        wrong.extend(self.wrong_balances());
        wrong.extend(self.frozen());
        wrong.extend(self.restless());
        wrong
    }

    /// Waits until all is at the cloud.
    pub(super) fn wait_synced(&self) {
        for site in &self.sites {
            wait_until(SYNC, &format!("{} is in sync", site.name), || is_in_sync(&site.branch));
        }
    }

    /// Acts that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> usize {
        self.sites.iter().map(|site| site.written.acknowledged.len()).sum()
    }

    /// By the built-in rate card of both versions, a page and an impression cost one credit each.
    fn wrong_balances(&self) -> Vec<String> {
        let totals = rows(&self.cloud.json(&["view", "totals"]));
        let mut wrong = Vec::new();
        let balances = rows(&self.cloud.json(&["view", "balances"]));
        if balances.is_empty() {
            wrong.push("no balance is shown".to_owned());
        }
        for row in balances {
            let name = row["name"].as_str().unwrap_or("(nobody)");
            let mine = totals.iter().filter(|total| total["name"] == *name);
            let count = |row: &Value, key: &str| row[key].as_i64().unwrap_or_default();
            let charged: i64 =
                mine.map(|row| count(row, "captured") + count(row, "impressions")).sum();
            let granted = self.granted.get(name).copied().unwrap_or_default();
            let (shown, right) = (row["balance"].as_str(), format!("{}.000", granted - charged));
            if shown != Some(&right) {
                wrong.push(format!("the balance of {name} is {shown:?}, and should be {right}"));
            }
        }
        wrong
    }

    /// Today's cloud is not frozen, has nothing in quarantine and turned nobody away. The first version has no doctor.
    fn frozen(&self) -> Option<String> {
        const NO_SUCH_COMMAND: i32 = 2;
        let doctor = self.cloud.run(&["doctor"]);
        let fine = [Some(0), Some(NO_SUCH_COMMAND)].contains(&doctor.code());
        (!fine).then(|| format!("doctor: {}{}", doctor.stdout, doctor.stderr))
    }

    /// Each process runs, and rests while there is nothing to do.
    fn restless(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut watched = Vec::new();
        let names = self.sites.iter_mut().map(|site| (site.name, site.branch.agent_id()));
        for (name, id) in [("the cloud", self.cloud.id())].into_iter().chain(names) {
            watched.extend(id.map(|id| (name, id, cpu_time(id))));
        }
        if !self.cloud.is_running() || self.sites.iter_mut().any(|site| !site.branch.is_running()) {
            wrong.push("a process has ended by itself".to_owned());
        }
        std::thread::sleep(QUIET_FOR);
        for (name, id, before) in watched {
            let percent =
                cpu_time(id).saturating_sub(before).as_millis() * 100 / QUIET_FOR.as_millis();
            if percent > QUIET_PERCENT {
                wrong.push(format!("{name} took {percent} % of a core with nothing to do"));
            }
        }
        wrong
    }

    fn users(&self) -> Vec<String> {
        let rows = rows(&self.cloud.json(&["view", "balances"]));
        rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect()
    }
}

/// An agent of the first version has no use for what today's cloud would give back of its logs, and its status
/// says that they go no further; they do.
fn is_in_sync(branch: &Branch) -> bool {
    let status = branch.json(&["status"]);
    let no_use = status["why"].as_str().is_some_and(|why| why.contains(NO_USE));
    let linked = status["link"] == "up" || (status["link"] == "stopped" && no_use);
    let standing = branch.standing();
    linked && standing.local == standing.cloud
}

pub(super) fn rows(view: &Value) -> Vec<Value> {
    view["rows"].as_array().cloned().unwrap_or_default()
}
