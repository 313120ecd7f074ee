//! What commands tell people: it is true, and it helps, also where nothing more can be done.
//! Invariant shown here: what may have been done is never told as not done, nothing is told as recorded that was not,
//! exit code 75 is for what may succeed by itself, and a line of the input is named by its number there.
//! What is done or refused is shown with the commands.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Ran, run, wait_until};
use tempfile::TempDir;

use super::accounts::{Three, mail, three};

const PAGE: &str = r#"{"kind":"pages.captured","user":"anna","pages":1,"color":"color"}"#;

/// A command that reads lines, by name.
type Asking<'a> = (&'a str, &'a dyn Fn(&[&str]) -> Ran);

fn linked_branch() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    branch.wait_synced(PATIENCE);
    (dir, cloud, branch)
}

fn revoke(cloud: &Cloud, name: &str, branch: &Branch) {
    drop(cloud.run(&["revoke", name]).succeeded());
    wait_until(PATIENCE, "it is turned away", || branch.json(&["status"])["revoked"] == true);
}

fn act(at: &Branch, line: &str) -> Ran {
    at.run_with(&["act"], line.as_bytes())
}

/// The commands of the cloud that a text quotes, as arguments.
fn quoted_commands(text: &str) -> Vec<Vec<&str>> {
    let quoted = text.split('`').skip(1).step_by(2);
    let commands = quoted.filter_map(|command| command.strip_prefix("tallyroll "));
    commands.map(|command| command.split_whitespace().collect()).collect()
}

/// Regression: it was told that nothing of it is done.
#[test]
fn what_was_done_before_a_server_was_revoked_is_not_told_as_undone() {
    let dir = tempfile::tempdir().unwrap();
    let Three { cloud, mut office, .. } = three(dir.path());
    drop(cloud.run(&["grant", "anna", "100"]).succeeded());
    let done = mail("00000000000000b1", "anna", 5);
    let position = act(&office, &done).succeeded();
    revoke(&cloud, "office", &office);
    assert_eq!(act(&office, &done).succeeded(), position, "its answer is known here");
    let other = act(&office, &mail("00000000000000b1", "anna", 6)).failed(1);
    assert!(other.contains("take a new one"), "another act: {other}");

    office.stop();
    office.start();
    wait_until(PATIENCE, "it is turned away", || office.json(&["status"])["refused"] == true);
    let minted = done.replace(r#""request":"00000000000000b1","#, "");
    // Also without an agent: it was told once, and is not asked to come again.
    for agent in [true, false] {
        if !agent {
            office.stop();
            assert_eq!(office.json(&["status"])["revoked"], true);
        }
        let told = act(&office, &done).failed(1);
        assert!(told.contains("may have been done before") && told.contains("revoked"), "{told}");
        assert!(!told.contains("nothing of this is done"), "{told}");
        let commands = quoted_commands(&told);
        assert!(!commands.is_empty(), "{told}");
        for command in commands.iter().filter(|command| command[0] != "enroll") {
            let shown = cloud.run(command).succeeded();
            assert!(shown.contains("00000000000000b1"), "{command:?}");
        }
        let ran = office.run_with(&["act", "--json"], done.as_bytes());
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(told["never"].is_string() && told["error"].is_null(), "{told}");

        let told = act(&office, &minted).failed(1);
        assert!(told.contains("nothing of this is done") && told.contains("revoked"), "{told}");
    }
}

/// Regressions: "recorded here", try again, and ask with `--ask`, at a device that is never answered again.
#[test]
fn a_revoked_device_says_so_and_advises_nothing_that_cannot_succeed() {
    let (_dir, cloud, mut branch) = linked_branch();
    revoke(&cloud, "branch", &branch);
    for agent in [true, false] {
        if !agent {
            branch.stop();
        }
        let told = branch.run_with(&["record", "--leased"], PAGE.as_bytes()).failed(1);
        assert!(told.contains("is revoked") && told.contains("line 1: "), "{told}");
        assert!(!told.contains("recorded here"), "nothing was: {told}");
        for arguments in [&["balance", "bert", "--ask"][..], &["balance", "bert"]] {
            let told = branch.run(arguments);
            assert_eq!(told.code(), Some(1), "nobody was here: {told:?}");
            assert!(told.stderr.contains("is revoked"), "{told:?}");
            assert!(!told.stderr.contains("--ask"), "{told:?}");
        }
        assert_eq!(branch.json(&["view", "balances"])["rows"][0], Value::Null);
    }
    branch.start();
    wait_until(PATIENCE, "it is turned away", || branch.json(&["status"])["refused"] == true);
    let ran = branch.run_with(&["record"], PAGE.as_bytes());
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert!(ran.stderr.contains("recorded here, but the cloud refuses this device"), "{ran:?}");
    let ran = branch.run(&["balance", "anna", "--ask"]);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("no balance was told") && told.contains("is revoked"), "{told}");
    assert!(!told.contains("--ask"), "{told}");
    let told = branch.json(&["balance", "anna", "--ask"]);
    assert_eq!(told["revoked"], true);
    assert!(told["revoked-why"].as_str().unwrap().contains("is revoked"), "{told}");
}

