//! Reports as files: balances, totals, devices, and statements of a user and of a group.
//! Invariant: table, JSON, CSV and XLSX of one cut say the same, cell by cell, by a reader that is none of ours; text
//! is a formula in none of them, and a number is a number.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

/// What Python's standard library reads in a file: rows of cells, a number as a number.
pub(super) fn read(path: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/naive/read_sheet.py");
    let out = Command::new("python3").arg(script).arg(path).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// What a command says where its output is a terminal; it is refused there.
fn on_terminal(cloud: &Cloud, arguments: &[&str]) -> String {
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let command = cloud.command(arguments);
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    let out = python.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    said
}

const BEGIN_FORMULAS: [char; 4] = ['=', '+', '-', '@'];

/// One view, in every format.
struct Report {
    /// The answer, of which the others show a part.
    json: Value,
    /// Cells of the table, header first; `-` is nothing.
    table: Vec<Vec<String>>,
    csv: Vec<Vec<String>>,
    xlsx: Vec<Vec<Value>>,
}

impl Report {
    fn of(cloud: &Cloud, dir: &Path, view: &[&str]) -> Self {
        let json = cloud.json(view);
        let at = json["at"].as_str().unwrap();
        let text = cloud.run(view).succeeded();
        assert!(text.contains(&format!("commit {at}")), "it is another cut: {text}");
        let cells = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        };
        let table: Vec<Vec<String>> = text.lines().map(cells).filter(|row| row.len() > 1).collect();
        let file = |format: &str| {
            let path = dir.join(format!("{}.{format}", view.join("-").replace(['=', '@'], "_")));
            let options = ["--format", format, "--out", path.to_str().unwrap()];
            drop(cloud.run(&[view, &options].concat()).succeeded());
            path
        };
        let csv = serde_json::from_value(read(&file("csv"))).unwrap();
        let xlsx = serde_json::from_value(read(&file("xlsx"))).unwrap();
        Self { json, table, csv, xlsx }
    }

    /// A cell of the CSV as it was meant: an apostrophe only before what would be a formula.
    fn meant(cell: &str) -> &str {
        assert!(
            !cell.starts_with(['=', '+', '@']) && (!cell.starts_with('-') || is_number(cell)),
            "a formula: {cell}"
        );
        cell.strip_prefix('\'').filter(|rest| rest.starts_with(BEGIN_FORMULAS)).unwrap_or(cell)
    }

    /// The rows as the JSON has them, a group's members under it, and a statement's balances around it.
    fn rows(&self) -> Vec<Value> {
        let with_members = |row: &Value| {
            let mut rows = vec![row.clone()];
            for member in row["members"].as_array().into_iter().flatten() {
                let part = json!({ "name": member["name"], "kind": "user", "member-of": row["name"],
                    "charged": member["charged"], "held": member["held"] });
                rows.push(part);
            }
            rows
        };
        let rows = self.json["rows"].as_array().unwrap().iter().flat_map(with_members);
        let end = |key: &str| {
            let standings = self.json.get(key)?;
            let what = format!("{key} balance");
            Some(
                json!({ "what": what, "balance": standings["balance"], "still-held": standings["held"] }),
            )
        };
        end("opening").into_iter().chain(rows).chain(end("closing")).collect()
    }

    /// All four say the same; how many cells were looked at.
    fn agrees(&self) -> usize {
        let [header, csv @ ..] = &self.csv[..] else { panic!("{:?}", self.csv) };
        assert_eq!(self.xlsx[0], header.iter().map(|title| json!(title)).collect::<Vec<_>>());
        let rows = self.rows();
        let lengths = (csv.len(), self.xlsx.len() - 1, self.table.len() - 1);
        assert_eq!(
            lengths,
            (rows.len(), rows.len(), rows.len()),
            "{:?} {:?}",
            self.csv,
            self.table
        );
        let mut compared = 0;
        for (at, line) in csv.iter().enumerate() {
            for (column, cell) in line.iter().enumerate() {
                let title = &*header[column];
                let shown = Self::meant(cell);
                let in_book = self.xlsx[at + 1].get(column).unwrap_or(&Value::Null);
                same_in_book(title, shown, in_book);
                let key = key_of(title, &rows[at]);
                same_in_json(title, shown, &rows[at][key]);
                if let Some(beside) = self.table[0].iter().position(|of| of == title) {
                    let in_table = &self.table[at + 1][beside];
                    let composed = title == "what" && in_table.starts_with(shown);
                    let nothing = shown.is_empty() && in_table == "-";
                    assert!(
                        composed || nothing || in_table == shown,
                        "{title}: {in_table}, {shown}"
                    );
                }
                compared += 1;
            }
        }
        compared
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

/// What a column's values are called in the JSON of a row.
fn key_of<'a>(title: &'a str, row: &Value) -> &'a str {
    match title {
        "user" => "name",
        "device" if row.get("standing").is_some() => "name",
        "device" => "device-name",
        "time" => "acted-at",
        "enrolled" => "enrolled-at",
        "borne by" => "borne-by-name",
        "member of" => "member-of",
        "still held" => "still-held",
        title => title,
    }
}

