//! The money rules as an administrator meets them: what an allotment really gave, whose balance got a grant, who
//! bears what is corrected, whose leases are a group's, and which of two of one name is the group.
//! Invariant shown here: what a command says moved is what the statements of both sides show. What happens
//! when the month changes is tested beside the code.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};
use tempfile::TempDir;

/// Ada has used three credits at a branch, and is known by name.
fn fleet() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("one"), &cloud.enroll("one"));
    capture(&branch, 3, &[]);
    branch.wait_synced(PATIENCE);
    wait_until(PATIENCE, "the cloud knows whose it is", || {
        let view = cloud.json(&["view", "balances"]);
        view["rows"].as_array().unwrap().iter().any(|row| row["name"] == "ada")
    });
    (dir, cloud, branch)
}

fn capture(branch: &Branch, pages: u32, more: &[&str]) {
    let act = format!(r#"{{"kind":"pages.captured","user":"ada","pages":{pages}}}"#);
    drop(branch.run_with(&[&["record"], more].concat(), act.as_bytes()).succeeded());
}

fn lines(cloud: &Cloud, whose: &[&str]) -> Vec<Value> {
    let stated = cloud.json(&[&["view", "statement"], whose].concat());
    stated["rows"].as_array().unwrap().clone()
}

/// The last line of a kind: what it moved.
fn moved(lines: &[Value], what: &str) -> String {
    let line = lines.iter().rev().find(|line| line["what"] == what);
    line.unwrap_or_else(|| panic!("no {what}: {lines:?}"))["moved"].as_str().unwrap().to_owned()
}

#[test]
fn an_allotment_says_what_it_gave_and_one_that_could_not_is_refused() {
    let (_dir, cloud, _branch) = fleet();
    let told = cloud.run(&["allot", "ada", "20", "--carry-over", "19"]).failed(1);
    assert!(told.contains("less than the 20.000 of one month"), "{told}");
    let told = cloud.run(&["allot", "ada", "20", "--from", "2020-01"]).failed(1);
    assert!(told.contains("2020-01 is past") && told.contains("or later"), "{told}");
    drop(cloud.run(&["grant", "ada", "1000"]).succeeded());
    let told = cloud.run(&["allot", "ada", "20", "--carry-over", "30"]).succeeded();
    assert!(told.contains("up to 30.000 of allotments; 20.000 were given now"), "{told}");
    assert_eq!(moved(&lines(&cloud, &["ada"]), "allotment.given"), "20.000");
    let told = cloud.run(&["allot", "ada", "25"]).succeeded();
    assert!(told.contains("nothing now: this month's was given before"), "{told}");
    let told = cloud.run(&["allot", "ada", "--stop"]).succeeded();
    assert!(told.contains("what is left of it lapses with the month"), "{told}");
}

#[test]
fn what_is_said_of_a_group_is_what_its_statement_and_the_members_show() {
    let (dir, cloud, branch) = fleet();
    for name in [&["users", "add", "office"], &["groups", "add", "office"]] {
        drop(cloud.run(name).succeeded());
    }
    drop(cloud.run(&["grant", "--group", "office", "50"]).succeeded());
    drop(cloud.run(&["groups", "join", "office", "ada"]).succeeded());

    // Two of one name.
    for table in [&["view", "balances"][..], &["leases"], &["view", "balances", "--format", "csv"]]
    {
        let shown = cloud.run(table).succeeded().replace(',', " ");
        let of = |kind| {
            let words = |line: &str| line.split_whitespace().take(2).eq(["office", kind]);
            shown.lines().filter(|line| words(line)).count()
        };
        let person = usize::from(table[0] == "view"); // who has no credits has none lent
        assert_eq!((of("group"), of("user")), (1, person), "{shown}");
    }

    // Whose balance got it.
    let granted = cloud.run(&["grant", "ada", "5"]).succeeded();
    assert!(granted.contains("ada is a member of office, whose balance got them"), "{granted}");
    assert_eq!(cloud.json(&["grant", "ada", "5"])["group"], "office");
    assert!(cloud.json(&["grant", "--group", "office", "5"])["group"].is_null());
    let told = cloud.run(&["allot", "ada", "20"]).succeeded();
    assert!(told.contains("rests while they are a member of office"), "{told}");

    // Whose lease it is.
    capture(&branch, 2, &["--leased"]);
    branch.wait_synced(PATIENCE);
    let lease = || cloud.json(&["balance", "--group", "office"])["leased"][0].clone();
    wait_until(PATIENCE, "the device holds something", || lease()["user"] == "ada");
    let held = lease()["credits"].as_str().unwrap().to_owned();
    let told = cloud.run(&["balance", "--group", "office"]).succeeded();
    assert!(told.contains(&format!("{held} with one for ada")), "{told}");

    // Who leaves: the same figures from both sides.
    let left = cloud.json(&["groups", "leave", "ada"]);
    assert_eq!(left["group-moved"], format!("-{held}"), "{left}");
    let of = |whose: &[&str], what: &str| moved(&lines(&cloud, whose), what);
    assert_eq!(left["group-moved"], of(&["office", "--group"], "group.left"));
    assert_eq!(left["settled"], of(&["ada"], "group.left"));

    // A correction goes to who bore the charge.
    let before = cloud.json(&["balance", "ada"])["balance"].clone();
    let charges = lines(&cloud, &["ada"]);
    let charge = charges.iter().rev().find(|line| line["what"] == "pages.captured").unwrap();
    let position = charge["position"].as_str().unwrap();
    let correct = |more: &[&str]| {
        cloud.run(&[&["correct", position, "1.5", "--reason", "blank"], more].concat())
    };
    let told = correct(&[]).succeeded();
    assert!(told.contains("1.500 credits to office, which bears the charge of ada"), "{told}");
    assert!(correct(&["--again"]).failed(1).contains("1.500 were given back before"));
    assert_eq!(cloud.json(&["balance", "ada"])["balance"], before);
    assert_eq!(of(&["office", "--group"], "charge.corrected"), "1.500");
    assert_eq!(of(&["ada"], "charge.corrected"), "0.000", "a trace of it");
    let stated = cloud.run(&["view", "statement", "ada"]).succeeded();
    assert!(stated.contains("(blank)") && stated.contains("to office"), "{stated}");
    let file = dir.path().join("ada.csv");
    let csv = ["view", "statement", "ada", "--format", "csv", "--out", file.to_str().unwrap()];
    drop(cloud.run(&csv).succeeded());
    let csv = std::fs::read_to_string(file).unwrap();
    assert!(csv.lines().next().unwrap().contains("corrects,borne by,reason"), "{csv}");
    assert!(csv.lines().any(|line| line.contains(",office,blank,")), "{csv}");
}
