//! The commands: what they ask, what they print.
//!
//! Invariant: answers go to stdout and nothing else does; words about the work go
//! to stderr. An error says what failed, why, and what to do next. A reader who
//! closed the pipe has seen enough: that is no failure.

pub(crate) mod accounts;
pub(crate) mod backup;
pub(crate) mod books;
pub(crate) mod doctor;
pub(crate) mod enroll;
pub(crate) mod fleet;
pub(crate) mod forks;
pub(crate) mod groups;
pub(crate) mod leases;
pub(crate) mod log;
mod out;
pub(crate) mod quarantine;
pub(crate) mod rates;
pub(crate) mod reconcile;
pub(crate) mod record;
pub(crate) mod restore;
pub(crate) mod serve;
mod sheet;
mod statement;
mod table;
pub(crate) mod users;
pub(crate) mod view;

use crate::demo::DemoError;
use serde_json::Value;
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tallyroll_cloud::backup::BackupError;
use tallyroll_cloud::control::reach::{ReachError, reach};
use tallyroll_cloud::control::{Ask, Failure};
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_cloud::rates::Unreadable;
use tallyroll_cloud::server::ServeError;

const TEMPORARY: u8 = 75;
const USAGE: u8 = 2;
const DOES_NOT_HOLD: u8 = 3;

/// What a command comes to.
pub(crate) type Result<T = ExitCode, E = CommandError> = std::result::Result<T, E>;

/// What became of the lines of an input, the worst one last: where a person has to look, to try again is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// All is done.
    Taken,
    /// Some may be taken later.
    Later,
    /// Some will never be taken.
    Refused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Taken => Self::SUCCESS,
            Outcome::Later => Self::from(TEMPORARY),
            Outcome::Refused => Self::FAILURE,
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The cloud cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The cloud cannot be reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The cloud cannot answer.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A file that was named cannot be used.
    #[error("{} holds no receipt", path.display())]
    Receipt {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<dyn Error>,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {}", path.display())]
    Unread {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is no rate card.
    #[error("{}:{}: {}", path.display(), why.line, why.what)]
    Rates {
        /// Which.
        path: PathBuf,
        /// Where, and what is expected.
        why: Unreadable,
    },
    /// The running cloud answers in a form that this command does not know.
    #[error("the cloud that runs is of another version than this command; use its own")]
    Answer(#[source] serde_json::Error),
    /// There is no backup, or nothing was put back.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A path cannot be made out.
    #[error("cannot find {}: {source}", path.display())]
    Place {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was asked for does not go together.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be made.
    #[error("cannot write {}", path.display())]
    Unwritten {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The figures do not go into a sheet.
    #[error("cannot make a sheet of it; --format csv has no such limits")]
    Sheet(#[source] Box<dyn Error>),
    /// The demo broke off.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The acts cannot be read.
    #[error("cannot read stdin")]
    Stdin(#[source] io::Error),
    /// The answer cannot be printed.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
}

impl CommandError {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Serve(why) => why.is_temporary(),
            Self::Reach(why) => why.is_temporary(),
            Self::Failed(failure) => failure.temporary,
            Self::Backup(why) => why.is_temporary(),
            Self::Receipt { .. }
            | Self::Unread { .. }
            | Self::Rates { .. }
            | Self::Answer(_)
            | Self::Place { .. }
            | Self::Usage(_)
            | Self::Unwritten { .. }
            | Self::Sheet(_)
            | Self::Demo(_)
            | Self::Stdin(_)
            | Self::Stdout(_) => false,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Backup(BackupError::Damaged { .. }) => DOES_NOT_HOLD,
            Self::Usage(_) => USAGE,
            _ if self.is_temporary() || is_full(self) => TEMPORARY,
            _ => 1,
        }
    }
}

/// Whether the user allows color.
pub(crate) fn color_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Arguments that cannot be understood; they are quoted, and may hold anything.
pub(crate) fn explain_usage(error: &clap::Error) -> ExitCode {
    let quotes_control =
        std::env::args_os().any(|one| one.to_string_lossy().contains(char::is_control));
    let told = if error.use_stderr() && quotes_control {
        let text = error.to_string();
        let lines: Vec<String> = text.lines().map(table::printable).collect();
        writeln!(io::stderr(), "{}", lines.join("\n"))
    } else {
        error.print()
    };
    drop(told); // nobody reads
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Tells an error on stderr; returns the exit code it means.
pub(crate) fn explain(error: &CommandError) -> ExitCode {
    if matches!(error, CommandError::Stdout(why) if why.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        // Some errors quote their cause already.
        if !text.contains(&why.to_string()) {
            text = format!("{text}: {why}");
        }
        cause = why.source();
    }
    if is_full(error) && !text.contains("free some") {
        text.push_str("; free some space on its disk, then do it again");
    }
    eprintln!("tallyroll: {}", table::printable(&text));
    ExitCode::from(error.exit_code())
}

/// Whether there was no room on a disk.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
        || error.source().is_some_and(is_full)
}

/// Asks a question whose answer has one part.
async fn ask(dir: &DataDir, purpose: &str, question: Ask) -> Result<Value> {
    let mut parts = Vec::new();
    ask_each(dir, purpose, question, |part| {
        parts.push(part);
        Ok(())
    })
    .await?;
    Ok(parts.pop().unwrap_or_default())
}

/// Asks a question; `each` gets the parts of the answer as they come.
async fn ask_each(
    dir: &DataDir,
    purpose: &str,
    question: Ask,
    mut each: impl FnMut(Value) -> Result<()>,
) -> Result<()> {
    let way = reach(dir, purpose).await?;
    let answered = async {
        let mut answer = way.ask(question).await?;
        while let Some(part) = answer.next().await? {
            each(part)?;
        }
        Ok(())
    };
    let answered = answered.await;
    way.close().await?; // a failed write explains more than an answer that broke off
    answered
}

/// Prints a line of the answer.
fn print(line: impl std::fmt::Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(CommandError::Stdout)
}
