//! A disk that fails: each fsync of a run is answered with EIO, one a run, by strace.
//! Invariant shown here: the process then ends by itself and says why, does not sync that file again, acknowledges nothing
//! that no sync made durable, and the next start is clean: what was acknowledged is there, once, at its price.
//! strace counts for each thread by itself, so what the main thread's syncs hide of another thread is reached by
//! attaching when the process is ready, with its line still cut.

mod keys;
mod panel;
mod strace;

pub(super) use keys::in_use;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use strace::{From, Nth, Sync, attach, each, end, judge, now, strace, syncs, under};
use tallyroll_schema::JobId;
use tallyroll_tests::drill::{Acts, Said};
use tallyroll_tests::fleet::{
    Answer, Branch, Cloud, Invitation, PATIENCE, Process, Ran, Recording, run, wait_until,
};
use tallyroll_tests::proxy::{Proxy, ProxyConfig};

use crate::traced::want_strace;

const SEED: u64 = 5;
const ACTS: usize = 3;
/// What a user has at the cloud, who is lent ten credits of it, and spends one.
const GRANTED: &str = "40";
/// Of an act that is recorded with a right: three of them want another lease.
const LEASED_PAGES: u32 = 4;

pub(super) struct Place {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    pub(super) fn new() -> Self {
        want_strace();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), runtime }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A branch's own line, and its invitation over it.
    pub(super) fn invite(&self, cloud: &Cloud, name: &str) -> (Proxy, Invitation) {
        let line = ProxyConfig::clean(cloud.addr(), SEED);
        let line = self.runtime.block_on(Proxy::start(line)).unwrap();
        let mut invitation = cloud.enroll(name);
        invitation.url =
            invitation.url.replacen(&cloud.addr().to_string(), &line.addr().to_string(), 1);
        (line, invitation)
    }
}

/// A run of an agent: its first, or a later one; with acts that are recorded with a right, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    First,
    Later,
    Leased,
}

impl Agent {
    /// The acts of a branch, by their jobs.
    fn acts(self, user: &str) -> Vec<(String, String)> {
        let capture = |job, pages| {
            let act = json!({"kind": "pages.captured", "job": job, "user": user, "pages": pages, "color": "color"});
            format!("{act}\n")
        };
        let line = |(job, said): (JobId, Said)| match self {
            Self::Leased => (job.to_string(), capture(job, LEASED_PAGES)),
            Self::First | Self::Later => (job.to_string(), said.line(job)),
        };
        Acts::new(SEED, 0).take(ACTS).map(line).collect()
    }

    fn record(self) -> &'static [&'static str] {
        match self {
            Self::Leased => &["record", "--json", "--leased", "--wait", "5"],
            Self::First | Self::Later => &["record", "--json"],
        }
    }

    /// Brings a branch that has joined to where the run begins.
    fn prepare(self, branch: &mut Branch, cloud: &Cloud, user: &str) {
        if self == Self::First {
            return;
        }
        branch.start();
        if self == Self::Leased {
            let seen = json!({"kind": "job.begun", "job": "00000000000000a1", "user": user});
            drop(branch.run_with(&["record"], seen.to_string().as_bytes()).succeeded());
            branch.wait_synced(PATIENCE);
            wait_until(PATIENCE, "the user is known", || {
                cloud.run(&["grant", user, GRANTED]).code() == Some(0)
            });
            // The first lease is there, and is not enough for what is to come.
            let act = json!({"kind": "pages.captured", "user": user, "pages": 1, "color": "color"});
            let leased = ["record", "--leased", "--wait", "20"];
            drop(branch.run_with(&leased, act.to_string().as_bytes()).succeeded());
        }
        branch.wait_synced(PATIENCE);
        branch.stop();
    }
}

