//! Children of the demo: started, watched, asked, stopped or killed.
//!
//! Invariant: no child outlives the demo. Each is killed when its handle is
//! dropped, and on Linux the kernel kills it if the demo itself is killed. What a
//! child says on stderr goes to a file, whose end is shown if it dies unasked.

use super::error::{DemoError, Doing, Result};
use super::leash;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Starting, stopping and answering take far less, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a dead child's last words.
const LAST_WORDS_LINES: usize = 8;

/// A child that runs until it is told to stop.
#[derive(Debug)]
pub(super) struct Daemon {
    name: String,
    child: Child,
    /// Kept open: a child that says more must not die of it.
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: PathBuf,
}

impl Daemon {
    /// Starts `program` as `name`; its output files are in `outputs`. Without
    /// `speaks`, its stdout goes to a file too.
    pub(super) fn start(
        name: &str,
        program: &Path,
        arguments: &[&OsStr],
        outputs: &Path,
        speaks: bool,
    ) -> Result<Self> {
        let stderr = outputs.join(format!("{name}.stderr"));
        let stdout =
            if speaks { Stdio::piped() } else { output(&stdout_path(outputs, name))?.into() };
        let mut command = leash::leashed(program)?;
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(output(&stderr)?);
        // Ctrl-C at the terminal is for the demo alone; it ends its children itself.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().doing(format!("start {}", program.display()))?;
        let stdout = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Ok(Self { name: name.into(), child, stdout, stderr })
    }

    /// Waits for the line that says it is ready, and returns what follows `ready `.
    pub(super) async fn ready(&mut self) -> Result<String> {
        let Some(stdout) = &mut self.stdout else { return Ok(String::new()) };
        let said = async {
            while let Ok(Some(line)) = stdout.next_line().await {
                if let Some(ready) = line.strip_prefix("ready ") {
                    return Some(ready.to_owned());
                }
            }
            None
        };
        match timeout(PATIENCE, said).await {
            Ok(Some(ready)) => Ok(ready),
            Ok(None) => {
                let status = self.child.wait().await.doing("wait for a child")?;
                Err(self.ended(status))
            }
            Err(_) => Err(self.slow("ready")),
        }
    }

    /// An error if it has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().doing("look after a child")? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// SIGKILL: it gets no chance to put anything in order.
    pub(super) async fn kill(mut self) -> Result<()> {
        self.check()?;
        self.child.kill().await.doing("kill a child")
    }

    /// SIGTERM, and waits for its orderly end.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.check()?;
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).doing("stop a child")?;
        }
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => match status.doing("wait for a child")? {
                status if status.success() => Ok(()),
                status => Err(self.ended(status)),
            },
            Err(_) => Err(self.slow("stopped")),
        }
    }

    fn ended(&self, status: ExitStatus) -> DemoError {
        DemoError::Ended { name: self.name.clone(), status, last_words: self.last_words() }
    }

    fn slow(&self, what: &'static str) -> DemoError {
        let (name, last_words) = (self.name.clone(), self.last_words());
        DemoError::Slow { name, what, patience: PATIENCE, last_words }
    }

    fn last_words(&self) -> String {
        let said = std::fs::read(&self.stderr).unwrap_or_default();
        last_words(&String::from_utf8_lossy(&said))
    }
}

/// Runs a command to its end and returns what it printed, if it exits with one of `accepted`.
pub(super) async fn ask(
    program: &Path,
    arguments: &[&OsStr],
    stdin: &str,
    accepted: &[i32],
) -> Result<String> {
    let shown = || {
        let words = arguments.iter().map(|word| word.to_string_lossy());
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = async {
        let mut child = command.spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            drop(pipe.write_all(stdin.as_bytes()).await); // who does not read it says why
        }
        child.wait_with_output().await
    };
    let Ok(done) = timeout(PATIENCE, done).await else {
        let last_words = String::new(); // they were piped, and went with it
        return Err(DemoError::Slow {
            name: shown(),
            what: "done",
            patience: PATIENCE,
            last_words,
        });
    };
    let done = done.doing(format!("run `{}`", shown()))?;
    if !done.status.code().is_some_and(|code| accepted.contains(&code)) {
        let last_words = last_words(&String::from_utf8_lossy(&done.stderr));
        return Err(DemoError::Ended { name: shown(), status: done.status, last_words });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Where a child that does not speak leaves its stdout.
pub(super) fn stdout_path(outputs: &Path, name: &str) -> PathBuf {
    outputs.join(format!("{name}.stdout"))
}

fn output(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.doing(format!("write {}", path.display()))
}

fn last_words(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_WORDS_LINES)..];
    match last {
        [] => "; it said nothing".into(),
        last => format!("; its last words:\n  {}", last.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last() {
        assert_eq!(last_words(""), "; it said nothing");
        let said: String = (0..20).map(|line| format!("line {line}\n")).collect();
        let shown = last_words(&said);
        assert!(shown.contains("line 12\n") && shown.ends_with("line 19"), "{shown}");
        assert!(!shown.contains("line 11"), "{shown}");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_told_with_what_it_said() {
        let shell = |script: &'static str| async move {
            ask(Path::new("/bin/sh"), &["-c".as_ref(), script.as_ref()], "in", &[0, 3]).await
        };
        assert_eq!(shell("cat; exit 3").await.unwrap(), "in");
        let failed = shell("echo no such thing >&2; exit 1").await.unwrap_err().to_string();
        assert!(failed.contains("exit status: 1") && failed.contains("no such thing"), "{failed}");
    }
}
