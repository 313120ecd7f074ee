//! A thousand jobs of a device that is cut off, on one lease, its agent killed again and again.
//! Invariant: after every kill the lease is what it was less what the recorded lines take of it, to the thousandth; once
//! the cloud is back, each job is there once and whole, comes to what the rate card says, and nothing is held.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use tallyroll_tests::fleet::{Answer, Branch, Cloud, PATIENCE, Recording, wait_for, wait_until};

use super::leases::{TEMPORARY, capture, fleet, lease, leased, left, thousandths};

const JOBS: usize = 1000;
/// After so many answers the agent is killed; never at the same place in a job twice running.
const ANSWERS: usize = 283;

/// A line of a job, and what it takes of the lease, in thousandths: what the job may come to at most by then, less
/// what was taken for it before.
struct Line {
    text: String,
    takes: i64,
}

/// The lines of a job, of one of five kinds; what it comes to in the end, in thousandths.
fn job(number: usize) -> (Vec<Line>, i64) {
    let line = |takes: i64, kind: &str, rest: &str| {
        let text = format!(r#"{{"kind":"{kind}","job":"b{number:015x}"{rest}}}"#) + "\n";
        Line { text, takes }
    };
    let of_anna =
        |takes: i64, kind: &str, rest: &str| line(takes, kind, &format!(r#","user":"anna"{rest}"#));
    let begun = of_anna(0, "job.begun", "");
    let page = of_anna(1000, "pages.captured", r#","pages":1,"color":"color""#);
    let ended = line(0, "job.ended", "");
    match number % 5 {
        0 => (vec![begun, page, of_anna(0, "document.saved", r#","pages":1"#), ended], 0),
        1 => {
            let mail = r#","pages":1,"destinations":3,"color":"color""#;
            (vec![begun, page, of_anna(2000, "document.sent", mail), ended], 3000)
        }
        2 => {
            let resized = of_anna(0, "pages.converted", r#","pages":1,"conversions":["resize"]"#);
            let mail = r#","pages":1,"destinations":2,"color":"monochrome""#;
            (vec![begun, page, resized, of_anna(500, "document.sent", mail), ended], 1500)
        }
        3 => (vec![begun, page, line(0, "document.discarded", ""), ended], 0),
        _ => (vec![page], 1000), // it ends on the device
    }
}

/// How many events its ledger has.
fn ledger(branch: &Branch) -> usize {
    let status = branch.json(&["status"]);
    let mut logs = status["logs"].as_array().unwrap().iter();
    let open = logs.find(|log| log["class"] == "ledger" && log["open"] == true).unwrap();
    usize::try_from(open["durable-local"].as_u64().unwrap()).unwrap()
}

/// Records lines until so many are answered, and then kills the agent.
fn record_until_killed(branch: &mut Branch, lines: &[Line], answers: usize) {
    let mut record = Recording::start(&mut branch.command(&["record", "--leased", "--json"]));
    for line in lines {
        record.write(&line.text);
    }
    record.finish();
    for _ in 0..answers {
        let answer = record.answer(PATIENCE).unwrap();
        assert!(matches!(answer, Answer::At(_)), "{answer:?}");
    }
    branch.kill_9();
}

/// What the lease has left, in thousandths.
fn rest(branch: &Branch) -> i64 {
    lease(branch).map_or(0, |lease| thousandths(&lease["left"]))
}

fn takes(lines: &[Line], range: Range<usize>) -> i64 {
    lines[range].iter().map(|line| line.takes).sum()
}

#[test]
fn a_thousand_offline_jobs_on_one_lease_are_exact_however_often_the_agent_is_killed() {
    let (mut lines, mut comes_to) = (Vec::new(), 0);
    for number in 0..JOBS {
        let (of_job, credits) = job(number);
        lines.extend(of_job);
        comes_to += credits;
    }
    let whole = takes(&lines, 0..lines.len());
    assert_eq!((lines.len(), whole, comes_to), (3600, 1_500_000, 1_100_000));
    let (_dir, mut cloud, [mut branch]) = fleet(7500);
    drop(leased(&branch, &capture(1500)).succeeded());
    wait_until(PATIENCE, "a lease as large as recent use", || left(&branch) == 1500);
    branch.wait_synced(PATIENCE);
    cloud.stop();

    let before = ledger(&branch);
    let (mut done, mut kills) = (0, 0);
    while done < lines.len() {
        let answers = ANSWERS.min(lines.len() - done);
        let more = lines.len().min(done + 2 * ANSWERS);
        record_until_killed(&mut branch, &lines[done..more], answers);
        kills += 1;
        branch.start();
        let now = ledger(&branch) - before;
        // What was under way when it was killed may have been recorded.
        assert!((done + answers..=more).contains(&now), "{now}, {done} + {answers} were answered");
        done = now;
        assert_eq!(rest(&branch), whole - takes(&lines, 0..done), "after {done} lines");
    }
    assert!(kills >= 8, "{kills} kills");
    let told = leased(&branch, &capture(1)).failed(TEMPORARY);
    assert!(told.contains("0.000 are left"), "{told}");

    cloud.start_again();
    branch.wait_synced(PATIENCE);
    exact(&cloud, comes_to);
}

/// Everything of it is at the cloud, once, and settled.
fn exact(cloud: &Cloud, comes_to: i64) {
    let shown = wait_for(PATIENCE, "the lease is spent", || {
        let leases = cloud.json(&["leases"]);
        (leases["leases"][0]["spent"] == "3000.000").then_some(leases)
    });
    let figures = ["granted", "charged", "held", "pool", "leased", "frozen", "copied"]
        .map(|key| thousandths(&shown["totals"][key]));
    let charged = 1_500_000 + comes_to;
    assert_eq!(figures, [7_500_000, charged, 0, 7_500_000 - charged, 0, 0, 0], "{shown}");
    let rows = cloud.json(&["view", "totals"]);
    let count = |key: &str| -> u64 {
        let rows = rows["rows"].as_array().unwrap().iter();
        rows.map(|row| row[key].as_u64().unwrap()).sum()
    };
    let counts = ["captured", "converted", "sent", "saved"].map(count);
    assert_eq!(counts, [2500, 200, 200 * 3 + 200 * 2, 200], "{rows}");
    let mut jobs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut line in cloud.events() {
        let job = line["event"]["job"].as_str().unwrap_or_default().to_owned();
        jobs.entry(job).or_default().push(line["event"]["kind"].take());
    }
    for number in 0..JOBS {
        let kinds = &jobs[&format!("b{number:015x}")];
        let expected: Vec<Value> = job(number)
            .0
            .iter()
            .map(|line| serde_json::from_str::<Value>(&line.text).unwrap()["kind"].take())
            .collect();
        assert_eq!(*kinds, expected, "job {number}: none is lost and none counts twice");
    }
}
