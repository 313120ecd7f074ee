//! Stories of what the first version cannot do, while one end is of it: nothing is lost by having asked for it.
//! Invariant: whoever asks at today's end is told that it does not go now, or waits; once the other end is of today, too,
//! it is done, and everything is counted once. Figures are those of the acts that are written down here.

use serde_json::{Value, json};

use super::Stage;
use super::scene::{Scene, rows};
use crate::fleet::{Branch, Cloud, PATIENCE, Ran, wait_until};

/// What a command ends with that may succeed later.
const TEMPORARY: i32 = 75;

/// Nothing if it holds, else what does not.
fn unless(holds: bool, wrong: impl FnOnce() -> String) -> Vec<String> {
    if holds { Vec::new() } else { vec![wrong()] }
}

/// Nothing if a command ended so and said this, else what it did.
fn told(ran: &Ran, code: i32, text: &str) -> Vec<String> {
    unless(ran.code() == Some(code) && ran.stderr.contains(text), || format!("{ran:?}"))
}

fn record(branch: &Branch, acts: &[Value], options: &[&str]) -> Ran {
    let lines: String = acts.iter().map(|act| format!("{act}\n")).collect();
    branch.run_with(&[&["record"], options].concat(), lines.as_bytes())
}

fn captured(pages: u32) -> Value {
    json!({"kind": "pages.captured", "user": "anna", "pages": pages, "color": "color"})
}

fn balance(cloud: &Cloud, name: &str) -> String {
    let all = rows(&cloud.json(&["view", "balances"]));
    let row = all.iter().find(|row| row["name"] == name);
    row.and_then(|row| row["balance"].as_str()).unwrap_or_default().to_owned()
}

/// Waits until a balance is that, and the books verify.
fn settles_at(scene: &Scene, right: &str) -> Vec<String> {
    let began = std::time::Instant::now();
    while balance(&scene.cloud, "anna") != right && began.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let shown = balance(&scene.cloud, "anna");
    let mut wrong =
        unless(shown == right, || format!("anna's balance is {shown}, and should be {right}"));
    let verified = scene.cloud.run(&["log", "verify"]);
    wrong.extend(unless(verified.code() == Some(0), || format!("{verified:?}")));
    wrong
}

/// Keys are changed only where the cloud goes by the new ones.
pub(super) fn keys(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &old, 7);
    scene.join(&dir, "branch-1", &new);
    stage.work(&mut scene, "linked", 1);
    let refused = scene.sites[0].branch.run(&["rotate-keys"]);
    let wrong = told(&refused, TEMPORARY, "upgrade the cloud first");
    stage.show("rotate-keys is refused, and says what to do", wrong);
    stage.work(&mut scene, "all goes on with the keys it has", 1);
    scene.change_cloud(&new, false);
    scene.wait_synced();
    let changed = scene.sites[0].branch.run(&["rotate-keys"]);
    stage.show("once the cloud is upgraded keys are changed", told(&changed, 0, ""));
    stage.work(&mut scene, "with the new keys", 2);
}

/// A copy counts page logs only when it knows what was counted, which the old cloud does not tell.
pub(super) fn copy(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &old, 8);
    scene.join(&dir, "branch-1", &new);
    let page_log = dir.join("page_log");
    let import = ["import", "page-log", page_log.to_str().expect("a path in UTF-8")];
    let lines = |jobs: std::ops::Range<u32>| -> String {
        let line =
            |job| format!("lp anna {job} [21/Nov/2026:10:00:00 +0000] total 2 - localhost x - -\n");
        jobs.map(line).collect()
    };
    let branch = &scene.sites[0].branch;
    std::fs::write(&page_log, lines(0..5)).expect("a page log");
    drop(branch.run(&import).succeeded());
    let backup = dir.join("backup");
    let backup = backup.to_str().expect("a path in UTF-8");
    drop(branch.run(&["backup", backup]).succeeded());
    std::fs::write(&page_log, lines(0..10)).expect("a page log");
    drop(branch.run(&import).succeeded());
    drop(record(branch, &[captured(7)], &[]).succeeded());
    scene.wait_synced();
    stage.show("ten jobs of a page log and seven pages", settles_at(&scene, "-27.000"));
    scene.sites[0].branch.kill_9();
    let mut restored = Branch::new(dir.join("restored"));
    drop(restored.run(&["restore", backup]).succeeded());
    restored.start();
    let name = "branch-1";
    scene.sites[0].branch = restored;
    drop(record(&scene.sites[0].branch, &[captured(3)], &[]).succeeded());
    scene.wait_synced();
    let mut wrong = told(&scene.sites[0].branch.run(&import), TEMPORARY, "");
    wrong.extend(settles_at(&scene, "-30.000"));
    stage.show(format!("{name} is put back from a backup: it goes on, its page log waits"), wrong);
    scene.change_cloud(&new, true);
    let imported = || scene.sites[0].branch.run(&import).code() == Some(0);
    wait_until(PATIENCE, "the page log is taken again", imported);
    scene.wait_synced();
    stage.show(
        "once the cloud is upgraded the page log counts, each line once",
        settles_at(&scene, "-30.000"),
    );
}

