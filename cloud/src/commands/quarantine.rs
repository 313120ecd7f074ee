//! `quarantine`: what was not taken in and why, and what is to become of it.
//!
//! Invariant: lists and shows without a trace; what is released or discarded is durable when
//! it is printed. What still cannot be released exits with 3 and stays.

use super::table::{Column, Side, printable, table, time};
use super::{DOES_NOT_HOLD, Result, ask, ask_each, print};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;

#[derive(Args)]
pub(crate) struct QuarantineArguments {
    #[command(subcommand)]
    command: Option<QuarantineCommand>,
    /// As JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum QuarantineCommand {
    /// List what is in quarantine, and what was discarded of revoked devices.
    List,
    /// Print an entry and its events, JSON Lines.
    Show {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Take in what is in it, if it verifies now; if not, say what is wrong, and exit with 3.
    Release(DecisionArguments),
    /// Delete what is in it; its hash is kept. The device may send a sound history; of a revoked one nothing up to there
    /// is asked for again.
    Discard(DecisionArguments),
}

#[derive(Args)]
struct DecisionArguments {
    /// Its id, or the beginning of it.
    id: String,
    /// For the log.
    #[arg(long, default_value = "")]
    reason: String,
}

/// Carries out a `quarantine` command.
pub(crate) async fn run(dir: &DataDir, arguments: QuarantineArguments) -> Result {
    let json = arguments.json;
    match arguments.command.unwrap_or(QuarantineCommand::List) {
        QuarantineCommand::List => list(dir, json).await,
        QuarantineCommand::Show { id } => {
            let question = Ask::QuarantineShow { id };
            ask_each(dir, "quarantine show", question, |line| print(&line)).await?;
            Ok(ExitCode::SUCCESS)
        }
        QuarantineCommand::Release(DecisionArguments { id, reason }) => {
            let decided =
                ask(dir, "quarantine release", Ask::QuarantineRelease { id, reason }).await?;
            tell(&decided, json, "released: its events count from now on")
        }
        QuarantineCommand::Discard(DecisionArguments { id, reason }) => {
            let decided =
                ask(dir, "quarantine discard", Ask::QuarantineDiscard { id, reason }).await?;
            let done = match decided["revoked"] == true {
                true => "discarded, and not asked for again: the device is revoked",
                false => "discarded: the device may send a sound history in its place",
            };
            tell(&decided, json, done)
        }
    }
}

async fn list(dir: &DataDir, json: bool) -> Result {
    let open = ask(dir, "quarantine", Ask::Quarantine).await?;
    if json {
        print(&open)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = open.as_array().into_iter().flatten().cloned();
    let (open, discarded): (Vec<_>, Vec<_>) = rows.partition(|row| row["discarded"].is_null());
    if open.is_empty() {
        print("Nothing is in quarantine.")?;
    } else {
        print(rows_since("since", &open))?;
        eprintln!(
            "`tallyroll quarantine show ID` prints the events; `release ID` takes them in, if they verify; \
             `discard ID` deletes them and lets the log go on"
        );
    }
    if !discarded.is_empty() {
        print("Discarded of revoked devices, and not asked for again:")?;
        print(rows_since("discarded", &discarded))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rows_since(when: &str, rows: &[Value]) -> String {
    let at = |row: &Value| time(row[when].as_u64().unwrap_or_default());
    let columns = [
        Column::key("id", "id"),
        Column::of("device", &device),
        Column::of("log", &|row| text(row, "log").chars().take(16).collect()),
        Column::of(when, &at),
        Column::key("first-seq", "from seq").on(Side::Right),
        Column::key("count", "events").on(Side::Right),
        Column::key("reason", "why"),
    ];
    table(&columns, rows)
}

fn tell(decided: &Value, json: bool, done: &str) -> Result {
    let still = decided["still"].as_str();
    if json {
        print(decided)?;
    } else if still.is_none() {
        print(format!("{} of {} is {done}", text(decided, "id"), device(decided)))?;
    }
    if let Some(still) = still {
        eprintln!(
            "tallyroll: {} stays in quarantine: {still}; discard it, or release it with a version that reads it",
            text(decided, "id")
        );
        return Ok(ExitCode::from(DOES_NOT_HOLD));
    }
    Ok(ExitCode::SUCCESS)
}

fn device(row: &Value) -> String {
    printable(row["device-name"].as_str().unwrap_or_else(|| text(row, "device")))
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}
