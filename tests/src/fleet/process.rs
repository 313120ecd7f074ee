//! One process: started, watched, ended.
//! Invariant: it is killed when its handle is dropped; its stderr goes to a file, whose end is shown if the
//! thread that drops the handle is panicking. Nothing here knows what the process does.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for};

/// Of a stderr file, shown when something failed.
const LAST_LINES: usize = 40;

/// A running process that says `ready key=value …` when it is.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stderr: PathBuf,
    ready: BTreeMap<String, String>,
}

impl Process {
    /// Starts `command` and waits until it is ready. What it says on stderr is added to the file `stderr`.
    ///
    /// # Errors
    /// It ended before it was ready; what it left on stdout and stderr.
    ///
    /// # Panics
    /// When it cannot be started, or is not ready in time.
    pub fn start(command: &mut Command, stderr: &Path) -> Result<Self, Ran> {
        let log = append(stderr);
        let told_before = log.metadata().map_or(0, |file| file.len());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut process = Self { child, stderr: stderr.to_owned(), ready: BTreeMap::new() };
        match first_line(stdout).recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("ready ") => process.ready = pairs(&line),
            Ok(line) => {
                let status = process.wait();
                let stderr = text_from(stderr, told_before);
                return Err(Ran { status, stdout: line, stderr });
            }
            Err(_) => panic!("{command:?}: not ready within {PATIENCE:?}"),
        }
        Ok(process)
    }

    /// What it said of itself when it was ready.
    ///
    /// # Panics
    /// When it said no such thing.
    #[must_use]
    pub fn said(&self, key: &str) -> &str {
        let said = self.ready.get(key);
        said.unwrap_or_else(|| panic!("no `{key}=` in its ready line: {:?}", self.ready))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it with SIGKILL, which it cannot see coming.
    pub fn kill_9(&mut self) {
        drop(self.child.kill()); // it may have ended by itself
        self.wait();
    }

    /// The same; how it ended.
    #[must_use]
    pub fn killed(mut self) -> ExitStatus {
        drop(self.child.kill()); // it may have ended by itself
        self.wait()
    }

    /// Ends it with SIGTERM and waits for it.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM); // it may have ended by itself
        wait_for(PATIENCE, "a process stops on SIGTERM", || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_9();
        if std::thread::panicking() {
            let told = text_from(&self.stderr, 0);
            let lines: Vec<&str> = told.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
            eprintln!("--- {}\n{}", self.stderr.display(), last.join("\n"));
        }
    }
}

/// A process that ran to its end.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

impl Ran {
    /// Its exit code; none if a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it printed, if it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    #[must_use]
    pub fn succeeded(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// What it said on stderr, if it failed with this exit code.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    #[must_use]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code(), Some(code), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self.stderr
    }
}

/// A command that takes so long hangs: reading a million events takes a slow machine a minute.
const HANGS_AFTER: Duration = Duration::from_secs(180);

/// Runs `command` to its end, with `input` on stdin.
///
/// # Panics
/// When it cannot be started, or does not end in time.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
    let stdout = whole(child.stdout.take().expect("it is piped"));
    let stderr = whole(child.stderr.take().expect("it is piped"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    std::thread::spawn(move || {
        drop(std::io::Write::write_all(&mut stdin, &input)); // it need not read all
    });
    let Ok(stdout) = stdout.recv_timeout(HANGS_AFTER) else {
        drop(child.kill());
        panic!(
            "{command:?}: not ended within {HANGS_AFTER:?}\n{}",
            stderr.recv().unwrap_or_default()
        );
    };
    let status = child.wait().expect("a child can be waited for");
    Ran { status, stdout, stderr: stderr.recv().unwrap_or_default() }
}

/// Opens a file to add to it.
fn append(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|why| panic!("cannot write {}: {why}", path.display()))
}

fn text_from(path: &Path, offset: u64) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    String::from_utf8_lossy(bytes.get(offset..).unwrap_or_default()).into_owned()
}

/// The first line of a stream, empty if it has none; the rest is read and dropped.
fn first_line(mut stream: impl BufRead + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut first = String::new();
        drop(stream.read_line(&mut first)); // what was read until then tells
        drop(sender.send(first)); // nobody may wait any more
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    line
}

fn whole(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, text) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes)); // what was read until then tells
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    text
}

fn pairs(line: &str) -> BTreeMap<String, String> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
