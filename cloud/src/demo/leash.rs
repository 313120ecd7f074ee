//! The leash: what makes the kernel end a child when the demo is killed.
//!
//! A process can ask for that only itself, so the child starts as this binary, asks,
//! and becomes the real program, under the same process id. Invariant: a child whose
//! demo is gone already does not start. Where there is no such thing as a leash,
//! children end when their handles are dropped.

use super::error::{DemoError, Doing, Result};
use clap::{Args, Subcommand};
use rustix::process::{Pid, getppid};
#[cfg(target_os = "linux")]
use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The demo's inner command.
#[derive(Debug, Subcommand)]
pub(super) enum Inner {
    /// Become a program that ends when its parent does.
    Leash(Leash),
}

/// Who is to become what.
#[derive(Debug, Args)]
pub(super) struct Leash {
    /// The process that holds it.
    parent: u32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// A command that runs `program` on a leash of this process.
///
/// To be spawned from a thread that lives as long as the demo: the kernel lets go
/// when the thread that spawned ends.
pub(super) fn leashed(program: &Path) -> Result<tokio::process::Command> {
    if cfg!(not(target_os = "linux")) {
        return Ok(tokio::process::Command::new(program));
    }
    let own = std::env::current_exe().doing("find this program")?;
    let mut command = tokio::process::Command::new(own);
    command.args(["demo", "leash", &std::process::id().to_string(), "--"]).arg(program);
    Ok(command)
}

/// Becomes the program; returns only with the reason why not.
pub(super) fn become_program(leash: Leash) -> DemoError {
    #[cfg(target_os = "linux")]
    if let Err(why) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return DemoError::System { doing: "ask to end with the demo".into(), source: why.into() };
    }
    let parent = getppid().map(Pid::as_raw_nonzero);
    if parent.and_then(|id| u32::try_from(id.get()).ok()) != Some(leash.parent) {
        return DemoError::NoDemo;
    }
    let mut words = leash.program.into_iter();
    let program = words.next().unwrap_or_default();
    let source = Command::new(&program).args(words).exec();
    DemoError::System { doing: format!("start {}", program.display()), source }
}
