//! The cloud's process, and its command line.
//! Invariant: it comes back on the port it was first given, so branches find it again; that port is none the
//! system hands out by itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use super::process::{Process, Ran, run};
use super::{Programs, calendar};

/// Ports from here to there are below those that Linux gives to sockets that ask for none.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A cloud on loopback.
#[derive(Debug)]
pub struct Cloud {
    data: PathBuf,
    programs: Programs,
    port: u16,
    public: Option<SocketAddr>,
    day: Option<&'static str>,
    process: Option<Process>,
}

/// What `enroll` printed.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// What to join.
    pub url: String,
    /// With what.
    pub pin: String,
}

impl Cloud {
    /// Starts a new cloud that keeps everything in `data`.
    #[must_use]
    pub fn start(data: PathBuf) -> Self {
        Self::start_on(data, None)
    }

    /// Starts one whose calendar shows a day, `2031-01-20`, and goes on from there.
    #[must_use]
    pub fn start_on(data: PathBuf, day: Option<&'static str>) -> Self {
        let mut cloud = Self::new(data);
        cloud.day = day;
        cloud.start_again();
        cloud
    }

    /// Starts one of another build.
    #[must_use]
    pub fn start_of(data: PathBuf, programs: &Programs) -> Self {
        let mut cloud = Self::new(data);
        cloud.set_programs(programs);
        cloud.start_again();
        cloud
    }

    fn new(data: PathBuf) -> Self {
        let (port, programs) = (free_port(), Programs::default());
        Self { data, programs, port, public: None, day: None, process: None }
    }

    /// Has its processes be of another build, from the next one on.
    pub fn set_programs(&mut self, programs: &Programs) {
        self.programs = programs.clone();
    }

    /// Starts its process anew, on another day.
    pub fn wake_on(&mut self, day: &'static str) {
        self.stop();
        self.day = Some(day);
        self.start_again();
    }

    /// Has invitations name another address than the one it listens on, as behind a forwarder.
    pub fn publish_as(&mut self, public: SocketAddr) {
        self.public = Some(public);
        self.stop();
        self.start_again();
    }

    /// Starts its process anew.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&mut self) {
        self.start_with(&[]);
    }

    /// Starts its process anew, with options of `serve`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with(&mut self, options: &[&str]) {
        let mut serving = self.serving();
        serving.args(options);
        let started = Process::start(&mut serving, &self.data.with_extension("stderr"));
        self.process =
            Some(started.unwrap_or_else(|ran| panic!("the cloud does not start: {ran:?}")));
    }

    /// `tallyroll serve` for it, not started yet.
    #[must_use]
    pub fn serving(&self) -> Command {
        let mut command = self.command(&["serve", "--http", "127.0.0.1:0"]);
        command.arg("--quic").arg(self.addr().to_string());
        if let Some(public) = self.public {
            command.arg("--public").arg(public.to_string());
        }
        command
    }

    /// Where it listens for branches.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its process id, if it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where it serves health and metrics.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn http(&self) -> &str {
        self.process.as_ref().expect("the cloud runs").said("http")
    }

    /// Where its files lie.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id, if it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Whether its process runs; one that was started and does not has ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Ends it with SIGKILL.
    pub fn kill_9(&mut self) {
        drop(self.process.take());
    }

    /// Ends it with SIGTERM.
    ///
    /// # Panics
    /// When it runs and does not end well.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            let status = process.stop();
            assert!(status.success(), "the cloud ended with {status}");
        }
    }

    /// Runs `tallyroll ARGUMENTS` on it.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments), b"")
    }

    /// What `tallyroll ARGUMENTS --json` answers.
    ///
    /// # Panics
    /// When it fails, or prints no JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat()).succeeded();
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {text}"))
    }

    /// What `tallyroll ARGUMENTS --json` answers, a value a line.
    ///
    /// # Panics
    /// When it fails, or prints no JSON Lines.
    #[track_caller]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[arguments, &["--json"]].concat()).succeeded();
        let read = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        text.lines().map(read).collect()
    }

    /// Invites a device.
    ///
    /// # Panics
    /// When the cloud does not.
    #[track_caller]
    #[must_use]
    pub fn enroll(&self, name: &str) -> Invitation {
        self.enroll_with(&[name])
    }

    /// Invites with options of `enroll`.
    ///
    /// # Panics
    /// When the cloud does not.
    #[track_caller]
    #[must_use]
    pub fn enroll_with(&self, arguments: &[&str]) -> Invitation {
        let answer = self.json(&[&["enroll"], arguments].concat());
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Invitation { url: text("url"), pin: text("pin") }
    }

    /// Every event it holds, as `{"position", "device", "class", "wall", "event"}`.
    #[track_caller]
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.json_lines(&["log", "show", "--all"])
    }

    /// `tallyroll ARGUMENTS` on it, not started yet.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path("tallyroll"));
        command.args(arguments).arg("--data").arg(&self.data);
        if let Some(day) = self.day {
            calendar::on(&mut command, day);
        }
        command
    }
}

/// A port that is free now and stays so while a cloud is away: only a test would ask for it.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ports = PORTS.len() as u32;
    for _ in 0..ports {
        // Test processes that run at the same time start at places of their own.
        let place = std::process::id() * 97 + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(place % ports).unwrap_or_default();
        let at = (Ipv4Addr::LOCALHOST, port);
        if UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok() {
            return port;
        }
    }
    panic!("no port from {PORTS:?} is free for UDP and TCP");
}
