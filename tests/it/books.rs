//! The books as an administrator keeps them: statements, corrections, closed months, meters; each
//! through the real binaries.
//! Invariant: what is corrected, closed or metered stands beside what was charged, which stays.
//! What adds up in any history is a property, tested beside the code, and in `accounts_random` through the binaries;
//! here it is what a person gets. What a file shows is in `sheets`.

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};
use tempfile::TempDir;

use super::sheets::read;

/// A cloud and a branch where this happened; both synced.
fn fleet(acts: &[&str]) -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    record(&branch, acts);
    wait_until(PATIENCE, "the cloud knows the names", || {
        let view = cloud.json(&["view", "balances"]);
        let rows = view["rows"].as_array().unwrap();
        !rows.is_empty() && rows.iter().all(|row| row["who"]["subject"].is_string())
    });
    (dir, cloud, branch)
}

fn record(branch: &Branch, acts: &[&str]) {
    drop(branch.run_with(&["record"], acts.join("\n").as_bytes()).succeeded());
    branch.wait_synced(PATIENCE);
}

fn print(user: &str, impressions: u32, more: &str) -> String {
    format!(r#"{{"kind":"pages.printed","user":"{user}","impressions":{impressions}{more}}}"#)
}

fn row<'a>(view: &'a Value, user: &str) -> &'a Value {
    let rows = view["rows"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == user).unwrap_or_else(|| panic!("{user}: {view}"))
}

#[test]
fn a_statement_adds_up_and_a_correction_is_a_line_of_it() {
    let (dir, cloud, branch) = fleet(&[
        r#"{"kind":"job.begun","job":"00000000000000a1","user":"anna"}"#,
        r#"{"kind":"pages.captured","job":"00000000000000a1","user":"anna","pages":1,"color":"color"}"#,
    ]);
    drop(cloud.run(&["grant", "anna", "100", "--reason", "term"]).succeeded());
    let opening = cloud.json(&["view", "balances"]);
    record(
        &branch,
        &[
            r#"{"kind":"pages.converted","job":"00000000000000a1","user":"anna","pages":1,"conversions":["resize"]}"#,
            r#"{"kind":"document.sent","job":"00000000000000a1","user":"anna","pages":1,"destinations":3,"color":"color"}"#,
        ],
    );
    let statement = |more: &[&str]| cloud.json(&[&["view", "statement", "anna"], more].concat());
    let all = statement(&[]);
    let told = |stated: &Value| -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line =
            |row: &Value| ["what", "state", "moved", "held"].map(|key| text(&row[key])).join(" ");
        stated["rows"].as_array().unwrap().iter().map(line).collect()
    };
    let mut lines = told(&all);
    lines.sort();
    let expected = [
        "credits.granted settled 100.000 0.000",
        "document.sent settled -3.500 -1.000",
        "pages.captured void 0.000 1.000",
        "pages.converted with-delivery 0.000 0.000",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        all["closing"]["balance"],
        row(&cloud.json(&["view", "balances"]), "anna")["balance"]
    );
    let later = statement(&["--from", opening["at"].as_str().unwrap()]);
    assert_eq!(later["opening"]["balance"], row(&opening, "anna")["balance"]);
    assert_eq!(later["opening"]["held"], row(&opening, "anna")["held"]);
    assert_eq!(told(&later).last().unwrap(), "document.sent settled -3.500 -1.000");

    let sent = all["rows"].as_array().unwrap().iter().find(|row| row["what"] == "document.sent");
    let position = sent.unwrap()["position"].as_str().unwrap().to_owned();
    let correct = |credits: &str, more: &[&str]| {
        let of = ["correct", &position, credits, "--reason", "a page was blank", "--by", "josé"];
        cloud.run(&[&of[..], more].concat())
    };
    let told_why = correct("3.501", &[]).failed(1);
    assert!(told_why.contains("--beyond"), "{told_why}");
    drop(correct("1.5", &[]).succeeded());
    let told_why = correct("1.5", &[]).failed(1);
    assert!(told_why.contains("--again"), "{told_why}");
    drop(correct("1.5", &["--again"]).succeeded());
    drop(correct("1.5", &["--again"]).failed(1));
    drop(correct("1.5", &["--again", "--beyond"]).succeeded());
    let shown = cloud.json(&["view", "balances"]);
    let anna = row(&shown, "anna");
    let figures = ["granted", "charged", "corrected", "balance"].map(|key| anna[key].clone());
    assert_eq!(figures, ["100.000", "3.500", "4.500", "101.000"].map(Value::from));
    let all = statement(&[]);
    let last = all["rows"].as_array().unwrap().last().unwrap();
    let said = ["what", "corrects", "by", "reason", "balance"].map(|key| last[key].clone());
    let expected = ["charge.corrected", &position, "josé", "a page was blank", "101.000"];
    assert_eq!(said, expected.map(Value::from));

    // As a file, the lines are between the two balances, and add up to their difference.
    let file = dir.path().join("anna.csv");
    let options = ["view", "statement", "anna", "--format", "csv", "--out", file.to_str().unwrap()];
    drop(cloud.run(&options).succeeded());
    let rows = read(&file);
    let rows = rows.as_array().unwrap();
    let column = |title: &str| rows[0].as_array().unwrap().iter().position(|cell| cell == title);
    let (moved, balance) = (column("moved").unwrap(), column("balance").unwrap());
    let amount = |cell: &Value| cell.as_str().unwrap().parse::<f64>().unwrap();
    let lines = &rows[2..rows.len() - 1];
    let sum: f64 = lines.iter().map(|line| amount(&line[moved])).sum();
    let ends = [&rows[1], &rows[rows.len() - 1]].map(|row| amount(&row[balance]));
    assert_eq!((ends[0], ends[1], sum), (0.0, 101.0, 101.0), "{rows:?}");

    // What is no charge, or nowhere, is told so.
    let granted =
        all["rows"].as_array().unwrap().iter().find(|row| row["what"] == "credits.granted");
    let granted = granted.unwrap()["position"].as_str().unwrap();
    let told_why = cloud.run(&["correct", granted, "1", "--reason", "x"]).failed(1);
    assert!(told_why.contains("is no charge"), "{told_why}");
    let nowhere = format!("{}999", position.trim_end_matches(char::is_numeric));
    let told_why = cloud.run(&["correct", &nowhere, "1", "--reason", "x"]).failed(1);
    assert!(told_why.contains("no event at"), "{told_why}");
}

