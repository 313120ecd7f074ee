//! The demo as anybody would start it: two binaries, real processes, its own checks at the end.
//! What is tested here is that it holds, says so in one line, keeps what it was told to keep, and leaves
//! no process behind, however it ends. That it can fail is tested beside its check (`cloud/src/demo`).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tallyroll_tests::fleet::{PATIENCE, program, wait_until};

/// The demo on its files in `keep`; not as `cargo run` starts it, so that it builds nothing.
fn demo(keep: &Path, arguments: &[&str]) -> Command {
    drop(program("tallyroll-edge")); // or it would be the demo that says it is missing
    let mut command = Command::new(program("tallyroll"));
    command.arg("demo").args(arguments).arg("--keep").arg(keep).env_remove("CARGO");
    command
}

/// How many processes have a path below `root` in their command line.
fn processes(root: &Path) -> usize {
    let root = root.to_str().unwrap();
    let in_it = |entry: &std::fs::DirEntry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(root)
    };
    let running = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    running.filter(in_it).count()
}

/// The figures of `N written = N counted = N verified`.
fn figures(line: &str) -> Option<[u64; 3]> {
    let (written, rest) = line.split_once(" written = ")?;
    let (counted, rest) = rest.split_once(" counted = ")?;
    let figures = [written, counted, rest.strip_suffix(" verified")?];
    Some(figures.map(|figure| figure.parse().unwrap()))
}

#[test]
fn a_small_demo_holds_and_leaves_nothing_running() {
    let root = tempfile::tempdir().unwrap();
    let keep = root.path().join("kept");
    let small = ["--branches", "3", "--jobs", "120", "--outage", "2s", "--seed", "7"];
    let played = demo(&keep, &small).output().unwrap();
    let said = String::from_utf8_lossy(&played.stdout);
    let complained = String::from_utf8_lossy(&played.stderr);
    assert_eq!(played.status.code(), Some(0), "{said}{complained}");
    let [written, counted, verified] = said.lines().find_map(figures).expect(&said);
    assert!(written > 120 && written == counted && counted == verified, "{said}");
    let befell = ["cut the lines", "kill -9 for the agent", "kill -9 for the cloud", "healed"];
    assert_eq!(befell.map(|what| said.matches(what).count()), [1; 4], "{said}");
    let limit = [
        "its panel stops before page 4: no credits are left",
        "went on after a top-up of 7: 10 pages",
    ];
    assert_eq!(limit.map(|what| said.matches(what).count()), [1; 2], "{said}");
    assert_eq!(processes(root.path()), 0);

    let refused = demo(&keep, &small).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "what was kept is not written over");
}

#[test]
fn a_line_that_nobody_printed_is_found_in_the_books() {
    let root = tempfile::tempdir().unwrap();
    let keep = root.path().join("kept");
    let small = ["--branches", "1", "--jobs", "20", "--outage", "1s", "--seed", "7"];
    let playing = demo(&keep, &small).stdout(Stdio::piped()).spawn().unwrap();
    let page_log = keep.join("branch-1/page_log");
    wait_until(PATIENCE, "a page_log", || page_log.is_file());
    let mut page_log = File::options().append(true).open(page_log).unwrap();
    let line = b"hall-1 mallory 999 [31/Oct/2026:20:00:00 +0000] total 5 - localhost x - -\n";
    page_log.write_all(line).unwrap();
    let played = playing.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&played.stdout);
    assert_eq!(played.status.code(), Some(3), "{said}");
    assert!(said.contains("balance at the cloud of \"mallory\" is 5.000, none expected"), "{said}");
    assert_eq!(said.lines().find_map(figures), None, "{said}");
}

#[test]
fn a_credit_that_the_demo_did_not_give_is_found_in_the_books() {
    let root = tempfile::tempdir().unwrap();
    let keep = root.path().join("kept");
    let small = ["--branches", "2", "--jobs", "20", "--outage", "1s", "--seed", "7"];
    let playing = demo(&keep, &small).stdout(Stdio::piped()).spawn().unwrap();
    wait_until(PATIENCE, "all branches", || keep.join("branch-2/page_log").is_file());
    wait_until(PATIENCE, "kim is given more", || {
        let mut grant = Command::new(program("tallyroll"));
        grant.args(["grant", "kim", "5", "--data"]).arg(keep.join("cloud"));
        grant.output().unwrap().status.success()
    });
    let played = playing.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&played.stdout);
    assert_eq!(played.status.code(), Some(3), "{said}");
    let left = "left at the cloud of \"kim\" is 5.000, 0.000 expected";
    assert!(said.contains(left), "{said}");
    assert_eq!(said.lines().find_map(figures), None, "{said}");
}

#[test]
fn a_killed_demo_takes_its_children_along() {
    let root = tempfile::tempdir().unwrap();
    let mut demo = demo(&root.path().join("kept"), &["--branches", "2", "--jobs", "50"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Itself, the cloud, two agents, two importers.
    wait_until(PATIENCE, "a demo in full swing", || processes(root.path()) >= 6);
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait_until(PATIENCE, "no child of a dead demo", || processes(root.path()) == 0);
}
