//! The commands, one file each: what they ask, what they print.
//!
//! Invariant: figures go to stdout and nothing else does; words about the work go
//! to stderr. An error says what failed, why, and what to do next.

pub(crate) mod import;
pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod view;

use miette::{IntoDiagnostic, Report, Result};
use std::process::ExitCode;
use tallyroll_edge::data_dir::DataDirError;
use tallyroll_engine::Kind;

/// The PIN itself, or the first line of stdin for `-`.
pub(crate) fn read_pin(pin: String) -> Result<String> {
    if pin != "-" {
        return Ok(pin);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).into_diagnostic()?;
    Ok(line.trim().to_owned())
}

/// An error and its causes on one line.
pub(crate) fn explain(error: &Report) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if parts.last().is_none_or(|last| !last.ends_with(&cause)) {
            parts.push(cause);
        }
    }
    parts.join(": ")
}

/// 75 for what may succeed later by itself, 1 for the rest.
pub(crate) fn exit_code(error: &Report) -> ExitCode {
    let temporary = error.chain().any(|cause| {
        let held = matches!(cause.downcast_ref(), Some(DataDirError::Held { .. }));
        let engine = cause.downcast_ref::<tallyroll_engine::Error>();
        held || engine.is_some_and(|error| matches!(error.kind(), Kind::Full | Kind::Retry))
    });
    ExitCode::from(if temporary { 75 } else { 1 })
}
