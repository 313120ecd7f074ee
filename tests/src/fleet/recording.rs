//! A running `record`: lines in, answers out, at the same time.
//! Owns its process and its pipes; what the lines say is left to those who write them.
//! Invariant: answers come in the order of the lines; a line without an answer may or may not be recorded.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::Value;
use tallyroll_schema::Position;

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is durable, there.
    At(Position),
    /// Anything else that was answered.
    Other(String),
}

/// A `record` that runs; it is killed when dropped.
#[derive(Debug)]
pub struct Recording {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Answer>,
}

impl Recording {
    /// Starts `command`, a `record --json` of some branch.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            // A line that was torn by a kill is no answer.
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(answer) = read(&line)
                    && sender.send(answer).is_err()
                {
                    return;
                }
            }
        });
        Self { child, stdin, answers }
    }

    /// Hands over whole lines; false if nobody takes them any more.
    pub fn write(&mut self, lines: &str) -> bool {
        let Some(stdin) = &mut self.stdin else { return false };
        stdin.write_all(lines.as_bytes()).and_then(|()| stdin.flush()).is_ok()
    }

    /// Says that no more lines come.
    pub fn finish(&mut self) {
        self.stdin = None;
    }

    /// The next answer, if there is one within `limit`.
    ///
    /// # Errors
    /// It has ended, and all its answers were given; or none came in time.
    pub fn answer(&self, limit: Duration) -> Result<Answer, RecvTimeoutError> {
        self.answers.recv_timeout(limit)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        drop(self.child.kill()); // it may have ended by itself
        drop(self.child.wait());
    }
}

fn read(line: &str) -> Option<Answer> {
    let value: Value = serde_json::from_str(line).ok()?;
    let position = value["position"].as_str().and_then(|text| text.parse().ok());
    Some(position.map_or_else(|| Answer::Other(line.to_owned()), Answer::At))
}
