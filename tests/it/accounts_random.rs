//! Accounts of people and groups over months, by random decisions: grants, allotments, joins and leaves, corrections,
//! charges with and without a lease, jobs that are sent or put down, months that are closed and branches that come late.
//! Invariant: after each step every statement adds up to its balance and goes on from every cut before, credits are
//! all somewhere, and what was charged is what this test counted: `accounts_checked` looks at that. A failure names the
//! seed; `TALLYROLL_SEED` plays another.

use std::collections::BTreeMap;

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE};
use tallyroll_tests::sim::entropy::Entropy;
use tempfile::TempDir;

use super::accounts_checked::Stand;
use super::leases::thousandths;

const SEED: u64 = 3;
const STEPS: usize = 10;
const USERS: [&str; 4] = ["ada", "bob", "eve", "kim"];
const GROUPS: [&str; 2] = ["office", "school"];
pub(super) const MONTHS: [&str; 5] = ["2031-01", "2031-02", "2031-03", "2031-04", "2031-05"];
/// The third of each.
const DAYS: [&str; 5] = ["2031-01-03", "2031-02-03", "2031-03-03", "2031-04-03", "2031-05-03"];

pub(super) struct World {
    _dir: TempDir,
    pub(super) cloud: Cloud,
    pub(super) branch: Branch,
    pub(super) entropy: Entropy,
    /// In thousandths, as this test counts them.
    pub(super) granted: i64,
    pub(super) corrected: i64,
    pub(super) charged: i64,
    pub(super) held: i64,
    jobs: u32,
    /// Jobs that hold something: whose, how many pages.
    open: Vec<(String, &'static str, i64)>,
    /// Each account at the cuts that were looked at.
    pub(super) cuts: Vec<(String, BTreeMap<Account, Stand>)>,
    /// What a closed month showed.
    pub(super) closed: BTreeMap<&'static str, Value>,
    /// How often what was done.
    pub(super) done: BTreeMap<&'static str, usize>,
}

/// A name, and whether it is a group's.
pub(super) type Account = (&'static str, bool);

pub(super) fn accounts() -> impl Iterator<Item = Account> {
    USERS.into_iter().map(|name| (name, false)).chain(GROUPS.into_iter().map(|name| (name, true)))
}

fn shown(credits: i64) -> String {
    let sign = if credits < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", credits.abs() / 1000, credits.abs() % 1000)
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = Cloud::start_on(dir.path().join("cloud"), Some(DAYS[0]));
        let mut branch = Branch::new(dir.path().join("branch"));
        branch.set_day(DAYS[0]);
        drop(branch.join(&cloud.enroll("branch")).succeeded());
        branch.start();
        for user in USERS {
            drop(cloud.run(&["users", "add", user]).succeeded());
        }
        for group in GROUPS {
            drop(cloud.run(&["groups", "add", group]).succeeded());
        }
        let begun: String = USERS
            .iter()
            .enumerate()
            .map(|(at, user)| {
                format!(r#"{{"kind":"job.begun","job":"{at:016x}","user":"{user}"}}"#) + "\n"
            })
            .collect();
        drop(branch.run_with(&["record"], begun.as_bytes()).succeeded());
        branch.wait_synced(PATIENCE);
        let entropy = Entropy::new(seed, 0, "accounts");
        let jobs = USERS.len() as u32;
        Self {
            _dir: dir,
            cloud,
            branch,
            entropy,
            jobs,
            granted: 0,
            corrected: 0,
            charged: 0,
            held: 0,
            open: Vec::new(),
            cuts: Vec::new(),
            closed: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    fn user(&mut self) -> &'static str {
        USERS[self.entropy.index(USERS.len())]
    }

    pub(super) fn account(&mut self) -> Account {
        match self.entropy.percent(60) {
            true => (self.user(), false),
            false => (GROUPS[self.entropy.index(GROUPS.len())], true),
        }
    }

    fn credits(&mut self, most: u64) -> i64 {
        self.entropy.between(1, most) as i64
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// Runs it and counts it, if it is done; one that is refused says why in one of these words.
    fn may(&mut self, what: &'static str, arguments: &[&str], refusals: &[&str]) {
        let ran = self.cloud.run(arguments);
        if ran.code() == Some(0) {
            return self.count(what);
        }
        let told = ran.failed(1);
        assert!(refusals.iter().any(|words| told.contains(words)), "{arguments:?}: {told}");
    }

    fn record(&mut self, lines: &str) {
        drop(self.branch.run_with(&["record"], lines.as_bytes()).succeeded());
    }

    fn step(&mut self) {
        match self.entropy.below(17) {
            0 | 1 => self.grant(),
            2 | 3 => {
                let (group, user) = (GROUPS[self.entropy.index(GROUPS.len())], self.user());
                self.may("joined", &["groups", "join", group, user], &["member"]);
            }
            4 | 5 => {
                let user = self.user();
                self.may("left", &["groups", "leave", user], &["member"]);
            }
            6..9 => self.allot(),
            9 => self.print(),
            10 | 11 => self.job(),
            12 => self.end_one(),
            13 | 14 => self.lease(),
            _ => self.correct(),
        }
    }

    fn grant(&mut self) {
        let ((name, group), credits) = (self.account(), self.credits(60_000));
        let of_group: &[&str] = if group { &["--group"] } else { &[] };
        drop(self.cloud.run(&[&["grant", name, &shown(credits)], of_group].concat()).succeeded());
        self.granted += credits;
        self.count("granted");
    }

    fn allot(&mut self) {
        let ((name, group), monthly) = (self.account(), self.credits(20_000));
        let of_group: &[&str] = if group { &["--group"] } else { &[] };
        let (monthly, most) = (shown(monthly), shown(monthly + self.entropy.below(20_000) as i64));
        let rule: &[&str] = match self.entropy.below(5) {
            0 => &["--stop"],
            1 => &[&monthly, "--carry-over"],
            2 | 3 => &[&monthly, "--carry-over", &most],
            _ => &[&monthly],
        };
        self.may("allotted", &[&["allot", name], of_group, rule].concat(), &["nothing"]);
    }

    fn print(&mut self) {
        let (user, pages) = (self.user(), self.credits(6));
        let line = format!(r#"{{"kind":"pages.printed","user":"{user}","impressions":{pages}}}"#);
        self.record(&line);
        self.charged += 1000 * pages;
        self.count("printed");
    }

    /// One that holds its pages, or is sent at once.
    fn job(&mut self) {
        let (user, pages) = (self.user(), self.credits(5));
        self.jobs += 1;
        let job = format!("{:016x}", self.jobs);
        let of = format!(r#""job":"{job}","user":"{user}""#);
        let mut lines = format!(
            "{{\"kind\":\"job.begun\",{of}}}\n{{\"kind\":\"pages.captured\",{of},\"pages\":{pages}}}\n"
        );
        if self.entropy.percent(50) {
            let to = self.credits(3);
            lines += &format!(
                "{{\"kind\":\"document.sent\",{of},\"pages\":{pages},\"destinations\":{to}}}\n"
            );
            self.charged += 500 * pages * to;
            self.count("sent");
        } else {
            self.held += 1000 * pages;
            self.open.push((job, user, pages));
            self.count("held");
        }
        self.record(&lines);
    }

    /// A job that holds something ends: it is put down, or sent before.
    fn end_one(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let (job, user, pages) = self.open.swap_remove(self.entropy.index(self.open.len()));
        let mut lines = String::new();
        if self.entropy.percent(50) {
            lines = format!(
                "{{\"kind\":\"document.sent\",\"job\":\"{job}\",\"user\":\"{user}\",\"pages\":{pages},\"destinations\":1}}\n"
            );
            self.charged += 500 * pages;
        }
        self.record(&(lines + &format!("{{\"kind\":\"job.ended\",\"job\":\"{job}\"}}\n")));
        self.held -= 1000 * pages;
        self.count("ended");
    }

    /// Only what can be paid is recorded.
    fn lease(&mut self) {
        let (user, pages) = (self.user(), self.credits(5));
        let line = format!(r#"{{"kind":"pages.captured","user":"{user}","pages":{pages}}}"#);
        let ran = self.branch.run_with(&["record", "--leased", "--wait", "3"], line.as_bytes());
        if ran.code() == Some(0) {
            self.charged += 1000 * pages;
            self.count("leased");
        } else {
            assert!(ran.stderr.contains("this costs"), "{ran:?}");
            self.count("short");
        }
    }

    /// A part of some charge is given back, or taken once more.
    fn correct(&mut self) {
        let account = self.account();
        let stated = self.statement(account, &[]);
        let rows = stated["rows"].as_array().unwrap().iter();
        let charges = ["pages.printed", "pages.captured", "document.sent"];
        let charges: Vec<(String, i64)> = rows
            .filter(|row| charges.iter().any(|what| row["what"] == *what))
            .map(|row| (row["position"].as_str().unwrap().to_owned(), -thousandths(&row["moved"])))
            .filter(|(_, took)| *took > 0)
            .collect();
        if charges.is_empty() {
            return;
        }
        let (position, took) = &charges[self.entropy.index(charges.len())];
        let back = self.credits(*took as u64) * if self.entropy.percent(80) { 1 } else { -1 };
        let reason = format!("for the {}th time", self.done.values().sum::<usize>());
        let told = ["correct", position, &shown(back), "--reason", &reason];
        let before = self.done.get("corrected").copied();
        self.may("corrected", &told, &["is more than is left of it", "takes once more"]);
        if self.done.get("corrected").copied() != before {
            self.corrected += back;
        }
    }

    /// Another month; the branch may have been away at its turn, and come after the closing.
    fn turn(&mut self, month: usize) {
        let late = self.entropy.percent(60);
        if late {
            self.cloud.stop();
            self.print();
            self.job();
            self.count("late");
        }
        self.branch.stop();
        self.cloud.wake_on(DAYS[month]);
        let closes = MONTHS[month - 1];
        self.may("closed", &["close", closes], &["is not closed"]);
        let shown = self.cloud.json(&["view", "totals", "--month", closes])["rows"].clone();
        drop(self.closed.insert(closes, shown));
        self.branch.set_day(DAYS[month]);
        self.branch.start();
        (self.held, self.open) = (0, Vec::new()); // nobody decided them for a day
    }
}

#[test]
fn accounts_add_up_after_each_of_many_random_decisions_over_months() {
    let seed = std::env::var("TALLYROLL_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut world = World::new(seed);
    for month in 0..MONTHS.len() {
        if month > 0 {
            world.turn(month);
            world.check();
        }
        for _ in 0..STEPS {
            world.step();
            world.check();
        }
    }
    world.conclude();
    println!("{:?}", world.done);
    let kinds = "granted joined left allotted printed sent held ended leased corrected closed late";
    for kind in kinds.split(' ').filter(|_| seed == SEED) {
        assert!(world.done.contains_key(kind), "nothing was {kind}: {:?}", world.done);
    }
}