/// In a workbook, credits, counts and times are numbers, of which times show as such; all else is text.
fn same_in_book(title: &str, shown: &str, cell: &Value) {
    match cell {
        Value::Null => assert_eq!(shown, "", "{title}"),
        Value::String(text) => {
            assert_eq!(text, shown, "{title}");
            let number = [
                "granted",
                "charged",
                "corrected",
                "balance",
                "held",
                "available",
                "moved",
                "price",
                "card",
            ];
            assert!(!number.contains(&title), "{title} is text: {text}");
        }
        number => {
            let is = number.as_f64().unwrap();
            assert!((is - shown.parse::<f64>().unwrap()).abs() < 1e-9, "{title}: {is}, {shown}");
        }
    }
}

fn same_in_json(title: &str, shown: &str, value: &Value) {
    match value {
        Value::Null => assert_eq!(shown, "", "{title}"),
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().map(|part| part.as_str().unwrap()).collect();
            assert_eq!(shown, parts.join(" "), "{title}");
        }
        Value::Number(milliseconds) if shown.ends_with('Z') => {
            assert_eq!(shown, rfc_3339(milliseconds.as_u64().unwrap()), "{title}");
        }
        Value::String(text) => assert_eq!(shown, text, "{title}"),
        other => assert_eq!(shown, other.to_string(), "{title}"),
    }
}

