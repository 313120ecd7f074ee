//! A cloud whose disk is gone, with every backup: made anew of its identity alone, refilled by its branches.
//! Invariant: what branches recorded counts exactly as the outside journal says, old receipts hold, new work goes on,
//! and nobody comes in but by what this cloud signed. What only the cloud held is told to be lost.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tallyroll_tests::drill::books::{self, events_held};
use tallyroll_tests::drill::{Account, Acts, Written};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};

const SEED: u64 = 17;

/// A branch, and the outside journal of it.
struct Office {
    name: &'static str,
    branch: Branch,
    acts: Acts,
    written: Written,
}

impl Office {
    fn join(dir: &Path, cloud: &Cloud, name: &'static str, writer: u8) -> Self {
        let branch = Branch::joined(dir.join(name), &cloud.enroll(name));
        wait_until(PATIENCE, "it is linked", || branch.standing().linked);
        Self { name, branch, acts: Acts::new(SEED, writer), written: Written::default() }
    }

    fn record(&mut self, count: usize) {
        let acts: Vec<_> = self.acts.by_ref().take(count).collect();
        let lines: String = acts.iter().map(|(job, said)| said.line(*job)).collect();
        let answers = self.branch.run_with(&["record", "--json"], lines.as_bytes()).succeeded();
        let position = |line: &str| {
            let answer: Value = serde_json::from_str(line).unwrap();
            answer["position"].as_str().unwrap().parse().unwrap()
        };
        let acknowledged = acts.iter().map(|(job, _)| *job).zip(answers.lines().map(position));
        self.written.acknowledged.extend(acknowledged);
        self.written.said.extend(acts);
    }
}

/// All that these branches recorded is at the cloud, once, as said, and in every view.
#[track_caller]
fn settle(cloud: &Cloud, offices: &[&Office]) {
    for office in offices {
        wait_until(PATIENCE, "it is linked again", || office.branch.standing().linked);
        office.branch.wait_synced(PATIENCE);
    }
    wait_until(PATIENCE, "the cloud has it all", || {
        let local: u64 = offices.iter().map(|office| office.branch.standing().local).sum();
        events_held(cloud) == local
    });
    let names = |office: &&Office| cloud.run(&["view", "totals"]).stdout.contains(office.name);
    wait_until(PATIENCE, "names came, too", || {
        offices.iter().all(names) && !cloud.run(&["view", "totals"]).stdout.contains('(')
    });
    let mut accounts = Vec::new();
    for Office { name, branch, written, .. } in offices {
        accounts.push(Account { name, branch, written });
    }
    let audit = books::check(cloud, &accounts);
    assert!(audit.violations.is_empty(), "{:#?}", audit.violations);
}

fn doctor(cloud: &Cloud, waits_for: &str, says: impl Fn(&str) -> bool) -> String {
    wait_for(PATIENCE, waits_for, || {
        let health = cloud.run(&["doctor"]);
        (health.code() == Some(3) && says(&health.stdout)).then_some(health.stdout)
    })
}

fn gave_back(health: &str, name: &str) -> bool {
    let line = health.lines().find_map(|line| line.strip_prefix("gave back: "));
    line.is_some_and(|names| names.split(", ").any(|one| one == name))
}

fn why_down(branch: &Branch, part: &str) {
    wait_until(PATIENCE, part, || {
        let status = branch.json(&["status"]);
        status["link"] == "down" && status["why"].as_str().is_some_and(|why| why.contains(part))
    });
}

/// A device of another cloud comes here, as if it were of this one's fleet.
fn stranger(dir: &Path, cloud: &Cloud, of_this_fleet: &Branch) -> Branch {
    let other = Cloud::start(dir.join("other-cloud"));
    let mut stranger = Branch::joined(dir.join("stranger"), &other.enroll("near"));
    wait_until(PATIENCE, "it is linked", || stranger.standing().linked);
    stranger.stop();
    let text = fs::read(of_this_fleet.data().join("identity/enrolment.json")).unwrap();
    let told: Value = serde_json::from_slice(&text).unwrap();
    stranger.edit_identity("enrolment.json", |enrolment| {
        enrolment["cloud"] = cloud.addr().to_string().into();
        enrolment["authority"] = told["authority"].clone();
    });
    stranger.start();
    stranger
}

