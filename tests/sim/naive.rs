//! The naive counter counts what the cloud holds, and its rows are the engine's.
//! Invariant: it is fed the events as the cloud's command prints them, and shares no code with the
//! engine. That the events are the right ones is left to the checkers.

use serde_json::{Value, json};
use std::io::Write;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use tallyroll_engine::counts::Report;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Event, Record};
use tallyroll_tests::sim::{Options, World, live};

/// Histories whose events go through the counter, one in how many.
const COUNTED: u64 = 12;

#[test]
fn the_naive_counter_and_the_views_agree() {
    let options = Options::new(11, COUNTED);
    for history in 0..COUNTED {
        let mut compared = false;
        let outcome = live(&options, history, |world| {
            let (lines, rows) = (json_lines(world), rows(world));
            assert!(
                !rows["totals"].as_array().unwrap().is_empty(),
                "history {history} counts nothing"
            );
            assert_eq!(sorted(count(&lines)), sorted(rows), "history {history}");
            compared = true;
        });
        assert!(compared, "history {history}: {:?}", outcome.violation);
    }
}

/// What `tallyroll log show --json` prints of all logs.
fn json_lines(world: &World) -> String {
    let cloud = world.cloud_process().unwrap();
    let mut lines = String::new();
    for log in cloud.logs().unwrap() {
        let own = matches!(log.class, LogClass::Ledger | LogClass::Telemetry);
        let device = log.device.filter(|_| own);
        cloud
            .read_log(log.log, log.epoch, 0, &mut |position, record| {
                let (wall, event) = (record.header.time.wall, shown(record));
                let class = log.class;
                let line = json!({ "position": position, "device": device, "class": class, "wall": wall, "event": event });
                lines.push_str(&format!("{line}\n"));
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    lines
}

/// An event, and what it stands for if it is recorded again.
fn shown(record: &Record<'_>) -> Value {
    let event = record.event().unwrap();
    let mut json = json!(event);
    if let Event::EventResubmitted(again) = event {
        let (record, _) = Record::split(&again.record.0).unwrap();
        json["recorded"] =
            json!({ "wall": record.header.time.wall, "event": record.event().unwrap() });
    }
    json
}

/// The engine's rows, without names.
fn rows(world: &World) -> Value {
    let counts = world.cloud_process().unwrap().counts();
    let report = Report { counts, user_name: &|_, _| None, device_name: &|_| None };
    let mut rows = json!({ "balances": report.balances(), "totals": report.totals() });
    for row in
        rows.as_object_mut().unwrap().values_mut().flat_map(|rows| rows.as_array_mut().unwrap())
    {
        let row = row.as_object_mut().unwrap();
        row.remove("name");
        row.remove("device-name");
    }
    rows
}

fn sorted(mut rows: Value) -> Value {
    for rows in rows.as_object_mut().unwrap().values_mut() {
        rows.as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    rows
}

fn count(lines: &str) -> Value {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/naive/count.py");
    let mut child = Command::new("python3")
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the naive counter needs python3; install it, on Debian: apt-get install python3");
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the naive counter failed");
    serde_json::from_slice(&output.stdout).unwrap()
}
