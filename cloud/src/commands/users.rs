//! `users`: who there is, whose aliases are one person, who is to be forgotten.
//!
//! Invariant: what is printed as done is durable. Names are asked for by their owner's administrator and
//! shown to nobody else. What a name means is the cloud's.

use super::table::{Column, Side, table};
use super::{Result, ask, print};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::control::people::PeopleAsk;
use tallyroll_cloud::data_dir::DataDir;

/// What forgetting does not reach.
const NOT_REACHED: &str = "not in our reach: CUPS's own page_log and backups made before; names that were \
    written into reasons are in the books for ever";

#[derive(Subcommand)]
pub(crate) enum UsersCommand {
    /// List everybody with a name.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Enter a user before any device has seen them, or a mail address for one.
    Add {
        /// The name, as devices will call them.
        name: String,
        /// A mail address.
        #[arg(long)]
        mail: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a user and what devices call them.
    Show {
        /// The name.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have what a device calls somebody be this user: what they did and do counts to them.
    Link {
        /// The user.
        name: String,
        /// A device, by name or id.
        device: String,
        /// The name that the device has for them, or the beginning of the alias.
        alias: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have this user at a device be somebody else, who happens to have the same name there.
    #[command(visible_alias = "unlink")]
    Part {
        /// The user.
        name: String,
        /// A device, by name or id.
        device: String,
        /// The somebody else's new name.
        #[arg(long = "as", value_name = "NEW")]
        new_name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Erase a user's name and mail address here and at every device; what they did stays, under their id.
    Forget {
        /// The user; with --status nobody.
        #[arg(required_unless_present = "status")]
        name: Option<String>,
        /// Say which devices have done it, and which have yet to.
        #[arg(long, conflicts_with = "name")]
        status: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Carries out one of them.
pub(crate) async fn run(dir: &DataDir, command: UsersCommand) -> Result {
    let (question, json, tell): (_, _, fn(&Value) -> String) = match command {
        UsersCommand::List { json } => (PeopleAsk::Users, json, list),
        UsersCommand::Add { name, mail, json } => {
            (PeopleAsk::Add { name, mail }, json, |told| format!("{} is entered", name_of(told)))
        }
        UsersCommand::Show { name, json } => (PeopleAsk::Show { name }, json, show),
        UsersCommand::Link { name, device, alias, json } => {
            (PeopleAsk::Link { name, device, alias }, json, |told| joined(told))
        }
        UsersCommand::Part { name, device, new_name, json } => {
            (PeopleAsk::Part { name, device, new_name }, json, |told| joined(told))
        }
        UsersCommand::Forget { name: Some(name), json, .. } => {
            (PeopleAsk::Forget { name }, json, forgotten)
        }
        UsersCommand::Forget { name: None, json, .. } => (PeopleAsk::Forgetting, json, status),
    };
    let told = ask(dir, "users", Ask::People(question)).await?;
    print(if json { told.to_string() } else { tell(&told) })?;
    Ok(ExitCode::SUCCESS)
}

fn list(rows: &Value) -> String {
    let devices = |row: &Value| row["aliases"].as_array().map_or(0, Vec::len).to_string();
    let columns = [
        Column::key("name", "user"),
        Column::of("id", &|row| short(&row["subject"])),
        Column::key("mail", "mail"),
        Column::key("group", "group"),
        Column::of("aliases", &devices).on(Side::Right),
    ];
    table(&columns, rows.as_array().map_or(&[][..], Vec::as_slice))
}

fn show(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let rows = row["aliases"].as_array().map_or(&[][..], Vec::as_slice);
    let columns = [
        Column::key("device-name", "device"),
        Column::key("name", "called"),
        Column::key("alias", "alias"),
    ];
    let head = format!(
        "{}  id {}  mail {}  group {}",
        name_of(row),
        text("subject"),
        text("mail"),
        text("group")
    );
    format!("{}\n{}", super::table::printable(&head), table(&columns, rows))
}

fn joined(told: &Value) -> String {
    format!("the alias {} is {} from now on", short(&told["alias"]), name_of(told))
}

fn forgotten(told: &Value) -> String {
    let pending = match told["pending"].as_u64().unwrap_or_default() {
        0 => "no device has to confirm it".to_owned(),
        1 => "1 device has yet to; `tallyroll users forget --status` says which".to_owned(),
        devices => {
            format!("{devices} devices have yet to; `tallyroll users forget --status` says which")
        }
    };
    format!(
        "forgotten here, shown as ({}) from now on; {pending}\n{NOT_REACHED}",
        short(&told["subject"])
    )
}

fn status(rows: &Value) -> String {
    let columns = [
        Column::of("user", &|row| format!("({})", short(&row["subject"]))),
        Column::key("device-name", "device"),
        Column::key("state", "state"),
    ];
    table(&columns, rows.as_array().map_or(&[][..], Vec::as_slice))
}

fn name_of(told: &Value) -> String {
    super::table::printable(told["name"].as_str().unwrap_or_default())
}

fn short(id: &Value) -> String {
    id.as_str().and_then(|id| id.get(..8)).unwrap_or("-").to_owned()
}