/// One run of an agent whose `nth` sync fails.
fn agent(place: &Place, cloud: &Cloud, run: Agent, from: From, nth: Nth) -> Option<Sync> {
    let name = format!("{run:?}-{from:?}-{nth}");
    let (line, invitation) = place.invite(cloud, &name);
    let mut branch = Branch::new(place.path(&name));
    drop(branch.join(&invitation).succeeded());
    run.prepare(&mut branch, cloud, &name);
    let (out, stderr) =
        (place.path(&format!("{name}.trace")), place.path(&format!("{name}.failed")));
    let command = branch.command(&["run"]);
    let acts = run.acts(&name);
    line.set_cut(from == From::Ready);
    let (ran, acknowledged) = if from == From::Exec {
        match Process::start(&mut under(strace(&out, Some(nth)), &command), &stderr) {
            Ok(agent) => work(&branch, agent, &stderr, &out, run.record(), &acts),
            Err(ran) => (ran, Vec::new()),
        }
    } else {
        let plain = &mut branch.command(&["run"]);
        let agent = Process::start(plain, &stderr).unwrap();
        let mut strace = attach(&out, nth, agent.id());
        line.set_cut(false);
        let worked = work(&branch, agent, &stderr, &out, run.record(), &acts);
        strace.wait().unwrap();
        worked
    };
    let failed = judge(&ran, &syncs(&out));

    branch.start();
    branch.wait_synced(PATIENCE);
    branch.stop();
    let mut recorded = 0;
    let jobs = jobs(cloud, &name);
    for (job, _) in acts {
        let times = jobs.iter().filter(|held| **held == job).count();
        let least = usize::from(acknowledged.contains(&job));
        assert!((least..=1).contains(&times), "{name}: {job} is there {times} times, {failed:?}");
        recorded += times;
    }
    if run == Agent::Leased {
        let rows = cloud.json(&["view", "balances"]);
        let mut rows = rows["rows"].as_array().unwrap().iter();
        let row = rows.find(|row| row["name"] == *name).unwrap();
        let charged = 1 + recorded as u32 * LEASED_PAGES;
        assert_eq!(row["charged"], format!("{charged}.000"), "{failed:?}: {row}");
        let totals = &cloud.json(&["leases"])["totals"];
        let [granted, there @ ..] = ["granted", "charged", "held", "pool", "leased", "frozen"]
            .map(|key| credits(&totals[key]));
        assert_eq!(granted, there.iter().sum::<i64>(), "{failed:?}: {totals}");
    }
    failed
}

/// Thousandths of an amount as it is shown.
fn credits(shown: &Value) -> i64 {
    shown.as_str().unwrap().replace('.', "").parse().unwrap()
}

/// The jobs of the acts that the cloud holds of a device.
fn jobs(cloud: &Cloud, name: &str) -> Vec<String> {
    let id = device(cloud, name)["device"].clone();
    let acts = cloud.events().into_iter().filter(|event| {
        event["device"] == id && event["event"]["charge"].is_object() // not what asks for a lease
    });
    acts.filter_map(|event| event["event"]["job"].as_str().map(str::to_owned)).collect()
}

pub(super) fn device(cloud: &Cloud, name: &str) -> Value {
    let devices = cloud.json(&["devices"]);
    let mut rows = devices.as_array().unwrap().iter();
    rows.find(|row| row["name"] == *name).unwrap().clone()
}

/// Records act by act with a running agent; what was acknowledged must have been made durable in between.
fn work(
    branch: &Branch,
    mut agent: Process,
    stderr: &Path,
    out: &Path,
    record: &[&str],
    acts: &[(String, String)],
) -> (Ran, Vec<String>) {
    let mut acknowledged = Vec::new();
    let mut answered = Vec::new();
    if agent.is_running() {
        // Traced too: one that comes when the agent is gone makes its acts durable itself.
        let command = branch.command(record);
        let mut recording = Recording::start(&mut under(strace(out, None), &command));
        for (job, line) in acts {
            let sent = now();
            if !recording.write(line) {
                break;
            }
            let Ok(Answer::At(_)) = recording.answer(PATIENCE) else { break };
            answered.push((sent, now()));
            acknowledged.push(job.clone());
        }
        recording.finish();
        drop(recording.answer(Duration::from_secs(2))); // until it has ended
    }
    let ran = end(agent, stderr, || {
        let status = branch.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        status["logs"].as_array().is_some_and(|logs| {
            status["link"] == "up"
                && logs.iter().all(|log| log["durable-local"] == log["durable-cloud"])
        })
    });
    let syncs = syncs(out);
    answered.into_iter().for_each(|(sent, told)| made_durable(&syncs, sent, told));
    (ran, acknowledged)
}

/// What was told then is in the journal, and was synced before.
pub(super) fn made_durable(syncs: &[Sync], sent: f64, told: f64) {
    let durable = syncs.iter().any(|sync| {
        ["fsync", "fdatasync"].contains(&&*sync.name)
            && !sync.failed
            && sync.path.ends_with("/journal")
            && sync.began >= sent
            && sync.ended <= told
    });
    assert!(durable, "acknowledged between {sent} and {told}, without a sync: {syncs:#?}");
}

