//! A disk that fails: each fsync of a run is answered with EIO, one a run, by strace.
//! Invariant shown here: the process then ends by itself and says why, does not sync that file again, acknowledges nothing
//! that no sync made durable, and the next start is clean: what was acknowledged is there, once.
//! strace counts for each thread by itself, so what the main thread's syncs hide of another thread is reached by
//! attaching when the process is ready, with its line still cut.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{
    Answer, Branch, Cloud, Invitation, PATIENCE, Process, Ran, Recording, run, wait_until,
};
use tallyroll_tests::proxy::{Proxy, ProxyConfig};

const SEED: u64 = 5;
/// Runs at the same time: they mostly wait.
const ABREAST: usize = 6;
/// No run has so many.
const SYNCS_MAX: usize = 120;
const ACTS: usize = 3;
const TRACED: &str = "trace=fsync,fdatasync";

/// When strace begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Exec,
    Ready,
}

/// One sync, as strace saw it; times since 1970.
#[derive(Clone, Debug)]
struct Sync {
    path: String,
    failed: bool,
    began: f64,
    ended: f64,
}

/// The options of strace that write to `out…`, a file a thread, and fail the `nth` sync of each thread.
fn strace(out: &Path, nth: Option<usize>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-ff", "-y", "-ttt", "-T", "-qqq", "-e", "signal=none", "-e", TRACED]);
    command.arg("-o").arg(out);
    if let Some(nth) = nth {
        command.args(["-e", &format!("inject=fsync,fdatasync:error=EIO:when={nth}")]);
    }
    command
}

/// `of` under strace, which stands aside, so that the process is ours as if it were not there.
fn under(mut strace: Command, of: &Command) -> Command {
    strace.args(["-D", "--seccomp-bpf"]).arg(of.get_program()).args(of.get_args());
    strace
}

/// Attached to a process that runs, to all of its threads.
fn attach(out: &Path, nth: usize, process: u32) -> Child {
    let mut command = strace(out, Some(nth));
    let strace = command.args(["-f", "-p", &process.to_string()]).stderr(Stdio::null()).spawn();
    let strace = strace.unwrap();
    wait_until(PATIENCE, "strace is attached", || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        tasks.flatten().all(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        })
    });
    strace
}

/// All that strace wrote to `out…`.
fn syncs(out: &Path) -> Vec<Sync> {
    let name = format!("{}.", out.file_name().unwrap().to_str().unwrap());
    let files = std::fs::read_dir(out.parent().unwrap()).unwrap().flatten();
    let of_it = files.filter(|file| file.file_name().to_string_lossy().starts_with(&name));
    let read = of_it.map(|file| std::fs::read_to_string(file.path()).unwrap());
    read.flat_map(|text| text.lines().filter_map(sync).collect::<Vec<_>>()).collect()
}

