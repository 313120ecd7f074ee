//! The branch's control socket and the way to it: streams that go on and streams that break off, an agent that is not
//! up yet, clients that take places, and what a command ends with.
//! What is answered is tested in `branch`; here it is that an answer comes, and comes to the right one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Ran, wait_until};
use tempfile::TempDir;

const ACT: &str = r#"{"kind":"pages.captured","user":"anna","pages":3}"#;
/// A command that has to wait for nobody but the agent has ended by then, also on a machine with much to do.
const AT_ONCE: Duration = Duration::from_secs(8);
/// Places for clients of one kind.
const PLACES: usize = 64;

/// A branch that has joined and does not run.
fn joined() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::new(dir.path().join("branch"));
    drop(branch.join(&cloud.enroll("branch")).succeeded());
    (dir, cloud, branch)
}

/// A command in conversation; it is killed when dropped.
struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Talk {
    fn start(branch: &Branch, arguments: &[&str]) -> Self {
        let mut command = branch.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), stdout, stderr, child }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Says that no more comes, and waits for the exit code.
    fn end(&mut self) -> Option<i32> {
        self.stdin = None;
        self.child.wait().unwrap().code()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill()); // it may have ended by itself
        drop(self.child.wait());
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Regression: a line that was refused, and alone in its group, had no event to commit; its answer waited for
/// a commit that never came, and so did everything behind it.
#[test]
fn a_refused_line_that_comes_alone_is_answered_and_the_stream_goes_on() {
    let (_dir, _cloud, mut branch) = joined();
    for agent in [false, true] {
        if agent {
            branch.start();
        }
        let mut talk = Talk::start(&branch, &["record"]);
        for (number, wrong) in [(1, "no json"), (2, r#"{"kind":"no.such"}"#)] {
            talk.say(wrong);
            let told = talk.stderr.recv_timeout(PATIENCE).unwrap();
            assert!(told.starts_with(&format!("line {number}: ")), "agent {agent}: {told}");
        }
        for nothing in ["", " \t"] {
            talk.say(nothing);
        }
        talk.say(ACT);
        let position = talk.stdout.recv_timeout(PATIENCE).unwrap();
        assert!(position.contains('/'), "agent {agent}: no position: {position}");
        talk.say("{}");
        let told = talk.stderr.recv_timeout(PATIENCE).unwrap();
        assert!(told.starts_with("line 6: "), "a blank line has its number, too: {told}");
        assert_eq!(talk.end(), Some(1), "agent {agent}");
    }
    assert_eq!(branch.standing().local, 4, "two acts, and what opens the two logs");
}

/// Regression: answers that ended early were taken for the end, and `record` ended with 0.
#[test]
fn a_recording_whose_agent_is_killed_says_so_and_fails() {
    let (_dir, _cloud, mut branch) = joined();
    branch.start();
    let mut talk = Talk::start(&branch, &["record"]);
    talk.say(ACT);
    talk.stdout.recv_timeout(PATIENCE).unwrap();
    branch.kill_9();
    let told = talk.stderr.recv_timeout(PATIENCE).unwrap();
    assert!(told.contains("the device went away"), "{told}");
    assert_eq!(talk.end(), Some(1));
}

/// Regression: the agent waited for its clients to leave, and a recording may last for ever.
#[test]
fn an_agent_stops_though_a_recording_is_open() {
    let (_dir, _cloud, mut branch) = joined();
    branch.start();
    let mut talk = Talk::start(&branch, &["record"]);
    talk.say(ACT);
    talk.stdout.recv_timeout(PATIENCE).unwrap();
    branch.stop();
    let told = talk.stderr.recv_timeout(PATIENCE).unwrap();
    assert!(told.contains("the device went away"), "{told}");
    assert_eq!(talk.end(), Some(1));
}

/// Regression: between taking the directory and listening an agent was "held by", as was a status to an agent.
#[test]
fn commands_and_an_agent_that_start_together_find_each_other() {
    let (_dir, _cloud, branch) = joined();
    for _ in 0..4 {
        let mut agent = Talk::start(&branch, &["run"]);
        drop(branch.run(&["status"]).succeeded());
        drop(branch.run_with(&["record"], format!("{ACT}\n").as_bytes()).succeeded());
        drop(branch.run(&["view"]).succeeded());
        let ready = agent.stdout.recv_timeout(PATIENCE).unwrap();
        assert!(ready.starts_with("ready "), "{ready}");
        assert!(agent.child.try_wait().unwrap().is_none(), "the agent has ended");
    }
    assert_eq!(branch.standing().local, 6, "four acts, and what opens the two logs");
}

#[test]
fn a_directory_that_is_held_is_waited_for_and_then_its_holder_is_told() {
    let (_dir, _cloud, branch) = joined();
    let hold = || {
        let mut file = File::create(branch.data().join("lock")).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file.write_all(b"process 4711 (run)\n").unwrap();
        file
    };
    let held = hold();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| branch.run(&["status"]));
        let running = scope.spawn(|| branch.try_start().map(drop));
        std::thread::sleep(Duration::from_secs(1));
        drop(held);
        drop(asking.join().unwrap().succeeded());
        running.join().unwrap().unwrap();
    });

    let _held = hold();
    for command in ["status", "run"] {
        let began = Instant::now();
        let told = branch.run(&[command]).failed(75);
        assert!(told.contains("is held by process 4711 (run), which does not answer"), "{told}");
        assert!(began.elapsed() < AT_ONCE, "{command}: {:?}", began.elapsed());
    }
}

