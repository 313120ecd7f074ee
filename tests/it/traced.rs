//! A process under strace, which answers some of its calls with an error and writes down all that it was told to.
//! Invariant: what was called, on which file and what came of it is known by what strace saw, for each thread by
//! itself. Which calls fail, and what must hold then, is its users'.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tallyroll_tests::fleet::{PATIENCE, wait_until};

/// When strace begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Exec,
    Ready,
}

/// One call, as strace saw it; times since 1970.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) failed: bool,
    /// It makes the file if there is none.
    pub(super) creates: bool,
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// The options of strace that write these calls to `out…`, a file a thread.
pub(super) fn strace(out: &Path, calls: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-ff", "-y", "-s0", "-ttt", "-T", "-qqq", "-e", "signal=none"]);
    command.args(["-e", &format!("trace={calls}")]).arg("-o").arg(out);
    command
}

/// Whether it is there at all.
pub(super) fn want_strace() {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    assert!(strace.is_ok(), "strace is missing: apt-get install strace (./check does)");
}

/// `of` under strace, which stands aside, so that the process is ours as if it were not there.
pub(super) fn under(mut strace: Command, of: &Command) -> Command {
    strace.args(["-D", "--seccomp-bpf"]).arg(of.get_program()).args(of.get_args());
    strace
}

/// Attached to a process that runs, to all of its threads.
pub(super) fn attach(mut strace: Command, process: u32) -> Child {
    let strace = strace.args(["-f", "-p", &process.to_string()]).stderr(Stdio::null()).spawn();
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

/// All that strace wrote to `out…`, thread by thread.
pub(super) fn threads(out: &Path) -> Vec<Vec<Call>> {
    let name = format!("{}.", out.file_name().unwrap().to_str().unwrap());
    let files = std::fs::read_dir(out.parent().unwrap()).unwrap().flatten();
    let mut of_it: Vec<_> = files
        .map(|file| file.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&name))
        .collect();
    of_it.sort();
    let read = of_it.iter().map(|path| std::fs::read_to_string(path).unwrap());
    read.map(|text| text.lines().filter_map(call).collect()).collect()
}

/// `1795.1 fdatasync(11</path>) = 0 <0.2>`, `1795.1 openat(3</directory>, "/path", O_RDWR) = -1 ENOENT (…) <0.2>`
fn call(line: &str) -> Option<Call> {
    let (began, call) = line.split_once(' ')?;
    let began: f64 = began.parse().ok()?;
    let (name, rest) = call.split_once('(')?;
    let (arguments, answer) = rest.rsplit_once(" = ")?;
    let (before, after) = match arguments.split_once('"') {
        Some((_, path)) if path.starts_with('/') => path.split_once('"')?,
        _ => arguments.split_once('<')?.1.split_once('>')?,
    };
    let took: f64 = answer.rsplit_once('<')?.1.trim_end_matches('>').parse().ok()?;
    Some(Call {
        name: name.to_owned(),
        path: before.to_owned(),
        failed: answer.contains("(INJECTED)"),
        creates: after.contains("O_CREAT"),
        began,
        ended: began + took,
    })
}

pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
