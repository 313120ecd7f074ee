//! `doctor`: what is frozen, why, and what would thaw it; whether anything is in quarantine, or
//! was lost here and pruned at its device; which of its devices the cloud turns away.
//!
//! Invariant: exits with 3 while anything is, so that a monitor can ask. The
//! rule of what is frozen when is the engine's.

use super::table::{printable, time};
use super::{DOES_NOT_HOLD, Result, ask, print};
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;

/// Tells how the cloud stands; may go on without what is missing.
pub(crate) async fn run(
    dir: &DataDir,
    accept_loss: bool,
    await_devices: bool,
    json: bool,
) -> Result {
    let health = ask(dir, "doctor", Ask::Doctor { accept_loss, await_devices }).await?;
    let frozen = &health["frozen"];
    let quarantined = health["quarantine"].as_array().map_or(0, Vec::len);
    let pruned = health["pruned"].as_array().map_or(&[][..], Vec::as_slice);
    let lost_closings = health["lost-closings"].as_array().map_or(&[][..], Vec::as_slice);
    let turned_away = health["turned-away"].as_array().map_or(&[][..], Vec::as_slice);
    if json {
        print(&health)?;
    } else {
        let credits = health["frozen-credits"].as_str().filter(|credits| *credits != "0.000");
        match (frozen.is_null(), credits) {
            (false, _) => print(story(frozen))?,
            (true, None) => print("Nothing is frozen.")?,
            (true, Some(_)) => print("No log is frozen.")?,
        }
        if let Some(credits) = credits {
            print(format!(
                "Frozen credits: {} at devices that were restored, copied, revoked or retired, and may have spent them unseen;\n`tallyroll leases` shows which.",
                printable(credits)
            ))?;
        }
        // Who goes on, has looked at them.
        if let Some(devices) = names(&health["readmitted"]).filter(|_| !frozen.is_null()) {
            print(format!(
                "Readmitted on their own evidence: {devices}. This cloud enrolled them, or they would not be here;\n\
                 whether one was revoked since is lost with the accounts: `tallyroll revoke` those that were."
            ))?;
        }
        if let Some(since) = health["accounts-since"].as_u64() {
            print(format!(
                "Rebuilt on {}: grants, revocations and corrected links from before are lost for good.",
                time(since)
            ))?;
        }
        if quarantined > 0 {
            print(format!(
                "In quarantine: {quarantined}; `tallyroll quarantine` tells what, and why."
            ))?;
        }
        let discarded = health["discarded"].as_array().map_or(0, Vec::len);
        if discarded > 0 {
            print(format!(
                "Discarded of revoked devices, and not asked for again: {discarded}; `tallyroll quarantine` tells what."
            ))?;
        }
        for gap in pruned {
            print(lost(gap))?;
        }
        for month in lost_closings.iter().filter_map(Value::as_str) {
            print(format!(
                "{month} was closed at a commit that this cloud lost; `tallyroll close {month}` closes it again, with what \
                 is held now."
            ))?;
        }
        for told in refused(turned_away) {
            print(told)?;
        }
        for device in health["clocks"].as_array().into_iter().flatten() {
            print(wrong_clock(device))?;
        }
    }
    let waits = pruned.iter().any(|gap| gap["retired"] != true);
    let attended = quarantined == 0 && lost_closings.is_empty() && turned_away.is_empty();
    let well = frozen.is_null() && !waits && attended;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) })
}

/// The devices' names, if there are any.
fn names(devices: &Value) -> Option<String> {
    let all = devices.as_array().into_iter().flatten();
    let name = |one: &Value| printable(one["name"].as_str().or(one["device"].as_str())?).into();
    let names: Vec<String> = all.filter_map(name).collect();
    if names.is_empty() { None } else { Some(names.join(", ")) }
}

/// Why devices are turned away, which, and what to do: each reason once.
pub(super) fn refused(devices: &[Value]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&Value>)> = Vec::new();
    for device in devices {
        let reason = device["reason"].as_str().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, theirs)) => theirs.push(device),
            None => reasons.push((reason, vec![device])),
        }
    }
    reasons.into_iter().map(|(reason, theirs)| refused_for(reason, &theirs)).collect()
}

