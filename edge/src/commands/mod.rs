//! The commands, one file each: what they ask, what they print.
//!
//! Invariant: figures go to stdout and nothing else does; words about the work go
//! to stderr. An error says what failed, why, and what to do next. A reader who
//! closed the pipe has seen enough: that is no failure.

pub(crate) mod act;
pub(crate) mod backup;
pub(crate) mod balance;
pub(crate) mod import;
mod input;
pub(crate) mod panel;
pub(crate) mod record;
pub(crate) mod restore;
pub(crate) mod rotate_keys;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod view;

use miette::{IntoDiagnostic, Report, Result};
use serde_json::Value;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use tallyroll_edge::backup::BackupError;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::{NotNow, Reach};
use tallyroll_edge::data_dir::DataDirError;
use tallyroll_engine::Kind;

/// What may succeed later by itself.
const TEMPORARY: u8 = 75;

/// The PIN itself, or the first line of stdin for `-`.
pub(crate) fn read_pin(pin: String) -> Result<String> {
    if pin != "-" {
        return Ok(pin);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).into_diagnostic()?;
    Ok(line.trim().to_owned())
}

/// The answer cannot be printed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write to stdout")]
pub(crate) struct Stdout(#[source] io::Error);

/// Prints a line of the answer.
pub(crate) fn print(line: impl std::fmt::Display) -> Result<()> {
    let mut out = io::stdout().lock();
    Ok(writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Stdout)?)
}

/// Tells on stderr if what is recorded stays here: the cloud refuses this device.
pub(crate) async fn warn_if_refused(way: &Reach) {
    let Ok(status) = way.ask(Ask::Status).await else { return }; // what was recorded was told
    let refused = status["why"].as_str().filter(|_| status["refused"] == true);
    if let Some(why) = refused.or(status["revoked-why"].as_str()) {
        let why = printable(why);
        eprintln!("tallyroll-edge: recorded here, but the cloud refuses this device: {why}");
    }
}

/// Text from outside must not steer the terminal that it is shown on.
pub(crate) fn printable(text: &str) -> String {
    // Marks that turn the direction of what follows would let one name write over another.
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Arguments that cannot be understood; they are quoted, and may hold anything.
pub(crate) fn explain_usage(error: &clap::Error) -> ExitCode {
    let quotes_control =
        std::env::args_os().any(|one| one.to_string_lossy().contains(char::is_control));
    let told = if error.use_stderr() && quotes_control {
        let text = error.to_string();
        let lines: Vec<String> = text.lines().map(printable).collect();
        writeln!(io::stderr(), "{}", lines.join("\n"))
    } else {
        error.print()
    };
    drop(told); // nobody reads
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Tells an error on stderr; returns the exit code it means.
pub(crate) fn tell(error: &Report) -> ExitCode {
    if let Some(Stdout(why)) = error.downcast_ref()
        && why.kind() == ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS;
    }
    eprintln!("tallyroll-edge: {}", explain(error));
    exit_code(error)
}

/// An error and its causes on one line.
fn explain(error: &Report) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if parts.last().is_none_or(|last| !last.contains(&cause)) {
            parts.push(cause);
        }
    }
    printable(&parts.join(": "))
}

/// What became of the lines of an input, the worst one last: where a person has to look, to try again is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// All is done.
    Taken,
    /// Some may be taken later, or nobody knows.
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

/// Tells of a line that was not taken, or not for sure: as JSON on stdout, else on stderr.
pub(crate) fn tell_line(json: bool, number: u64, why: &str, answer: Value) -> Result<()> {
    if json {
        let mut told = answer;
        told["line"] = number.into();
        return print(told);
    }
    eprintln!("line {number}: {}", printable(why));
    Ok(())
}

