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
use std::error::Error;
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
        /// Old receipts that the logs must bear out: what a device's `status --json` printed then, or one receipt.
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
            let receipts = receipt.map(|path| read_receipts(&path)).transpose()?;
            verify(dir, log, receipts.unwrap_or_default(), json).await
        }
    }
}

/// All receipts of `status --json` or `log list --json`, of one log of those, or one by itself.
fn read_receipts(path: &Path) -> Result<Vec<Receipt>> {
    let read = || {
        let told: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        receipts(&told)
    };
    read().map_err(|source| CommandError::Receipt { path: path.into(), source })
}

fn receipts(told: &Value) -> Result<Vec<Receipt>, Box<dyn Error>> {
    let Some(logs) = told.get("logs").unwrap_or(told).as_array() else {
        let receipt = told.get("receipt").unwrap_or(told);
        return Ok(vec![Receipt::deserialize(receipt)?]);
    };
    let theirs = logs.iter().map(|log| &log["receipt"]).filter(|receipt| !receipt.is_null());
    let receipts = theirs.map(Receipt::deserialize).collect::<Result<Vec<_>, _>>()?;
    match receipts.is_empty() {
        true => Err("none of its logs had one then".into()),
        false => Ok(receipts),
    }
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

async fn verify(dir: &DataDir, log: Option<String>, receipts: Vec<Receipt>, json: bool) -> Result {
    let mut logs = Vec::new();
    ask_each(dir, "log verify", Ask::Verify { log, receipts }, |found| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{
        Commit, CommitPosition, EpochId, Hash, Head, LogId, Position, Signature, Wall,
    };

    #[test]
    fn receipts_are_found_in_what_was_printed_with_them() {
        let epoch = EpochId { counter: 0, nonce: [2; 16] };
        let head =
            Head { position: Position { log: LogId([1; 32]), epoch, seq: 7 }, hash: Hash([3; 32]) };
        let commit =
            Commit { position: CommitPosition { epoch: 1, index: 2 }, received_at: Wall(9) };
        let receipt = Receipt { head, commit, signature: Signature([4; 64]) };
        let with = json!({ "class": "ledger", "receipt": receipt });
        let without = json!({ "class": "telemetry", "receipt": null });
        let status = json!({ "name": "branch", "logs": [with, without, with] });
        for (told, found) in
            [(json!(receipt), 1), (with.clone(), 1), (status, 2), (json!([without, with]), 1)]
        {
            assert_eq!(receipts(&told).unwrap(), vec![receipt; found], "{told}");
        }
        for none in [json!({}), json!([without]), json!({ "logs": [] }), without] {
            receipts(&none).unwrap_err();
        }
    }
}
