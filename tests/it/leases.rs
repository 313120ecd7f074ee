//! Leases through real processes: asked for, spent, recalled, given back, frozen, written off.
//! Invariant: whenever anybody looks, granted = charged + held + pool + leased + frozen - spent after a
//! write-off. What partitions and crashes do to that in their thousands is the simulator's. A thousand jobs of a device that
//! is cut off are in `leases_offline`, renewals in `leases_renewed`, copies in `leases_copied`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Ran, wait_until};
use tempfile::TempDir;

pub(super) const TEMPORARY: i32 = 75;

pub(super) fn capture(pages: u32) -> String {
    format!(r#"{{"kind":"pages.captured","user":"anna","pages":{pages},"color":"color"}}"#) + "\n"
}

/// Thousandths of an amount as it is shown.
pub(super) fn thousandths(shown: &Value) -> i64 {
    let text = shown.as_str().unwrap();
    let (whole, part) = text.split_once('.').unwrap();
    assert_eq!(part.len(), 3, "{text}");
    format!("{whole}{part}").parse().unwrap()
}

/// Where the credits are, in whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) charged: i64,
    pub(super) pool: i64,
    pub(super) leased: i64,
    pub(super) frozen: i64,
    pub(super) overdrawn: i64,
}

#[track_caller]
fn books(cloud: &Cloud) -> Books {
    let totals = &cloud.json(&["leases"])["totals"];
    let [granted, charged, held, pool, leased, frozen, overdrawn] =
        ["granted", "charged", "held", "pool", "leased", "frozen", "overdrawn"]
            .map(|key| thousandths(&totals[key]));
    assert_eq!(granted, charged + held + pool + leased + frozen, "{totals}");
    let [charged, pool, leased, frozen, overdrawn] =
        [charged, pool, leased, frozen, overdrawn].map(|sum| sum / 1000);
    Books { charged, pool, leased, frozen, overdrawn }
}

/// A cloud and branches at which anna has so many credits.
pub(super) fn fleet<const N: usize>(granted: u32) -> (TempDir, Cloud, [Branch; N]) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branches = core::array::from_fn(|number| {
        let name = format!("branch-{}", number + 1);
        Branch::joined(dir.path().join(&name), &cloud.enroll(&name))
    });
    let seen = r#"{"kind":"job.begun","job":"00000000000000a1","user":"anna"}"#;
    for branch in &branches {
        drop(branch.run_with(&["record"], seen.as_bytes()).succeeded());
        branch.wait_synced(PATIENCE);
    }
    let granted = granted.to_string();
    wait_until(PATIENCE, "anna is known", || {
        cloud.run(&["grant", "anna", &granted]).code() == Some(0)
    });
    (dir, cloud, branches)
}

pub(super) fn leased(branch: &Branch, lines: &str) -> Ran {
    branch.run_with(&["record", "--leased", "--wait", "20"], lines.as_bytes())
}

/// Anna's lease at a branch.
pub(super) fn lease(branch: &Branch) -> Option<Value> {
    branch.json(&["status"])["leases"].as_array().unwrap().first().cloned()
}

pub(super) fn left(branch: &Branch) -> i64 {
    lease(branch).map_or(0, |lease| thousandths(&lease["left"]) / 1000)
}