/// Regression: "until then:", and nothing after it.
#[test]
fn a_first_balance_that_waits_for_the_end_of_a_job_is_told_as_not_known_yet() {
    let (_dir, cloud, branch) = linked_branch();
    let begun = r#"{"kind":"job.begun","job":"00000000000000a1","user":"anna"}"#;
    drop(branch.run_with(&["record"], begun.as_bytes()).succeeded());
    wait_until(PATIENCE, "it is told", || {
        let told = branch.json(&["balance", "anna", "--ask"]);
        assert_eq!(told["balance"], Value::Null, "{told}");
        told["waits"] == true
    });
    let ran = branch.run(&["balance", "anna", "--ask"]);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("until then:"), "{ran:?}");
    assert!(ran.stdout.contains("nothing is known yet") && ran.stdout.contains("job"), "{ran:?}");
    let ended = r#"{"kind":"job.ended","job":"00000000000000a1"}"#;
    drop(branch.run_with(&["record"], ended.as_bytes()).succeeded());
    let known = branch.json(&["balance", "anna"]);
    assert_eq!((&known["balance"]["balance"], &known["waits"]), (&"0.000".into(), &false.into()));
    drop(cloud);
}

/// Regression: at a device one user could act in another's job, for nothing, and it stood in their own statement.
#[test]
fn nobody_acts_in_a_job_that_another_user_began() {
    let (_dir, cloud, branch) = linked_branch();
    let line = |kind: &str, user: &str| {
        format!(
            r#"{{"kind":"{kind}","job":"00000000000000a1","user":"{user}","pages":1,"color":"color"}}"#
        )
    };
    let begun = r#"{"kind":"job.begun","job":"00000000000000a1","user":"anna"}"#;
    let acts = [begun.to_owned(), line("pages.captured", "anna")].join("\n");
    drop(branch.run_with(&["record"], acts.as_bytes()).succeeded());
    let both = [line("pages.captured", "anna"), line("pages.captured", "bob")].join("\n");
    let bobs = branch.run_with(&["record"], both.as_bytes()).failed(1);
    assert!(bobs.contains("line 2: ") && bobs.contains("another user's"), "{bobs}");
    branch.wait_synced(PATIENCE);
    let shown = cloud.json(&["view", "totals"]);
    let rows: Vec<_> = shown["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(rows, ["anna"], "{shown}");
}

/// Regression: a name that was mistyped became a user without a word.
#[test]
fn a_name_that_is_new_at_a_device_is_told_as_new() {
    let (_dir, _cloud, branch) = linked_branch();
    for _ in 0..2 {
        let told = branch.run(&["balance", "ana"]).failed(1);
        assert!(told.contains("ana has not been here yet"), "{told}");
    }
    assert_eq!(branch.json(&["balance", "ana", "--ask"])["new"], true, "it was not made before");
    assert_eq!(branch.json(&["balance", "ana", "--ask"])["new"], false);
    let ran = branch.run(&["balance", "ann", "--ask"]);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("ann is new at this device"), "{told}");
    let ran = branch.run(&["balance", "ann", "--ask"]);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("is new"), "{ran:?}");
}

