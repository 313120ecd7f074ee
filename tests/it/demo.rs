//! The demo as anybody would start it: two binaries, real processes, its own checks at the end.
//! What is tested here is that it holds, says so in one line, keeps what it was told to keep, and leaves
//! no process behind. That it can fail is tested beside its check (`cloud/src/demo/check_tests.rs`).

use std::process::{Command, Output};

use tallyroll_tests::fleet::program;

/// Plays it; not as `cargo run` does, so that it builds nothing.
fn play(arguments: &[&str]) -> Output {
    program("tallyroll-edge"); // or the message would come from the demo
    Command::new(program("tallyroll"))
        .arg("demo")
        .args(arguments)
        .env_remove("CARGO")
        .output()
        .unwrap()
}

/// Processes whose command line has `word` in it.
fn processes(word: &str) -> Vec<String> {
    let command = |entry: std::io::Result<std::fs::DirEntry>| {
        let bytes = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    };
    std::fs::read_dir("/proc").unwrap().filter_map(command).filter(|c| c.contains(word)).collect()
}

#[test]
fn a_small_demo_holds_and_leaves_nothing_running() {
    let root = tempfile::tempdir().unwrap();
    let keep = root.path().join("kept");
    let keep = keep.to_str().unwrap();
    let small = ["--branches", "3", "--jobs", "120", "--outage", "2s", "--seed", "7"];
    let played = play(&[&small[..], &["--keep", keep]].concat());
    let (said, complained) =
        (String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    assert_eq!(played.status.code(), Some(0), "{said}{complained}");
    let figures = |line: &str| {
        let words = line.split(' ').collect::<Vec<_>>();
        let [written, "written", "=", counted, "counted", "=", verified, "verified"] = words[..] else {
            return None;
        };
        Some([written, counted, verified].map(|figure| figure.parse::<u64>().unwrap()))
    };
    let [written, counted, verified] = said.lines().find_map(figures).expect(&said);
    assert!(written >= 120 && written == counted && counted == verified, "{said}");
    for happened in ["cut the lines", "kill -9 for the agent", "kill -9 for the cloud", "healed"] {
        assert!(said.contains(happened), "no `{happened}` in:\n{said}");
    }
    assert_eq!(processes(keep), Vec::<String>::new());

    let refused = play(&["--keep", keep]);
    assert_eq!(refused.status.code(), Some(1), "what is kept is not played over");
}