/// By the system's own calendar.
fn rfc_3339(milliseconds: u64) -> String {
    let seconds = format!("@{}", milliseconds / 1000);
    let out = Command::new("date").args(["-u", "-d", &seconds, "+%FT%TZ"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A cloud with people, a group and reasons that begin like formulas, and all that a statement shows.
fn formulas(dir: &Path) -> (Cloud, Branch) {
    let cloud = Cloud::start(dir.join("cloud"));
    let branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
    let print =
        |user: &str| format!(r#"{{"kind":"pages.printed","user":"{user}","impressions":2}}"#);
    let job = r#""job":"00000000000000a1","user":"=1+1","pages":1"#;
    let acts = [
        &*print("+1"),
        &print("-1 pages"),
        &print("@ada"),
        &print("anna"),
        &print("\\\"quoted\\\", sure"),
        r#"{"kind":"job.begun","job":"00000000000000a1","user":"=1+1"}"#,
        &format!(r#"{{"kind":"pages.captured",{job},"color":"color"}}"#),
        &format!(
            r#"{{"kind":"pages.converted",{job},"conversions":["resize","color-to-monochrome"]}}"#
        ),
        &format!(r#"{{"kind":"document.sent",{job},"destinations":3,"color":"monochrome"}}"#),
        r#"{"kind":"pages.captured","user":"=1+1","pages":2}"#,
        r#"{"kind":"job.begun","job":"00000000000000a2","user":"=1+1"}"#,
        r#"{"kind":"pages.captured","job":"00000000000000a2","user":"=1+1","pages":1}"#,
    ];
    drop(branch.run_with(&["record"], acts.join("\n").as_bytes()).succeeded());
    branch.wait_synced(PATIENCE);
    wait_until(PATIENCE, "the cloud knows the names", || {
        let view = cloud.json(&["view", "balances"]);
        let rows = view["rows"].as_array().unwrap();
        rows.len() == 6 && rows.iter().all(|row| row["name"].is_string())
    });
    drop(cloud.run(&["grant", "=1+1", "0.5", "--reason", "=2+2"]).succeeded());
    drop(cloud.run(&["grant", "anna", "1.5", "--reason=-1 of it"]).succeeded());
    drop(cloud.run(&["groups", "add", "=office"]).succeeded());
    drop(cloud.run(&["grant", "--group", "=office", "999999999"]).succeeded());
    for member in ["=1+1", "@ada", "+1"] {
        drop(cloud.run(&["groups", "join", "=office", member]).succeeded());
    }
    drop(cloud.run(&["groups", "leave", "+1"]).succeeded());
    let stated = cloud.json(&["view", "statement", "+1"]);
    let mut lines = stated["rows"].as_array().unwrap().iter();
    let charge = lines.find(|line| line["what"] == "pages.printed").unwrap();
    let charge = charge["position"].as_str().unwrap();
    drop(cloud.run(&["correct", charge, "1", "--reason", "@blank", "--by", "+jo"]).succeeded());
    (cloud, branch)
}

#[test]
fn a_report_is_the_same_in_every_format_and_never_a_formula() {
    let dir = tempfile::tempdir().unwrap();
    let (cloud, _branch) = formulas(dir.path());
    let views: [&[&str]; 6] = [
        &["view", "balances"],
        &["view", "totals"],
        &["view", "devices"],
        &["view", "statement", "=1+1"],
        &["view", "statement", "+1"],
        &["view", "statement", "=office", "--group"],
    ];
    let mut texts = Vec::new();
    for view in views {
        let report = Report::of(&cloud, dir.path(), view);
        let compared = report.agrees();
        assert!(compared >= 10, "{view:?}: {:?}", report.csv);
        texts.extend(report.csv.into_iter().flatten());
    }
    for formula in ["=1+1", "+1", "-1 pages", "@ada", "=office", "=2+2", "@blank", "+jo"] {
        assert!(texts.contains(&format!("'{formula}")), "nobody saw {formula}: {texts:?}");
    }
    for number in ["-2.000", "999999999.000", "-0.500"] {
        assert!(texts.iter().any(|text| text == number), "nobody saw {number}: {texts:?}");
    }
    assert!(texts.iter().any(|text| text == "\"quoted\", sure"), "{texts:?}");
}

#[test]
fn a_file_is_the_same_each_time_and_replaces_none() {
    let dir = tempfile::tempdir().unwrap();
    let (cloud, _branch) = formulas(dir.path());
    let path = |name: &str| dir.path().join(name);
    let of = |view: &[&str], name: &str, more: &[&str]| {
        let path = path(name);
        let format = name.rsplit_once('.').unwrap().1;
        let options = ["--format", format, "--out", path.to_str().unwrap()];
        cloud.run(&[view, &options, more].concat())
    };
    for view in [&["view", "balances"][..], &["view", "totals"], &["view", "statement", "=1+1"]] {
        let made = ["first.xlsx", "second.xlsx"].map(|name| {
            drop(of(view, name, &["--force"]).succeeded());
            std::fs::read(path(name)).unwrap()
        });
        assert_eq!(made[0], made[1], "{view:?}");
    }
    drop(of(&["view", "balances"], "figures.csv", &[]).succeeded());
    let told = of(&["view", "totals"], "figures.csv", &[]).failed(2);
    assert!(told.contains("--force"), "{told}");
    drop(of(&["view", "totals"], "figures.csv", &["--force"]).succeeded());
    assert_eq!(read(&path("figures.csv"))[0][0], "month");
    for view in [&["view", "balances"][..], &["view", "statement", "=1+1"]] {
        let terminal = on_terminal(&cloud, &[view, &["--format", "xlsx"]].concat());
        assert!(terminal.contains("--out FILE"), "{terminal}");
        let text = cloud.run(&[view, &["--format", "json"]].concat()).succeeded();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), cloud.json(view));
    }
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("unfinished")), "{left:?}");
}