/// `1795.1 fdatasync(11</path>) = 0 <0.2>`
fn sync(line: &str) -> Option<Sync> {
    let (began, call) = line.split_once(' ')?;
    let began: f64 = began.parse().ok()?;
    let (_, path) = call.split_once('<')?;
    let (path, answer) = path.split_once(">)")?;
    let took: f64 = answer.rsplit_once('<')?.1.trim_end_matches('>').parse().ok()?;
    let failed = answer.contains("(INJECTED)");
    Some(Sync { path: path.to_owned(), failed, began, ended: began + took })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Runs `case` with 1, 2, 3, … until one was not hit; says where each was.
fn each(
    what: &str,
    nths: usize,
    case: impl Fn(usize) -> Option<Sync> + std::marker::Sync,
) -> Vec<Sync> {
    let mut hits = Vec::new();
    for first in (1..=nths).step_by(ABREAST) {
        let found: Vec<Option<Sync>> = std::thread::scope(|scope| {
            let case = &case;
            let runs: Vec<_> = (first..(first + ABREAST).min(nths + 1))
                .map(|nth| scope.spawn(move || case(nth)))
                .collect();
            let ended = runs.into_iter().zip(first..);
            ended
                .map(|(run, nth)| run.join().unwrap_or_else(|_| panic!("{what}, sync {nth}")))
                .collect()
        });
        let last = found.iter().any(Option::is_none);
        hits.extend(found.into_iter().flatten());
        if last {
            break;
        }
    }
    eprintln!("{what}: {} syncs failed", hits.len());
    assert!(hits.len() < SYNCS_MAX, "{what}: there is no end to it");
    hits
}

/// What must hold of a process that met `syncs` and ended so.
fn judge(ran: &Ran, syncs: &[Sync]) -> Option<Sync> {
    let failed = syncs.iter().find(|sync| sync.failed).cloned();
    let Some(failed) = failed else {
        assert_eq!(ran.code(), Some(0), "nothing failed: {ran:?}");
        return None;
    };
    let after = syncs.iter().find(|sync| sync.path == failed.path && sync.began > failed.ended);
    // The store closes last, with everything durable: the next start finds it not closed, and that is all.
    let closing =
        after.is_none() && ran.stderr.contains("stopping") && failed.path.ends_with("/store.redb");
    if !(closing && ran.code() == Some(0)) {
        assert_eq!(ran.code(), Some(1), "{failed:?}: {ran:?}");
        assert!(ran.stderr.contains("os error 5"), "{failed:?}: {ran:?}");
    }
    assert!(after.is_none(), "it went on after {failed:?}: {after:?}");
    Some(failed)
}

struct Place {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new() -> Self {
        let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        assert!(strace.is_ok(), "strace is missing: apt-get install strace (./check does)");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A branch's own line, and its invitation over it.
    fn invite(&self, cloud: &Cloud, name: &str) -> (Proxy, Invitation) {
        let line = ProxyConfig::clean(cloud.addr(), SEED);
        let line = self.runtime.block_on(Proxy::start(line)).unwrap();
        let mut invitation = cloud.enroll(name);
        invitation.url =
            invitation.url.replacen(&cloud.addr().to_string(), &line.addr().to_string(), 1);
        (line, invitation)
    }
}

/// Waits until a process has ended, by itself or, once `done` holds, as it is told to.
fn end(mut process: Process, stderr: &Path, mut done: impl FnMut() -> bool) -> Ran {
    wait_until(PATIENCE, "it is done or has failed", || !process.is_running() || done());
    let status = process.stop();
    let stderr = std::fs::read_to_string(stderr).unwrap_or_default();
    Ran { status, stdout: String::new(), stderr }
}

/// One run of an agent whose `nth` sync fails; `first` is its first start.
fn agent(place: &Place, cloud: &Cloud, first: bool, from: From, nth: usize) -> Option<Sync> {
    let name = format!("{}-{from:?}-{nth}", if first { "first" } else { "later" });
    let (line, invitation) = place.invite(cloud, &name);
    let mut branch = Branch::new(place.path(&name));
    drop(branch.join(&invitation).succeeded());
    if !first {
        branch.start();
        branch.wait_synced(PATIENCE);
        branch.stop();
    }
    let (out, stderr) =
        (place.path(&format!("{name}.trace")), place.path(&format!("{name}.failed")));
    let command = branch.command(&["run"]);
    line.set_cut(from == From::Ready);
    let (ran, acknowledged) = if from == From::Exec {
        match Process::start(&mut under(strace(&out, Some(nth)), &command), &stderr) {
            Ok(agent) => work(&branch, agent, &stderr, &out),
            Err(ran) => (ran, Vec::new()),
        }
    } else {
        let plain = &mut branch.command(&["run"]);
        let agent = Process::start(plain, &stderr).unwrap();
        let mut strace = attach(&out, nth, agent.id());
        line.set_cut(false);
        let worked = work(&branch, agent, &stderr, &out);
        strace.wait().unwrap();
        worked
    };
    let failed = judge(&ran, &syncs(&out));

    branch.start();
    branch.wait_synced(PATIENCE);
    branch.stop();
    let devices = cloud.json(&["devices"]);
    let mut rows = devices.as_array().unwrap().iter();
    let id = rows.find(|row| row["name"] == *name).unwrap()["device"].clone();
    let jobs: Vec<String> = cloud
        .events()
        .iter()
        .filter(|event| event["device"] == id)
        .filter_map(|event| event["event"]["job"].as_str().map(str::to_owned))
        .collect();
    for (job, _) in Acts::new(SEED, 0).take(ACTS) {
        let job = job.to_string();
        let times = jobs.iter().filter(|held| **held == job).count();
        let least = usize::from(acknowledged.contains(&job));
        assert!((least..=1).contains(&times), "{name}: {job} is there {times} times, {failed:?}");
    }
    failed
}

/// Records act by act with a running agent; what was acknowledged must have been made durable in between.
fn work(branch: &Branch, mut agent: Process, stderr: &Path, out: &Path) -> (Ran, Vec<String>) {
    let mut acknowledged = Vec::new();
    let mut answered = Vec::new();
    if agent.is_running() {
        // Traced too: one that comes when the agent is gone makes its acts durable itself.
        let command = branch.command(&["record", "--json"]);
        let mut recording = Recording::start(&mut under(strace(out, None), &command));
        for (job, said) in Acts::new(SEED, 0).take(ACTS) {
            let sent = now();
            if !recording.write(&said.line(job)) {
                break;
            }
            let Ok(Answer::At(_)) = recording.answer(PATIENCE) else { break };
            answered.push((sent, now()));
            acknowledged.push(job.to_string());
        }
        recording.finish();
        drop(recording.answer(Duration::from_secs(2))); // until it has ended
    }
    let ran = end(agent, stderr, || {
        let status = branch.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        status["logs"].as_array().is_some_and(|logs| {
            status["link"] == "up"
                && logs.iter().all(|log| log["durable-local"] == log["durable-cloud"])
        })
    });
    let syncs = syncs(out);
    for (sent, told) in answered {
        let durable = syncs.iter().any(|sync| {
            !sync.failed
                && sync.path.ends_with("/journal")
                && sync.began >= sent
                && sync.ended <= told
        });
        assert!(durable, "acknowledged between {sent} and {told}, without a sync: {syncs:#?}");
    }
    (ran, acknowledged)
}

#[test]
fn an_agent_whose_sync_fails_ends_and_has_acknowledged_nothing_else() {
    let place = Place::new();
    let cloud = Cloud::start(place.path("cloud"));
    let joined = each("joining", SYNCS_MAX, |nth| {
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
    let exec =
        each("the first start", SYNCS_MAX, |nth| agent(&place, &cloud, true, From::Exec, nth));
    // What stood in the shadow of the main thread.
    let ready = each("the first contact", 15, |nth| agent(&place, &cloud, true, From::Ready, nth));
    let later =
        each("a later start", SYNCS_MAX, |nth| agent(&place, &cloud, false, From::Exec, nth));
    let again = each("a later contact", 8, |nth| agent(&place, &cloud, false, From::Ready, nth));
    for hits in [[exec, ready].concat(), [later, again].concat()] {
        for file in ["/store.redb", "/journal"] {
            let hit = hits.iter().any(|sync| sync.path.ends_with(file));
            assert!(hit, "no sync of {file} failed: {hits:#?}");
        }
    }
    drop(cloud.run(&["log", "verify"]).succeeded());
}

#[test]
fn a_cloud_whose_sync_fails_ends_and_has_receipted_nothing_else() {
    let place = Place::new();
    let case = |from: From, nth: usize| {
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
    let started = each("the first start of a cloud", SYNCS_MAX, |nth| case(From::Exec, nth));
    assert!(started.len() > 10, "{started:#?}");
    let served = each("a cloud that serves", SYNCS_MAX, |nth| case(From::Ready, nth));
    assert!(served.len() > 10, "{served:#?}");
}