fn refused_for(reason: &str, devices: &[&Value]) -> String {
    let one = |device: &&Value| {
        let text = |key: &str| printable(device[key].as_str().unwrap_or_default());
        format!("{} ({}), {} s ago", text("name"), text("device"), device["seconds-ago"])
    };
    let which = devices.iter().map(one).collect::<Vec<_>>().join("; ");
    let why = match reason {
        "unknown" => {
            "this cloud enrolled it and does not know it any more: its enrolment is newer than the backup that was\n\
             restored, or lost with the accounts. `tallyroll doctor --await-devices` lets it in, and who else proves that; if it\n\
             was revoked since, `tallyroll revoke` it then. One that stays turned away then changed its keys before it heard that\n\
             this cloud knew: it joins anew, with a new data directory, and keeps what it has in the old one."
        }
        "keys-lost" => {
            "its change of keys is newer than the backup that was restored. `tallyroll doctor --await-devices` lets it in. If it\n\
             stays turned away, it had not heard yet that this cloud knew: restore a newer backup of the cloud; without one it\n\
             joins anew, with a new data directory and an invitation by `tallyroll enroll`."
        }
        "twice" => {
            return format!(
                "There are two of {which}, or it starts anew again and again, or its line breaks every few seconds: it took \
                 its own place then,\nand often before. If a copy of its data directory runs elsewhere, \
                 `tallyroll-edge status` tells it there: end it before both write."
            );
        }
        _ => {
            "a copy of it comes with keys from before they were changed, or it was put back from an older backup.\n\
             Nothing is taken from that one. Find it by `tallyroll-edge status`, which tells it, and end it; if the device\n\
             itself was put back, it needs a backup made since, or joins anew."
        }
    };
    format!("Turned away: {which}: {why}")
}

/// Nothing mends what was recorded, so it is told and no more.
fn wrong_clock(device: &Value) -> String {
    let whose = device["name"].as_str().or(device["device"].as_str()).unwrap_or_default();
    let months = device["months"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let months = super::view::stretches(months.filter_map(|month| month.parse().ok()));
    format!(
        "The clock of {} was wrong, or is, unless old page logs were imported there: it brought usage of {months}.\n\
         That counts in the month that it is dated; see that the device's clock is set. Months long gone are closed at\n\
         once by `tallyroll close MONTH --earlier`.",
        printable(whose)
    )
}

fn lost(gap: &Value) -> String {
    let text = |key: &str| gap[key].as_str().unwrap_or_default();
    let whose = gap["name"].as_str().unwrap_or(text("device"));
    let advice = match gap["retired"] == true {
        true => {
            "It is retired: without a newer backup of the cloud that is lost for good.".to_owned()
        }
        false => format!(
            "Other logs go on. Restore a newer backup of the\n\
             cloud; without one, `tallyroll retire {}` ends this log, and the device is enrolled anew.",
            printable(whose)
        ),
    };
    format!(
        "Since {}: the {} log of {} goes no further here than before seq {} of epoch {}. This cloud lost what follows\n\
         after it had confirmed it, and the device pruned it since. {advice}",
        time(gap["since"].as_u64().unwrap_or_default()),
        text("class"),
        printable(whose),
        gap["from-seq"],
        text("epoch"),
    )
}

fn story(frozen: &Value) -> String {
    let listed = |key: &str, none: &str| names(&frozen[key]).unwrap_or_else(|| none.to_owned());
    let since = time(frozen["since"].as_u64().unwrap_or_default());
    let why = printable(frozen["why"].as_str().unwrap_or_default());
    let awaiting = frozen["awaiting"] == true;
    let missing = if awaiting { "none that is known" } else { "none" };
    let thaws = if awaiting {
        "How many devices there were is not known: those that this cloud enrolled come back by themselves, and it\n\
         does not thaw by itself. When all are back that you know of, go on: `tallyroll doctor --accept-loss`.\n\
         One that comes later needs `tallyroll doctor --await-devices`."
    } else {
        "It thaws by itself when the last one connects, one whose agent is of the first version once it is upgraded.\n\
         If one never will: retire it, or go on without what it may hold: `tallyroll doctor --accept-loss`."
    };
    format!(
        "Frozen since {since}: {why}. The end of this cloud's own logs may be lost.\n\
         Rate cards and what is decided about devices wait until each device gave back what it holds of them;\n\
         usage is taken in meanwhile. What only this cloud held (grants, links of names, acts of the processing server) is as it was then.\n\
         gave back: {}\n\
         missing:   {}\n\
         {thaws}",
        listed("reported", "none yet"),
        listed("missing", missing),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_reason_is_told_once_with_all_its_devices() {
        let of = |name: &str, reason: &str| json!({ "name": name, "device": "id", "reason": reason, "seconds-ago": 3 });
        let told = refused(&[of("a", "unknown"), of("b", "old-keys"), of("c", "unknown")]);
        assert_eq!(told.len(), 2);
        assert!(
            told[0].starts_with("Turned away: a (id), 3 s ago; c (id), 3 s ago: this cloud"),
            "{told:?}"
        );
        assert!(told[1].starts_with("Turned away: b (id), 3 s ago: a copy"), "{told:?}");
    }
}
