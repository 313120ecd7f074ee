//! The cloud's process and its command line: start, refuse, answer, be killed, start again.
//! Invariant shown here: a command answers the same through the running process and on the files alone, and
//! its exit code says what to do. What devices bring is shown elsewhere.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Process, program, run, wait_until};

const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const DOES_NOT_HOLD: i32 = 3;
const TEMPORARY: i32 = 75;

/// A cloud in a directory of its own.
fn cloud() -> (tempfile::TempDir, Cloud) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    (dir, cloud)
}

/// The public part of who a cloud is: what devices pin.
fn authority(invited: &Value) -> String {
    let url = invited["url"].as_str().unwrap();
    url.split('#').nth(1).unwrap().to_owned()
}

#[test]
fn one_process_serves_and_the_second_is_told_which() {
    let (_dir, cloud) = cloud();
    let serve = ["serve", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let refused = cloud.run(&serve).failed(TEMPORARY);
    assert!(
        refused.contains("held by pid ") && refused.contains("(tallyroll serve), since 2"),
        "{refused}"
    );
}

#[test]
fn a_directory_without_a_cloud_is_no_cloud() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("tallyroll"));
    command.arg("devices").arg("--data").arg(dir.path());
    let refused = run(&mut command, b"").failed(FAILURE);
    assert!(refused.contains("tallyroll serve --data"), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "asking makes nothing");
}

#[test]
fn an_empty_cloud_answers_every_question_the_same_running_or_not() {
    let (_dir, mut cloud) = cloud();
    let questions: [&[&str]; 6] = [
        &["view", "balances", "--json"],
        &["view", "totals", "--json"],
        &["view", "devices", "--json"],
        &["log", "list", "--json"],
        &["log", "verify", "--json"],
        &["log", "show", "--all"],
    ];
    let answers = |cloud: &Cloud| questions.map(|question| cloud.run(question).succeeded());
    let running = answers(&cloud);
    let mut empty: serde_json::Value = serde_json::from_str(&running[0]).unwrap();
    let committed_at = empty.as_object_mut().unwrap().remove("committed-at").unwrap();
    assert!(committed_at.as_u64().unwrap() > 1_793_491_200_000, "{committed_at}");
    assert_eq!(empty.to_string(), r#"{"at":"1.3","incomplete":0,"misplaced":0,"rows":[]}"#);
    assert!(running[4].contains(r#""holds":true"#), "{}", running[4]);
    assert_eq!(running[5].lines().count(), 3, "two logs begin and a rate card comes into force");
    assert_eq!(cloud.run(&["devices", "--json"]).succeeded(), "[]\n");

    let past = cloud.run(&["view", "balances", "--at", "1.2"]).succeeded();
    assert!(past.ends_with("at commit 1.2\n"), "{past}");
    let totals = cloud.run(&["log", "verify"]).succeeded();
    let line = "3 events = 3 in verified chains = 3 under verified signatures\n";
    assert!(totals.ends_with(line), "{totals}");

    cloud.kill_9();
    assert_eq!(answers(&cloud), running);
    cloud.start_again();
    assert_eq!(answers(&cloud), running);
}

#[test]
fn invitations_name_one_cloud_whether_it_runs_or_not() {
    let (_dir, mut cloud) = cloud();
    let running = cloud.json(&["enroll", "branch-1"]);
    let place = format!("tallyroll://{}/branch-1#", cloud.addr());
    assert!(running["url"].as_str().unwrap().starts_with(&place), "{running}");
    let command = cloud.run(&["enroll", "branch-1"]).succeeded();
    assert!(command.starts_with(&format!("tallyroll-edge join '{place}")), "{command}");
    assert_eq!(command.lines().count(), 1, "one command, to be piped to the branch");

    cloud.kill_9();
    let alone = cloud.json(&["enroll", "branch-2"]);
    assert_eq!(authority(&alone), authority(&running));
    assert_ne!(alone["pin"], running["pin"]);
    let named = cloud.json(&["enroll", "branch-3", "--public", "cloud.example.com:99"]);
    let url = named["url"].as_str().unwrap();
    assert!(url.starts_with("tallyroll://cloud.example.com:99/branch-3#"), "{url}");
}

#[test]
fn a_cloud_on_every_address_asks_where_it_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("cloud");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(program("tallyroll"));
        command.args(arguments).arg("--data").arg(&data);
        command
    };
    let serve = ["serve", "--quic", "0.0.0.0:0", "--http", "127.0.0.1:0"];
    let process = Process::start(&mut command(&serve), &dir.path().join("stderr")).unwrap();
    let refused = run(&mut command(&["enroll", "branch-1"]), b"").failed(FAILURE);
    assert!(refused.contains("--public HOST[:PORT]"), "{refused}");
    let invited = ["enroll", "branch-1", "--public", "cloud.example.com"];
    let invited = run(&mut command(&invited), b"").succeeded();
    let (_, port) = process.said("quic").rsplit_once(':').unwrap();
    assert!(invited.contains(&format!("tallyroll://cloud.example.com:{port}/")), "{invited}");
}

#[test]
fn exit_codes_say_what_to_do() {
    let (dir, cloud) = cloud();
    let refusals: [(&[&str], &str); 8] = [
        (&["view", "balances", "--at", "1.99"], "the last is 1.3"),
        (&["view", "balances", "--at", "2001-01-01T00:00:00Z"], "nothing was committed"),
        (&["grant", "ada", "5"], "no device has seen"),
        (&["retire", "branch-9"], "tallyroll devices"),
        (&["log", "show", "branch-9"], "tallyroll log list"),
        (&["log", "verify", "--receipt", "/nowhere"], "holds no receipt"),
        (&["enroll", "a b"], "a device's name has"),
        (&["enroll", ".."], "does not begin with"),
    ];
    for (arguments, said) in refusals {
        let refused = cloud.run(arguments).failed(FAILURE);
        assert!(refused.contains(said), "{arguments:?}: {refused}");
    }
    let mut dashed = Command::new(program("tallyroll"));
    dashed.arg("--data").arg(cloud.data()).args(["enroll", "--", "-x"]);
    let refused = run(&mut dashed, b"").failed(FAILURE);
    assert!(refused.contains("does not begin with"), "{refused}");
    drop(cloud.run(&["view", "balances", "--at", "yesterday"]).failed(USAGE));
    let told = cloud.run(&["log", "show"]).failed(USAGE);
    assert!(told.contains("<LOG|--all>"), "{told}");

    let receipt = dir.path().join("receipt.json");
    std::fs::write(&receipt, receipt_of_another_log()).unwrap();
    let receipt = receipt.to_str().unwrap();
    let unproven = cloud.run(&["log", "verify", "--receipt", receipt]).failed(DOES_NOT_HOLD);
    assert!(unproven.contains("does not hold at"), "{unproven}");
}

fn receipt_of_another_log() -> String {
    let [hash, nonce, signature] = [32, 16, 64].map(|bytes| "ab".repeat(bytes));
    format!(
        r#"{{"head": {{"position": "{hash}/0-{nonce}/7", "hash": "{hash}"}},
            "commit": {{"position": "1.5", "received-at": 0}}, "signature": "{signature}"}}"#
    )
}

