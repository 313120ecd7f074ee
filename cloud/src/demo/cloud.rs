//! The demo's cloud: `tallyroll serve`, as a process with files of its own.
//!
//! Invariant: after a kill it starts on the same files, at a new address, which
//! everybody who watches it hears of. It is asked through its own commands only.

use super::error::{DemoError, Result};
use super::process::{Daemon, ask};
use serde_json::Value;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tallyroll_schema::JoinUrl;
use tokio::sync::watch;

/// The cloud, running or not.
#[derive(Debug)]
pub(super) struct Cloud {
    program: PathBuf,
    data: PathBuf,
    outputs: PathBuf,
    process: Option<Daemon>,
    address: watch::Sender<SocketAddr>,
}

/// What a branch needs to join.
#[derive(Debug, Clone)]
pub(super) struct Invitation {
    /// Where and as whom.
    pub(super) url: JoinUrl,
    /// The secret.
    pub(super) pin: String,
}

impl Cloud {
    /// Starts a new cloud in `data`.
    pub(super) async fn start(program: &Path, data: PathBuf, outputs: &Path) -> Result<Self> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut cloud = Self {
            program: program.into(),
            data,
            outputs: outputs.into(),
            process: None,
            address: watch::Sender::new(nowhere),
        };
        cloud.restart().await?;
        Ok(cloud)
    }

    /// Starts it on the files it has.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let arguments = ["serve", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"];
        let mut arguments: Vec<&OsStr> = arguments.map(OsStr::new).into();
        arguments.push(self.data.as_os_str());
        let mut process = Daemon::start("cloud", &self.program, &arguments, &self.outputs, true)?;
        let ready = process.ready().await?;
        let address = ready.split(' ').find_map(|word| word.strip_prefix("quic="));
        let address = address.and_then(|address| address.parse().ok());
        let missing = || DemoError::answer("serve", "no address", &ready);
        self.address.send_replace(address.ok_or_else(missing)?);
        self.process = Some(process);
        Ok(())
    }

    /// Where it is, now and later.
    pub(super) fn address(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    /// Whether it was started and not killed.
    pub(super) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// An error if it died by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Daemon::check)
    }

    /// Asks for an invitation.
    pub(super) async fn enroll(&self, name: &str) -> Result<Invitation> {
        let printed = self.ask(&["enroll", name, "--json"], &[0]).await?;
        let invited: Value = serde_json::from_str(&printed).unwrap_or_default();
        let text = |key: &str| invited[key].as_str().unwrap_or_default().to_owned();
        match text("url").parse() {
            Ok(url) => Ok(Invitation { url, pin: text("pin") }),
            Err(_) => Err(DemoError::answer("enroll", "no join URL", &printed)),
        }
    }

    /// What a command prints about this cloud.
    pub(super) async fn ask(&self, command: &[&str], accepted: &[i32]) -> Result<String> {
        let mut arguments: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("--data"), self.data.as_os_str()]);
        ask(&self.program, &arguments, "", accepted).await
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Stops it gently.
    pub(super) async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }
}
