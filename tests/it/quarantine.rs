//! What a cloud does not take in, through real processes: what a wrong key signed, and what a revoked device still had.
//! Invariant shown here: it is in no figure, it stops nothing else, people are told at both ends what to do, and what
//! an administrator decides happens, once. Which bursts are poison is the engine's and tested there.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};

fn record(branch: &Branch, writer: u8, count: usize) -> u64 {
    let acts: Vec<_> = Acts::new(3, writer).take(count).collect();
    let lines: String = acts.iter().map(|(job, said)| said.line(*job)).collect();
    drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
    acts.iter().map(|(_, said)| said.pages).sum()
}

fn pages(cloud: &Cloud) -> u64 {
    let totals = cloud.json(&["view", "totals"]);
    let rows = totals["rows"].as_array().unwrap().iter();
    let of = |row: &Value| {
        let columns = ["impressions", "captured", "converted", "sent", "saved"];
        columns.iter().map(|column| row[*column].as_u64().unwrap_or_default()).sum::<u64>()
    };
    rows.map(of).sum()
}

fn entries(cloud: &Cloud) -> Vec<Value> {
    cloud.json(&["quarantine"]).as_array().unwrap().clone()
}

fn alarms(cloud: &Cloud, kind: &str) -> usize {
    let named = |line: &&Value| line["event"]["kind"] == kind;
    cloud.events().iter().filter(named).count()
}

/// Has a device that joined sign with another key than it joined with.
fn take_its_key(branch: &Branch) {
    branch.edit_identity("keys.json", |keys| keys["signing-seed"] = "17".repeat(32).into());
}

#[test]
fn what_a_wrong_key_signed_is_kept_apart_and_shown_at_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut wrong = Branch::new(dir.path().join("wrong"));
    drop(wrong.join(&cloud.enroll("wrong")).succeeded());
    take_its_key(&wrong);
    wrong.start();
    let sound = Branch::joined(dir.path().join("sound"), &cloud.enroll("sound"));
    wait_until(PATIENCE, "both its logs are in quarantine", || entries(&cloud).len() == 2);
    let told = wait_for(PATIENCE, "its people are told", || {
        let status = wrong.json(&["status"]);
        let why = status["why"].as_str().filter(|_| status["link"] == "stopped");
        why.filter(|why| why.contains("in quarantine at the cloud as")).map(str::to_owned)
    });
    assert!(told.contains("tallyroll quarantine show"), "{told}");
    let said = record(&sound, 1, 5);
    sound.wait_synced(PATIENCE);
    assert_eq!(pages(&cloud), said, "other devices go on");

    let before = entries(&cloud);
    wrong.stop();
    wrong.start();
    wait_until(PATIENCE, "it is told again", || wrong.json(&["status"])["link"] == "stopped");
    assert_eq!(entries(&cloud), before, "nothing is added to what is known");
    assert_eq!(alarms(&cloud, "quarantine.opened"), 2);
    let doctor = cloud.run(&["doctor"]);
    assert_eq!(doctor.code(), Some(3), "{doctor:?}");
    assert!(doctor.stdout.contains("In quarantine: 2"), "{doctor:?}");
    let mut http = TcpStream::connect(cloud.http()).unwrap();
    write!(http, "GET /metrics HTTP/1.1\r\nHost: cloud\r\n\r\n").unwrap();
    let mut figures = String::new();
    http.read_to_string(&mut figures).unwrap();
    assert!(figures.contains("tallyroll_quarantine_open 2"), "{figures}");

    let id = before[0]["id"].as_str().unwrap();
    let shown = cloud.run(&["quarantine", "show", id]).succeeded();
    assert!(shown.contains("log.opened") && shown.contains("its own ledger"), "{shown}");
    let still = cloud.run(&["quarantine", "release", &id[..6]]).failed(3);
    assert!(still.contains("stays in quarantine: not allowed"), "{still}");
    assert_eq!(entries(&cloud), before, "nothing of it is lost");
    let unknown = cloud.run(&["quarantine", "discard", "ffffffffffffffff"]).failed(1);
    assert!(unknown.contains("`tallyroll quarantine` lists it"), "{unknown}");
    drop(cloud.run(&["quarantine", "discard", id, "--reason", "a wrong key"]).succeeded());
    assert_eq!(alarms(&cloud, "quarantine.discarded"), 1);
    wait_until(PATIENCE, "it may send anew, and does", || {
        let now = entries(&cloud);
        now.len() == 2 && now.iter().all(|entry| entry["id"] != id)
    });
}

#[test]
fn what_a_revoked_device_still_had_counts_when_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let before = record(&branch, 0, 5);
    branch.wait_synced(PATIENCE);
    branch.stop();
    let after = record(&branch, 1, 7);
    let standing = branch.standing();
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    branch.start();
    let kept = || entries(&cloud).iter().filter_map(|entry| entry["count"].as_u64()).sum::<u64>();
    wait_until(PATIENCE, "what it still had is kept apart", || kept() == 7);
    assert_eq!(pages(&cloud), before);
    assert_eq!(branch.standing().cloud, standing.cloud, "it is told nothing of it");

    let id = entries(&cloud)[0]["id"].as_str().unwrap().to_owned();
    drop(cloud.run(&["quarantine", "release", &id, "--reason", "the office's own"]).succeeded());
    assert_eq!(pages(&cloud), before + after);
    assert!(entries(&cloud).is_empty());
    drop(cloud.run(&["log", "verify"]).succeeded());
    assert!(cloud.run(&["quarantine"]).succeeded().contains("Nothing is in quarantine"));
    wait_until(PATIENCE, "its status says that it counts", || {
        let standing = branch.standing();
        standing.cloud == standing.local
    });
}

/// The same came back at once, with each try of the device to link.
#[test]
fn what_is_discarded_of_a_revoked_device_stays_away_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let before = record(&branch, 0, 5);
    branch.wait_synced(PATIENCE);
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    record(&branch, 1, 7);
    let kept =
        |count: u64| move |entry: &Value| entry["discarded"].is_null() && entry["count"] == count;
    wait_until(PATIENCE, "it is kept apart", || entries(&cloud).iter().any(kept(7)));
    let id = entries(&cloud)[0]["id"].as_str().unwrap().to_owned();
    let told = cloud.run(&["quarantine", "discard", &id, "--reason", "a thief's"]).succeeded();
    assert!(told.contains("not asked for again"), "{told}");
    branch.stop();
    branch.start(); // it comes at once, and not after a pause
    record(&branch, 2, 3);
    wait_until(PATIENCE, "what comes after is", || entries(&cloud).iter().any(kept(3)));
    let shown = entries(&cloud);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!((&shown[1]["id"], &shown[1]["count"]), (&id.into(), &7.into()), "{shown:?}");
    assert!(shown[1]["discarded"].is_u64() && shown[1]["reason"] == "a thief's", "{shown:?}");
    let doctor = cloud.run(&["doctor"]).stdout;
    assert!(doctor.contains("Discarded of revoked devices"), "{doctor}");
    assert_eq!(pages(&cloud), before);
}
