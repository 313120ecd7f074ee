//! `status`: how far events have come, and what may be spent here.
//!
//! Invariant: a state is shown only as far as the fsync or receipt behind it.
//! Leaves the figures to the device and the link's state to the agent.

use super::{print, printable};
use miette::Result;
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Duration;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;

/// Prints the status, once or each second.
pub(crate) async fn show(dir: &DataDir, watch: bool, json: bool) -> Result<()> {
    loop {
        let way = reach(dir, "status").await?;
        let status = way.ask(Ask::Status).await?;
        way.close().await?;
        let text = if json { status.to_string() } else { describe(&status) };
        let clears = watch && !json && std::io::stdout().is_terminal();
        print(format!("{}{text}", if clears { "\x1b[H\x1b[2J" } else { "" }))?;
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What of a log is at the cloud only.
fn pruned(log: &Value) -> Option<String> {
    let count = |key: &str| log["pruned"][key].as_u64().unwrap_or_default();
    let up_to = i64::try_from(log["pruned"]["up-to"].as_u64()?).ok()?;
    let up_to = jiff::Timestamp::from_millisecond(up_to).ok()?;
    Some(format!(
        "{:<10}{} events of epoch {}, {} bytes, up to {:.0}, pruned here; the cloud has them",
        log["class"].as_str().unwrap_or_default(),
        count("events"),
        log["epoch"].as_str().unwrap_or_default(),
        count("bytes"),
        up_to,
    ))
}

/// What may be spent for a user, with or without a line.
fn lease(row: &Value) -> String {
    let text = |key: &str| printable(row[key].as_str().unwrap_or_default());
    let until = row["spend-until"].as_u64().and_then(|until| i64::try_from(until).ok());
    let until = until.and_then(|until| jiff::Timestamp::from_millisecond(until).ok());
    let until = until.map_or(String::new(), |until| format!(", until {until:.0}"));
    let whose = row["user"].as_str().map_or_else(|| text("alias"), printable);
    let overdrawn = match row["overdrawn"].as_str() {
        None | Some("0.000") => String::new(),
        Some(overdrawn) => format!(", overdraft used {}", printable(overdrawn)),
    };
    let asked = if row["asked"] == true { "; more is asked for" } else { "" };
    let (left, spent) = (text("left"), text("spent"));
    format!("lease     {whose}: {left} left, {spent} spent{overdrawn}{until}{asked}")
}

/// A request without an answer; of a server that is revoked, for ever.
fn asked(row: &Value, revoked: bool) -> String {
    let text = |key: &str| printable(row[key].as_str().unwrap_or_default());
    let what = match revoked {
        true => {
            "it is never answered any more; `tallyroll log show --all` at the account server tells whether it is done"
        }
        false => "it may be done: send the same line again",
    };
    format!(
        "asked     request {} has no answer: {} in job {} at {}; {what}",
        text("request"),
        text("kind"),
        text("job"),
        text("device"),
    )
}

fn describe(status: &Value) -> String {
    let text = |key: &str| printable(status[key].as_str().unwrap_or_default());
    let link = match status["link"].as_str() {
        Some("up") => format!("up, by {}", text("by")),
        Some("connecting") => "connecting".to_owned(),
        Some("stopped") => {
            format!("up, by {}, but a log goes no further: {}", text("by"), text("why"))
        }
        Some(_) if status["refused"] == true => {
            format!("down, for the cloud refuses this device: {}", text("why"))
        }
        Some(_) => format!("down: {}", text("why")),
        None => "no agent is running; `tallyroll-edge run` starts it".to_owned(),
    };
    let mut lines = vec![
        format!("device  {}  {}", text("name"), text("device")),
        format!("cloud   {}", text("cloud")),
        format!("link    {link}"),
        format!("prices  by rate card {}; jobs settle by `{}`", status["card"], text("settlement")),
    ];
    if let Some(why) = status["revoked-why"].as_str().filter(|_| status["refused"] != true) {
        lines.push(format!("revoked {}", printable(why)));
    }
    if status["processing"] == true {
        let role =
            "a processing server: it acts in other devices' jobs (`act`), and is lent no credits";
        lines.push(format!("role    {role}"));
    }
    if let Some(socket) = status["panel"]["socket"].as_str() {
        let url =
            status["panel"]["url"].as_str().map_or(String::new(), |url| format!(" and {url}"));
        lines.push(printable(&format!("panel   {socket}{url}")));
    }
    if let Some(overdraft) = status["overdraft"].as_str().filter(|overdraft| *overdraft != "0.000")
    {
        let overdraft = printable(overdraft);
        lines.push(format!("offline at most {overdraft} beyond its leases while it is cut off"));
    }
    let mut told = Vec::new();
    for log in status["logs"].as_array().into_iter().flatten() {
        let count = |key: &str| log[key].as_u64().unwrap_or_default();
        let (here, cloud) = (count("durable-local"), count("durable-cloud"));
        if let Some(line) = pruned(log) {
            told.push(line);
        }
        if log["open"] == false {
            let epoch = log["epoch"].as_str().unwrap_or_default();
            let class = log["class"].as_str().unwrap_or_default();
            lines.push(format!(
                "{class:<10}{here} events in epoch {epoch}, which ended or is a copy's"
            ));
            continue;
        }
        lines.push(format!(
            "{:<10}{here} events durable here, {cloud} durable at the cloud, {} to go",
            log["class"].as_str().unwrap_or_default(),
            here.saturating_sub(cloud),
        ));
    }
    lines.extend(told);
    lines.extend(status["leases"].as_array().into_iter().flatten().map(lease));
    let (requests, revoked) = (status["asked"].as_array(), status["revoked"] == true);
    lines.extend(requests.into_iter().flatten().map(|row| asked(row, revoked)));
    if status["keys-lost"].as_bool() == Some(true) {
        lines.push(
            "nothing more reaches the cloud: this device's logs go on where only a key signs that it no longer has (it was put back \
             from a backup, or the cloud took in what a copy with other keys wrote); it keeps what it has, and joins anew, with a \
             new data directory and an invitation by `tallyroll enroll`"
                .into(),
        );
    }
    if status["rotating"].as_bool() == Some(true) {
        lines.push(
            "its keys were changed, and the cloud has yet to confirm that: until it has, it links by the old certificate".into(),
        );
    }
    if status["unconfirmed"].as_bool() == Some(true) {
        lines.push(
            "this device was restored or copied: page logs wait until the cloud said what it counted".into(),
        );
    }
    if status["full"].as_bool() == Some(true) {
        lines.push(
            "the disk is full: new work is refused, the end of what runs is recorded; free some space, nothing else needs to be done".into(),
        );
    }
    match status["retired"].as_str() {
        Some("delivered") => {
            lines.push("retired, everything delivered: it may be switched off".into())
        }
        Some(_) => lines.push("retired: it delivers what it has and records nothing new".into()),
        None => {}
    }
    if status["closed"].as_bool() == Some(true) {
        lines.push("a write failed; restart the agent, what is durable will be replayed".into());
    }
    if let Some(unread @ 1..) = status["incomplete"].as_u64() {
        lines.push(format!("incomplete ({unread}): written by a newer version"));
    }
    lines.join("\n")
}
