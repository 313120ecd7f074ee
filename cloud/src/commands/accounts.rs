//! `allot`, `balance`: what an account is given each month, and how it stands.
//!
//! Invariant: figures are the cloud's, with three decimals as every view has them. Months are those of the
//! calendar in UTC.

use super::table::{Column, Side, printable, table};
use super::view::Moment;
use super::{Result, ask, print};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::control::people::{Monthly, Whose};
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_schema::Credits;

#[derive(Args)]
pub(crate) struct AllotArguments {
    /// A user, or a group with --group.
    name: String,
    /// Credits a month, with at most three decimals.
    #[arg(required_unless_present = "stop")]
    amount: Option<Credits>,
    /// It is a group's name.
    #[arg(long)]
    group: bool,
    /// Keep what is left of a month in the next, up to so much of allotments in all if it is said; without
    /// this it lapses.
    #[arg(long, value_name = "MAX", num_args = 0..=1, value_parser = most)]
    carry_over: Option<Option<Credits>>,
    /// The first month, as 2026-12; this one, if not said.
    #[arg(long, value_name = "MONTH", value_parser = month)]
    from: Option<u32>,
    /// Give nothing any more; what is left lapses with the month, unless it carries over.
    #[arg(long, conflicts_with_all = ["amount", "carry_over", "from"])]
    stop: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct BalanceArguments {
    /// A user, or a group with --group.
    name: String,
    /// It is a group's name.
    #[arg(long)]
    group: bool,
    /// A commit position (1.482) or a time (2026-11-21T08:00:00Z).
    #[arg(long, value_name = "TIME|POSITION")]
    at: Option<Moment>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What stands behind `--carry-over` is its MAX, also where it was meant as the name.
fn most(text: &str) -> core::result::Result<Credits, String> {
    text.parse().map_err(|why| {
        format!(
            "{why}; what follows --carry-over is the most that may be kept, in credits: say NAME and N before it, \
             or `--carry-over=MAX`"
        )
    })
}

/// Lays down what an account is given each month.
pub(crate) async fn allot(dir: &DataDir, arguments: AllotArguments) -> Result {
    let AllotArguments { name, amount, group, carry_over, from, json, .. } = arguments;
    let monthly = amount.map(|credits| {
        let (carries_over, most) = (carry_over.is_some(), carry_over.flatten());
        Monthly { credits, carries_over, most, from }
    });
    let told = ask(dir, "allot", Ask::Allot { whose: Whose { name, group }, monthly }).await?;
    if json {
        print(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = printable(told["name"].as_str().unwrap_or_default());
    print(match &told["allotment"] {
        Value::Null => {
            let left =
                if told["carries-over"] == true { "is kept" } else { "lapses with the month" };
            format!("{name} is given nothing each month any more; what is left of it {left}")
        }
        allotment => format!("{name} is given {}; {}", monthly_text(allotment), now_text(&told)),
    })?;
    if told["kept-before"] == true {
        eprintln!("until now what was left was kept; with --carry-over it goes on to be");
    }
    Ok(ExitCode::SUCCESS)
}

/// What was given at once, or why nothing was.
fn now_text(told: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    if let given @ Value::Object(_) = &told["given"] {
        let (credits, lapsed) = (text(&given["credits"]), text(&given["lapsed"]));
        return match lapsed.as_str() {
            "0.000" => format!("{credits} were given now"),
            _ => format!("{credits} were given now, {lapsed} lapsed"),
        };
    }
    match told["not-given"].as_str() {
        Some("member") => {
            let group = text(&told["group"]);
            format!("nothing now: their own allotment rests while they are a member of {group}")
        }
        Some("begins-later") => "nothing now".to_owned(),
        Some("given-before") => "nothing now: this month's was given before".to_owned(),
        _ => "nothing now: this machine's clock shows a time before this software was made (November 2026), and a month's \
              allotment is given by it; set the clock, and it is given within a minute"
            .to_owned(),
    }
}

/// Shows an account.
pub(crate) async fn balance(dir: &DataDir, arguments: BalanceArguments) -> Result {
    let BalanceArguments { name, group, at, json } = arguments;
    let whose = Whose { name, group };
    let told = ask(dir, "balance", Ask::Balance { whose, at: at.map(Moment::at) }).await?;
    if json {
        print(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key: &str| told[key].as_str().unwrap_or("-").to_owned();
    let group = match told["group"].as_str() {
        Some(group) => format!(", with the group {group}"),
        None if told["kind"] == "group" => " (group)".to_owned(),
        None => String::new(),
    };
    print(printable(&format!("{}{group}", text("name"))))?;
    let keys = ["granted", "charged", "corrected", "balance", "held", "available", "pool"];
    let columns = keys.map(|key| Column::key(key, key).on(Side::Right));
    print(table(&columns, std::slice::from_ref(&told)))?;
    for lease in told["leased"].as_array().into_iter().flatten() {
        let of = |key: &str| lease[key].as_str().unwrap_or("-").to_owned();
        let frozen = if lease["frozen"] == true { ", frozen" } else { "" };
        let (credits, device, user) = (of("credits"), of("device-name"), of("user"));
        print(printable(&format!("{credits} with {device} for {user}{frozen}")))?;
    }
    if let allotment @ Value::Object(_) = &told["allotment"] {
        let left = allotment["left"].as_str().unwrap_or_default();
        print(format!("given {}; {left} of it is left", monthly_text(allotment)))?;
    }
    print(format!("at commit {}", text("at")))?;
    Ok(ExitCode::SUCCESS)
}

fn monthly_text(allotment: &Value) -> String {
    let text = |key: &str| allotment[key].as_str().unwrap_or_default();
    let left = match (allotment["carries-over"].as_bool(), allotment["most"].as_str()) {
        (Some(true), Some(most)) => format!("what is left is kept, up to {most} of allotments"),
        (Some(true), None) => "what is left is kept".to_owned(),
        _ => "what is left lapses".to_owned(),
    };
    let until_then = match allotment["until-then"].as_str() {
        Some(credits) => format!(", {credits} until then"),
        None => String::new(),
    };
    let (monthly, from) = (text("monthly"), text("from"));
    format!("{monthly} credits each month from {from} on{until_then}; {left}")
}

/// Year × 12 + month − 1.
fn month(text: &str) -> std::result::Result<u32, String> {
    let wrong = || format!("`{text}` is no month; write it as 2026-12");
    let (year, month) = text.split_once('-').ok_or_else(wrong)?;
    let well_formed = year.len() == 4 && month.len() == 2;
    let number = |digits: &str| digits.parse::<u32>().ok();
    match (number(year), number(month)) {
        (Some(year @ 1970..), Some(month @ 1..=12)) if well_formed => Ok(year * 12 + month - 1),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_behind_carry_over_is_told_to_stand_before_it() {
        assert_eq!(most("150").map(|most| most.to_string()), Ok("150.000".into()));
        let told = most("office").unwrap_err();
        assert!(told.contains("say NAME and N before it"), "{told}");
    }

    #[test]
    fn a_month_is_written_as_people_write_it() {
        assert_eq!(month("2026-12"), Ok(2026 * 12 + 11));
        assert_eq!(month("1970-01"), Ok(1970 * 12));
        for wrong in ["", "2026", "2026-13", "2026-1", "26-12", "1969-12", "2026-00"] {
            assert!(month(wrong).is_err_and(|told| told.contains("2026-12")), "{wrong}");
        }
    }
}
