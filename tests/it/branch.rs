//! The life of a branch, as its people see it: joining, recording, being asked, being sent away.
//! What happens to copies of it is in `copies`.
//! What it may hear on these ways is the engine's to say and tested there; here it is what a person is told.

use std::time::Duration;

use serde_json::Value;
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, Invitation, PATIENCE, Ran, wait_until};
use tempfile::TempDir;

/// A revoked device's link is cut within this time.
const CUT_WITHIN: Duration = Duration::from_secs(5);
/// So long nothing may happen that should not.
const NOTHING_FOR: Duration = Duration::from_secs(3);

fn cloud() -> (TempDir, Cloud) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    (dir, cloud)
}

fn linked_branch() -> (TempDir, Cloud, Branch) {
    let (dir, cloud) = cloud();
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_until(PATIENCE, "the branch is linked", || branch.standing().linked);
    (dir, cloud, branch)
}

/// Records acts of a writer from one number on.
fn record(branch: &Branch, writer: u8, count: usize) -> Ran {
    let lines: String =
        Acts::new(3, writer).take(count).map(|(job, said)| said.line(job)).collect();
    branch.run_with(&["record"], lines.as_bytes())
}

/// The cloud's events but for its own decisions.
fn events_of_devices(cloud: &Cloud) -> Vec<Value> {
    let own = |line: &Value| line["class"] == "ledger" || line["class"] == "telemetry";
    cloud.events().into_iter().filter(own).collect()
}

#[test]
fn a_wrong_pin_is_refused_and_five_of_them_void_the_invitation() {
    let (dir, cloud) = cloud();
    let right = cloud.enroll("branch");
    let branch = Branch::new(dir.path().join("branch"));
    let digit = if right.pin.ends_with('0') { '1' } else { '0' };
    let pin = format!("{}{digit}", right.pin.get(..right.pin.len() - 1).unwrap());
    let wrong = Invitation { pin, ..right.clone() };
    for _ in 0..5 {
        let told = branch.join(&wrong).failed(1);
        assert!(told.contains("refuses"), "{told}");
        assert!(!branch.data().exists(), "what came to nothing has left something");
    }
    let told = branch.join(&right).failed(1);
    assert!(told.contains("refuses"), "the right one, after five wrong ones: {told}");
    drop(branch.join(&cloud.enroll("branch")).succeeded());
}

#[test]
fn a_join_that_came_to_nothing_is_in_nobodys_way() {
    let (dir, mut cloud) = cloud();
    let right = cloud.enroll("branch");
    let wrong = Invitation { pin: "0000-0000".into(), ..right.clone() };
    let branch = Branch::new(dir.path().join("branch"));
    // A directory that was there stays, with all that is in it.
    std::fs::create_dir(branch.data()).unwrap();
    std::fs::write(branch.data().join("notes"), "ours").unwrap();
    drop(branch.join(&wrong).failed(1));
    assert!(branch.data().join("notes").exists() && !branch.data().join("identity").exists());
    let told = branch.run(&["status"]).failed(1);
    assert!(told.contains("is no joined device"), "{told}");
    drop(branch.join(&right).succeeded());

    // Also when nobody answered.
    let invitation = cloud.enroll("other");
    let other = Branch::new(dir.path().join("other"));
    cloud.stop();
    let told = other.join(&invitation).failed(1);
    assert!(told.contains("cannot join"), "{told}");
    assert!(!other.data().exists(), "what came to nothing has left something");
    cloud.start_again();
    drop(other.join(&invitation).succeeded());
    drop(other.run(&["status"]).succeeded());
}

