//! A cloud whose disk is an older copy of itself: found at start, frozen, refilled by its branches, thawed.
//! Invariant: usage is taken in all the time, and every page counts once at the end.
//! What each fault does to that is the simulator's; here it is what an administrator sees.

use std::path::Path;

use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

const LINE: &str = r#"{"kind":"pages.captured","user":"anna","pages":1,"color":"color"}"#;

fn capture(branch: &Branch, pages: usize) {
    let lines = format!("{LINE}\n").repeat(pages);
    drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
}

fn captured(cloud: &Cloud) -> u64 {
    let totals = cloud.json(&["view", "totals"]);
    let rows = totals["rows"].as_array().unwrap().iter();
    rows.map(|row| row["captured"].as_u64().unwrap()).sum()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&path, &to),
            kind if kind.is_file() => {
                drop(std::fs::remove_file(&to)); // a new file, as a restore makes it
                std::fs::copy(path, to).map(drop).unwrap();
            }
            _ => {} // a socket is no part of what is kept
        }
    }
}

#[test]
fn a_cloud_put_back_from_a_backup_is_refilled_by_its_branches() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let [mut near, mut far] =
        ["near", "far"].map(|name| Branch::joined(dir.path().join(name), &cloud.enroll(name)));
    capture(&near, 5);
    near.wait_synced(PATIENCE);
    far.wait_synced(PATIENCE);
    assert_eq!(cloud.run(&["doctor"]).succeeded(), "Nothing is frozen.\n");
    cloud.stop();
    let backup = dir.path().join("backup");
    copy(cloud.data(), &backup);
    cloud.start_again();
    capture(&near, 10);
    capture(&far, 20);
    near.wait_synced(PATIENCE);
    far.wait_synced(PATIENCE);
    far.stop();
    cloud.kill_9();

    copy(&backup, cloud.data());
    cloud.start_again();
    wait_until(PATIENCE, "the near branch gave back", || {
        let health = cloud.run(&["doctor"]);
        health.stdout.contains("gave back: near") && captured(&cloud) == 15
    });
    let frozen = cloud.run(&["doctor"]);
    assert_eq!(frozen.code(), Some(3), "{}", frozen.stdout);
    assert!(frozen.stdout.contains("missing:   far"), "{}", frozen.stdout);
    drop(cloud.run(&["grant", "anna", "100"]).succeeded()); // its own books go on

    far.start();
    wait_until(PATIENCE, "all gave back", || cloud.run(&["doctor"]).code() == Some(0));
    wait_until(PATIENCE, "all is back", || captured(&cloud) == 35);
    drop(cloud.run(&["log", "verify"]).succeeded());
    for branch in [&mut near, &mut far] {
        branch.wait_synced(PATIENCE);
        branch.stop();
    }
}

/// It was refused for ever, and only the cloud's log told of a certificate that nobody knows.
#[test]
fn a_branch_enrolled_since_the_backup_that_comes_too_late_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let mut early = Branch::joined(dir.path().join("early"), &cloud.enroll("early"));
    early.wait_synced(PATIENCE);
    let backup = dir.path().join("backup");
    drop(cloud.run(&["backup", backup.to_str().unwrap()]).succeeded());
    let mut late = Branch::joined(dir.path().join("late"), &cloud.enroll("late"));
    capture(&late, 3);
    late.wait_synced(PATIENCE);
    late.stop();
    early.stop();
    cloud.stop();
    std::fs::remove_dir_all(cloud.data()).unwrap();
    let restored = cloud.run(&["restore", backup.to_str().unwrap()]).succeeded();
    assert!(restored.contains("revoke again who was revoked"), "{restored}");
    cloud.start_again();
    early.start();
    wait_until(PATIENCE, "it thaws", || cloud.run(&["doctor"]).code() == Some(0));
    late.start();
    wait_until(PATIENCE, "who comes too late is named", || {
        let health = cloud.run(&["doctor"]);
        health.code() == Some(3) && health.stdout.contains("Turned away: late (")
    });
    drop(cloud.run(&["doctor", "--await-devices"]));
    wait_until(PATIENCE, "it is let in", || captured(&cloud) == 3);
    drop(cloud.run(&["doctor", "--accept-loss"]).succeeded());
    assert_eq!(cloud.run(&["doctor"]).succeeded(), "Nothing is frozen.\n");
    let log = std::fs::read_to_string(cloud.data().with_extension("stderr")).unwrap();
    let said = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((said(" frozen: "), said(" thawed: ")), (2, 2), "{log}");
}

#[test]
fn a_branch_that_never_comes_is_not_waited_for_once_the_loss_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    branch.wait_synced(PATIENCE);
    drop(branch);
    cloud.stop();
    let backup = dir.path().join("backup");
    copy(cloud.data(), &backup);
    copy(&backup, cloud.data());
    cloud.start_again();
    assert_eq!(cloud.run(&["doctor"]).code(), Some(3));
    drop(cloud.run(&["doctor", "--accept-loss"]).succeeded());
    assert_eq!(cloud.run(&["doctor"]).succeeded(), "Nothing is frozen.\n");
    drop(cloud.run(&["doctor", "--accept-loss"]).failed(1));
}
