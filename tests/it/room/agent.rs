//! A device whose disk has no room: joining, its agent's start, and an agent that records, pays pages at its panel,
//! changes its keys, seals and syncs.
//! Invariant: what was told to be done is known here, outside; after the next start it is looked for at the cloud.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{
    Answer, Branch, Cloud, PATIENCE, Process, Ran, Recording, run, wait_until,
};

use super::cases::{Came, NoRoom, each, seen, tracing};
use super::{SOON, is_ending, judge, names_the_disk};
use crate::fsync::{Place, device, in_use, made_durable};
use crate::panel::try_to_ask;
use crate::traced::{From, attach, now, under};

const SEED: u64 = 11;
const ACTS: usize = 3;
/// Who comes to each panel, with more credits than all of them can spend.
const USER: &str = "anna";
const GRANTED: &str = "1000000";
/// It runs before there is no room, and ends then.
const RUNS: &str = "00000000000000c1";
/// At the panel.
const PAID: &str = "00000000000000c2";
/// When there is room again.
const AFTER: &str = "00000000000000c3";
/// A job, the kind of event that it has then, and the line that says so.
type Line = (String, &'static str, String);

/// What the device told to have done.
#[derive(Default)]
struct Told {
    /// Jobs by what of them was said to be recorded: kinds of events.
    recorded: Vec<(String, &'static str)>,
    keys: Option<Value>,
}

struct Site<'a> {
    branch: &'a Branch,
    no_room: Option<&'a NoRoom>,
    told: Told,
}

fn capture(job: &str) -> String {
    let act =
        json!({"kind": "pages.captured", "job": job, "user": "bert", "pages": 2, "color": "color"});
    format!("{act}\n")
}

impl Site<'_> {
    /// Records lines, each of a job; how each was answered.
    fn record(&mut self, agent: &mut Process, lines: &[Line], traced: Option<&Path>) {
        let mut command = self.branch.command(&["record", "--json"]);
        if let Some(out) = traced {
            // It, too: one that comes when the agent is gone makes its acts durable itself.
            command = under(tracing(out, self.branch.data(), None), &command);
        }
        let mut recording = Recording::start(&mut command);
        let mut answered = Vec::new();
        for (job, kind, line) in lines {
            let sent = now();
            if !recording.write(line) {
                break;
            }
            match recording.answer(PATIENCE) {
                Ok(Answer::At(_)) => {
                    answered.push((sent, now()));
                    self.told.recorded.push((job.clone(), kind));
                }
                Ok(Answer::Other(why)) => self.refused(agent, &why),
                Err(_) => break, // it ended
            }
        }
        recording.finish();
        drop(recording.answer(Duration::from_secs(2))); // until it has ended
        if let Some(out) = traced {
            let syncs = crate::traced::threads(out).concat();
            answered.iter().for_each(|(sent, told)| made_durable(&syncs, *sent, *told));
        }
    }

    /// What is refused is refused for the disk.
    fn refused(&self, agent: &mut Process, why: &str) {
        let told = names_the_disk(why) || is_ending(agent);
        assert!(self.no_room.is_some() && told, "{why}");
    }

    /// Logs in at the panel, pays a page, logs out.
    fn pay(&mut self) {
        let asked = |method: &str, path: &str, body: Value| {
            let (status, said) = try_to_ask(self.branch, method, path, &body)?;
            if !(200..300).contains(&status) {
                assert!(self.no_room.is_some() && [409, 503].contains(&status), "{path}: {said}");
                return None;
            }
            Some(said)
        };
        let mut pay = || {
            let login = asked("POST", "/v1/sessions", json!({ "user": USER }))?;
            let session = login["session"].as_str()?.to_owned();
            let wish = json!({ "session": session, "kind": "capture", "job": PAID });
            asked("POST", "/v1/jobs", wish)?;
            self.told.recorded.push((PAID.to_owned(), "job.begun"));
            asked("POST", &format!("/v1/jobs/{PAID}/pages"), json!({ "page": 1 }))?;
            self.told.recorded.push((PAID.to_owned(), "pages.captured"));
            asked("DELETE", &format!("/v1/sessions/{session}"), Value::Null)?;
            self.told.recorded.push((PAID.to_owned(), "job.ended"));
            Some(())
        };
        let paid = pay();
        assert!(paid.is_some() || self.no_room.is_some());
    }

    fn change_keys(&mut self, agent: &mut Process) {
        let ran = self.branch.run(&["rotate-keys", "--json"]);
        match ran.code() {
            Some(0) => self.told.keys = Some(serde_json::from_str(&ran.stdout).unwrap()),
            // What it heard of its cloud found no room either.
            Some(75) if ran.stderr.contains("has not yet linked") => {
                assert!(self.no_room.is_some(), "{}", ran.stderr);
            }
            _ => self.refused(agent, &ran.stderr),
        }
    }

    fn is_synced(&self) -> bool {
        let ran = self.branch.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        status["logs"].as_array().is_some_and(|logs| {
            status["link"] == "up"
                && logs.iter().all(|log| log["durable-local"] == log["durable-cloud"])
        })
    }

    fn is_linked(&self) -> bool {
        let ran = self.branch.run(&["status", "--json"]);
        serde_json::from_str(&ran.stdout).is_ok_and(|status: Value| status["link"] == "up")
    }

    /// All that an agent does, and its end.
    fn work(&mut self, mut agent: Process, out: &Path, stderr: &Path) -> Ran {
        let acts = Acts::new(SEED, 0).take(ACTS);
        let acts: Vec<_> =
            acts.map(|(job, said)| (job.to_string(), said.kind, said.line(job))).collect();
        self.record(&mut agent, &acts, Some(out));
        let began = std::time::Instant::now();
        while agent.is_running() && !self.is_linked() {
            let late = began.elapsed() > if self.no_room.is_none() { PATIENCE } else { SOON };
            assert!(!late || self.no_room.is_some(), "not linked");
            if late {
                break;
            }
        }
        // Where credits cannot be taken in, the panel waits for them a while.
        if self.no_room.is_none_or(|no_room| no_room.is_over() || no_room.number.is_multiple_of(4))
        {
            self.pay();
        }
        self.change_keys(&mut agent);
        let end = json!({"kind": "job.ended", "job": RUNS});
        let end = [(RUNS.to_owned(), "job.ended", format!("{end}\n"))];
        let runs = self.told.recorded.iter().any(|(job, _)| job == RUNS);
        if runs {
            let told = self.told.recorded.len();
            self.record(&mut agent, &end, Some(out));
            let is_there = self.told.recorded.len() > told;
            let refused = self.no_room.is_some_and(|no_room| !no_room.is_passing());
            assert!(is_there || refused, "an end is recorded without room");
        }
        if self.no_room.is_none_or(NoRoom::is_over) {
            wait_until(PATIENCE, "it goes on or has ended", || {
                !agent.is_running() || self.is_synced()
            });
        }
        let kill = self.no_room.is_some_and(NoRoom::kills);
        let status = match kill && agent.is_running() {
            true => agent.killed(),
            false => agent.stop(),
        };
        let stderr = std::fs::read_to_string(stderr).unwrap_or_default();
        Ran { status, stdout: String::new(), stderr }
    }

    /// With room, after a start: all that was told is at the cloud, once, and all goes on.
    fn audit(&self, cloud: &Cloud, name: &str) {
        drop(self.branch.run_with(&["record"], capture(AFTER).as_bytes()).succeeded());
        self.branch.wait_synced(PATIENCE);
        let id = device(cloud, name)["device"].clone();
        let events: Vec<Value> = cloud.events();
        let held: Vec<(&str, &str, u64)> = events
            .iter()
            .filter(|line| line["device"] == id)
            .map(|line| {
                let event = &line["event"];
                let text = |key: &str| event[key].as_str().unwrap_or_default();
                let pages = event["pages"].as_u64().or(event["impressions"].as_u64());
                (text("job"), text("kind"), pages.unwrap_or_default())
            })
            .collect();
        let times = |job: &str, kind: &str| {
            held.iter().filter(|(of, what, _)| (*of, *what) == (job, kind)).count()
        };
        for (job, kind) in &self.told.recorded {
            assert_eq!(times(job, kind), 1, "{kind} of {job}: {held:?}");
        }
        assert_eq!(times(AFTER, "pages.captured"), 1);
        let counted = |kind: &str| kind == "pages.captured" || kind == "pages.printed";
        let pages = held.iter().filter(|(_, kind, _)| counted(kind));
        for (job, kind, _) in pages.clone() {
            assert_eq!(times(job, kind), 1, "nothing is there twice: {held:?}");
        }
        let totals = self.branch.json(&["view", "totals"]);
        let rows = totals["rows"].as_array().unwrap().iter();
        let here: u64 = rows
            .map(|row| ["captured", "impressions"].map(|key| row[key].as_u64().unwrap_or_default()))
            .map(|[captured, printed]| captured + printed)
            .sum();
        assert_eq!(here, pages.map(|(_, _, pages)| pages).sum::<u64>(), "{totals} {held:?}");
        if let Some(keys) = &self.told.keys {
            wait_until(PATIENCE, "the keys that were told are in use", || {
                in_use(cloud, name, keys)
            });
        }
    }
}

