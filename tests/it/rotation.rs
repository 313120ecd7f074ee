//! A branch that changes its keys, through real processes: while its agent runs, while it is offline, and killed at it.
//! Invariant shown here: whatever moment it ends at, the branch goes on with the old keys or the new ones and counts
//! everything once; once the new certificate was shown, the old one is refused; an old receipt still verifies.
//! Which signatures the cloud refuses is the engine's and tested there.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tallyroll_edge::link::tls::DeviceTls;
use tallyroll_schema::event::Bytes;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};
use tempfile::TempDir;

const LINE: &str = r#"{"kind":"pages.captured","user":"anna","pages":1,"color":"color"}"#;

fn linked_branch() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_until(PATIENCE, "the branch is linked", || branch.standing().linked);
    (dir, cloud, branch)
}

fn capture(branch: &Branch, pages: usize) {
    let lines = format!("{LINE}\n").repeat(pages);
    drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
}

fn captured(totals: &Value) -> u64 {
    let rows = totals["rows"].as_array().unwrap().iter();
    rows.map(|row| row["captured"].as_u64().unwrap()).sum()
}

/// Waits until the cloud goes by these keys and no others.
#[track_caller]
fn wait_in_use(cloud: &Cloud, keys: &Value) {
    wait_until(PATIENCE, "the new keys are in use", || {
        let device = cloud.json(&["devices"])[0].clone();
        let named = ["signing-key", "tls-fingerprint"].iter().all(|key| device[*key] == keys[*key]);
        named && device["older-tls-fingerprints"].as_array().is_some_and(Vec::is_empty)
    });
}

#[track_caller]
fn assert_counted(cloud: &Cloud, branch: &Branch, pages: u64) {
    branch.wait_synced(PATIENCE);
    assert_eq!(captured(&cloud.json(&["view", "totals"])), pages);
    assert_eq!(captured(&branch.json(&["view", "totals"])), pages);
    assert_eq!(cloud.json(&["quarantine"]), Value::Array(Vec::new()));
    drop(cloud.run(&["log", "verify"]).succeeded());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &to.join(entry.file_name())),
            kind if kind.is_file() => {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
            _ => {} // a socket
        }
    }
}

#[test]
fn keys_are_changed_while_the_agent_runs_and_offline_and_old_receipts_hold() {
    let (dir, mut cloud, mut branch) = linked_branch();
    capture(&branch, 3);
    branch.wait_synced(PATIENCE);
    let logs = cloud.json(&["log", "list"]);
    let logs = logs.as_array().unwrap().iter();
    let ledger = logs.clone().find(|log| log["class"] == "ledger").unwrap();
    let receipt = dir.path().join("receipt.json");
    std::fs::write(&receipt, ledger["receipt"].to_string()).unwrap();

    let first = branch.json(&["rotate-keys"]);
    wait_in_use(&cloud, &first);
    capture(&branch, 2);
    assert_counted(&cloud, &branch, 5);

    branch.stop();
    cloud.stop();
    assert_eq!(branch.json(&["status"])["rotating"], false, "the first ones are in use");
    let second = branch.json(&["rotate-keys"]);
    assert_ne!(second["signing-key"], first["signing-key"]);
    assert_eq!(branch.json(&["status"])["rotating"], true);
    let told = branch.run(&["status"]).succeeded();
    assert!(told.contains("the cloud has yet to confirm that"), "{told}");
    let again = branch.json(&["rotate-keys"]);
    assert_eq!(again["signing-key"], second["signing-key"], "one at a time");
    assert_eq!((&second["under-way"], &again["under-way"]), (&false.into(), &true.into()));
    capture(&branch, 4);
    cloud.start_again();
    branch.start();
    wait_in_use(&cloud, &second);
    capture(&branch, 8);
    assert_counted(&cloud, &branch, 17);
    drop(cloud.run(&["log", "verify", "--receipt", receipt.to_str().unwrap()]).succeeded());
}

#[test]
fn a_copy_from_before_is_refused_once_the_new_certificate_was_shown() {
    let (dir, cloud, mut branch) = linked_branch();
    capture(&branch, 1);
    branch.wait_synced(PATIENCE);
    branch.stop();
    let before = dir.path().join("before");
    copy(branch.data(), &before);
    branch.start();
    let keys = branch.json(&["rotate-keys"]);
    wait_in_use(&cloud, &keys);

    let mut before = Branch::new(before);
    capture(&before, 2);
    before.start();
    let told = wait_for(PATIENCE, "the copy is told", || {
        let status = before.json(&["status"]);
        let why = status["why"].as_str().filter(|_| status["link"] == "down");
        why.filter(|why| why.contains("this one shows others")).map(str::to_owned)
    });
    assert!(told.contains("backup made since") && told.contains("tallyroll enroll"), "{told}");
    let shown = before.run(&["status"]).succeeded();
    assert!(shown.contains("the cloud refuses this device"), "{shown}");
    let recorded = before.run_with(&["record"], format!("{LINE}\n").as_bytes());
    assert!(recorded.stderr.contains("the cloud refuses this device"), "{recorded:?}");
    drop(recorded.succeeded());
    let health = cloud.run(&["doctor"]);
    assert_eq!(health.code(), Some(3), "{health:?}");
    for listed in [health.stdout, cloud.run(&["forks"]).succeeded()] {
        assert!(listed.contains("Turned away: branch (") && listed.contains("a copy"), "{listed}");
    }
    capture(&branch, 4);
    assert_counted(&cloud, &branch, 5);
}

fn keys_of(branch: &Branch) -> Value {
    let file = std::fs::read(branch.data().join("identity/keys.json")).unwrap();
    serde_json::from_slice(&file).unwrap()
}