#[test]
fn an_agent_whose_sync_fails_ends_and_has_acknowledged_nothing_else() {
    let place = Place::new();
    let cloud = Cloud::start(place.path("cloud"));
    let joined = each("joining", |nth| {
        let name = format!("join-{nth}");
        let (_line, invitation) = place.invite(&cloud, &name);
        let mut branch = Branch::new(place.path(&name));
        let out = place.path(&format!("{name}.trace"));
        let join = branch.command(&["join", &invitation.url, "--pin", &invitation.pin]);
        let ran = run(&mut under(strace(&out, Some(nth)), &join), b"");
        let failed = judge(&ran, &syncs(&out));
        if failed.is_some() {
            let again = branch.join(&invitation);
            let is_joined = again.code() == Some(0) || again.stderr.contains("has joined as");
            assert!(is_joined, "{failed:?}: {again:?}");
        }
        branch.start();
        branch.wait_synced(PATIENCE);
        branch.stop();
        failed
    });
    assert!(joined.iter().any(|sync| sync.path.contains("keys.json")), "{joined:#?}");
    for (run, what) in [(Agent::First, "first"), (Agent::Later, "later")] {
        store_and_journal_fail(&place, &cloud, run, what);
    }
    drop(cloud.run(&["log", "verify"]).succeeded());
}

#[test]
fn an_agent_whose_sync_fails_with_a_lease_spends_nothing_twice() {
    let place = Place::new();
    let cloud = Cloud::start(place.path("cloud"));
    store_and_journal_fail(&place, &cloud, Agent::Leased, "leased");
    drop(cloud.run(&["log", "verify"]).succeeded());
}

/// Each sync of a start and, in its shadow, of the contact that follows.
fn store_and_journal_fail(place: &Place, cloud: &Cloud, run: Agent, what: &str) {
    let start = each(&format!("a {what} start"), |nth| agent(place, cloud, run, From::Exec, nth));
    let contact =
        each(&format!("a {what} contact"), |nth| agent(place, cloud, run, From::Ready, nth));
    let hits = [start, contact].concat();
    for file in ["/store.redb", "/journal"] {
        let hit = hits.iter().any(|sync| sync.path.ends_with(file));
        assert!(hit, "no sync of {file} failed: {hits:#?}");
    }
}

#[test]
fn a_cloud_whose_sync_fails_ends_and_has_receipted_nothing_else() {
    let place = Place::new();
    let case = |from: From, nth: Nth| {
        let mut cloud = Cloud::start(place.path(&format!("cloud-{from:?}-{nth}")));
        cloud.stop();
        let data = cloud.data().to_owned();
        if from == From::Exec {
            std::fs::remove_dir_all(&data).unwrap(); // its first start is to come
        }
        let (out, stderr) = (data.with_extension("trace"), data.with_extension("failed"));
        let mut attached = None;
        let started = if from == From::Exec {
            Process::start(&mut under(strace(&out, Some(nth)), &cloud.serving()), &stderr)
        } else {
            let process = Process::start(&mut cloud.serving(), &stderr);
            attached = process.as_ref().ok().map(|process| attach(&out, nth, process.id()));
            process
        };
        let mut branch = Branch::new(data.with_extension("branch"));
        let mut joined = false;
        let ran = match started {
            Err(ran) => ran,
            Ok(mut process) => {
                let invited = cloud.run(&["enroll", "branch", "--json"]);
                if invited.code() == Some(0) && process.is_running() {
                    let invited: serde_json::Value = serde_json::from_str(&invited.stdout).unwrap();
                    let text = |key: &str| invited[key].as_str().unwrap().to_owned();
                    let invitation = Invitation { url: text("url"), pin: text("pin") };
                    joined = branch.join(&invitation).code() == Some(0);
                }
                if joined {
                    branch.start();
                    let lines: String =
                        Acts::new(SEED, 0).take(ACTS).map(|(job, said)| said.line(job)).collect();
                    drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
                }
                let synced = || {
                    let standing = joined.then(|| branch.standing());
                    standing.is_none_or(|at| at.linked && at.cloud == at.local && at.local > 3)
                };
                end(process, &stderr, synced)
            }
        };
        if let Some(mut strace) = attached {
            strace.wait().unwrap();
        }
        let failed = judge(&ran, &syncs(&out));
        let receipted = if joined { branch.standing().cloud } else { 0 };
        cloud.start_again();
        let held = tallyroll_tests::drill::books::events_held(&cloud);
        assert!(
            held >= receipted,
            "{receipted} events were receipted, {held} are held: {failed:?}"
        );
        if joined {
            branch.wait_synced(PATIENCE);
            let events = cloud.events();
            for (job, _) in Acts::new(SEED, 0).take(ACTS) {
                let job = job.to_string();
                let times = events.iter().filter(|event| event["event"]["job"] == *job).count();
                assert_eq!(times, 1, "{job}, {failed:?}");
            }
        } else {
            drop(branch.join(&cloud.enroll("another")).succeeded());
        }
        drop(cloud.run(&["log", "verify"]).succeeded());
        failed
    };
    let started = each("the first start of a cloud", |nth| case(From::Exec, nth));
    assert!(started.len() > 10, "{started:#?}");
    let served = each("a cloud that serves", |nth| case(From::Ready, nth));
    assert!(served.len() > 10, "{served:#?}");
}
