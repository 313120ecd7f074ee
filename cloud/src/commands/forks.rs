//! `forks`: the story of each copy of a device.
//!
//! Invariant: says what happened, what it cost, and what to do; nothing here is
//! known only to this command, `--json` gives it all.

use super::doctor::refused;
use super::table::{printable, time};
use super::{Result, ask, print};
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;

/// Tells of every epoch that a device opened because it was restored or copied.
pub(crate) async fn run(dir: &DataDir, json: bool) -> Result {
    let forks = ask(dir, "forks", Ask::Forks).await?;
    let (accept_loss, await_devices) = (false, false);
    let health = ask(dir, "forks", Ask::Doctor { accept_loss, await_devices }).await?;
    let turned_away = health["turned-away"].as_array().into_iter().flatten();
    // Copies that never came as far as to write.
    let stale: Vec<Value> = turned_away
        .filter(|device| device["reason"] == "old-keys" || device["reason"] == "twice")
        .cloned()
        .collect();
    let forks = forks.as_array().into_iter().flatten();
    if json {
        print(Value::Array(forks.cloned().chain(stale).collect()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let stories: Vec<String> = forks.map(story).chain(refused(&stale)).collect();
    if stories.is_empty() {
        print("No device was restored or copied.")?;
    } else {
        print(stories.join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn story(fork: &Value) -> String {
    let text = |key: &str| printable(fork[key].as_str().unwrap_or("-"));
    let opened = &fork["opened"];
    let at = |key: &str| printable(opened[key].as_str().unwrap_or("-"));
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let why = match opened["reason"].as_str() {
        Some("restored") => "an old copy of it was put back; its later history came from the cloud",
        Some("cloned") => "a copy of it had written another history",
        Some("anchor-mismatch") => "its data was found on another machine or in another place",
        Some("tail-lost") => "the cloud had lost the end of its log",
        _ => "of a reason this build does not know",
    };
    let mut lines = vec![
        format!("{} ({}), {}", text("device-name"), text("device"), text("class")),
        format!("  since {}: {why}", time(number(&fork["opened-at"]))),
        format!(
            "  epoch {} goes on after seq {} of epoch {}; {} events",
            at("epoch"),
            number(&opened["parent-seq"]),
            at("parent"),
            number(&fork["events"])
        ),
    ];
    let again = number(&fork["resubmitted"]);
    if !opened["divergent"].is_null() || again > 0 {
        let unbacked = text("unbacked");
        lines.push(format!(
            "  a history that differed was set aside, and is kept at the device; {again} of its events were \
             recorded again ({unbacked} credits that no lease backed), the others were held already"
        ));
    }
    if fork["side-by-side"] == true {
        lines.push(format!(
            "  copies of this device wrote side by side, or it was put back from an older backup. If one of them is not yours,\n  \
             `tallyroll revoke {}` and enrol it anew; else see that only one of them runs",
            text("device-name")
        ));
    }
    lines.join("\n")
}