#[test]
fn a_changed_byte_in_the_store_is_found_and_told() {
    let (_dir, mut cloud) = cloud();
    cloud.stop();
    let store = cloud.data().join("store.redb");
    let mut bytes = std::fs::read(&store).unwrap();
    let magic = b"TRB1"; // every batch begins so
    let batches: Vec<usize> =
        (0..bytes.len() - 4).filter(|&at| bytes[at..].starts_with(magic)).collect();
    assert!(!batches.is_empty());
    for at in batches {
        bytes[at + 100] ^= 1;
    }
    std::fs::write(&store, bytes).unwrap();
    let refused = cloud.run(&["log", "verify"]).failed(FAILURE);
    assert!(refused.contains(store.to_str().unwrap()), "{refused}");
    assert!(refused.contains("is damaged (corrupt database: "), "{refused}");
}

/// QUIC would notice a killed peer only by its silence, after half a minute. The cloud's reset key outlives
/// its process, so the new one can say that the old one is gone.
#[test]
fn a_device_is_back_within_moments_of_a_kill() {
    let (dir, mut cloud) = cloud();
    let branch = Branch::joined(dir.path().join("branch-1"), &cloud.enroll("branch-1"));
    branch.wait_synced(PATIENCE);
    cloud.kill_9();
    cloud.start_again();
    let act = br#"{"kind": "pages.printed", "user": "ada", "impressions": 3}"#;
    drop(branch.run_with(&["record"], act).succeeded());
    wait_until(Duration::from_secs(8), "the device is connected again", || {
        cloud.json(&["devices"])[0]["connected"] == true
    });
    wait_until(PATIENCE, "ada has a balance", || {
        cloud.json(&["view", "balances"])["rows"][0]["name"] == "ada"
    });
    for (amount, told) in [
        ("0", "say how many"),
        ("-0.000", "say how many"),
        ("1000000000.001", "at most 1000000000.000"),
        ("-9223372036854775.808", "at most 1000000000.000"),
    ] {
        let refused = cloud.run(&["grant", "ada", amount]).failed(FAILURE);
        assert!(refused.contains(told), "{refused}");
    }
    let granted = cloud.run(&["grant", "ada", "10", "--reason", "welcome"]).succeeded();
    assert_eq!(granted, "10.000 credits to ada\n");
    assert_eq!(cloud.json(&["view", "balances"])["rows"][0]["balance"], "7.000");
}

