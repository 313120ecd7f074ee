//! `view statement`: what moved one balance, line by line.
//!
//! Invariant: opening and closing balance stand as the first and the last row, in every format, and
//! the rows between add up to their difference. The lines are the engine's.

use super::out::{Format, OutputArguments, Sheet};
use super::table::{Column, Holds};
use super::view::{credits, device, unused};
use super::{Result, ask};
use serde_json::{Value, json};
use tallyroll_cloud::control::people::Whose;
use tallyroll_cloud::control::{Ask, Period};
use tallyroll_cloud::data_dir::DataDir;

/// Shows a user's statement, or a group's.
pub(super) async fn run(
    dir: &DataDir,
    whose: Whose,
    period: Period,
    output: &OutputArguments,
) -> Result {
    let of_group = whose.group;
    let stated = ask(dir, "view", Ask::Statement { whose, period }).await?;
    let text = |key: &str| stated[key].as_str().unwrap_or_default();
    let end = |what: &str, standings: &Value| json!({ "what": what, "balance": standings["balance"], "still-held": standings["held"] });
    let mut rows = vec![end("opening balance", &stated["opening"])];
    rows.extend(stated["rows"].as_array().into_iter().flatten().cloned());
    rows.push(end("closing balance", &stated["closing"]));
    let after =
        stated["after"].as_str().map_or(String::new(), |after| format!("after commit {after} "));
    let kind = if of_group { " (group)" } else { "" };
    let mut notes = vec![format!("{}{kind}: {after}up to commit {}", text("user"), text("at"))];
    notes.extend(stated["group"].as_str().map(|group| {
        format!("a member of {group}: this is their part of its balance; `view statement {group} --group` shows it whole")
    }));
    notes.extend(unused(&stated));
    let mut columns = if output.format() == Format::Table { short() } else { full() };
    if of_group {
        columns.insert(1, Column::key("member", "member"));
    }
    output.deliver(&Sheet {
        answer: &stated,
        title: "statement",
        columns: &columns,
        rows: &rows,
        notes,
    })
}

fn count<'a>(key: &'a str, title: &'a str) -> Column<'a> {
    Column::key(key, title).holding(Holds::Count)
}

fn time<'a>(key: &'a str, title: &'a str) -> Column<'a> {
    Column::key(key, title).holding(Holds::Time)
}

fn ends<'a>() -> [Column<'a>; 4] {
    let still_held = Column::key("still-held", "still held").holding(Holds::Credits);
    [credits("moved"), credits("held"), credits("balance"), still_held]
}

/// As wide as a terminal bears.
fn short() -> Vec<Column<'static>> {
    let what = [
        time("acted-at", "time"),
        Column::of("device", &device),
        Column::of("what", &what),
        credits("price"),
        count("card", "card"),
        Column::key("state", "state"),
    ];
    let about = [Column::key("adjusts", "adjusts"), Column::key("position", "position")];
    what.into_iter().chain(ends()).chain(about).collect()
}

fn full() -> Vec<Column<'static>> {
    let what = [
        time("acted-at", "time"),
        time("arrived", "arrived"),
        Column::of("device", &device),
        Column::key("job", "job"),
        Column::key("what", "what"),
        count("pages", "pages"),
        Column::key("color", "color"),
        Column::key("conversions", "conversions"),
        count("destinations", "destinations"),
        credits("price"),
        count("card", "card"),
        Column::key("state", "state"),
    ];
    let about = [
        Column::key("adjusts", "adjusts"),
        Column::key("corrects", "corrects"),
        Column::key("borne-by-name", "borne by"),
        Column::key("reason", "reason"),
        Column::key("by", "by"),
        Column::key("commit", "commit"),
        Column::key("position", "position"),
    ];
    what.into_iter().chain(ends()).chain(about).collect()
}

/// An event in a few words.
fn what(row: &Value) -> String {
    let mut words = vec![row["what"].as_str().unwrap_or_default().to_owned()];
    words.extend(row["pages"].as_u64().map(|pages| format!("{pages} pages")));
    words.extend(row["color"].as_str().map(str::to_owned));
    let conversions = row["conversions"].as_array().into_iter().flatten();
    words.extend(conversions.filter_map(Value::as_str).map(str::to_owned));
    words.extend(row["destinations"].as_u64().map(|many| format!("to {many}")));
    words
        .extend(row["reason"].as_str().filter(|why| !why.is_empty()).map(|why| format!("({why})")));
    words.extend(row["by"].as_str().map(|by| format!("by {by}")));
    words.extend(row["borne-by-name"].as_str().map(|group| format!("to {group}")));
    words.join(" ")
}
