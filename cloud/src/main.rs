//! `tallyroll`: the command line of the cloud.
//!
//! Owns arguments, output and exit codes: 0 ok, 1 failure, 2 usage, 3 a
//! verification did not hold, 75 temporary. Every command finds the running
//! process through its socket, or works on the files when none runs. What the
//! commands do is in [`commands`].

mod commands;
mod demo;

use clap::{Parser, Subcommand};
use commands::{
    accounts, backup, books, doctor, enroll, fleet, forks, groups, leases, log, quarantine, rates,
    reconcile, record, restore, serve, users, view,
};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_cloud::public::Public;
use tallyroll_engine::counts::Month;
use tallyroll_schema::Credits;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Takes in what a fleet of printers counted, and shows and proves it.
#[derive(Parser)]
#[command(name = "tallyroll", version)]
struct Arguments {
    /// Where everything of this cloud lies.
    #[arg(long, global = true, default_value = "tallyroll-data", env = "TALLYROLL_DATA")]
    data: PathBuf,
    /// What to log to stderr, as `info` or `tallyroll_cloud=debug`.
    #[arg(long = "log", global = true, default_value = "info", env = "RUST_LOG")]
    log_filter: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve devices; the first start makes the cloud.
    Serve(serve::ServeArguments),
    /// Invite a device; prints the one command to run at the branch.
    Enroll {
        /// The device's name: a-z, A-Z, 0-9, `-`, `_`, `.`, the first none of `-` and `.`
        name: String,
        /// Where the branch reaches this cloud, if not where `serve` says.
        #[arg(long, value_name = "HOST[:PORT]")]
        public: Option<Public>,
        /// It is a processing server: it may ask for acts in devices' jobs, with `tallyroll-edge act`.
        #[arg(long)]
        processing: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the devices: who they are, whether they are connected, what they sent.
    Devices {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a device deliver what it has and take no more part.
    Retire(fleet::StandingArguments),
    /// Believe nothing more from a device, and cut its link.
    Revoke(fleet::StandingArguments),
    /// List what was not taken in, show it, release or discard it.
    Quarantine(quarantine::QuarantineArguments),
    /// Tell what is frozen, why, and what would thaw it. Exits with 3 when something is, or in quarantine.
    Doctor {
        /// Go on without what the devices that have not reported may hold.
        #[arg(long)]
        accept_loss: bool,
        /// Freeze, and let in devices that are not known but can prove that this cloud enrolled them.
        #[arg(long, conflicts_with = "accept_loss")]
        await_devices: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell which devices were restored or copied, and what came of it.
    Forks {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a user credits; a negative amount takes them back. At most a billion at a time.
    Grant {
        /// A user, or a group with --group.
        username: String,
        /// Credits, with at most three decimals.
        #[arg(allow_negative_numbers = true)]
        amount: Credits,
        /// It is a group's name.
        #[arg(long)]
        group: bool,
        /// For the statement.
        #[arg(long, default_value = "")]
        reason: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Record what the processing server is about to do, JSON Lines on stdin; print each position once it may.
    Record {
        /// Answer in JSON Lines.
        #[arg(long)]
        json: bool,
    },
    /// List, enter, join, part and forget users.
    Users {
        #[command(subcommand)]
        command: users::UsersCommand,
    },
    /// Let users share a balance.
    Groups {
        #[command(subcommand)]
        command: groups::GroupsCommand,
    },
    /// Give an account credits each month, on the first in UTC, or stop it.
    Allot(accounts::AllotArguments),
    /// Show an account's figures, and where its credits are.
    Balance(accounts::BalanceArguments),
    /// Check, publish and show rate cards.
    Rates {
        #[command(subcommand)]
        command: rates::RatesCommand,
    },
    /// Lay down what holds for everybody.
    Policy {
        #[command(subcommand)]
        command: rates::PolicyCommand,
    },
    /// Show where users' credits are: in the pool, or lent to which device; take off the books what is lost.
    Leases(leases::LeasesArguments),
    /// Show figures, now or as of any past moment; as a table, JSON, CSV or XLSX.
    View(view::ViewArguments),
    /// Give back credits of a charge, or take more; the charge itself stays as it was.
    Correct(books::CorrectArguments),
    /// Hold devices' own meters against what was counted, and say what the difference is made of.
    Reconcile(reconcile::ReconcileArguments),
    /// Fix the figures of a month that is over; what comes of it later is booked in the next open one.
    Close {
        /// As 2026-10.
        month: Month,
        /// Close the months before it that are open, too.
        #[arg(long)]
        earlier: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read and verify the logs themselves.
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// Back up everything of this cloud, served or not; keep it as secret as the cloud.
    Backup {
        /// A new directory; with --identity-only a new file.
        to: PathBuf,
        /// Only who this cloud is, in a small file for a safe: devices bring back what they hold.
        #[arg(long)]
        identity_only: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the --data directory of a backup, or of an identity alone; it must not exist yet.
    Restore {
        /// The backup's directory, or the file of `backup --identity-only`.
        from: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Play a cloud, its branches, an outage and two kills on this machine, and check the books.
    Demo(demo::DemoArguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return commands::explain_usage(&error),
    };
    let info = || Targets::new().with_default(LevelFilter::INFO);
    let wanted: Targets = arguments.log_filter.parse().unwrap_or_else(|_| info());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && commands::color_wanted());
    tracing_subscriber::registry().with(log).with(wanted).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("tallyroll: cannot start threads: {why}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(dispatch(arguments));
    runtime.shutdown_background();
    done.unwrap_or_else(|error| commands::explain(&error))
}

async fn dispatch(arguments: Arguments) -> commands::Result {
    let dir = DataDir::new(arguments.data);
    match arguments.command {
        Command::Serve(arguments) => serve::run(&dir, arguments).await,
        Command::Enroll { name, public, processing, json } => {
            enroll::run(&dir, (name, processing), public, json).await
        }
        Command::Devices { json } => fleet::list(&dir, json).await,
        Command::Retire(arguments) => fleet::retire(&dir, arguments).await,
        Command::Revoke(arguments) => fleet::revoke(&dir, arguments).await,
        Command::Quarantine(arguments) => quarantine::run(&dir, arguments).await,
        Command::Doctor { accept_loss, await_devices, json } => {
            doctor::run(&dir, accept_loss, await_devices, json).await
        }
        Command::Forks { json } => forks::run(&dir, json).await,
        Command::Grant { username, amount, group, reason, json } => {
            fleet::grant(&dir, (username, group), amount, reason, json).await
        }
        Command::Record { json } => record::run(&dir, json).await,
        Command::Users { command } => users::run(&dir, command).await,
        Command::Groups { command } => groups::run(&dir, command).await,
        Command::Allot(arguments) => accounts::allot(&dir, arguments).await,
        Command::Balance(arguments) => accounts::balance(&dir, arguments).await,
        Command::Rates { command } => rates::run(&dir, command).await,
        Command::Policy { command } => rates::policy(&dir, command).await,
        Command::Leases(arguments) => leases::run(&dir, arguments).await,
        Command::View(arguments) => view::run(&dir, arguments).await,
        Command::Correct(arguments) => books::correct(&dir, arguments).await,
        Command::Reconcile(arguments) => reconcile::run(&dir, arguments).await,
        Command::Close { month, earlier, json } => books::close(&dir, month, earlier, json).await,
        Command::Log { command } => log::run(&dir, command).await,
        Command::Backup { to, identity_only, json } => {
            backup::run(&dir, to, identity_only, json).await
        }
        Command::Restore { from, json } => restore::run(&dir, from, json).await,
        Command::Demo(arguments) => Ok(demo::run(arguments).await?),
    }
}
