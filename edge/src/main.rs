//! `tallyroll-edge`: the command line of one device.
//!
//! Owns arguments, output and exit codes: 0 ok, 1 failure, 2 usage, 3 a
//! verification did not hold, 75 temporary. Every command finds the running agent
//! through its socket, or works on the files when none runs. What the commands do
//! is in [`commands`].

mod commands;

use clap::{Parser, Subcommand};
use commands::import::ImportArguments;
use commands::run::RunArguments;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tallyroll_edge::agent;
use tallyroll_edge::control::Ask;
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::link::join::join;
use tallyroll_schema::JoinUrl;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Counts what a printer does, keeps it, and brings it to the cloud.
#[derive(Parser)]
#[command(name = "tallyroll-edge", version)]
struct Arguments {
    /// Where everything of this device lies.
    #[arg(long, global = true, default_value = "tallyroll-edge-data", env = "TALLYROLL_EDGE_DATA")]
    data: PathBuf,
    /// What to log to stderr, as `info` or `tallyroll_edge=debug`.
    #[arg(long, global = true, default_value = "info", env = "TALLYROLL_LOG")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine a device of a fleet; `tallyroll enroll` prints the command.
    Join {
        /// tallyroll://HOST:PORT/NAME#FINGERPRINT
        url: JoinUrl,
        /// The PIN; `-` reads it from stdin, where no process list shows it.
        #[arg(long)]
        pin: String,
    },
    /// Run the agent: keep the link, answer commands.
    Run(RunArguments),
    /// Show how far events have come: durable here, durable at the cloud.
    Status {
        /// Show it again each second.
        #[arg(long)]
        watch: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the address at which a browser on this machine opens the panel; it holds the token.
    Panel {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Record events, JSON Lines on stdin; print each position once durable.
    Record {
        /// Record acts only with a right to what they cost: spent from the user's lease here, or by
        /// the offline policy where the cloud cannot be reached.
        #[arg(long)]
        leased: bool,
        /// How long each act may wait for its right while the link is up, seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "leased")]
        wait: u64,
        /// Answer in JSON Lines.
        #[arg(long)]
        json: bool,
    },
    /// As a processing server, ask the account server before it converts, sends, saves or discards in a device's job:
    /// JSON Lines on stdin; print each position once it may.
    Act {
        /// Answer in JSON Lines.
        #[arg(long)]
        json: bool,
    },
    /// Record what the device's own meter says; `tallyroll reconcile` holds it against what was counted.
    Meter {
        /// Sides of media marked in its lifetime.
        impressions: u64,
        /// Sheets of media used in its lifetime.
        #[arg(long)]
        sheets: Option<u64>,
        /// Answer in JSON Lines.
        #[arg(long)]
        json: bool,
    },
    /// Show this device's own figures; works offline.
    View {
        /// Which.
        #[arg(value_enum, default_value = "totals")]
        what: Figures,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a user's balance as far as this device knows.
    Balance {
        /// The user's name.
        username: String,
        /// Ask the cloud for it, as at login; the answer is shown once it has come.
        #[arg(long)]
        ask: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Back up everything of this device, agent running or not; keep it as secret as the device.
    Backup {
        /// A new directory.
        to: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make new signing and TLS keys, agent running or not; the cloud hears of them by itself.
    RotateKeys {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the --data directory of a backup; it must not exist yet.
    Restore {
        /// The backup's directory.
        from: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Count what another program logged.
    Import {
        #[command(subcommand)]
        source: ImportSource,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Figures {
    /// A row per month and user.
    Totals,
    /// A row per user.
    Balances,
}

#[derive(Subcommand)]
enum ImportSource {
    /// A CUPS page_log; lines that were counted before are not counted again.
    PageLog(ImportArguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return commands::explain_usage(&error),
    };
    let info = || Targets::new().with_default(LevelFilter::INFO);
    let wanted: Targets = arguments.log.parse().unwrap_or_else(|_| info());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()) && color_wanted());
    tracing_subscriber::registry().with(log).with(wanted).init();
    // One thread of work beside the keeper's: a printer has little memory to spare.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(Box::pin(dispatch(arguments)));
            runtime.shutdown_background();
            done
        }
        Err(why) => Err(miette::miette!("cannot start: {why}")),
    };
    done.unwrap_or_else(|error| commands::tell(&error))
}

fn color_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

async fn dispatch(arguments: Arguments) -> miette::Result<ExitCode> {
    let dir = DataDir::new(arguments.data);
    match arguments.command {
        Command::Join { url, pin } => {
            let enrolment = join(&dir, &url, &commands::read_pin(pin)?).await?;
            commands::print(format!(
                "joined as {} ({})\nnext: tallyroll-edge run --data {}",
                enrolment.name,
                enrolment.device,
                dir.root().display()
            ))?;
        }
        Command::Run(run) => {
            agent::run(&dir, run.retention(), run.lease_idle(), run.panel()).await?
        }
        Command::Panel { json } => commands::panel::show(&dir, json).await?,
        Command::Status { watch, json } => commands::status::show(&dir, watch, json).await?,
        Command::Record { leased, wait, json } => {
            let wait = leased.then(|| Duration::from_secs(wait));
            return commands::record::run(&dir, wait, json).await;
        }
        Command::Act { json } => return commands::act::run(&dir, json).await,
        Command::Meter { impressions, sheets, json } => {
            return commands::record::meter(&dir, impressions, sheets, json).await;
        }
        Command::View { what, json } => {
            let ask = match what {
                Figures::Totals => Ask::Totals,
                Figures::Balances => Ask::Balances,
            };
            commands::view::show(&dir, ask, json).await?;
        }
        Command::Balance { username, ask, json } => {
            return Ok(commands::balance::show(&dir, username, ask, json).await?.into());
        }
        Command::Backup { to, json } => commands::backup::run(&dir, &to, json).await?,
        Command::RotateKeys { json } => commands::rotate_keys::run(&dir, json).await?,
        Command::Restore { from, json } => commands::restore::run(&dir, from, json).await?,
        Command::Import { source: ImportSource::PageLog(import) } => {
            return commands::import::run(&dir, import).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}