/// Regression: the kernel takes a connection for a process that is suspended; commands waited for its answer for ever.
#[test]
fn commands_do_not_wait_for_a_process_that_is_suspended() {
    let (_dir, cloud, mut branch) = joined();
    branch.start();
    let ids = [branch.agent_id(), cloud.process_id()].map(|id| Pid::from_raw(id.unwrap() as i32));
    let signal = |signal| ids.iter().for_each(|id| kill_process(id.unwrap(), signal).unwrap());
    signal(Signal::STOP);
    let act = format!("{ACT}\n");
    let asked: [&dyn Fn() -> Ran; 5] = [
        &|| branch.run(&["status"]),
        &|| branch.run_with(&["record"], act.as_bytes()),
        &|| branch.run(&["run"]),
        &|| cloud.run(&["devices"]),
        &|| cloud.run(&["log", "show", "--all"]),
    ];
    for ask in asked {
        let began = Instant::now();
        let told = ask().failed(75);
        assert!(told.contains("does not answer") && told.contains("kill -CONT"), "{told}");
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    signal(Signal::CONT);
    drop(cloud.run(&["devices"]).succeeded());
    assert_eq!(
        branch.standing().local,
        2,
        "what was not acknowledged was not recorded: the two logs are opened"
    );
}

/// A panic, or exit code 1 and words about a pipe.
#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let (_dir, cloud, branch) = joined();
    let commands = [["status"], ["view"]].map(|arguments| branch.command(&arguments));
    for mut command in commands.into_iter().chain([cloud.command(&["devices"])]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!((ran.status.code(), told.as_str()), (Some(0), ""), "{command:?}");
    }
}