#[test]
fn a_stop_is_clean_and_health_is_told() {
    let (_dir, mut cloud) = cloud();
    let socket = cloud.data().join("control.sock");
    assert!(socket.exists());
    cloud.stop();
    wait_until(Duration::from_secs(1), "the socket is gone", || !socket.exists());
    drop(cloud.run(&["devices"]).succeeded());
}

/// Two charges of the largest kind a device can record were shown as less than their sum.
#[test]
fn figures_add_up_however_large_they_are() {
    let (dir, cloud) = cloud();
    let branch = Branch::joined(dir.path().join("branch-1"), &cloud.enroll("branch-1"));
    let dear = r#"{"kind": "pages.printed", "user": "ada", "impressions": 4294967295}"#;
    drop(branch.run_with(&["record"], format!("{dear}\n{dear}\n").as_bytes()).succeeded());
    let beyond = br#"{"kind": "document.sent", "job": "0000000000000001", "user": "ada",
        "pages": 4294967295, "destinations": 2}"#;
    let one_line = String::from_utf8_lossy(beyond).replace('\n', "");
    let refused = branch.run_with(&["record"], one_line.as_bytes()).failed(FAILURE);
    assert!(refused.contains("at most 4294967295, multiplied"), "{refused}");
    branch.wait_synced(PATIENCE);
    wait_until(PATIENCE, "ada is known", || {
        cloud.json(&["view", "balances"])["rows"][0]["name"] == "ada"
    });
    for _ in 0..3 {
        drop(cloud.run(&["grant", "ada", "1000000000"]).succeeded());
    }
    let row = &cloud.json(&["view", "balances"])["rows"][0];
    let shown = ["granted", "charged", "balance"].map(|key| row[key].as_str().unwrap());
    assert_eq!(shown, ["3000000000.000", "8589934590.000", "-5589934590.000"]);
    let totals = &cloud.json(&["view", "totals"])["rows"][0];
    assert_eq!(totals["impressions"], 2 * u64::from(u32::MAX));
}

#[test]
fn a_devices_end_is_shown_with_its_time_and_what_to_do() {
    let (dir, cloud) = cloud();
    let mut branches = Vec::new();
    for name in ["active", "retired", "revoked"] {
        branches.push(Branch::joined(dir.path().join(name), &cloud.enroll(name)));
    }
    let told = cloud.run(&["retire", "retired"]).succeeded();
    assert!(told.contains("is retired: ") && told.contains("tallyroll-edge status"), "{told}");
    let told = cloud.run(&["revoke", "revoked", "--reason", "stolen"]).succeeded();
    assert!(told.contains("is revoked: ") && told.contains("tallyroll enroll"), "{told}");

    let devices = cloud.json(&["devices"]);
    for row in devices.as_array().unwrap() {
        assert_eq!(row["standing"], row["name"]);
        let [since, enrolled] = ["standing-since", "enrolled-at"].map(|key| row[key].as_u64());
        assert!(since.is_some() && (since == enrolled) == (row["name"] == "active"), "{row}");
    }
    let listed = cloud.run(&["devices"]);
    for (standing, shown) in [("retired", "retired (dra"), ("revoked", "revoked since 2")] {
        assert!(listed.stdout.contains(shown), "{listed:?}");
        assert!(listed.stderr.contains(&format!("{standing}: ")), "{listed:?}");
    }
}