/// A right to spend is asked for at any cloud, and answered by today's.
pub(super) fn credits(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &old, 9);
    scene.join(&dir, "branch-1", &new);
    drop(record(&scene.sites[0].branch, &[captured(5)], &[]).succeeded());
    scene.wait_synced();
    drop(scene.cloud.run(&["grant", "anna", "100"]).succeeded());
    let waits = record(&scene.sites[0].branch, &[captured(2)], &["--leased", "--wait", "2"]);
    stage.show(
        "a page that needs a right is not recorded",
        told(&waits, TEMPORARY, "has not answered"),
    );
    let job = |job: &str, more: Value| {
        let mut act = json!({"job": job, "user": "anna"});
        act.as_object_mut()
            .expect("it is one")
            .extend(more.as_object().expect("it is one").clone());
        act
    };
    let acts = [
        json!({"kind": "job.begun", "job": "00000000000000a1", "user": "anna"}),
        job("00000000000000a1", json!({"kind": "pages.captured", "pages": 4, "color": "color"})),
        json!({"kind": "document.discarded", "job": "00000000000000a1"}),
        json!({"kind": "job.ended", "job": "00000000000000a1"}),
    ];
    drop(record(&scene.sites[0].branch, &acts, &[]).succeeded());
    scene.wait_synced();
    stage.show(
        "a job that was discarded is charged all the same: the old cloud knows no jobs",
        settles_at(&scene, "91.000"),
    );
    scene.change_cloud(&new, false);
    stage.show("once the cloud is upgraded it is not", settles_at(&scene, "95.000"));
    let leased = record(&scene.sites[0].branch, &[captured(2)], &["--leased", "--wait", "20"]);
    let mut wrong = told(&leased, 0, "");
    scene.wait_synced();
    wrong.extend(settles_at(&scene, "93.000"));
    stage.show("and what was asked for is answered", wrong);
}

/// What the cloud decides holds at a branch from when it is of today's version.
pub(super) fn decisions(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &new, 10);
    scene.join(&dir, "branch-1", &old);
    scene.join(&dir, "branch-2", &old);
    for site in &scene.sites {
        let berta =
            json!({"kind": "pages.captured", "user": "berta", "pages": 1, "color": "color"});
        drop(record(&site.branch, &[captured(3), berta], &[]).succeeded());
    }
    scene.wait_synced();
    for words in [
        &["policy", "settlement", "additive"] as &[_],
        &["policy", "offline", "overdraft", "10"],
        &["users", "forget", "berta"],
        &["retire", "branch-2"],
    ] {
        drop(scene.cloud.run(words).succeeded());
    }
    for at in 0..2 {
        scene.sites[at].branch.kill_9();
        scene.sites[at].branch.start();
        drop(record(&scene.sites[at].branch, &[captured(1)], &[]).succeeded());
    }
    scene.wait_synced();
    let pending = |cloud: &Cloud| {
        let status = cloud.json(&["users", "forget", "--status"]);
        status.to_string().matches("pending").count()
    };
    let mut wrong = settles_at(&scene, "-8.000");
    // The retired one is not waited for.
    wrong
        .extend(unless(pending(&scene.cloud) == 1, || "it erased what it does not know of".into()));
    stage.show("old branches go on, and do nothing of it", wrong);
    for at in 0..2 {
        scene.change_branch(at, &new, at == 0);
    }
    let drained = |cloud: &Cloud| {
        let devices = cloud.json(&["devices"]);
        let mut devices = devices.as_array().into_iter().flatten();
        devices.any(|device| device["name"] == "branch-2" && device["drained"] == true)
    };
    wait_until(PATIENCE, "the retired branch is drained", || drained(&scene.cloud));
    wait_until(PATIENCE, "the name is erased", || pending(&scene.cloud) == 0);
    let refused = record(&scene.sites[1].branch, &[captured(1)], &[]);
    let mut wrong = told(&refused, 1, "retired");
    wrong.extend(settles_at(&scene, "-8.000"));
    stage.show("once upgraded they do: the name is erased, who is retired is drained", wrong);
}

/// A cloud that was put back waits until each branch gave back what it holds of the cloud's own: an old one never does.
pub(super) fn restored(stage: &mut Stage<'_>) {
    let (old, new, dir) = (stage.old.clone(), stage.new.clone(), stage.dir.clone());
    let mut scene = Scene::new(&dir, &new, 11);
    scene.join(&dir, "branch-1", &old);
    scene.join(&dir, "branch-2", &new);
    let capture = |scene: &Scene| {
        for site in &scene.sites {
            drop(record(&site.branch, &[captured(2)], &[]).succeeded());
        }
        scene.wait_synced();
    };
    capture(&scene);
    let backup = dir.join("backup");
    let backup = backup.to_str().expect("a path in UTF-8");
    drop(scene.cloud.run(&["backup", backup]).succeeded());
    capture(&scene);
    scene.cloud.kill_9();
    std::fs::remove_dir_all(scene.cloud.data()).expect("the cloud's disk is gone");
    drop(scene.cloud.run(&["restore", backup]).succeeded());
    scene.cloud.start_again();
    capture(&scene);
    let doctor = || scene.cloud.run(&["doctor"]);
    wait_until(PATIENCE, "today's branch gave back what it holds", || {
        doctor().stdout.contains("gave back: branch-2")
    });
    let ran = doctor();
    let waits = ran.code() == Some(3) && ran.stdout.contains("first version once it is upgraded");
    let mut wrong = unless(waits, || format!("{ran:?}"));
    wrong.extend(settles_at(&scene, "-12.000"));
    stage.show("it counts what comes, and says for whom it waits", wrong);
    scene.change_branch(0, &new, false);
    wait_until(PATIENCE, "the cloud thaws", || scene.cloud.run(&["doctor"]).code() == Some(0));
    capture(&scene);
    stage.show("once the branch is upgraded it thaws", settles_at(&scene, "-16.000"));
}