#[test]
fn what_was_asked_is_quoted_without_what_steers_a_terminal() {
    let (_dir, cloud, branch) = joined();
    let evil = "\u{1b}]0;title\u{7}";
    let asked = [
        cloud.run(&["revoke", evil]),
        cloud.run(&["quarantine", "show", evil]),
        cloud.run(&["view", "totals", "--at", evil]),
        cloud.run(&[evil]),
        branch.run(&["restore", evil]),
        branch.run(&["view", evil]),
    ];
    for ran in asked {
        assert!([1, 2].contains(&ran.code().unwrap()), "{ran:?}");
        assert!(!ran.stderr.is_empty() && !ran.stderr.contains(['\u{1b}', '\u{7}']), "{ran:?}");
    }
    let long = "x".repeat(70_000);
    let told = cloud.run(&["grant", "anna", "1", "--reason", &long]).failed(1);
    assert!(told.contains("a reason of 70000 bytes; it has at most 1024"), "{told}");
    let told = cloud.run(&["view", "totals", "--at", "9999-12-31T23:59:59Z"]).failed(2);
    assert!(told.contains("from 1970 to 9999-12-30T22:00:00Z"), "{told}");
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let (_dir, _cloud, mut branch) = joined();
    branch.start();
    let connect = || UnixStream::connect(branch.data().join("control.sock")).unwrap();
    let _idle: Vec<_> = (0..PLACES + 10).map(|_| connect()).collect();
    let _half: Vec<_> = (0..PLACES + 10)
        .map(|_| {
            let mut client = connect();
            client.write_all(b"\"sta").unwrap();
            client
        })
        .collect();
    let began = Instant::now();
    drop(branch.run(&["status"]).succeeded());
    drop(branch.run_with(&["record"], format!("{ACT}\n").as_bytes()).succeeded());
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());

    let mut silent = connect();
    let mut told = String::new();
    silent.set_read_timeout(Some(AT_ONCE)).unwrap();
    silent.read_to_string(&mut told).unwrap();
    assert!(told.contains("no question within"), "{told}");
}

#[test]
fn recordings_take_no_place_from_questions_and_one_too_many_is_told() {
    let (_dir, _cloud, mut branch) = joined();
    branch.start();
    let recordings: Vec<_> = (0..PLACES)
        .map(|_| {
            let mut client = UnixStream::connect(branch.data().join("control.sock")).unwrap();
            client.write_all(b"\"record\"\n").unwrap();
            client
        })
        .collect();
    let log = branch.data().join("page_log");
    std::fs::write(&log, "hall anna 7 [21/Nov/2026:01:02:03 +0100] total 1 - host t - -\n")
        .unwrap();
    let import = ["import", "page-log", log.to_str().unwrap()];
    wait_until(PATIENCE, "all places are taken", || branch.run(&["record"]).code() == Some(75));
    for ran in [branch.run(&["record"]), branch.run(&import)] {
        let told = ran.failed(75);
        assert!(told.contains("64 recordings already"), "{told}");
    }
    drop(branch.run(&["status"]).succeeded());
    drop(recordings);
    wait_until(PATIENCE, "there are places again", || branch.run(&import).code() == Some(0));
}

#[test]
fn a_full_disk_is_temporary() {
    let (_dir, _cloud, branch) = joined();
    std::os::unix::fs::symlink("/dev/full", branch.data().join("journal")).unwrap();
    for command in ["run", "status"] {
        let told = branch.run(&[command]).failed(75);
        assert!(told.contains("cannot open") && told.contains("no room"), "{told}");
    }
    std::fs::remove_file(branch.data().join("journal")).unwrap();
    drop(branch.run(&["status"]).succeeded());
}

#[test]
fn an_act_of_another_century_is_refused() {
    let (_dir, _cloud, branch) = joined();
    let act = |at: u64| {
        format!(r#"{{"kind":"pages.printed","user":"anna","impressions":1,"acted-at":{at}}}"#)
    };
    let text = [0, 1_795_219_323, 1_795_219_323_000, 253_402_300_799_000].map(act).join("\n");
    let ran = branch.run_with(&["record"], text.as_bytes());
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    let told = ran.failed(1);
    for number in [1, 2, 4] {
        assert!(told.contains(&format!("line {number}: acted-at ")), "{told}");
    }
    let view = branch.json(&["view", "totals"]);
    assert_eq!(view["rows"][0]["month"], "2026-11", "{view}");
}
