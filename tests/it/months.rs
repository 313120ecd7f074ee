//! Months that pass: what is given, what lapses, what is closed, and what comes late.
//! Invariant shown here: in every month each account has what its rule says, whatever was used, held at a device or
//! asleep meanwhile; a closed month's figures stay, and all months add up. Real processes on a calendar of their own.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};
use tempfile::TempDir;

fn fleet(day: &'static str) -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_on(dir.path().join("cloud"), Some(day));
    let mut branch = Branch::new(dir.path().join("branch"));
    branch.set_day(day);
    drop(branch.join(&cloud.enroll("branch")).succeeded());
    branch.start();
    (dir, cloud, branch)
}

fn captures(branch: &Branch, user: &str, pages: u32) {
    let line =
        format!(r#"{{"kind":"pages.captured","user":"{user}","pages":{pages},"color":"color"}}"#);
    drop(branch.run_with(&["record"], line.as_bytes()).succeeded());
}

/// Pool and balance, which are one while no device holds anything.
fn has(cloud: &Cloud, user: &str, credits: &str) {
    wait_until(PATIENCE, credits, || {
        let shown = cloud.json(&["balance", user]);
        let figures = ["balance", "pool"].map(|key| shown[key].as_str().unwrap().to_owned());
        assert!(shown["leased"].as_array().unwrap().is_empty(), "{shown}");
        figures == [credits, credits]
    });
}

/// What moved a balance in a month: kind and credits.
fn lines(cloud: &Cloud, user: &str, month: &str) -> Vec<(String, String)> {
    let stated = cloud.json(&["view", "statement", user, "--month", month]);
    let line = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("what"), text("moved"))
    };
    stated["rows"].as_array().unwrap().iter().map(line).collect()
}

fn charged(cloud: &Cloud, month: &str) -> Vec<Value> {
    let shown = cloud.json(&["view", "totals", "--month", month]);
    let rows = shown["rows"].as_array().unwrap().iter();
    rows.map(|row| serde_json::json!([row["name"], row["charged"], row["adjusts"]])).collect()
}

#[test]
fn each_month_gives_lapses_and_closes_and_what_comes_late_is_of_the_next() {
    let (_dir, mut cloud, mut branch) = fleet("2031-01-20");
    for user in ["anna", "bob", "cora"] {
        drop(cloud.run(&["users", "add", user]).succeeded());
    }
    let told = cloud.run(&["allot", "anna", "100"]).succeeded();
    assert!(told.contains("from 2031-01 on") && told.contains("100.000 were given now"), "{told}");
    drop(cloud.run(&["allot", "bob", "100", "--carry-over", "150"]).succeeded());
    drop(cloud.run(&["allot", "cora", "10", "--carry-over"]).succeeded());
    let told = cloud.run(&["allot", "cora", "20", "--carry-over", "--from", "2031-04"]).succeeded();
    let expected = "20.000 credits each month from 2031-04 on, 10.000 until then";
    assert!(told.contains(expected) && told.contains("nothing now"), "{told}");
    drop(cloud.run(&["grant", "anna", "50"]).succeeded());
    captures(&branch, "anna", 3);
    captures(&branch, "bob", 10);
    branch.wait_synced(PATIENCE);
    has(&cloud, "anna", "147.000");
    has(&cloud, "bob", "90.000");
    let told = cloud.run(&["close", "2031-01"]).failed(1);
    assert!(told.contains("not over"), "{told}");

    // Recorded in January, brought in February, when January is closed.
    cloud.stop();
    captures(&branch, "anna", 2);
    branch.stop();
    cloud.wake_on("2031-02-03");
    has(&cloud, "anna", "150.000"); // all that was left of the allotment lapsed: 3 were used of it
    has(&cloud, "bob", "150.000"); // 90 is kept, and no more than 150 may be there
    has(&cloud, "cora", "20.000"); // ten more until April
    drop(cloud.run(&["close", "2031-01"]).succeeded());
    let january = charged(&cloud, "2031-01");
    branch.set_day("2031-02-03");
    branch.start();
    branch.wait_synced(PATIENCE);
    has(&cloud, "anna", "148.000");
    assert_eq!(cloud.json(&["balance", "anna"])["allotment"]["left"], "98.000");
    let told = cloud.run(&["balance", "bob"]).succeeded();
    assert!(told.contains("150.000 of it is left"), "{told}");
    assert_eq!(charged(&cloud, "2031-01"), january, "a closed month stays");
    let late = serde_json::json!(["anna", "2.000", "2031-01"]);
    assert_eq!(charged(&cloud, "2031-02"), [late], "an adjustment");
    let given = |what: &str, moved: &str| (what.to_owned(), moved.to_owned());
    assert_eq!(
        lines(&cloud, "anna", "2031-02"),
        [
            given("allotment.given", "100.000"),
            given("allotment.lapsed", "-97.000"),
            given("pages.captured", "-2.000"),
        ]
    );

    // Nobody was there in March; April gives April's, once.
    cloud.wake_on("2031-04-01");
    has(&cloud, "anna", "150.000");
    has(&cloud, "bob", "150.000");
    has(&cloud, "cora", "40.000");
    assert_eq!(cloud.json(&["balance", "cora"])["allotment"].get("until-then"), None);
    cloud.wake_on("2031-04-30");
    has(&cloud, "anna", "150.000");
    let months = ["2031-01", "2031-02", "2031-03", "2031-04"];
    let of_months = months.iter().flat_map(|month| lines(&cloud, "anna", month));
    let sum: i64 = of_months.map(|(_, moved)| moved.replace('.', "").parse::<i64>().unwrap()).sum();
    assert_eq!(sum, 150_000, "the months add up to the balance");
    let told = cloud.run(&["close", "2031-03"]).failed(1);
    assert!(told.contains("2031-02 is not closed"), "{told}");
}
