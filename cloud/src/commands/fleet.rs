//! `devices`, `retire`, `revoke`, `grant`: who takes part, and with what credits.
//!
//! Invariant: what is printed as done is durable. The rules are the engine's,
//! the way to a running cloud the control socket's.

use super::table::{Column, Side, printable, table, time};
use super::{Result, ask, print};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_schema::Credits;

/// What a standing means, and what to do.
const RETIRED: &str = "it delivers what it has, records nothing new and takes no more part; leave it running until \
    it is drained, and its `tallyroll-edge status` says that everything is delivered";
const REVOKED: &str = "nothing more is taken from it, what it still brings goes into quarantine; to take part again it joins anew, with a new data \
    directory and an invitation by `tallyroll enroll`";

#[derive(Args)]
pub(crate) struct StandingArguments {
    /// Its name or id.
    name: String,
    /// For the log.
    #[arg(long, default_value = "")]
    reason: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the devices.
pub(crate) async fn list(dir: &DataDir, json: bool) -> Result {
    let devices = ask(dir, "devices", Ask::Devices).await?;
    if json {
        print(&devices)?;
        return Ok(ExitCode::SUCCESS);
    }
    let connected = |row: &Value| match row["connected"].as_bool() {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => "nothing is served".to_owned(),
    };
    let receipt = |row: &Value| match row["last-receipt"]["received-at"].as_u64() {
        Some(at) => time(at),
        None => "-".to_owned(),
    };
    let standing = |row: &Value| match row["standing"].as_str().unwrap_or_default() {
        "active" if row["processing"] == true => "active, processing server".to_owned(),
        "active" => "active".to_owned(),
        left => {
            let left = match row["drained"].as_bool() {
                Some(true) => format!("{left} (drained)"),
                Some(false) => format!("{left} (draining)"),
                None => left.to_owned(),
            };
            format!("{left} since {}", time(row["standing-since"].as_u64().unwrap_or_default()))
        }
    };
    let columns = [
        Column::key("name", "device"),
        Column::key("device", "id"),
        Column::of("standing", &standing),
        Column::of("enrolled", &|row| time(row["enrolled-at"].as_u64().unwrap_or_default())),
        Column::of("connected", &connected),
        Column::key("events", "events held").on(Side::Right),
        Column::of("last receipt", &receipt),
    ];
    let rows = devices.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        eprintln!("No device is enrolled; `tallyroll enroll NAME` invites one.");
    }
    print(table(&columns, rows))?;
    for (standing, what_to_do) in [("retired", RETIRED), ("revoked", REVOKED)] {
        if rows.iter().any(|row| row["standing"] == standing) {
            eprintln!("{standing}: {what_to_do}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Retires a device.
pub(crate) async fn retire(dir: &DataDir, arguments: StandingArguments) -> Result {
    let StandingArguments { name, reason, json } = arguments;
    let changed = ask(dir, "retire", Ask::Retire { device: name, reason }).await?;
    tell(&changed, json, "retired", RETIRED)
}

/// Revokes a device.
pub(crate) async fn revoke(dir: &DataDir, arguments: StandingArguments) -> Result {
    let StandingArguments { name, reason, json } = arguments;
    let changed = ask(dir, "revoke", Ask::Revoke { device: name, reason }).await?;
    tell(&changed, json, "revoked", REVOKED)
}

fn tell(changed: &Value, json: bool, standing: &str, what_to_do: &str) -> Result {
    if json {
        print(changed)?;
    } else {
        let text = |key: &str| changed[key].as_str().unwrap_or_default();
        print(format!("{} ({}) is {standing}: {what_to_do}", text("name"), text("device")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives a user or a group credits.
pub(crate) async fn grant(
    dir: &DataDir,
    (user, group): (String, bool),
    credits: Credits,
    reason: String,
    json: bool,
) -> Result {
    let granted = ask(dir, "grant", Ask::Grant { user, group, credits, reason }).await?;
    if json {
        print(&granted)?;
    } else {
        let text = |key: &str| granted[key].as_str().unwrap_or_default();
        let kind = if granted["kind"] == "group" { "the group " } else { "" };
        let (credits, user) = (text("credits"), text("user"));
        let member = granted["group"].as_str().map_or(String::new(), |group| {
            format!("; {user} is a member of {group}, whose balance got them")
        });
        print(printable(&format!("{credits} credits to {kind}{user}{member}")))?;
        if let Some(lacking) = text("pool").strip_prefix('-') {
            eprintln!(
                "{lacking} more than is left are charged or with devices, which may spend what they hold: nothing is \
                 lent until that is made up (`tallyroll leases` tells who holds what)"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