/// 3 for what does not verify, 75 for what may succeed later by itself, 1 for the rest.
fn exit_code(error: &Report) -> ExitCode {
    let backup = error.chain().find_map(|cause| cause.downcast_ref::<BackupError>());
    let temporary = error.chain().any(|cause| {
        let held = matches!(cause.downcast_ref(), Some(DataDirError::Held { .. }));
        let engine = cause.downcast_ref::<tallyroll_engine::Error>();
        let may_pass = engine.is_some_and(|why| matches!(why.kind(), Kind::Full | Kind::Retry));
        let system = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let full = matches!(system, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
        held || may_pass || full || cause.is::<NotNow>()
    });
    ExitCode::from(match backup {
        Some(BackupError::Damaged { .. }) => 3,
        Some(why) if why.is_temporary() => TEMPORARY,
        _ if temporary => TEMPORARY,
        _ => 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::WrapErr;
    use std::path::PathBuf;
    use tallyroll_edge::keeper::KeeperError;
    use tallyroll_engine::Error;

    fn code(error: Report) -> String {
        format!("{:?}", exit_code(&error))
    }

    #[test]
    fn only_what_may_pass_by_itself_is_temporary() {
        let [lasting, wrong, temporary] =
            [1, 3, 75].map(|code| format!("{:?}", ExitCode::from(code)));
        let root = || PathBuf::from("data");
        let full = || Error::Full("no space left on the device".into());
        let disk_full = || std::io::ErrorKind::StorageFull.into();
        let closed = || Error::Closed;
        let not_written =
            |why: ErrorKind| DataDirError::Io { doing: "write", path: root(), source: why.into() };
        let held = DataDirError::Held { root: root(), holder: "process 1 (run)".into() };
        for (error, expected) in [
            (Report::new(held).wrap_err("run"), &temporary),
            (NotNow::Silent { root: root(), holder: "process 1 (run)".into() }.into(), &temporary),
            (KeeperError::Open { root: root(), source: full() }.into(), &temporary),
            (KeeperError::Stopped(full()).into(), &temporary),
            (Report::new(NotNow::Busy("64 questions".into())).wrap_err("status"), &temporary),
            (KeeperError::Open { root: root(), source: closed() }.into(), &lasting),
            (KeeperError::Stopped(closed()).into(), &lasting),
            (miette::miette!("no such file"), &lasting),
            (BackupError::NoRoom { path: root(), source: disk_full() }.into(), &temporary),
            (BackupError::Store(full()).into(), &temporary),
            (BackupError::Taken { path: root() }.into(), &lasting),
            (BackupError::Damaged { path: root(), why: "a byte".into() }.into(), &wrong),
            (not_written(ErrorKind::StorageFull).into(), &temporary),
            (not_written(ErrorKind::NotFound).into(), &lasting),
        ] {
            assert_eq!(&code(error), expected);
        }
    }

    #[test]
    fn a_line_that_somebody_has_to_look_at_is_worse_than_one_that_may_go_in_later() {
        let worst =
            |lines: &[Outcome]| lines.iter().fold(Outcome::Taken, |worst, line| worst.max(*line));
        let code = |outcome: Outcome| format!("{:?}", ExitCode::from(outcome));
        let expected = [0, 1, 75].map(|code| format!("{:?}", ExitCode::from(code)));
        let (later, refused) = (Outcome::Later, Outcome::Refused);
        assert_eq!(
            [worst(&[]), worst(&[refused, later, Outcome::Taken]), worst(&[later, Outcome::Taken])]
                .map(code),
            expected
        );
    }

    #[test]
    fn what_is_quoted_cannot_steer_the_terminal() {
        assert_eq!(printable("jörg\u{1b}[2J\n\u{202e}"), "jörg\u{fffd}[2J\u{fffd}\u{fffd}");
        let error = miette::miette!("no file \u{1b}]0;title\u{7}");
        assert_eq!(explain(&error), "no file \u{fffd}]0;title\u{fffd}");
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = Error::Full("no space".into());
        let error: Report = KeeperError::Open { root: "data".into(), source: error }.into();
        assert_eq!(explain(&error), "cannot open data: no room: no space");
        let source = std::io::Error::other("no space; free some");
        let stopped: Report =
            KeeperError::Stopped(Error::Storage { doing: "opening", source }).into();
        assert_eq!(explain(&stopped).matches("no space").count(), 1, "quoted in the middle");
        let quoting = Err::<(), _>(std::io::Error::other("gone")).into_diagnostic();
        assert_eq!(explain(&quoting.wrap_err("asking: gone").unwrap_err()), "asking: gone");
    }
}
