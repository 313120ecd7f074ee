//! Copies of a branch: a backup that is put back, a directory that is copied and runs elsewhere.
//! Whatever was acknowledged counts once, at the cloud and at each copy, and the cloud can tell the story.
//! What happens with faults on top is the simulator's.

use std::path::Path;

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};
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

/// The files of a directory into another one: new files, or the old ones overwritten.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&path, &to.join(name)),
            kind if kind.is_file() => {
                std::fs::write(to.join(name), std::fs::read(path).unwrap()).unwrap();
            }
            _ => {} // a socket is no part of what is kept
        }
    }
}

fn captured(totals: &Value) -> u64 {
    let rows = totals["rows"].as_array().unwrap().iter();
    rows.map(|row| row["captured"].as_u64().unwrap()).sum()
}

pub(super) fn knows_its_past(branch: &Branch) -> bool {
    branch.json(&["status"])["unconfirmed"] == false
}

/// The cloud and these branches count so many pages, and every chain holds.
#[track_caller]
fn settle(cloud: &Cloud, branches: &mut [&mut Branch], pages: u64) {
    for branch in branches.iter() {
        wait_until(PATIENCE, "it knows its past", || knows_its_past(branch));
        branch.wait_synced(PATIENCE);
    }
    wait_until(PATIENCE, "the cloud has it all", || {
        captured(&cloud.json(&["view", "totals"])) == pages
    });
    for branch in branches {
        branch.stop(); // at its next contact it learns what the others wrote
        branch.start();
        wait_until(PATIENCE, "a copy has it all", || {
            captured(&branch.json(&["view", "totals"])) == pages
        });
    }
    drop(cloud.run(&["log", "verify"]).succeeded());
}

#[test]
fn a_backup_put_elsewhere_gets_its_later_history_back() {
    let (dir, cloud, mut branch) = linked_branch();
    capture(&branch, 20);
    branch.wait_synced(PATIENCE);
    branch.stop();
    copy(branch.data(), &dir.path().join("backup"));
    branch.start();
    capture(&branch, 10);
    branch.wait_synced(PATIENCE);
    branch.kill_9();

    let mut restored = Branch::new(dir.path().join("backup"));
    capture(&restored, 5);
    let told = restored.run_with(&["import", "page-log", "-"], PAGE_LOG.as_bytes()).failed(75);
    assert!(told.contains("restored or copied"), "{told}");
    let status = restored.run(&["status"]).succeeded();
    assert!(status.contains("restored or copied"), "{status}");
    restored.start();
    settle(&cloud, &mut [&mut restored], 35);
    drop(restored.run_with(&["import", "page-log", "-"], PAGE_LOG.as_bytes()).succeeded());

    let story = cloud.run(&["forks"]).succeeded();
    assert!(story.contains("another machine or in another place"), "{story}");
    assert!(story.contains("branch ("), "{story}");
    let forks = cloud.json(&["forks"]);
    let all = forks.as_array().unwrap();
    assert_eq!(all.len(), 2, "one epoch of the ledger, one of the telemetry: {forks}");
    assert!(all.iter().all(|fork| fork["resubmitted"] == 0), "{forks}");
}

const PAGE_LOG: &str =
    "office anna 7 [21/Nov/2026:10:00:00 +0000] total 3 - localhost report - -\n";

#[test]
fn a_backup_put_back_in_place_is_found_at_first_contact() {
    let (dir, cloud, mut branch) = linked_branch();
    capture(&branch, 20);
    branch.wait_synced(PATIENCE);
    branch.stop();
    let backup = dir.path().join("backup");
    copy(branch.data(), &backup);
    branch.start();
    capture(&branch, 10);
    branch.wait_synced(PATIENCE);
    branch.stop();

    copy(&backup, branch.data()); // into the same files: nothing outside them tells
    capture(&branch, 5);
    branch.start();
    settle(&cloud, &mut [&mut branch], 35);
    let forks = cloud.json(&["forks"]);
    let ledger = forks.as_array().unwrap().iter().find(|fork| fork["class"] == "ledger").unwrap();
    assert_eq!(
        (&ledger["resubmitted"], &ledger["unbacked"]),
        (&5.into(), &"5.000".into()),
        "{ledger}"
    );
    let story = cloud.run(&["forks"]).succeeded();
    assert!(story.contains("another history") && story.contains("5.000 credits"), "{story}");
}

#[test]
fn an_original_and_its_copy_that_both_run_count_each_event_once() {
    let (dir, cloud, mut branch) = linked_branch();
    capture(&branch, 20);
    branch.stop();
    capture(&branch, 3); // in the journal, unsealed, in both
    let other = dir.path().join("other");
    copy(branch.data(), &other);
    let mut other = Branch::new(other);
    capture(&branch, 10);
    capture(&other, 5);
    branch.start();
    other.start();
    settle(&cloud, &mut [&mut branch, &mut other], 38);
    capture(&branch, 1);
    capture(&other, 1);
    settle(&cloud, &mut [&mut branch, &mut other], 40);
    let story = cloud.run(&["forks"]).succeeded();
    assert!(story.contains("side by side") && story.contains("tallyroll revoke branch"), "{story}");
    // Each takes the other's place as it comes again.
    wait_until(PATIENCE * 4, "both at once are told of", || {
        let doctor = cloud.run(&["doctor"]);
        doctor.code() == Some(3) && doctor.stdout.contains("There are two of branch")
    });
}
