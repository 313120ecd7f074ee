//! A page_log that a real CUPS wrote, from the file through the edge to the figures at the cloud; and all that may
//! happen to such a file and to those who read it.
//! How the fixture was made is in `tests/fixtures/page_log/README.md`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};
use tallyroll_tests::sim::entropy::Entropy;
use tempfile::TempDir;

const SEED: u64 = 5;

/// Impressions by user.
type Totals = BTreeMap<String, u64>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/page_log").join(name)
}

/// What came out of the printer.
fn expected(name: &str) -> Totals {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    let row = |line: &str| {
        let (rest, impressions) = line.rsplit_once(',').unwrap();
        let (user, _jobs) = rest.rsplit_once(',').unwrap();
        (user.to_owned(), impressions.parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

fn shown(view: &Value) -> Totals {
    let mut totals = Totals::new();
    for row in view["rows"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap_or("(nobody)").to_owned();
        *totals.entry(name).or_default() += row["impressions"].as_u64().unwrap();
    }
    totals
}

/// A cloud, a branch that joined it and is not running yet, and a place for files.
fn fleet() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::new(dir.path().join("branch"));
    drop(branch.join(&cloud.enroll("branch")).succeeded());
    (dir, cloud, branch)
}

/// Imports a file and returns how many of its lines were counted, known, rejected.
fn import(branch: &Branch, path: &Path) -> (u64, u64, u64) {
    let summary = branch.json(&["import", "page-log", path.to_str().unwrap()]);
    let count = |key: &str| summary[key].as_u64().unwrap();
    (count("counted"), count("already"), count("rejected"))
}

fn totals(branch: &Branch) -> Totals {
    shown(&branch.json(&["view", "totals"]))
}

#[test]
fn the_real_page_log_counts_what_the_printer_marked() {
    let (dir, cloud, mut branch) = fleet();
    let expected = expected("expected.csv");
    let whole = std::fs::read_to_string(fixture("page_log")).unwrap();
    let log = dir.path().join("page_log");
    branch.start();

    // The file as it was after twenty jobs, as it grew, as it is read again, rotated, and copied.
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    std::fs::write(&log, lines[..20].concat()).unwrap();
    assert_eq!(import(&branch, &log), (20, 0, 0));
    std::fs::write(&log, &whole).unwrap();
    assert_eq!(import(&branch, &log), (13, 20, 0));
    assert_eq!(import(&branch, &log), (0, 33, 0));
    std::fs::rename(&log, dir.path().join("page_log.O")).unwrap();
    std::fs::write(&log, lines[25..].concat()).unwrap();
    assert_eq!(import(&branch, &dir.path().join("page_log.O")), (0, 33, 0));
    assert_eq!(import(&branch, &log), (0, 8, 0));
    assert_eq!(import(&branch, &fixture("page_log")), (0, 33, 0));

    assert_eq!(totals(&branch), expected);
    branch.wait_synced(PATIENCE);
    // Names travel beside the events, so they may come a moment later.
    wait_until(PATIENCE, "the cloud shows names and sums", || {
        shown(&cloud.json(&["view", "totals"])) == expected
    });
    for line in cloud.events() {
        let event = line["event"].to_string();
        assert!(!expected.keys().any(|name| event.contains(&format!("\"{name}\""))), "{event}");
    }
}

#[test]
fn a_branch_without_a_line_shows_the_same_figures() {
    let (_dir, mut cloud, mut branch) = fleet();
    let expected = expected("expected.csv");
    cloud.stop();
    assert_eq!(import(&branch, &fixture("page_log")), (33, 0, 0), "no agent, no cloud");
    assert_eq!(totals(&branch), expected);
    branch.start();
    assert_eq!(import(&branch, &fixture("page_log")), (0, 33, 0), "an agent, no cloud");
    assert_eq!(totals(&branch), expected);

    cloud.start_again();
    branch.wait_synced(2 * PATIENCE);
    wait_until(PATIENCE, "the cloud shows the same", || {
        shown(&cloud.json(&["view", "totals"])) == expected
    });
}

#[test]
fn an_import_that_is_killed_again_and_again_counts_each_line_once() {
    const LINES: u64 = 20_000;
    let (dir, _cloud, mut branch) = fleet();
    let (mut text, mut expected) = (String::new(), Totals::new());
    let mut entropy = Entropy::new(SEED, 0, "page log");
    for job in 0..LINES {
        let (user, impressions) = (format!("user {}", entropy.below(9)), entropy.between(1, 20));
        let (minute, second) = (job / 60 % 60, job % 60);
        text.push_str(&format!(
            "hall {user} {} [21/Nov/2026:03:{minute:02}:{second:02} +0100] total {impressions} - localhost total {job} - -\n",
            job % 500 + 1 // the spool is cleared every 500 jobs
        ));
        *expected.entry(user).or_default() += impressions;
    }
    let log = dir.path().join("page_log");
    std::fs::write(&log, &text).unwrap();

    branch.start();
    for round in 0..8 {
        let mut importing =
            Background::start(&branch, &["import", "page-log", log.to_str().unwrap()]);
        std::thread::sleep(Duration::from_millis(entropy.between(5, 60)));
        if round % 2 == 0 {
            importing.kill_9();
        } else {
            branch.kill_9();
            let _ = importing.ended(); // it lost its agent, or was done
            branch.start();
        }
    }
    let (counted, already, rejected) = import(&branch, &log);
    assert_eq!((counted + already, rejected), (LINES, 0), "seed {SEED}");
    assert!(already > 0, "no import was killed on its way");
    assert_eq!(totals(&branch), expected, "seed {SEED}");
}

#[test]
fn lines_that_do_not_parse_are_told_and_kept_and_keep_nothing_else_out() {
    let (dir, _cloud, branch) = fleet();
    let whole = std::fs::read_to_string(fixture("page_log")).unwrap();
    let (first, rest) = whole.split_once('\n').unwrap();
    let log = dir.path().join("page_log");
    std::fs::write(&log, format!("{first}\nno page log\n\u{1}hall anna x\n{rest}")).unwrap();

    let path = log.to_str().unwrap();
    let told = branch.run(&["import", "page-log", path]).failed(1);
    assert!(
        told.contains(&format!("{path}:2: ")) && told.contains(&format!("{path}:3: ")),
        "{told}"
    );
    let kept = std::fs::read_to_string(branch.data().join("page-log.rejects")).unwrap();
    assert!(kept.contains("no page log") && kept.contains("hall anna x"), "{kept}");
    assert_eq!(totals(&branch), expected("expected.csv"));
}

#[test]
fn a_file_that_is_no_page_log_is_refused_and_leaves_nothing() {
    let (dir, _cloud, branch) = fleet();
    let log = dir.path().join("binary");
    let mut entropy = Entropy::new(SEED, 0, "binary");
    let bytes: Vec<u8> = (0..1 << 20).map(|_| entropy.below(256) as u8).collect();
    std::fs::write(&log, &bytes).unwrap();
    for (file, input) in [(log.to_str().unwrap(), &[][..]), ("-", &bytes)] {
        let told = branch.run_with(&["import", "page-log", file], input).failed(1);
        assert!(
            told.contains(&format!("{file} is no page_log, or one in another format")),
            "{told}"
        );
        assert!(told.contains("`%p %u %j %T %P %C") && told.lines().count() < 20, "{told}");
        let rejects = std::fs::metadata(branch.data().join("page-log.rejects")).unwrap();
        assert_eq!(rejects.len(), 0);
    }
    assert_eq!(branch.standing().local, 2, "something was counted");
}

#[test]
fn what_is_wrong_with_a_line_is_told_exactly() {
    let (dir, _cloud, branch) = fleet();
    let log = dir.path().join("page_log");
    let line = |time: &str, figures: &str| format!("hall anna 7 [{time}] {figures} - host t - -\n");
    let right = "21/Nov/2026:01:02:03 +0100";
    let lines = [
        line(right, "total -4"),
        line(right, "total 4294967296"),
        line("31/Feb/2026:01:02:03 +0100", "total 1"),
        line("21/Nov/9999:01:02:03 +0100", "total 1"),
        line(right, "total 5"),
    ];
    std::fs::write(&log, lines.concat()).unwrap();
    let told = branch.run(&["import", "page-log", log.to_str().unwrap()]).failed(1);
    for what in [
        ":1: impressions -4 is not a number from 0 to 4294967295",
        ":2: impressions 4294967296 is not a number from 0 to 4294967295",
        ":3: [31/Feb/2026:01:02:03 +0100] is no time of the years 2000 to 2199",
        ":4: [21/Nov/9999:01:02:03 +0100] is no time of the years 2000 to 2199",
    ] {
        assert!(told.contains(what), "{told}");
    }
    assert_eq!(totals(&branch), Totals::from([("anna".to_owned(), 5)]));
}

#[test]
fn a_full_reject_file_is_told_once_and_keeps_nothing_out() {
    const LINES: u64 = 70;
    let (dir, _cloud, branch) = fleet();
    let log = dir.path().join("page_log");
    let good = "hall anna 7 [21/Nov/2026:01:02:03 +0100] total 5 - host t - -\n";
    // A few of these fill the 4 MiB.
    let long = |n| format!("{n} {}\n", "x".repeat(65_000));
    std::fs::write(&log, good.to_owned() + &(0..LINES).map(long).collect::<String>()).unwrap();
    let path = log.to_str().unwrap();
    let told = branch.run(&["import", "page-log", path]).failed(1);
    assert!(
        told.contains("page-log.rejects is full: it has 64 of the 70 rejected lines"),
        "{told}"
    );
    assert!(!told.contains("are kept in"), "{told}");
    assert_eq!(totals(&branch), Totals::from([("anna".to_owned(), 5)]));
}

#[test]
fn a_custom_format_is_read_from_stdin() {
    let (_dir, _cloud, branch) = fleet();
    let format = std::fs::read_to_string(fixture("PageLogFormat.custom")).unwrap();
    let text = std::fs::read(fixture("page_log.custom")).unwrap();
    let import = ["import", "page-log", "-", "--format", format.trim_end()];
    drop(branch.run_with(&import, &text).succeeded());
    assert_eq!(totals(&branch), expected("expected.custom.csv"));
}

#[test]
fn a_followed_log_is_read_through_its_rotation() {
    let (dir, _cloud, mut branch) = fleet();
    let whole = std::fs::read_to_string(fixture("page_log")).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let log = dir.path().join("page_log");
    branch.start();
    let path = log.to_str().unwrap().to_owned();
    let mut following = Background::start(&branch, &["import", "page-log", &path, "--follow"]);
    let counted = || branch.standing().local - 2; // each log's first event opens it
    let mut file = std::fs::File::create(&log).unwrap();
    for (number, line) in lines.iter().enumerate() {
        if number == 12 {
            std::fs::rename(&log, dir.path().join("page_log.O")).unwrap();
            // CUPS goes on with the old file until it looks again.
            file.write_all(line.as_bytes()).unwrap();
            file = std::fs::File::create(&log).unwrap();
            continue;
        }
        let (start, end) = line.split_at(line.len() / 2);
        file.write_all(start.as_bytes()).unwrap();
        file.write_all(end.as_bytes()).unwrap();
        if number == 10 {
            wait_until(PATIENCE, "lines are read as they come", || counted() == 11);
        }
    }
    wait_until(PATIENCE, "all lines are read", || counted() == 33);
    following.terminate();
    assert_eq!(following.ended(), Some(0));
    assert_eq!(totals(&branch), expected("expected.csv"));
}

/// A command that runs beside the test, killed when dropped.
struct Background(Child);

impl Background {
    fn start(branch: &Branch, arguments: &[&str]) -> Self {
        let mut command = branch.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn kill_9(&mut self) {
        drop(self.0.kill()); // it may have ended by itself
        drop(self.0.wait());
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
    }

    fn ended(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill_9();
    }
}