#[test]
fn a_cloud_of_which_only_its_identity_is_left_is_refilled_by_its_branches() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let identity = dir.path().join("identity");
    let file = identity.to_str().unwrap();
    let told = cloud.run(&["backup", "--identity-only", file]).succeeded();
    assert!(told.contains("put it into a safe"), "{told}");
    drop(cloud.run(&["backup", "--identity-only", file]).failed(1)); // never over another one

    // All of them, and all they do, are later than the file; and so is that one changed its keys.
    let [mut near, mut far, mut late] = [("near", 1), ("far", 2), ("late", 3)]
        .map(|(name, writer)| Office::join(dir.path(), &cloud, name, writer));
    for office in [&mut near, &mut far, &mut late] {
        office.record(100);
    }
    settle(&cloud, &[&near, &far, &late]);
    let keys = far.branch.json(&["rotate-keys"]);
    let file_of_keys = far.branch.data().join("identity/keys.json");
    wait_until(PATIENCE, "the new keys are the only ones", || {
        let kept = fs::read_to_string(&file_of_keys).unwrap();
        let used = cloud.json(&["devices"]).to_string();
        used.contains(keys["tls-fingerprint"].as_str().unwrap()) && !kept.contains("older-tls")
    });
    drop(cloud.run(&["grant", "user 1", "100"]).succeeded());
    let logs = cloud.json(&["log", "list"]);
    let receipts: Vec<Value> =
        logs.as_array().unwrap().iter().map(|log| log["receipt"].clone()).collect();
    let receipts: Vec<Value> = receipts.into_iter().filter(|receipt| !receipt.is_null()).collect();
    assert_eq!(receipts.len(), 6, "two logs each: {logs}");
    far.branch.stop();
    late.branch.stop();
    near.record(20);
    near.branch.wait_synced(PATIENCE);
    far.record(20); // which no cloud has seen

    cloud.kill_9();
    fs::remove_dir_all(cloud.data()).unwrap();
    let told = cloud.run(&["restore", file]).succeeded();
    assert!(told.contains("it holds no event yet") && told.contains("lost for good"), "{told}");
    drop(cloud.run(&["restore", file]).failed(1)); // there is a cloud now
    cloud.start_again();
    let stranger = stranger(dir.path(), &cloud, &near.branch);

    let frozen = doctor(&cloud, "near came by itself", |said| gave_back(said, "near"));
    assert!(frozen.contains("rebuilt from its identity alone"), "{frozen}");
    assert!(frozen.contains("Readmitted on their own evidence: near."), "{frozen}");
    assert!(frozen.contains("How many devices there were is not known"), "{frozen}");
    near.record(20); // usage is taken in meanwhile
    settle(&cloud, &[&near]);
    cloud.kill_9();
    cloud.start_again(); // in the midst of it
    far.branch.start();
    doctor(&cloud, "far came back", |said| gave_back(said, "far"));
    why_down(&stranger, "no device with this certificate is enrolled here");
    assert_eq!(cloud.json(&["devices"]).as_array().unwrap().len(), 2, "no stranger");

    let thawed = cloud.run(&["doctor", "--accept-loss"]).succeeded();
    assert!(thawed.starts_with("Nothing is frozen.\nRebuilt on "), "{thawed}");
    for office in [&mut near, &mut far] {
        office.record(20);
    }
    settle(&cloud, &[&near, &far]);
    late.branch.start();
    why_down(&late.branch, "tallyroll doctor --await-devices");
    assert_eq!(cloud.run(&["doctor", "--await-devices"]).code(), Some(3));
    doctor(&cloud, "late came back", |said| gave_back(said, "late"));
    settle(&cloud, &[&near, &far, &late]);
    drop(cloud.run(&["doctor", "--accept-loss"]).succeeded());
    for office in [&mut near, &mut far, &mut late] {
        office.record(10);
    }
    settle(&cloud, &[&near, &far, &late]);

    for receipt in receipts {
        let path = dir.path().join("receipt");
        fs::write(&path, receipt.to_string()).unwrap();
        drop(cloud.run(&["log", "verify", "--receipt", path.to_str().unwrap()]).succeeded());
    }
    let balances = cloud.run(&["view", "balances"]).succeeded();
    assert!(balances.contains("what was granted before is lost"), "{balances}");
    let rows = cloud.json(&["view", "balances"]);
    let rows = rows["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["granted"] == "0.000"), "{balances}");
    let names: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(names.len(), rows.len(), "a name is one person at all branches: {balances}");
    drop(cloud.run(&["grant", "user 1", "50"]).succeeded());
    drop(cloud.enroll("new"));
}
