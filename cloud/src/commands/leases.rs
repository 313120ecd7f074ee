//! `leases`: where users' credits are, and what is taken off the books; `policy offline`.
//!
//! Invariant: the figures are printed as the cloud gave them, exact to a thousandth. What a lease is, and
//! who holds one, is the engine's.

use super::rates::OfflineArgument;
use super::table::{Column, Side, printable, table, time};
use super::view::{device, nameless, tell_apart};
use super::{Result, ask, print};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::{Ask, Offline};
use tallyroll_cloud::data_dir::DataDir;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LeasesArguments {
    #[command(subcommand)]
    command: Option<LeasesCommand>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum LeasesCommand {
    /// Take off the books what a device holds and will not bring back; it returns to the pool.
    WriteOff {
        /// The device's name or id.
        device: String,
        /// Whose; everybody's, if not said.
        user: Option<String>,
        /// For the log.
        #[arg(long)]
        reason: String,
        /// Also what the device may still spend: it is not frozen.
        #[arg(long)]
        in_use: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Shows where the credits are, or takes some off the books.
pub(crate) async fn run(dir: &DataDir, arguments: LeasesArguments) -> Result {
    match arguments.command {
        None => show(dir, arguments.json).await,
        Some(LeasesCommand::WriteOff { device, user, reason, in_use, json }) => {
            let done = ask(dir, "leases", Ask::WriteOff { device, user, reason, in_use }).await?;
            if json {
                print(&done)?;
                return Ok(ExitCode::SUCCESS);
            }
            for one in done.as_array().into_iter().flatten() {
                let text = |key: &str| printable(one[key].as_str().unwrap_or_default());
                let whose = printable(&whose(one));
                print(format!(
                    "{} of {whose} at {} written off: back in the pool; what is spent of that all the same is charged, and shown as `came after`",
                    text("credits"),
                    text("device-name"),
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn show(dir: &DataDir, json: bool) -> Result {
    let answer = ask(dir, "leases", Ask::Leases).await?;
    if json {
        print(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    let until = |row: &Value| row["spend-until"].as_u64().map_or("-".to_owned(), time);
    let right = |key: &'static str, title: &'static str| Column::key(key, title).on(Side::Right);
    let columns = [
        Column::of("user", &whose),
        Column::key("kind", "kind"),
        right("granted", "granted"),
        right("charged", "charged"),
        right("corrected", "corrected"),
        right("held", "held"),
        right("pool", "pool"),
    ];
    print(table(&columns, &rows("users")))?;
    let columns = [
        Column::of("user", &whose),
        Column::of("device", &device),
        right("leased", "leased"),
        right("frozen", "frozen"),
        right("spent", "spent"),
        right("written-off", "written off"),
        right("came-after", "came after"),
        right("overdrawn", "overdrawn"),
        right("copied", "copied"),
        Column::of("until", &until),
    ];
    let mut leases = rows("leases");
    tell_apart(&mut leases);
    if leases.is_empty() {
        eprintln!("Nothing was lent to a device yet; a device asks when somebody spends there.");
    } else {
        print(table(&columns, &leases))?;
    }
    let total = |key: &str| printable(answer["totals"][key].as_str().unwrap_or_default());
    print(format!(
        "in all: granted {} + corrected {} = charged {} + held {} + pool {} + leased {} + frozen {}",
        total("granted"),
        total("corrected"),
        total("charged"),
        total("held"),
        total("pool"),
        total("leased"),
        total("frozen"),
    ))?;
    if leases.iter().any(|row| row["frozen"] != "0.000") {
        eprintln!(
            "frozen: the device was restored, copied, revoked or retired, and may have spent it unseen; once that is \
             known, `tallyroll leases write-off DEVICE --reason TEXT` returns it to the pool"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose row it is.
fn whose(row: &Value) -> String {
    let id = row["subject"].as_str().or(row["alias"].as_str()).unwrap_or_default();
    row["user"].as_str().map_or_else(|| nameless(id), str::to_owned)
}

/// Lays down what devices do that are cut off, or says it.
pub(crate) async fn offline(dir: &DataDir, policy: Option<OfflineArgument>, json: bool) -> Result {
    let policy = policy.map(|policy| match policy {
        OfflineArgument::Stop => Offline::Stop,
        OfflineArgument::Overdraft { credits } => Offline::Overdraft(credits),
    });
    let told = ask(dir, "policy", Ask::Offline { policy }).await?;
    if json {
        print(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key: &str| printable(told[key].as_str().unwrap_or_default());
    match told["policy"].as_str() {
        Some("overdraft") => print(format!(
            "overdraft {}: a device that is cut off may charge so much beyond its leases; exposure {} x {} = {}",
            text("overdraft"),
            told["devices"],
            text("overdraft"),
            text("exposure"),
        ))?,
        _ => {
            print("stop: a device that is cut off stops at the end of its leases; exposure 0.000")?
        }
    }
    Ok(ExitCode::SUCCESS)
}
