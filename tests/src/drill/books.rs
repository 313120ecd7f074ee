//! The audit after a drill: the outside journal against everything the cloud shows.
//! Owns what must hold: acknowledged is there, once, as said; nothing invented; views equal a naive sum.
//! Invariant: only what the two programs print is believed, nothing of their insides; each finding names the act.

use std::collections::BTreeMap;

use serde_json::Value;
use tallyroll_schema::{JobId, Position};

use super::writers::{Said, Written};
use crate::fleet::{Branch, Cloud};

/// Pages and impressions by user.
type Totals = BTreeMap<String, (u64, u64)>;

/// A branch, and what was recorded there.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The name it was invited by.
    pub name: &'a str,
    /// It, in sync with its cloud.
    pub branch: &'a Branch,
    /// The outside journal of it.
    pub written: &'a Written,
}

/// What an audit found.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Acts that were acknowledged.
    pub acknowledged: usize,
    /// Acts whose answer a kill took; they may be recorded or not.
    pub unanswered: usize,
    /// Of these, how many are.
    pub recorded_unanswered: usize,
    /// Events of devices that the cloud holds.
    pub events: usize,
    /// What did not hold.
    pub violations: Vec<String>,
}

/// Compares all that was written with all that is held.
#[must_use]
pub fn check(cloud: &Cloud, accounts: &[Account<'_>]) -> Audit {
    let mut of: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for held in cloud.events().into_iter().filter_map(Held::read) {
        of.entry(held.device.clone()).or_default().push(held);
    }
    let devices = cloud.json(&["devices"]);
    let mut audit = Audit::default();
    let mut everywhere = Totals::new();
    for account in accounts {
        let mut rows = devices.as_array().into_iter().flatten();
        let row = rows.find(|row| row["name"] == account.name);
        let id = row.and_then(|row| row["device"].as_str()).unwrap_or_default();
        let events = of.remove(id).unwrap_or_default();
        let naive = check_account(account, &events, &mut audit);
        for (user, (pages, impressions)) in naive {
            let total = everywhere.entry(user).or_default();
            *total = (total.0 + pages, total.1 + impressions);
        }
    }
    for (device, events) in of {
        audit.violations.push(format!("{} events of {device:?}, which is no branch", events.len()));
    }
    let shown = totals_shown(&cloud.json(&["view", "totals"]));
    if shown != everywhere {
        audit.violations.push(format!("the cloud shows {shown:?}, written was {everywhere:?}"));
    }
    let verified = cloud.run(&["log", "verify"]);
    if verified.code() != Some(0) {
        audit.violations.push(format!("log verify: {verified:?}"));
    }
    audit
}

/// Compares what was written at one branch with what the cloud holds of it; returns what its views must show.
fn check_account(account: &Account<'_>, events: &[Held], audit: &mut Audit) -> Totals {
    let Account { name, branch, written } = account;
    let mut wrong = written.refused.clone();
    wrong.extend(compare(events, written));
    let held = events.len() as u64;
    let standing = branch.standing();
    if standing.local != held || standing.cloud != held {
        wrong.push(format!("it speaks of {standing:?}, the cloud holds {held} events"));
    }
    let naive = totals_said(events, written);
    let shown = totals_shown(&branch.json(&["view"]));
    if shown != naive {
        wrong.push(format!("it shows {shown:?}, written was {naive:?}"));
    }
    let acts = events.iter().filter(|event| event.job.is_some()).count();
    let acknowledged = written.acknowledged.len();
    audit.acknowledged += acknowledged;
    audit.unanswered += written.said.len() - acknowledged;
    audit.recorded_unanswered += acts.saturating_sub(acknowledged);
    audit.events += events.len();
    audit.violations.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}")));
    naive
}

/// Events of devices that the cloud holds.
#[must_use]
pub fn events_held(cloud: &Cloud) -> u64 {
    let logs = cloud.json(&["log", "list"]);
    let logs = logs.as_array().expect("a list of logs");
    let own = logs.iter().filter(|log| is_own(&log["class"]));
    own.filter_map(|log| log["events"].as_u64()).sum()
}

/// Whether a device writes logs of this class.
fn is_own(class: &Value) -> bool {
    class == "ledger" || class == "telemetry"
}

/// One event of a device, as the cloud shows it.
#[derive(Debug)]
struct Held {
    device: String,
    position: Position,
    job: Option<JobId>,
    event: Value,
}

impl Held {
    fn read(mut line: Value) -> Option<Self> {
        is_own(&line["class"]).then(|| Self {
            device: line["device"].as_str().unwrap_or_default().to_owned(),
            position: parse(&line["position"]).unwrap_or_else(|| panic!("no position: {line}")),
            job: parse(&line["event"]["job"]),
            event: line["event"].take(),
        })
    }

    fn is(&self, said: &Said) -> bool {
        self.event["kind"] == said.kind && self.event[said.counted()] == said.pages
    }
}

fn parse<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str().and_then(|text| text.parse().ok())
}

fn compare(events: &[Held], written: &Written) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut at, mut of) = (BTreeMap::new(), BTreeMap::new());
    let mut aliases = BTreeMap::new();
    for held in events {
        if at.insert(held.position, held).is_some() {
            wrong.push(format!("{} is held twice", held.position));
        }
        let Some(job) = held.job else { continue };
        if let Some(before) = of.insert(job, held.position) {
            wrong.push(format!("job {job:?} stands at {before} and at {}", held.position));
        }
        match written.said.get(&job) {
            None => wrong.push(format!("nobody said job {job:?} at {}", held.position)),
            Some(said) if !held.is(said) => wrong.push(format!("{said:?} became {held:?}")),
            Some(said) => {
                let alias = held.event["user"].as_str().unwrap_or_default();
                let known = aliases.entry(alias).or_insert(&said.user);
                if **known != said.user {
                    wrong.push(format!("{alias} stands for {known} and for {}", said.user));
                }
            }
        }
    }
    for (job, position) in &written.acknowledged {
        let found = at.get(position).and_then(|held| held.job);
        if found != Some(*job) {
            wrong.push(format!(
                "job {job:?} was acknowledged at {position}; there stands {found:?}"
            ));
        }
    }
    wrong
}

/// What the views must show: of each job that is held, what was said.
fn totals_said(events: &[Held], written: &Written) -> Totals {
    let mut totals = Totals::new();
    for said in events.iter().filter_map(|held| written.said.get(&held.job?)) {
        let (pages, impressions) = totals.entry(said.user.clone()).or_default();
        *(if said.kind == "pages.printed" { impressions } else { pages }) += said.pages;
    }
    totals
}

fn totals_shown(view: &Value) -> Totals {
    let mut totals = Totals::new();
    for row in view["rows"].as_array().into_iter().flatten() {
        let name = row["name"].as_str().unwrap_or("(nobody)").to_owned();
        let (pages, impressions) = totals.entry(name).or_default();
        *pages += row["captured"].as_u64().unwrap_or_default();
        *impressions += row["impressions"].as_u64().unwrap_or_default();
    }
    totals
}