/// Regressions: blank lines did not count, the parser spoke of its own line 1, `act` ended at bytes that are no text,
/// and of a key that comes twice the last one held.
#[test]
fn a_wrong_line_is_told_by_its_number_in_the_input_and_the_others_go_in() {
    let dir = tempfile::tempdir().unwrap();
    let Three { cloud, office, branch } = three(dir.path());
    let twice = r#"{"kind":"document.sent","device":"branch","user":"bert","request":"00000000000000b1",
        "job":"00000000000000a1","pages":1,"destinations":1,"user":"anna"}"#;
    let twice = twice.replace('\n', "");
    let nested = r#"{"kind":"document.saved","device":"branch","user":"anna","job":"00000000000000a1","pages":1,
        "which-pages":[{"first":1,"first":2,"last":2}]}"#;
    let nested = nested.replace('\n', "");
    let unknown = r#"{"kind":"document.send","device":"branch"}"#;
    let mut input = b"\n \n{]\n\n\xff\xfe\n".to_vec();
    input.extend_from_slice(format!("{twice}\n{nested}\n{unknown}\n{{}}").as_bytes());
    let record_at_cloud = |json: &[&str]| {
        let arguments = [&["record"], json].concat();
        run(&mut cloud.command(&arguments), &input)
    };
    let at = |at: &Branch, command: &str, json: &[&str]| {
        at.run_with(&[&[command], json].concat(), &input)
    };
    let asked: [Asking<'_>; 3] = [
        ("act", &|json| at(&office, "act", json)),
        ("record", &|json| at(&branch, "record", json)),
        ("cloud", &record_at_cloud),
    ];
    for (name, ask) in asked {
        let told = ask(&[]).failed(1);
        for number in [3, 5, 6, 7, 8, 9] {
            assert!(told.contains(&format!("line {number}: ")), "{name}: {told}");
        }
        assert_eq!(told.lines().count(), 6, "{name}: {told}");
        assert!(!told.contains("line 1"), "{name}: {told}");
        let of = |number: u32| {
            let begin = format!("line {number}: ");
            told.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default()
        };
        assert!(of(6).contains("`user` comes twice"), "{name}: {told}");
        assert!(of(7).contains("`first` comes twice"), "{name}: {told}");
        assert!(of(8).contains("document.sent") && of(8).len() < 400, "{name}: {told}");
        let ran = ask(&["--json"]);
        let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> = lines.map(|answer| answer["line"].clone()).collect();
        assert_eq!(lines, [3, 5, 6, 7, 8, 9], "{name}: {ran:?}");
    }
}

/// Regression: some eighty kinds were told, those of the cloud, too.
#[test]
fn an_unknown_kind_is_told_with_the_nearest_that_can_be_recorded() {
    let (_dir, _cloud, branch) = linked_branch();
    for (kind, near) in [("pages.capturd", "pages.captured"), ("job.end", "job.ended")] {
        let line = PAGE.replace("pages.captured", kind);
        let told = branch.run_with(&["record"], line.as_bytes()).failed(1);
        assert!(told.contains(&format!("`{near}`")) && told.len() < 400, "{told}");
        assert!(told.contains("schema/golden/act.schema.json"), "{told}");
    }
    let line = PAGE.replace("pages.captured", "credits.grantd");
    let told = branch.run_with(&["record"], line.as_bytes()).failed(1);
    assert!(!told.contains("credits.granted"), "a device does not record it: {told}");
}

/// Regression: 75 for what will never succeed, and where one line was wrong and another one busy.
#[test]
fn only_what_may_succeed_by_itself_is_to_be_tried_again() {
    let (_dir, mut cloud, mut branch) = linked_branch();
    let unknown_job = r#"{"device":"branch","kind":"document.discarded","job":"00000000000000a9"}"#;
    let record =
        |cloud: &Cloud, lines: &str| run(&mut cloud.command(&["record"]), lines.as_bytes());
    cloud.stop();
    let told = record(&cloud, unknown_job).failed(75);
    assert!(told.contains("no job 00000000000000a9 has begun at branch"), "{told}");
    let wrong_too = format!("{{}}\n{unknown_job}\n{{}}\n");
    drop(record(&cloud, &wrong_too).failed(1));
    wait_until(PATIENCE, "the link is down", || branch.json(&["status"])["link"] == "down");
    let leased =
        |lines: &str| branch.run_with(&["record", "--leased", "--wait", "4"], lines.as_bytes());
    let told = leased(PAGE).failed(75);
    assert!(told.contains("line 1: this costs"), "{told}");
    assert_eq!(told.matches("this costs").count(), 1, "it is told once: {told}");
    drop(leased(&format!("{PAGE}\n{{}}\n")).failed(1));

    cloud.start_again();
    branch.wait_synced(PATIENCE);
    drop(cloud.run(&["retire", "branch"]).succeeded());
    let drained = || cloud.json(&["devices"])[0]["drained"] == true;
    wait_until(PATIENCE, "it has delivered all", drained);
    let told = record(&cloud, unknown_job).failed(1);
    assert!(told.contains("no job 00000000000000a9") && told.contains("retired"), "{told}");
    branch.stop();
}
