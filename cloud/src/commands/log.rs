//! `log list`, `log show`, `log verify`: the events themselves, and whether they hold.
//!
//! Invariant: what does not verify exits with 3 and names the first bad position;
//! events that the store claims but no chain or signature bears out are missing,
//! not ignored.

use super::table::{Column, Side, table};
use super::{CommandError, DOES_NOT_HOLD, Result, ask, ask_each, print};
use clap::{ArgGroup, Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_schema::Receipt;

#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// List the logs held.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print events, JSON Lines.
    Show(ShowArguments),
    /// Recompute every chain and check every signature.
    Verify {
        /// A log's id, its beginning, or a device's name for its ledger; all, if absent.
        log: Option<String>,
        /// An old receipt (JSON) that the logs must bear out.
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").args(["log", "all"]).required(true))]
pub(crate) struct ShowArguments {
    /// A log's id, its beginning, or a device's name for its ledger; needed without --all.
    log: Option<String>,
    /// Every log.
    #[arg(long)]
    all: bool,
    /// The first seq, of each epoch.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// Events at most.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// As JSON, which it always is.
    #[arg(long)]
    json: bool,
}

/// Carries out a `log` command.
pub(crate) async fn run(dir: &DataDir, command: LogCommand) -> Result {
    match command {
        LogCommand::List { json } => list(dir, json).await,
        LogCommand::Show(ShowArguments { log, from, limit, .. }) => {
            let question = Ask::Show { log, from, limit };
            ask_each(dir, "log show", question, |event| print(&event)).await?;
            Ok(ExitCode::SUCCESS)
        }
        LogCommand::Verify { log, receipt, json } => {
            let receipt = receipt.map(|path| read_receipt(&path)).transpose()?;
            verify(dir, log, receipt, json).await
        }
    }
}

/// A receipt by itself, or one log of `status --json` or `log list --json` with its receipt.
fn read_receipt(path: &Path) -> Result<Receipt> {
    let read = || {
        let told: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let receipt = told.get("receipt").unwrap_or(&told);
        Ok(Receipt::deserialize(receipt)?)
    };
    read().map_err(|source| CommandError::Receipt { path: path.into(), source })
}

async fn list(dir: &DataDir, json: bool) -> Result {
    let logs = ask(dir, "log list", Ask::Logs).await?;
    if json {
        print(&logs)?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        Column::key("log", "log"),
        Column::of("epoch", &|row| row["epoch"].as_str().map_or("-".into(), epoch_counter)),
        Column::key("class", "class"),
        Column::key("device-name", "device"),
        Column::key("events", "events").on(Side::Right),
    ];
    print(table(&columns, logs.as_array().map_or(&[], Vec::as_slice)))?;
    Ok(ExitCode::SUCCESS)
}

fn epoch_counter(epoch: &str) -> String {
    epoch.split('-').next().unwrap_or_default().to_owned()
}

async fn verify(
    dir: &DataDir,
    log: Option<String>,
    receipt: Option<Receipt>,
    json: bool,
) -> Result {
    let mut logs = Vec::new();
    ask_each(dir, "log verify", Ask::Verify { log, receipt }, |found| {
        logs.push(found);
        Ok(())
    })
    .await?;
    let sum = |key: &str| logs.iter().filter_map(|log| log[key].as_u64()).sum::<u64>();
    let (held, chained, signed) = (sum("held"), sum("events"), sum("signed"));
    let wrong = |log: &&Value| !log["wrong"].is_null();
    let holds = held == chained && chained == signed && !logs.iter().any(|log| wrong(&log));
    if json {
        let found = json!({
            "holds": holds, "events": held, "chained": chained, "signed": signed, "logs": logs,
        });
        print(found)?;
    } else {
        show_verified(&logs)?;
        let equal = |is: bool| if is { "=" } else { "≠" };
        let (chain_sign, signature_sign) = (equal(held == chained), equal(chained == signed));
        print(format!(
            "{held} events {chain_sign} {chained} in verified chains {signature_sign} {signed} under verified signatures"
        ))?;
    }
    for log in logs.iter().filter(wrong) {
        let [position, why] = [0, 1].map(|at| log["wrong"][at].as_str().unwrap_or_default());
        eprintln!("tallyroll: does not hold at {position}: {why}");
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) })
}

fn show_verified(logs: &[Value]) -> Result<()> {
    let short = |row: &Value| {
        let log = row["log"].as_str().unwrap_or_default();
        log.get(..16).unwrap_or(log).to_owned()
    };
    let columns = [
        Column::of("log", &short),
        Column::key("class", "class"),
        Column::key("device-name", "device"),
        Column::key("held", "events").on(Side::Right),
        Column::key("events", "chained").on(Side::Right),
        Column::key("signed", "signed").on(Side::Right),
    ];
    print(table(&columns, logs))
}
