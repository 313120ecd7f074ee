//! One branch of the demo: a growing page_log, the agent, the importer that follows.
//!
//! Invariant: all that happens here goes through the edge's commands, as at a real
//! branch. The page_log grows whether or not anybody reads it; after a kill it is
//! read again from its first line. A command is run only while no kill is under way.

use super::cloud::{Cloud, Invitation};
use super::error::{DemoError, Doing, Result};
use super::process::{Daemon, ask, stdout_path};
use super::relay::Relay;
use super::workload::BranchWork;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A branch and its processes.
#[derive(Debug)]
pub(super) struct Branch {
    /// The name it is enrolled under.
    pub(super) name: String,
    /// Its line to the cloud.
    pub(super) relay: Relay,
    /// How far it was when last asked.
    pub(super) progress: Progress,
    desk: Desk,
    page_log: PathBuf,
    growing: File,
    lines: Vec<String>,
    fed: usize,
    agent: Option<Daemon>,
    importer: Option<Daemon>,
}

/// How far a branch's events have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Durable at the branch.
    pub(super) written: u64,
    /// Durable at the cloud.
    pub(super) at_cloud: u64,
    /// The agent says its link is up.
    pub(super) linked: bool,
}

impl Progress {
    /// Events that the cloud does not have yet.
    pub(super) fn to_go(self) -> u64 {
        self.written.saturating_sub(self.at_cloud)
    }
}

/// What an importer says at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Imported {
    /// Lines read.
    pub(super) lines: u64,
    /// Of these, counted before.
    pub(super) already: u64,
}

/// Where the edge's commands about one branch are given.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    program: PathBuf,
    data: PathBuf,
    outputs: PathBuf,
}

impl Branch {
    /// Enrols a branch in `folder` and starts it.
    pub(super) async fn open(
        program: &Path,
        folder: PathBuf,
        outputs: &Path,
        work: &BranchWork,
        cloud: &Cloud,
    ) -> Result<Self> {
        let relay = Relay::start(cloud.address()).await.doing("lay a line")?;
        let desk =
            Desk { program: program.into(), data: folder.join("data"), outputs: outputs.into() };
        let Invitation { mut url, pin } = cloud.enroll(&work.branch).await?;
        url.port = relay.address.port();
        // By stdin: a PIN on a command line is seen by everyone on the machine.
        desk.ask(&["join", &url.to_string(), "--pin", "-"], &pin).await?;
        let page_log = folder.join("page_log");
        let growing = File::options().append(true).create_new(true).open(&page_log);
        let mut branch = Self {
            name: work.branch.clone(),
            relay,
            progress: Progress::default(),
            desk,
            growing: growing.doing(format!("make {}", page_log.display()))?,
            page_log,
            lines: work.lines().map(str::to_owned).collect(),
            fed: 0,
            agent: None,
            importer: None,
        };
        branch.start().await?;
        Ok(branch)
    }

    /// Starts the agent, and an importer that reads the page_log from its first line on.
    pub(super) async fn start(&mut self) -> Result<()> {
        let mut agent =
            self.desk.daemon(&format!("{}.agent", self.name), &["run".as_ref()], true)?;
        agent.ready().await?;
        self.agent = Some(agent);
        let import: [&OsStr; 5] = [
            "import".as_ref(),
            "page-log".as_ref(),
            self.page_log.as_os_str(),
            "--follow".as_ref(),
            "--json".as_ref(),
        ];
        self.importer = Some(self.desk.daemon(&importer_name(&self.name), &import, false)?);
        Ok(())
    }

    /// CUPS goes on logging until `share` of the work is in the page_log.
    pub(super) fn print(&mut self, share: f64) -> Result<()> {
        let until = ((self.lines.len() as f64) * share.clamp(0.0, 1.0)).round() as usize;
        let text: String = self.lines.get(self.fed..until).unwrap_or_default().concat();
        self.fed = self.fed.max(until);
        self.growing.write_all(text.as_bytes()).doing("write a page_log")
    }

    /// Lines in the page_log, and lines it will have.
    pub(super) fn printed(&self) -> (usize, usize) {
        (self.fed, self.lines.len())
    }

    /// Whether its processes were started and not killed.
    pub(super) fn runs(&self) -> bool {
        self.agent.is_some()
    }

    /// Where its commands are given.
    pub(super) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// An error if one of its processes died by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        let mut running = self.agent.iter_mut().chain(&mut self.importer);
        running.try_for_each(Daemon::check)
    }

    /// SIGKILL for the agent and its importer.
    pub(super) async fn kill(&mut self) -> Result<()> {
        for process in [self.importer.take(), self.agent.take()].into_iter().flatten() {
            process.kill().await?;
        }
        self.progress.linked = false;
        Ok(())
    }

    /// Lets the importer read to the end of the page_log and stop.
    pub(super) async fn finish_import(&mut self) -> Result<Imported> {
        if let Some(importer) = self.importer.take() {
            importer.stop().await?;
        }
        let path = stdout_path(&self.desk.outputs, &importer_name(&self.name));
        let said = std::fs::read_to_string(&path).doing(format!("read {}", path.display()))?;
        let summary: Value =
            serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
        match ["lines", "already"].map(|key| summary[key].as_u64()) {
            [Some(lines), Some(already)] => Ok(Imported { lines, already }),
            _ => Err(DemoError::answer("import", "no summary", &said)),
        }
    }

    /// Stops the agent gently.
    pub(super) async fn stop(&mut self) -> Result<()> {
        match self.agent.take() {
            Some(agent) => agent.stop().await,
            None => Ok(()),
        }
    }
}

impl Desk {
    /// What a command prints about this branch.
    pub(super) async fn ask(&self, command: &[&str], stdin: &str) -> Result<String> {
        let command: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
        ask(&self.program, &self.with_data(&command), stdin, &[0]).await
    }

    /// How far its events have come.
    pub(super) async fn progress(&self) -> Result<Progress> {
        let printed = self.ask(&["status", "--json"], "").await?;
        let status: Value = serde_json::from_str(&printed).unwrap_or_default();
        let logs = status["logs"].as_array();
        let logs = logs.ok_or_else(|| DemoError::answer("status", "no logs", &printed))?;
        let sum = |key: &str| logs.iter().filter_map(|log| log[key].as_u64()).sum();
        Ok(Progress {
            written: sum("durable-local"),
            at_cloud: sum("durable-cloud"),
            linked: status["link"] == "up",
        })
    }

    /// Where its agent's panel is.
    pub(super) fn panel_socket(&self) -> PathBuf {
        self.data.join("panel.sock")
    }

    fn daemon(&self, name: &str, command: &[&OsStr], speaks: bool) -> Result<Daemon> {
        Daemon::start(name, &self.program, &self.with_data(command), &self.outputs, speaks)
    }

    fn with_data<'a>(&'a self, command: &[&'a OsStr]) -> Vec<&'a OsStr> {
        [command, &["--data".as_ref(), self.data.as_os_str()]].concat()
    }
}

fn importer_name(branch: &str) -> String {
    format!("{branch}.importer")
}
