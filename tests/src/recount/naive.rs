//! The naive counter, what it is fed, and how its rows are held against the views'.
//!
//! Invariant: a line is what `tallyroll log show --json` prints; the counter is Python and knows nothing of ours.
//! What the lines are of is left to who feeds them.

use crate::sim::entropy::Entropy;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::{ChildStdin, Command, Stdio};
use tallyroll_engine::counts::Report;
use tallyroll_engine::hub::{Hub, LogSummary};
use tallyroll_engine::store::Store;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Event, Record};

/// Lines of one log that are read before another one's turn.
const TURN: usize = 500;

/// Starts the counter, feeds it, and compares. Returns what feeding it returned, how many rows there
/// are, and the first one that differs.
///
/// # Errors
/// It cannot be started or failed.
pub fn compare<T>(
    report: &Report<'_>,
    feed: impl FnOnce(&mut BufWriter<ChildStdin>) -> io::Result<T>,
) -> Result<(T, usize, Option<String>), String> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/naive/count.py");
    let mut child = Command::new("python3")
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| format!("python3: {why}; on Debian: apt-get install python3"))?;
    let input = child.stdin.take().ok_or("the naive counter has no input")?;
    let mut input = BufWriter::new(input);
    let fed = feed(&mut input).and_then(|fed| input.flush().map(|()| fed));
    drop(input);
    let output = child.wait_with_output().map_err(|why| why.to_string())?;
    if !output.status.success() {
        return Err("the naive counter failed".into());
    }
    let fed = fed.map_err(|why| why.to_string())?;
    let theirs: Value = serde_json::from_slice(&output.stdout).map_err(|why| why.to_string())?;
    let ours = json!({ "balances": unnamed(json!(report.balances())), "totals": unnamed(json!(report.totals())) });
    let (mut rows, mut difference) = (0, None);
    for view in ["balances", "totals"] {
        let (ours, theirs) = (sorted(&ours[view]), sorted(&theirs[view]));
        rows += ours.len();
        let differs = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        if let Some((ours, theirs)) = differs {
            difference = difference.or(Some(format!("{view}: ours {ours}\n  naive {theirs}")));
        } else if ours.len() != theirs.len() {
            let (ours, theirs) = (ours.len(), theirs.len());
            difference = difference.or(Some(format!("{view}: {ours} rows, naively {theirs}")));
        }
    }
    Ok((fed, rows, difference))
}

/// Writes the lines of all logs of a cloud, of so many in a hundred another time later; returns how many.
///
/// # Errors
/// Nobody reads them.
pub fn lines_of<S: Store>(
    cloud: &Hub<S>,
    entropy: &mut Entropy,
    duplicates: u64,
    out: &mut impl Write,
) -> io::Result<u64> {
    let mut logs: Vec<(LogSummary, u64)> =
        cloud.logs().map_err(io::Error::other)?.into_iter().map(|log| (log, 0)).collect();
    let (mut late, mut written): (Vec<String>, u64) = (Vec::new(), 0);
    while !logs.is_empty() {
        let turn = entropy.index(logs.len());
        let mut lines = Vec::with_capacity(TURN);
        let (log, next) = &mut logs[turn];
        let read = cloud.read_log(log.log, log.epoch, *next, &mut |position, record| {
            lines.push(line(log, &json!(position), record));
            *next = position.seq + 1;
            match lines.len() < TURN {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        read.map_err(io::Error::other)?;
        if lines.len() < TURN {
            logs.swap_remove(turn);
        }
        for line in lines {
            out.write_all(line.as_bytes())?;
            written += 1;
            if entropy.percent(duplicates) {
                late.push(line);
            }
        }
        while late.len() > if logs.is_empty() { 0 } else { 100 * TURN } {
            let line = late.swap_remove(entropy.index(late.len()));
            out.write_all(line.as_bytes())?;
            written += 1;
        }
    }
    Ok(written)
}

fn line(log: &LogSummary, position: &Value, record: &Record<'_>) -> String {
    let own = matches!(log.class, LogClass::Ledger | LogClass::Telemetry);
    let device = log.device.filter(|_| own);
    let (wall, event) = (record.header.time.wall, shown(record));
    let line = json!({ "position": position, "device": device, "class": log.class, "wall": wall, "event": event });
    format!("{line}\n")
}

/// An event, and what it stands for if it is recorded again.
fn shown(record: &Record<'_>) -> Value {
    let Ok(event) = record.event() else { return Value::Null };
    let mut json = json!(event);
    if let Event::EventResubmitted(again) = event
        && let Ok((record, _)) = Record::split(&again.record.0)
        && let Ok(event) = record.event()
    {
        json["recorded"] = json!({ "wall": record.header.time.wall, "event": event });
    }
    json
}

/// The engine's rows without names, which the counter does not know.
fn unnamed(mut rows: Value) -> Value {
    for row in rows.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        row.remove("name");
        row.remove("device-name");
    }
    rows
}

fn sorted(rows: &Value) -> Vec<String> {
    let mut rows: Vec<String> =
        rows.as_array().into_iter().flatten().map(Value::to_string).collect();
    rows.sort();
    rows
}