/// 25 changes of keys took 105 s to reach a cloud that was put back: each old key was shown after a longer pause.
#[test]
fn old_tls_keys_go_once_a_new_one_was_shown_and_are_tried_without_a_pause_until_then() {
    let (dir, mut cloud, mut branch) = linked_branch();
    capture(&branch, 1);
    branch.wait_synced(PATIENCE);
    cloud.stop();
    let before = dir.path().join("before");
    copy(cloud.data(), &before);
    cloud.start_again();
    let first = keys_of(&branch);
    for _ in 0..2 {
        let keys = branch.json(&["rotate-keys"]);
        wait_in_use(&cloud, &keys);
    }
    wait_until(PATIENCE, "the old keys are gone", || keys_of(&branch).get("older-tls").is_none());

    // As a version that dropped none left them.
    branch.stop();
    let older = (0..24).map(|_| DeviceTls::generate().unwrap()).map(|tls| {
        let (certificate, key) = (tls.certificate.to_vec(), tls.key_pkcs8.to_vec());
        json!({ "tls-certificate": Bytes(certificate), "tls-key": Bytes(key) })
    });
    let last = json!({ "tls-certificate": first["tls-certificate"], "tls-key": first["tls-key"] });
    let left = older.chain([last]).collect();
    branch.edit_identity("keys.json", |keys| keys["older-tls"] = left);
    cloud.stop();
    std::fs::remove_dir_all(cloud.data()).unwrap();
    copy(&before, cloud.data());
    branch.start();
    let refused = branch.run(&["rotate-keys"]).failed(75);
    assert!(
        refused.contains("keys were changed 25 times") && refused.contains("link"),
        "{refused}"
    );
    cloud.start_again();
    drop(cloud.run(&["doctor", "--accept-loss"]).succeeded()); // hears no proof any more
    wait_until(PATIENCE, "the one that it knows was shown", || branch.standing().linked);
    branch.wait_synced(PATIENCE); // and with it the changes; the cloud's word that proves the newest follows
    wait_until(PATIENCE, "the newest was shown", || {
        branch.stop();
        branch.start();
        wait_until(PATIENCE, "is linked", || branch.standing().linked);
        keys_of(&branch).get("older-tls").is_none()
    });
    drop(branch.json(&["rotate-keys"]));
    assert_counted(&cloud, &branch, 1);
}

/// Two of them, and the link, took each other's next keys for their own: the device kept one that
/// its logs did not go by.
#[test]
fn keys_that_are_changed_again_and_again_at_once_are_those_that_sign() {
    let (_dir, cloud, mut branch) = linked_branch();
    for round in 0..3 {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..6 {
                        let changed = branch.run(&["rotate-keys"]);
                        assert!([0, 75].contains(&changed.code().unwrap()), "{changed:?}");
                    }
                });
            }
        });
        branch.kill_9();
        branch.start();
        capture(&branch, 1);
        branch.wait_synced(PATIENCE);
        assert!(branch.standing().linked, "round {round}");
    }
    assert_counted(&cloud, &branch, 3);
}

/// It was turned away: the cloud that was put back knew the first keys alone, and those were gone.
#[test]
fn a_cloud_that_lost_changes_of_keys_takes_the_branch_back_by_those_of_today() {
    let (dir, mut cloud, mut branch) = linked_branch();
    capture(&branch, 1);
    branch.wait_synced(PATIENCE);
    cloud.stop();
    let backup = dir.path().join("backup");
    copy(cloud.data(), &backup);
    cloud.start_again();
    for _ in 0..2 {
        let keys = branch.json(&["rotate-keys"]);
        wait_in_use(&cloud, &keys);
        wait_until(PATIENCE, "the old ones are gone", || {
            keys_of(&branch).get("older-tls").is_none()
        });
    }
    capture(&branch, 2);
    branch.wait_synced(PATIENCE);
    let keys = cloud.json(&["devices"])[0].clone();
    cloud.stop();
    branch.stop();
    std::fs::remove_dir_all(cloud.data()).unwrap();
    copy(&backup, cloud.data());
    cloud.start_again();
    assert_eq!(cloud.run(&["doctor", "--await-devices"]).code(), Some(3));
    branch.start();
    wait_in_use(&cloud, &keys);
    wait_until(PATIENCE, "it gave back what it holds", || {
        cloud.run(&["doctor"]).stdout.contains("gave back: branch")
    });
    let health = cloud.run(&["doctor"]).stdout;
    assert!(health.contains("Readmitted on their own evidence: branch."), "{health}");
    drop(cloud.run(&["doctor", "--accept-loss"]).succeeded());
    let next = branch.json(&["rotate-keys"]);
    wait_in_use(&cloud, &next);
    capture(&branch, 4);
    assert_counted(&cloud, &branch, 7);
}

#[test]
fn killed_at_any_moment_it_goes_on_with_old_or_new_keys() {
    let (_dir, cloud, mut branch) = linked_branch();
    let mut pages = 0;
    for round in 0..12_u64 {
        // Alone on the files, or through the agent, which is then killed with it.
        if round % 2 == 0 {
            branch.kill_9();
        }
        let mut command = branch.command(&["rotate-keys"]);
        let mut rotating = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 5));
        branch.kill_9();
        rotating.kill().unwrap();
        rotating.wait().unwrap();
        capture(&branch, 1);
        branch.start();
        capture(&branch, 1);
        pages += 2;
        if round % 3 == 2 {
            std::thread::sleep(Duration::from_millis(round * 40)); // into receipt and promotion
            branch.kill_9();
            branch.start();
        }
    }
    branch.wait_synced(PATIENCE);
    let keys = branch.json(&["rotate-keys"]);
    wait_in_use(&cloud, &keys);
    assert_counted(&cloud, &branch, pages);
}
