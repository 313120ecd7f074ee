//! `reconcile`: devices' own meters against what was counted.
//!
//! Invariant: below each device's month stands what its difference is made of, and adds up to it;
//! impressions and sheets keep columns of their own. The figures are the engine's.

use super::out::{OutputArguments, Sheet};
use super::table::{Column, Holds, time};
use super::view::{device, tell_apart};
use super::{Result, ask};
use clap::Args;
use serde_json::{Value, json};
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_engine::counts::Month;

#[derive(Args)]
pub(crate) struct ReconcileArguments {
    /// Of one month, as 2026-10.
    #[arg(long)]
    month: Option<Month>,
    /// Of one device, by name or id.
    #[arg(long, value_name = "NAME|ID")]
    device: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Shows meters against counts.
pub(crate) async fn run(dir: &DataDir, arguments: ReconcileArguments) -> Result {
    let ReconcileArguments { month, device: wanted, output } = arguments;
    let answer = ask(dir, "reconcile", Ask::Reconcile { month, device: wanted }).await?;
    let months = answer["rows"].as_array().into_iter().flatten();
    let mut rows: Vec<Value> = months.flat_map(flat).collect();
    tell_apart(&mut rows);
    let count = |key, title| Column::key(key, title).holding(Holds::Count);
    let columns = [
        Column::key("month", "month"),
        Column::of("device", &device),
        Column::key("what", "what"),
        count("metered", "metered"),
        count("page-log", "page log"),
        count("device-counted", "device"),
        count("printer-job", "printer jobs"),
        count("counted", "counted"),
        count("difference", "difference"),
        count("sheets-metered", "sheets metered"),
        count("sheets-counted", "sheets counted"),
        count("sheets-difference", "sheets difference"),
        count("jobs-with-unknown-sheets", "jobs with unknown sheets"),
    ];
    let at = answer["at"].as_str().unwrap_or_default();
    let notes = vec![format!("impressions, and sheets where the source says, at commit {at}")];
    output.deliver(&Sheet {
        answer: &answer,
        title: "reconcile",
        columns: &columns,
        rows: &rows,
        notes,
    })
}

/// A device's month, and under it the parts of its difference.
fn flat(month: &Value) -> Vec<Value> {
    let mut total = month.clone();
    let sources = &month["by-source"];
    total["what"] = "all".into();
    total["page-log"] = sources["page-log"].clone();
    total["device-counted"] = sources["device"].clone();
    total["printer-job"] = sources["printer-job"].clone();
    let part = |item: &Value| {
        json!({
            "month": month["month"],
            "device": month["device"],
            "device-name": month["device-name"],
            "what": described(item),
            "difference": item["impressions"],
            "sheets-difference": item["sheets"],
            "jobs-with-unknown-sheets": item["jobs-with-unknown-sheets"],
        })
    };
    let parts = month["items"].as_array().into_iter().flatten().map(part);
    [total].into_iter().chain(parts).collect()
}

/// A part of a difference in a few words.
fn described(item: &Value) -> String {
    let mut words = item["why"].as_str().unwrap_or_default().replace('-', " ");
    for (key, of) in [("meter", "impressions"), ("sheets-meter", "sheets")] {
        let meter = &item[key];
        if meter == "reset" {
            words += &format!(", meter of {of} reset");
        } else if let Some(ran) = meter["rolled-over"].as_u64() {
            words += &format!(", meter of {of} rolled over after {ran}");
        }
    }
    for (key, word) in [("from", "from"), ("to", "to")] {
        words += &item[key].as_u64().map_or(String::new(), |at| format!(" {word} {}", time(at)));
    }
    words
}
