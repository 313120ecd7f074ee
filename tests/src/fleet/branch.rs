//! A branch: one device's directory, its agent's process, and its command line.
//! Owns waiting for it; how a process is started and ended is `process`'s.
//! Invariant: commands work whether the agent runs or not, as they do for its users.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::{Process, Ran, run};
use super::{Invitation, PATIENCE, Programs, Recording, calendar, wait_for, wait_until};

/// What a command says, and an agent ends with, while another process holds the directory.
const TEMPORARY: i32 = 75;

/// A device.
#[derive(Debug)]
pub struct Branch {
    data: PathBuf,
    programs: Programs,
    day: Option<&'static str>,
    agent: Option<Process>,
}

/// How far a device's events have come, both logs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Durable at the device.
    pub local: u64,
    /// Durable at the cloud, as far as the device was told.
    pub cloud: u64,
    /// Whether the link is up.
    pub linked: bool,
}

impl Branch {
    /// The device in `data`, joined or not.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self { data, programs: Programs::default(), day: None, agent: None }
    }

    /// Has its processes be of another build from now on.
    pub fn set_programs(&mut self, programs: &Programs) {
        self.programs = programs.clone();
    }

    /// Has its processes begin on a day, `2031-01-20`, from now on.
    pub fn set_day(&mut self, day: &'static str) {
        self.day = Some(day);
    }

    /// The same device without its agent, for a thread of its own that runs commands.
    #[must_use]
    pub fn commands(&self) -> Self {
        Self {
            data: self.data.clone(),
            programs: self.programs.clone(),
            day: self.day,
            agent: None,
        }
    }

    /// Joins with an invitation and starts the agent.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn joined(data: PathBuf, invitation: &Invitation) -> Self {
        let mut branch = Self::new(data);
        drop(branch.join(invitation).succeeded());
        branch.start();
        branch
    }

    /// Where its files lie.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Changes a file of its identity by hand, as who takes its checksum away may.
    ///
    /// # Panics
    /// There is no such file.
    pub fn edit_identity(&self, name: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let file = self.data.join("identity").join(name);
        let mut members: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).expect("it is read")).expect("it is JSON");
        members.as_object_mut().expect("it is an object").remove("checksum");
        edit(&mut members);
        std::fs::write(&file, members.to_string()).expect("it is written");
    }

    /// The agent's process id, if it runs.
    #[must_use]
    pub fn agent_id(&self) -> Option<u32> {
        self.agent.as_ref().map(Process::id)
    }

    /// Whether the agent runs; one that was started and does not has ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.agent.as_mut().is_some_and(Process::is_running)
    }

    /// Runs `tallyroll-edge join`.
    #[track_caller]
    pub fn join(&self, invitation: &Invitation) -> Ran {
        self.run(&["join", &invitation.url, "--pin", &invitation.pin])
    }

    /// Starts the agent; waits while a command holds the directory.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the agent with options of `run`.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_with(&mut self, options: &[&str]) {
        let started = wait_for(PATIENCE, "the directory is free for the agent", || {
            match self.try_start_with(options) {
                Ok(agent) => Some(agent),
                Err(ran) if ran.code() == Some(TEMPORARY) => None,
                Err(ran) => panic!("the agent does not start: {ran:?}"),
            }
        });
        self.agent = Some(started);
    }

    /// Starts an agent on the directory.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn try_start(&self) -> Result<Process, Ran> {
        self.try_start_with(&[])
    }

    fn try_start_with(&self, options: &[&str]) -> Result<Process, Ran> {
        let arguments = [&["run"], options].concat();
        Process::start(&mut self.command(&arguments), &self.data.with_extension("stderr"))
    }

    /// Ends the agent with SIGKILL.
    pub fn kill_9(&mut self) {
        drop(self.agent.take());
    }

    /// Ends the agent with SIGTERM.
    ///
    /// # Panics
    /// When it runs and does not end well.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(agent) = self.agent.take() {
            let status = agent.stop();
            assert!(status.success(), "the agent ended with {status}");
        }
    }

    /// Runs `tallyroll-edge ARGUMENTS` on it.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"")
    }

    /// The same, with `input` on stdin.
    #[track_caller]
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        run(&mut self.command(arguments), input)
    }

    /// What `tallyroll-edge ARGUMENTS --json` answers.
    ///
    /// # Panics
    /// When it fails, or prints no JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat()).succeeded();
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {text}"))
    }

    /// How far the events of its open epochs have come.
    #[track_caller]
    #[must_use]
    pub fn standing(&self) -> Standing {
        let status = self.json(&["status"]);
        let sum = |key: &str| {
            let logs = status["logs"].as_array().expect("status tells of logs");
            // The first version knew no epoch but the first, and said nothing of it.
            let open = logs.iter().filter(|log| log["open"] != false);
            open.map(|log| log[key].as_u64().expect("a count")).sum()
        };
        let linked = status["link"] == "up";
        Standing { local: sum("durable-local"), cloud: sum("durable-cloud"), linked }
    }

    /// Waits until all that is durable here is durable at the cloud.
    ///
    /// # Panics
    /// When it is not within `limit`.
    #[track_caller]
    pub fn wait_synced(&self, limit: Duration) {
        let what = format!("{} is synced", self.data.display());
        wait_until(limit, &what, || {
            let standing = self.standing();
            standing.linked && standing.local == standing.cloud
        });
    }

    /// Starts `record`, to be fed line by line.
    #[must_use]
    pub fn record(&self) -> Recording {
        Recording::start(&mut self.command(&["record", "--json"]))
    }

    /// `tallyroll-edge ARGUMENTS` on it, not started yet.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path("tallyroll-edge"));
        command.args(arguments).arg("--data").arg(&self.data);
        if let Some(day) = self.day {
            calendar::on(&mut command, day);
        }
        command
    }
}