#[test]
fn a_pin_is_good_once_and_only_at_the_cloud_that_gave_it() {
    let (dir, cloud) = cloud();
    let invitation = cloud.enroll("branch");
    let impostor = dir.path().join("impostor");
    let branch = Branch::new(dir.path().join("branch"));
    let digit = if invitation.url.ends_with('0') { '1' } else { '0' };
    let url = format!("{}{digit}", invitation.url.get(..invitation.url.len() - 1).unwrap());
    let told = branch.join(&Invitation { url: url.clone(), ..invitation.clone() }).failed(1);
    let fingerprint = |url: &str| url.split_once('#').unwrap().1.to_owned();
    let expected = format!("expected is {}", fingerprint(&url));
    let shown = format!("has the fingerprint {}", fingerprint(&invitation.url));
    for what in ["cannot join", &shown, &expected, "compare address and fingerprint"] {
        assert!(told.contains(what), "another authority's fingerprint: {told}");
    }
    assert!(!branch.data().exists(), "what came to nothing has left something");

    drop(branch.join(&invitation).succeeded());
    let told = Branch::new(impostor).join(&invitation).failed(1);
    assert!(told.contains("refuses"), "a used PIN: {told}");
    let told = branch.join(&cloud.enroll("other")).failed(1);
    assert!(told.contains("has joined as branch"), "a directory that has joined: {told}");
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let (_dir, cloud, branch) = linked_branch();
    let refused = branch.try_start().map(drop).unwrap_err();
    let holder = format!("process {} (run)", branch.agent_id().unwrap());
    let told = refused.failed(75);
    assert!(told.contains(&holder), "{told}");

    let told = cloud.run(&["serve", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"]).failed(75);
    assert!(told.contains("is held by"), "{told}");
}

#[test]
fn a_wrong_line_is_answered_by_its_number_and_the_others_go_in() {
    let (_dir, cloud, branch) = linked_branch();
    let act = |pages: i64| format!(r#"{{"kind":"pages.captured","user":"anna","pages":{pages}}}"#);
    let lines =
        format!("{}\nnot json\n{}\n{{\"kind\":\"no.such\"}}\n{}\n", act(3), act(-1), act(4));
    let ran = branch.run_with(&["record"], lines.as_bytes());
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:?}");
    let told = ran.failed(1);
    for number in [2, 3, 4] {
        assert!(told.contains(&format!("line {number}: ")), "{told}");
    }
    branch.wait_synced(PATIENCE);
    assert_eq!(events_of_devices(&cloud).len(), 4, "two acts, and what opens the two logs");
}

#[test]
fn status_and_figures_need_no_agent() {
    let (_dir, mut cloud, mut branch) = linked_branch();
    drop(record(&branch, 0, 20).succeeded());
    branch.wait_synced(PATIENCE);
    let (synced, seen) = (branch.standing(), branch.json(&["view", "totals"]));
    branch.stop();
    cloud.stop();
    drop(record(&branch, 1, 5).succeeded());

    let status = branch.json(&["status"]);
    assert!(status["link"].is_null(), "{status}");
    let offline = branch.standing();
    assert_eq!((offline.local, offline.cloud), (synced.local + 5, synced.cloud));
    let pages = |view: &Value| {
        let rows = view["rows"].as_array().unwrap();
        rows.iter()
            .map(|row| row["captured"].as_u64().unwrap() + row["impressions"].as_u64().unwrap())
            .sum::<u64>()
    };
    let said: u64 = Acts::new(3, 1).take(5).map(|(_, said)| said.pages).sum();
    assert_eq!(pages(&branch.json(&["view", "totals"])), pages(&seen) + said);
    let text = branch.run(&["status"]).succeeded();
    assert!(text.contains("no agent is running") && text.contains("5 to go"), "{text}");
}

#[test]
fn a_revoked_device_is_cut_off_and_nothing_more_is_taken_from_it() {
    let (_dir, cloud, branch) = linked_branch();
    drop(record(&branch, 0, 20).succeeded());
    branch.wait_synced(PATIENCE);
    let held = events_of_devices(&cloud).len();
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    wait_until(CUT_WITHIN, "the revoked device's link is cut", || !branch.standing().linked);

    drop(record(&branch, 1, 5).succeeded());
    std::thread::sleep(NOTHING_FOR);
    assert_eq!(events_of_devices(&cloud).len(), held);
    let status = branch.json(&["status"]);
    assert_eq!(status["link"], "down", "{status}");
    assert!(status["why"].as_str().unwrap().contains("revoked"), "it is not told why: {status}");
}

#[test]
fn a_retired_device_delivers_what_it_has() {
    let (_dir, cloud, mut branch) = linked_branch();
    branch.stop();
    drop(record(&branch, 0, 20).succeeded());
    drop(cloud.run(&["retire", "branch"]).succeeded());
    branch.start();
    branch.wait_synced(PATIENCE);
    let standing = || cloud.json(&["devices"])[0].clone();
    wait_until(PATIENCE, "it says that this was all", || standing()["drained"] == true);
    assert_eq!(standing()["standing"], "retired");
    assert!(cloud.run(&["devices"]).succeeded().contains("retired (drained) since 2"));
    assert_eq!(events_of_devices(&cloud).len(), 22 + 2, "and the end of each log");
    wait_until(PATIENCE, "it knows, too", || branch.json(&["status"])["retired"] == "delivered");
    let told = branch.run(&["status"]).succeeded();
    assert!(told.contains("retired, everything delivered"), "{told}");
    let refused = record(&branch, 1, 5);
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("this device is retired"), "{refused:?}");
    branch.stop();
    assert!(record(&branch, 1, 5).failed(1).contains("tallyroll enroll"), "without an agent, too");
    branch.start();
    branch.wait_synced(PATIENCE);
    assert_eq!(events_of_devices(&cloud).len(), 24);
}