/// One run of an agent: its first from its first call on, or one that is ready.
fn agent(place: &Place, cloud: &Cloud, from: From, no_room: Option<&NoRoom>) -> Came {
    let number = no_room.map_or(0, |no_room| no_room.number + 1);
    let name = format!("agent-{from:?}-{number}");
    let (line, invitation) = place.invite(cloud, &name);
    let mut branch = Branch::new(place.path(&name));
    drop(branch.join(&invitation).succeeded());
    let (out, stderr) =
        (place.path(&format!("{name}.trace")), place.path(&format!("{name}.failed")));
    let strace = tracing(&out, branch.data(), no_room);
    let command = branch.command(&["run"]);
    let mut site = Site { branch: &branch, no_room, told: Told::default() };
    let begin = json!({"kind": "job.begun", "job": RUNS, "user": "bert"});
    let begin = [(RUNS.to_owned(), "job.begun", format!("{begin}\n"))];
    line.set_cut(from == From::Ready);
    let mut passing = no_room.is_some_and(NoRoom::is_passing);
    let ran = if from == From::Exec {
        match Process::start(&mut under(strace, &command), &stderr) {
            Err(ran) => {
                passing = false; // it was never ready
                ran
            }
            Ok(mut agent) => {
                site.record(&mut agent, &begin, Some(&out));
                site.work(agent, &out, &stderr)
            }
        }
    } else {
        let mut agent = Process::start(&mut branch.command(&["run"]), &stderr).unwrap();
        site.record(&mut agent, &begin, None);
        let mut strace = attach(strace, agent.id());
        line.set_cut(false);
        let ran = site.work(agent, &out, &stderr);
        strace.wait().unwrap();
        ran
    };
    let seen = seen(&out, branch.data());
    let ended = judge(&ran, &seen);
    assert!(!(ended && passing), "{ran:?}");
    let told = site.told;
    branch.start();
    Site { branch: &branch, no_room: None, told }.audit(cloud, &name);
    branch.stop();
    Came { seen, ended }
}

