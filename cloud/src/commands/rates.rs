//! `rates`, `policy`: what things cost, how jobs settle and how balances are told.
//!
//! Invariant: a wrong file is told with its line before anything is asked of the
//! cloud, and nothing of it is published. The file's form is [`tallyroll_cloud::rates`]'s.

use super::{CommandError, Result, ask, print};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_cloud::rates::{read, write};
use tallyroll_schema::Credits;
use tallyroll_schema::event::balances::SyncMode;
use tallyroll_schema::event::counts::{RateCard, SettlementPolicy};
use tallyroll_schema::limits::local::CLOUD_QUESTION_BYTES_MAX;

#[derive(Subcommand)]
pub(crate) enum RatesCommand {
    /// Read a rate card's file and say whether it could be published.
    Check {
        /// A TOML file, as `rates show` prints it.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish a file's prices as the next rate card; what was charged before stays as it is.
    Publish {
        /// A TOML file, as `rates show` prints it.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a rate card as the file that would publish it.
    Show {
        /// Which; the newest, if not said.
        #[arg(long)]
        version: Option<u32>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// How jobs settle that begin from now on; says how they do when no policy is given.
    Settlement {
        /// The policy.
        #[arg(value_enum)]
        policy: Option<PolicyArgument>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What devices do that spent their leases while they are cut off; says it when nothing is given.
    Offline {
        /// `stop`, or `overdraft CREDITS` for each device.
        #[command(subcommand)]
        policy: Option<OfflineArgument>,
        /// As JSON.
        #[arg(long, global = true)]
        json: bool,
    },
    /// How devices at which the user's job runs come by a new balance; says it when no mode is given.
    Sync {
        /// The mode.
        #[arg(value_enum)]
        mode: Option<SyncArgument>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A policy for who is cut off, as an argument.
#[derive(Clone, Copy, Subcommand)]
pub(crate) enum OfflineArgument {
    /// They stop.
    Stop,
    /// Each may charge so much more, all its users together, until it is restored or copied.
    Overdraft {
        /// Credits.
        credits: Credits,
    },
}

/// A sync mode, as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SyncArgument {
    /// The cloud waits for the end of the user's job, then tells the device.
    Wait,
    /// The cloud sets a flag and is done; the device asks after the user's last job.
    Flag,
}

/// A policy, as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PolicyArgument {
    /// What is sent or saved replaces what the scan cost; what is deleted costs nothing.
    ServerSettles,
    /// What is sent or saved comes on top of what the scan cost.
    Additive,
}

/// Checks, publishes or shows rate cards.
pub(crate) async fn run(dir: &DataDir, command: RatesCommand) -> Result {
    match command {
        RatesCommand::Check { file, json } => {
            let finer = card_of(&file)?.finer.map_or(0, |finer| finer.len());
            if json {
                print(json!({ "file": file, "finer-prices": finer }))?;
            } else {
                print(format!("{}: a rate card, with {finer} finer prices", file.display()))?;
            }
        }
        RatesCommand::Publish { file, json } => {
            let card = card_of(&file)?;
            let published = ask(dir, "rates", Ask::PublishRates { card }).await?;
            let version = published["version"].as_u64().unwrap_or_default();
            match (json, &published["position"]) {
                (true, _) => print(&published)?,
                (false, Value::Null) => {
                    print(format!("these prices are in force already, as version {version}"))?;
                }
                (false, _) => print(format!("published as version {version}"))?,
            }
        }
        RatesCommand::Show { version, json } => {
            let card = ask(dir, "rates", Ask::Rates { version }).await?;
            if json {
                print(&card)?;
                return Ok(ExitCode::SUCCESS);
            }
            let card: RateCard = serde_json::from_value(card).map_err(CommandError::Answer)?;
            print(format!("# Rate card, version {}.\n{}", card.version, write(&card).trim_end()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lays down a policy, or says it.
pub(crate) async fn policy(dir: &DataDir, command: PolicyCommand) -> Result {
    let (question, json) = match command {
        PolicyCommand::Offline { policy, json } => {
            return super::leases::offline(dir, policy, json).await;
        }
        PolicyCommand::Settlement { policy, json } => {
            let policy = policy.map(|policy| match policy {
                PolicyArgument::ServerSettles => SettlementPolicy::ServerSettles,
                PolicyArgument::Additive => SettlementPolicy::Additive,
            });
            (Ask::Settlement { policy }, json)
        }
        PolicyCommand::Sync { mode, json } => {
            let mode = mode.map(|mode| match mode {
                SyncArgument::Wait => SyncMode::Wait,
                SyncArgument::Flag => SyncMode::Flag,
            });
            (Ask::SyncMode { mode }, json)
        }
    };
    let in_force = ask(dir, "policy", question).await?;
    if json {
        print(&in_force)?;
    } else {
        print(in_force["policy"].as_str().unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn card_of(file: &Path) -> Result<RateCard> {
    let unread = |source| CommandError::Unread { path: file.to_owned(), source };
    let mut bytes = Vec::new();
    let most = CLOUD_QUESTION_BYTES_MAX as u64 + 1; // one more tells that there is more
    File::open(file).map_err(unread)?.take(most).read_to_end(&mut bytes).map_err(unread)?;
    read(&bytes).map_err(|why| CommandError::Rates { path: file.to_owned(), why })
}