#[test]
fn a_closed_month_stays_and_what_comes_later_is_an_adjustment_in_the_next() {
    let day = |month: u32| {
        format!(r#","acted-at":{}"#, 1_577_880_000_000_u64 + u64::from(month) * 2_678_400_000)
    };
    let (january, february) = (day(0), day(1));
    let (_dir, cloud, branch) = fleet(&[&print("anna", 3, &january), &print("anna", 5, &february)]);
    let month = |month: &str| {
        let view = cloud.json(&["view", "totals", "--month", month]);
        let rows = view["rows"].as_array().unwrap().clone();
        let figures = |row: &Value| {
            (row["adjusts"].as_str().map(str::to_owned), row["impressions"].as_u64().unwrap())
        };
        rows.iter().map(figures).collect::<Vec<_>>()
    };
    let closed = |at: &str| cloud.json(&["view", "totals", "--at", at])["closed"].clone();
    let at = || cloud.json(&["view", "totals"])["at"].as_str().unwrap().to_owned();
    let before = at();
    let told = cloud.run(&["close", "2020-02"]).failed(1);
    assert!(told.contains("2020-01 is not closed; close it first"), "{told}");
    let told = cloud.run(&["close", "9998-01"]).failed(1);
    assert!(told.contains("9998-01 is not over"), "{told}");
    drop(cloud.run(&["close", "2020-01"]).succeeded());
    let told = cloud.run(&["close", "2020-01"]).failed(1);
    assert!(told.contains("closed already"), "{told}");
    let told = cloud.run(&["close", "2019-12"]).failed(1);
    assert!(told.contains("lies before 2020-01"), "{told}");

    record(&branch, &[&print("anna", 7, &january)]);
    let late = Some("2020-01".to_owned());
    assert_eq!(month("2020-01"), [(None, 3)]);
    assert_eq!(month("2020-02"), [(None, 5), (late.clone(), 7)]);
    drop(cloud.run(&["close", "2020-02"]).succeeded());
    let told = cloud.run(&["close", "2020-04"]).failed(1);
    assert!(told.contains("2020-03 is not closed; close it first"), "{told}");
    record(&branch, &[&print("anna", 11, &january)]);
    assert_eq!(month("2020-01"), [(None, 3)], "for ever");
    assert_eq!(month("2020-02"), [(None, 5), (late.clone(), 7)], "for ever");
    assert_eq!(month("2020-03"), [(late, 11)]);
    let all: u64 =
        ["2020-01", "2020-02", "2020-03"].iter().flat_map(|of| month(of)).map(|row| row.1).sum();
    assert_eq!(all, 26, "closed and adjustments are all");
    assert_eq!((closed(&before), closed(&at())), (Value::Null, json!(["2020-01", "2020-02"])));
    let told = cloud.run(&["doctor"]).succeeded();
    assert!(
        told.contains("The clock of branch was wrong") && told.contains("2020-01 to 2020-02"),
        "{told}"
    );
    let told = cloud.run(&["close", "2020-05", "--earlier"]).succeeded();
    assert!(told.starts_with("2020-03 to 2020-05 are closed at commit "), "{told}");
    let told = cloud.run(&["view", "totals"]).succeeded();
    assert!(told.contains("closed: 2020-01 to 2020-05 ("), "{told}");
    let stated = cloud.json(&["view", "statement", "anna"]);
    let adjusts: Vec<_> =
        stated["rows"].as_array().unwrap().iter().map(|row| row["adjusts"].clone()).collect();
    assert_eq!(adjusts.iter().filter(|month| **month == "2020-01").count(), 2, "{stated}");
}

#[test]
fn a_meter_is_held_against_what_was_counted() {
    let (_dir, cloud, branch) = fleet(&[&print("anna", 3, "")]);
    let read =
        |impressions: &str| drop(branch.run(&["meter", impressions, "--sheets", "7"]).succeeded());
    read("999990");
    record(&branch, &[&print("anna", 8, "")]);
    read("20");
    read("9");
    record(&branch, &[&print("anna", 1, "")]);
    let view = cloud.json(&["reconcile", "--device", "branch"]);
    let sum = |key: &str| -> i64 {
        let items = view["rows"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row["items"].as_array().unwrap());
        items.map(|item| item[key].as_i64().unwrap()).sum()
    };
    let all = |key: &str| -> i64 {
        view["rows"].as_array().unwrap().iter().map(|row| row[key].as_i64().unwrap_or(0)).sum()
    };
    assert_eq!((all("metered"), all("counted"), all("difference")), (30, 12, 18));
    assert_eq!(sum("impressions"), 18, "the items are the difference: {view}");
    let shown = cloud.run(&["reconcile"]).succeeded();
    for named in [
        "rolled over after 30",
        "meter of impressions reset",
        "before first reading",
        "after last reading",
    ] {
        assert!(shown.contains(named), "{named}: {shown}");
    }
    let told = cloud.run(&["reconcile", "--device", "nobody"]).failed(1);
    assert!(told.contains("tallyroll devices"), "{told}");
}

#[test]
fn a_name_that_would_steer_the_terminal_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let page = r#"{"kind":"pages.printed","user":"e\u001b[31m","impressions":1}"#;
    drop(branch.run_with(&["record"], page.as_bytes()).succeeded());
    branch.wait_synced(PATIENCE);
    let granted = cloud.run(&["grant", "e\u{1b}[31m", "5"]).succeeded();
    let stated = cloud.run(&["view", "statement", "e\u{1b}[31m"]).succeeded();
    let csv = cloud.run(&["view", "balances", "--format", "csv"]).succeeded();
    for told in [granted, stated, csv] {
        assert!(told.contains("e\u{fffd}[31m") && !told.contains('\u{1b}'), "{told:?}");
    }
}