fn join(place: &Place, cloud: &Cloud, no_room: Option<&NoRoom>) -> Came {
    let name = format!("join-{}", no_room.map_or(0, |no_room| no_room.number + 1));
    let (_line, invitation) = place.invite(cloud, &name);
    let mut branch = Branch::new(place.path(&name));
    let out = place.path(&format!("{name}.trace"));
    let join: Command = branch.command(&["join", &invitation.url, "--pin", &invitation.pin]);
    let ran = run(&mut under(tracing(&out, branch.data(), no_room), &join), b"");
    let seen = seen(&out, branch.data());
    let ended = judge(&ran, &seen);
    if ended {
        let again = branch.join(&invitation);
        let is_joined = again.code() == Some(0) || again.stderr.contains("has joined as");
        assert!(is_joined, "{ran:?}: {again:?}");
    }
    branch.start();
    Site { branch: &branch, no_room: None, told: Told::default() }.audit(cloud, &name);
    branch.stop();
    Came { seen, ended }
}

fn cloud_for_all(place: &Place) -> Cloud {
    let cloud = Cloud::start(place.path("cloud"));
    drop(cloud.run(&["users", "add", USER]).succeeded());
    drop(cloud.run(&["grant", USER, GRANTED]).succeeded());
    cloud
}

/// Thousandths of an amount as it is shown.
fn credits(shown: &Value) -> i64 {
    shown.as_str().unwrap().replace('.', "").parse().unwrap()
}

fn books_hold(cloud: &Cloud) {
    drop(cloud.run(&["log", "verify"]).succeeded());
    assert_eq!(cloud.json(&["quarantine"]), json!([]));
    let totals = &cloud.json(&["leases"])["totals"];
    let [granted, there @ ..] =
        ["granted", "charged", "held", "pool", "leased", "frozen"].map(|key| credits(&totals[key]));
    assert_eq!(granted, there.iter().sum::<i64>(), "{totals}");
}

#[test]
fn a_device_that_finds_no_room_when_it_joins_or_starts_says_so_and_goes_on_later() {
    let place = Place::new();
    let cloud = cloud_for_all(&place);
    let met = each("joining", 1, |no_room| join(&place, &cloud, no_room));
    assert!(met.iter().any(|call| call.contains("keys.json")), "{met:#?}");
    let met =
        each("an agent's first start", 16, |no_room| agent(&place, &cloud, From::Exec, no_room));
    for file in ["store.redb", "journal", "reserve", "lock"] {
        assert!(met.iter().any(|call| call.contains(file)), "{file}: {met:#?}");
    }
    books_hold(&cloud);
}

#[test]
fn an_agent_that_finds_no_room_refuses_and_loses_nothing_that_it_acknowledged() {
    let place = Place::new();
    let cloud = cloud_for_all(&place);
    let met =
        each("an agent that is ready", 16, |no_room| agent(&place, &cloud, From::Ready, no_room));
    for file in ["store.redb", "journal", "keys.json", "panel.sessions"] {
        assert!(met.iter().any(|call| call.contains(file)), "{file}: {met:#?}");
    }
    books_hold(&cloud);
}