fn metrics(cloud: &Cloud) -> String {
    let mut http = TcpStream::connect(cloud.http()).unwrap();
    write!(http, "GET /metrics HTTP/1.1\r\nHost: cloud\r\n\r\n").unwrap();
    let mut text = String::new();
    http.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
pub(super) fn settled(cloud: &Cloud, expected: Books) {
    settled_as_one_of(cloud, &[expected]);
}

#[track_caller]
fn settled_as_one_of(cloud: &Cloud, expected: &[Books]) {
    let mut last = books(cloud);
    let begun = std::time::Instant::now();
    while !expected.contains(&last) {
        assert!(begun.elapsed() < PATIENCE, "{last:?} where {expected:?} was expected");
        std::thread::sleep(Duration::from_millis(50));
        last = books(cloud);
    }
}

pub(super) const NOTHING: Books = Books { charged: 0, pool: 0, leased: 0, frozen: 0, overdrawn: 0 };

#[test]
fn a_lease_is_asked_for_spent_and_given_back_when_it_idles() {
    let (_dir, cloud, [mut branch]) = fleet(100);
    assert_eq!(books(&cloud), Books { pool: 100, ..NOTHING });
    let recorded = leased(&branch, &capture(1).repeat(3)).succeeded();
    assert_eq!(recorded.lines().count(), 3, "{recorded}");
    let shown = lease(&branch).unwrap();
    assert_eq!(
        (&shown["user"], &shown["left"], &shown["spent"]),
        (&"anna".into(), &"7.000".into(), &"3.000".into())
    );
    let told = branch.run(&["status"]).succeeded();
    assert!(told.contains("anna: 7.000 left, 3.000 spent, until 2"), "{told}");
    settled(&cloud, Books { charged: 3, pool: 90, leased: 7, ..NOTHING });
    let told = cloud.run(&["leases"]).succeeded();
    assert!(
        told.contains("anna") && told.contains("branch-1") && told.contains("leased 7.000"),
        "{told}"
    );

    branch.stop();
    branch.start_with(&["--lease-idle", "1"]);
    settled(&cloud, Books { charged: 3, pool: 97, ..NOTHING });
    assert_eq!(left(&branch), 0);
}

/// Regression: the balance was less than what could be lent of it, and a statement did not say why.
#[test]
fn what_is_spent_of_a_lease_after_it_was_written_off_is_charged_and_shown() {
    let (_dir, cloud, [mut branch]) = fleet(20);
    drop(leased(&branch, &capture(1)).succeeded());
    settled(&cloud, Books { charged: 1, pool: 10, leased: 9, ..NOTHING });
    branch.stop();
    let off = ["leases", "write-off", "branch-1", "--reason", "it fell into the river"];
    let told = cloud.run(&off).failed(1);
    assert!(told.contains("may still spend") && told.contains("--in-use"), "{told}");
    drop(cloud.run(&[&off[..], &["--in-use"]].concat()).succeeded());
    settled(&cloud, Books { charged: 1, pool: 19, ..NOTHING });
    drop(leased(&branch, &capture(4)).succeeded());
    branch.start();
    branch.wait_synced(PATIENCE);
    let shown = cloud.json(&["balance", "anna"]);
    let figures = ["charged", "balance", "available", "pool"].map(|key| &shown[key]);
    assert_eq!(figures, ["5.000", "15.000", "15.000", "15.000"]);
    assert_eq!(cloud.json(&["view", "statement", "anna"])["closing"]["balance"], "15.000");
    let leases = cloud.json(&["leases"]);
    let came_after = [&leases["leases"][0], &leases["totals"]].map(|of| &of["came-after"]);
    assert_eq!(came_after, ["4.000", "4.000"], "{leases}");
    drop(leased(&branch, &capture(15)).succeeded()); // it is lent again what is there
    settled(&cloud, Books { charged: 20, ..NOTHING });
}

#[test]
fn what_idles_at_one_branch_is_spent_at_another_before_anybody_is_refused() {
    let (_dir, cloud, [one, two]) = fleet(20);
    drop(leased(&one, &capture(1)).succeeded());
    settled(&cloud, Books { charged: 1, pool: 10, leased: 9, ..NOTHING });
    drop(leased(&two, &capture(15)).succeeded()); // the pool alone has 10
    drop(leased(&one, &capture(4)).succeeded());
    settled(&cloud, Books { charged: 20, ..NOTHING });
    let told = leased(&one, &capture(1)).failed(1);
    assert!(
        told.contains("this costs 1.000 credits") && told.contains("0.000 at the cloud"),
        "{told}"
    );
    drop(cloud.run(&["grant", "anna", "1"]).succeeded());
    drop(leased(&one, &capture(1)).succeeded());
    settled(&cloud, Books { charged: 21, ..NOTHING });
}

#[test]
fn a_job_that_runs_keeps_its_lease_until_it_ends() {
    let (_dir, cloud, [one, two]) = fleet(40);
    let in_job = |kind: &str| {
        format!(r#"{{"kind":"{kind}","job":"00000000000000b1","user":"anna"}}"#) + "\n"
    };
    let page = r#"{"kind":"pages.captured","job":"00000000000000b1","user":"anna","pages":1}"#;
    drop(leased(&one, &(in_job("job.begun") + page)).succeeded());
    assert_eq!(left(&one), 9);
    let told = leased(&two, &capture(35)).failed(1);
    let device = one.json(&["status"])["device"].as_str().unwrap().to_owned();
    assert!(told.contains(&format!("9.000 are held by device {device}")), "{told}");
    let end = r#"{"kind":"job.ended","job":"00000000000000b1"}"#;
    drop(leased(&one, end).succeeded());
    wait_until(PATIENCE, "it gave back what was wanted", || left(&one) == 0);
    drop(leased(&two, &capture(35)).succeeded()); // nothing was sent: the page costs nothing
    wait_until(PATIENCE, "it is counted", || books(&cloud).charged == 35);
}

/// Mission 1: a server charge first uses the rights held by its own job.
#[test]
fn what_the_server_does_goes_before_what_the_jobs_own_device_keeps() {
    let (_dir, cloud, [one]) = fleet(12);
    let job = r#""job":"00000000000000b1","user":"anna""#;
    let lines = format!(
        "{{\"kind\":\"job.begun\",{job}}}\n{{\"kind\":\"pages.captured\",{job},\"pages\":1}}\n"
    );
    drop(leased(&one, &lines).succeeded());
    one.wait_synced(PATIENCE);
    assert_eq!(left(&one), 5, "half of what there was, less the page");
    let mail = format!(
        r#"{{"device":"branch-1","kind":"document.sent",{job},"pages":1,"destinations":20}}"#
    );
    drop(tallyroll_tests::fleet::run(&mut cloud.command(&["record"]), mail.as_bytes()).succeeded());
    assert_eq!(books(&cloud).charged, 10);
}

#[test]
fn who_is_cut_off_spends_the_lease_and_then_stops_or_overdraws() {
    let (_dir, mut cloud, [branch]) = fleet(30);
    drop(leased(&branch, &capture(1)).succeeded());
    assert_eq!(left(&branch), 9);
    branch.wait_synced(PATIENCE);
    cloud.stop();
    let ran = leased(&branch, &capture(1).repeat(10));
    let told = ran.clone().failed(TEMPORARY);
    assert_eq!(ran.stdout.lines().count(), 9, "{told}");
    assert!(told.contains("line 10: this costs 1.000 credits and 0.000 are left"), "{told}");
    assert!(told.contains("the cloud cannot be reached"), "{told}");

    cloud.start_again();
    assert_eq!(cloud.run(&["policy", "offline"]).succeeded().split(':').next(), Some("stop"));
    let told = cloud.run(&["policy", "offline", "overdraft", "5"]).succeeded();
    assert!(told.contains("exposure 1 x 5.000 = 5.000"), "{told}");
    wait_until(PATIENCE, "the branch knows", || branch.json(&["status"])["overdraft"] == "5.000");
    branch.wait_synced(PATIENCE);
    cloud.kill_9(); // it says no farewell: the link has to be silent for a while
    assert_eq!(left(&branch), 0);
    let patient = ["record", "--leased", "--wait", "30"];
    let ran = branch.run_with(&patient, capture(1).repeat(6).as_bytes());
    assert_eq!(ran.stdout.lines().count(), 5, "{}", ran.stderr);
    assert!(ran.failed(TEMPORARY).contains("line 6: this costs"));
    assert_eq!(lease(&branch).unwrap()["overdrawn"], "5.000");
    cloud.start_again();
    // An attempt that began while nobody was there may take its fifteen seconds, and a pause.
    wait_until(3 * PATIENCE, "it is linked again", || branch.standing().linked);
    // If it had asked before it knew that nobody is there, it is answered now: half of what is left.
    let unasked = Books { charged: 15, pool: 15, overdrawn: 5, ..NOTHING };
    settled_as_one_of(&cloud, &[unasked, Books { pool: 7, leased: 7, ..unasked }]);
}

#[test]
fn a_restored_branch_has_no_rights_and_what_is_frozen_is_written_off() {
    let (dir, mut cloud, [mut branch]) = fleet(30);
    drop(leased(&branch, &capture(1)).succeeded());
    branch.wait_synced(PATIENCE);
    let [backup, restored] = ["backup", "restored"].map(|name| dir.path().join(name));
    drop(branch.run(&["backup", backup.to_str().unwrap()]).succeeded());
    branch.kill_9();
    cloud.stop();
    let mut branch = Branch::new(restored);
    drop(branch.run(&["restore", backup.to_str().unwrap()]).succeeded());
    branch.start();
    assert!(lease(&branch).is_none());
    let told = leased(&branch, &capture(1)).failed(TEMPORARY);
    assert!(told.contains("0.000 are left"), "{told}");

    cloud.start_again();
    settled(&cloud, Books { charged: 1, pool: 20, frozen: 9, ..NOTHING });
    let metrics = metrics(&cloud);
    assert!(metrics.contains("tallyroll_credits_frozen 9.0\n"), "{metrics}");
    assert!(metrics.contains("tallyroll_credits_leased 0.0\n"), "{metrics}");
    let nobody = cloud.run(&["leases", "write-off", "branch-1", "bob", "--reason", "x"]).failed(1);
    assert!(nobody.contains("holds nothing of bob's"), "{nobody}");
    let off = ["leases", "write-off", "branch-1", "anna", "--reason", "its disk is gone"];
    assert!(cloud.run(&off).succeeded().contains("9.000 of anna at branch-1"));
    settled(&cloud, Books { charged: 1, pool: 29, ..NOTHING });
    drop(cloud.run(&off).failed(1));
    drop(leased(&branch, &capture(29)).succeeded());
    settled(&cloud, Books { charged: 30, ..NOTHING });
}

#[test]
fn a_cloud_that_lost_what_it_lent_lends_nothing_until_it_has_heard_of_it() {
    let (dir, mut cloud, [mut branch]) = fleet(30);
    branch.stop();
    let backup = dir.path().join("backup");
    drop(cloud.run(&["backup", backup.to_str().unwrap()]).succeeded());
    cloud.stop();
    let store = cloud.data().join("store.redb");
    let before = std::fs::read(&store).unwrap();
    cloud.start_again();
    branch.start();
    drop(leased(&branch, &capture(1)).succeeded());
    branch.wait_synced(PATIENCE);
    let lent = Books { charged: 1, pool: 20, leased: 9, ..NOTHING };
    settled(&cloud, lent);
    branch.stop();
    cloud.stop();

    // In the same file: nothing that stands outside the store tells, but the number of the last allocation.
    std::fs::write(&store, &before).unwrap();
    cloud.start_again();
    let told = cloud.run(&["doctor"]);
    assert!(
        told.code() == Some(3) && told.stdout.contains("lost credits that it lent"),
        "{told:?}"
    );
    branch.start();
    wait_until(PATIENCE, "it thaws", || cloud.run(&["doctor"]).code() == Some(0));
    settled(&cloud, lent);
    cloud.stop();
    cloud.start_again();
    assert_eq!(cloud.run(&["doctor"]).code(), Some(0));

    // A backup has no such number.
    branch.stop();
    cloud.stop();
    let number = cloud.data().join("allocations");
    assert!(number.is_file() && !backup.join("allocations").exists());
    std::fs::write(&number, "9 nonsense\n").unwrap();
    assert!(cloud.run(&["leases"]).failed(1).contains("allocations is damaged"));
    std::fs::remove_file(&number).unwrap();
    cloud.start_again();
    let told = cloud.run(&["doctor"]);
    assert!(told.code() == Some(3) && told.stdout.contains("is gone"), "{told:?}");
    cloud.stop();
    std::fs::remove_dir_all(cloud.data()).unwrap();
    drop(cloud.run(&["restore", backup.to_str().unwrap()]).succeeded());
    cloud.start_again();
    assert_eq!(cloud.run(&["doctor"]).code(), Some(3));
    branch.start();
    wait_until(PATIENCE, "it thaws", || cloud.run(&["doctor"]).code() == Some(0));
    settled(&cloud, lent);
    drop(leased(&branch, &capture(12)).succeeded());
    let last = books(&cloud);
    wait_until(PATIENCE, "it is counted", || books(&cloud).charged == 13);
    assert_eq!(last.frozen, 0);
}
