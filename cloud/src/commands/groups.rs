//! `groups`: users who share a balance.
//!
//! Invariant: what is printed as done is durable; names are shown to who asks, and nowhere else. What joining
//! and leaving do to balances is the engine's.

use super::table::{Column, printable, table};
use super::{Result, ask, print};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::control::people::PeopleAsk;
use tallyroll_cloud::data_dir::DataDir;

#[derive(Subcommand)]
pub(crate) enum GroupsCommand {
    /// List groups and their members.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Found a group.
    Add {
        /// Its name.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have a user's whole account be the group's while they are a member.
    Join {
        /// The group.
        group: String,
        /// The user.
        user: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a member an account of their own again; it begins with what devices hold for them.
    Leave {
        /// The user.
        user: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Carries out one of them.
pub(crate) async fn run(dir: &DataDir, command: GroupsCommand) -> Result {
    let (question, json, tell): (_, _, fn(&Value) -> String) = match command {
        GroupsCommand::List { json } => (PeopleAsk::Groups, json, list),
        GroupsCommand::Add { name, json } => (PeopleAsk::AddGroup { name }, json, |told| {
            format!("the group {} is founded", name_of(told))
        }),
        GroupsCommand::Join { group, user, json } => {
            (PeopleAsk::Join { group, name: user }, json, |told| {
                let rests = told["allotment"].as_str().map_or(String::new(), |monthly| {
                    format!(
                        "; their own allotment of {monthly} a month rests while they are a member"
                    )
                });
                format!("{} has joined{rests}", name_of(told))
            })
        }
        GroupsCommand::Leave { user, json } => (PeopleAsk::Leave { name: user }, json, |told| {
            let text = |key: &str| printable(told[key].as_str().unwrap_or_default());
            let (name, group) = (name_of(told), text("group"));
            let goes_on = told["allotment"].as_str().map_or(String::new(), |monthly| {
                format!("; their own allotment of {monthly} a month is given again")
            });
            format!(
                "{name} has left {group}; {} in the statement of {group}: what devices hold for {name}, or is \
                 held for jobs, went along; {} in that of {name}: the rest of their part is settled{goes_on}",
                text("group-moved"),
                text("settled"),
            )
        }),
    };
    let told = ask(dir, "groups", Ask::People(question)).await?;
    print(if json { told.to_string() } else { tell(&told) })?;
    Ok(ExitCode::SUCCESS)
}

fn list(rows: &Value) -> String {
    let members = |row: &Value| {
        let members = row["members"].as_array().into_iter().flatten();
        members.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let columns = [Column::key("name", "group"), Column::of("members", &members)];
    table(&columns, rows.as_array().map_or(&[][..], Vec::as_slice))
}

fn name_of(told: &Value) -> String {
    printable(told["name"].as_str().unwrap_or_default())
}
