//! Disks of a few mebibytes that fill up, under real processes.
//! Invariant shown here: on a full disk new work is refused with what to do, the end of what runs is recorded, nothing
//! that was acknowledged is lost, nobody restarts anything, and all goes on by itself when there is room.
//! A disk is a tmpfs, mounted by who may, or in a namespace of its own. Every single write finds no room in `room`, and in
//! the engine's tests.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tallyroll_schema::event::counts::JobEnded;
use tallyroll_schema::{Event, JobId};
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, run, wait_for, wait_until};

const TEMPORARY: i32 = 75;
/// Set in a process that has a mount namespace of its own.
const IN_NAMESPACE: &str = "TALLYROLL_TEST_IN_NAMESPACE";
/// Devices and the cloud try again within seconds; a link comes back within twenty.
const SOON: Duration = Duration::from_secs(60);

/// A small disk; it is unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let size = format!("size={mebibytes}m,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at);
        run(&mut mount, b"").status.success().then_some(Self(at))
    }

    fn grow(&self, mebibytes: u32) {
        let size = format!("remount,size={mebibytes}m");
        drop(run(Command::new("mount").args(["-o", &size]).arg(&self.0), b"").succeeded());
    }

    fn filler(&self) -> PathBuf {
        self.0.join("somebody-elses")
    }

    /// Takes all that is left, to the last byte.
    fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 20, 4096, 1] {
            let chunk = vec![b'x'; size];
            loop {
                match file.write(&chunk) {
                    Ok(1..) => {}
                    Ok(0) => break,
                    Err(why) if why.kind() == ErrorKind::StorageFull => break,
                    Err(why) => panic!("{why}"),
                }
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// Runs `test` with a directory in which disks can be mounted; `name` is the test's own.
fn where_disks_can_be_mounted(name: &str, test: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    if Disk::mount(dir.path().join("probe"), 1).is_some() {
        return test(dir.path());
    }
    assert!(
        std::env::var_os(IN_NAMESPACE).is_none(),
        "no tmpfs can be mounted in a namespace of our own"
    );
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(IN_NAMESPACE, "1");
    let ran = run(&mut again, b"");
    assert!(
        ran.status.success(),
        "this test mounts a tmpfs: run it as root, or where `unshare --user --map-root-user --mount` is allowed\n{}{}",
        ran.stdout,
        ran.stderr
    );
    // A name that is no test's any more would match none, and that is a success.
    let one = ran.stdout.contains("running 1 test\n") && ran.stdout.contains(" 1 passed; 0 failed");
    assert!(one, "not one test ran as {name}:\n{}", ran.stdout);
}

/// Records acts of a writer; returns the positions that were acknowledged, and how it ended.
fn record(branch: &Branch, writer: u8, count: usize) -> (Vec<String>, Option<i32>, String) {
    let lines: String =
        Acts::new(5, writer).take(count).map(|(job, said)| said.line(job)).collect();
    let ran = branch.run_with(&["record"], lines.as_bytes());
    (ran.stdout.lines().map(str::to_owned).collect(), ran.code(), ran.stderr)
}

/// Records until new work is refused, filling up the disk each time; returns what was acknowledged.
fn record_until_refused(branch: &Branch, disk: &Disk) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut writer: u8 = 10;
    wait_for(SOON, "new work is refused", || {
        disk.fill();
        writer = writer.saturating_add(1);
        let (positions, code, told) = record(branch, writer, 20);
        acknowledged.extend(positions);
        (code == Some(TEMPORARY)).then(|| {
            assert!(told.contains("disk is full") && told.contains("free some space"), "{told}");
        })
    });
    acknowledged
}

/// The end of a job that runs, as its driver reports it.
fn record_end(branch: &Branch, job: u8) -> String {
    let event = Event::from(JobEnded { job: JobId([job; 8]) });
    let line = serde_json::to_string(&event).unwrap();
    let position = branch.run_with(&["record"], line.as_bytes()).succeeded();
    position.trim().to_owned()
}

fn is_full(branch: &Branch) -> bool {
    branch.json(&["status"])["full"] == true
}

/// Waits until new work is taken; returns what was acknowledged meanwhile.
fn record_when_there_is_room(branch: &Branch) -> Vec<String> {
    let mut acknowledged = Vec::new();
    wait_for(SOON, "new work is taken again", || {
        std::thread::sleep(Duration::from_millis(200));
        let (positions, code, _) = record(branch, 100, 5);
        acknowledged.extend(positions);
        (code == Some(0)).then_some(())
    });
    acknowledged
}

/// What the cloud counts is what was acknowledged: no more, no less, each once.
#[track_caller]
fn books_agree(cloud: &Cloud, branch: &Branch, mut acknowledged: Vec<String>) {
    branch.wait_synced(SOON);
    drop(cloud.run(&["log", "verify"]).succeeded());
    let counted = |line: &Value| line["class"] == "ledger" && line["event"]["kind"] != "log.opened";
    let events = cloud.events();
    let mut held: Vec<String> = events
        .iter()
        .filter(|line| counted(line))
        .map(|line| line["position"].as_str().unwrap().to_owned())
        .collect();
    held.sort();
    acknowledged.sort();
    assert_eq!(held, acknowledged);
    let [here, there] = [branch.json(&["view", "totals"]), cloud.json(&["view", "totals"])];
    let sum = |rows: &Value, key: &str| -> u64 {
        let rows = rows["rows"].as_array().or(rows.as_array()).unwrap();
        rows.iter().filter_map(|row| row[key].as_u64()).sum()
    };
    for key in ["impressions", "captured"] {
        assert_eq!(sum(&here, key), sum(&there, key), "{key}: {here} {there}");
    }
}

#[test]
fn a_branch_on_a_full_disk_refuses_new_work_and_goes_on_when_there_is_room() {
    let name = "pressure::a_branch_on_a_full_disk_refuses_new_work_and_goes_on_when_there_is_room";
    where_disks_can_be_mounted(name, |dir| {
        let disk = Disk::mount(dir.join("branch"), 8).unwrap();
        let cloud = Cloud::start(dir.join("cloud"));
        let mut branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
        let (mut acknowledged, code, told) = record(&branch, 1, 100);
        assert_eq!(code, Some(0), "{told}");
        branch.wait_synced(PATIENCE);

        acknowledged.extend(record_until_refused(&branch, &disk));
        let agent = branch.agent_id();
        acknowledged.extend((0..50).map(|job| record_end(&branch, job)));
        assert!(is_full(&branch));
        let told = branch.run(&["status"]).succeeded();
        assert!(told.contains("the disk is full"), "{told}");

        // A restart on the full disk: it comes up, and the ends go in.
        branch.stop();
        branch.start();
        disk.fill();
        assert!(branch.agent_id() != agent && agent.is_some());
        acknowledged.push(record_end(&branch, 60));
        acknowledged.extend(record_until_refused(&branch, &disk));
        let agent = branch.agent_id();

        disk.free();
        acknowledged.extend(record_when_there_is_room(&branch));
        assert!(!is_full(&branch));
        assert_eq!(branch.agent_id(), agent, "nobody restarted it");
        books_agree(&cloud, &branch, acknowledged);
    });
}

/// A branch whose line is down for long: its own events fill the disk.
#[test]
fn a_branch_that_filled_its_own_disk_ends_its_jobs_and_syncs_when_there_is_room() {
    let name =
        "pressure::a_branch_that_filled_its_own_disk_ends_its_jobs_and_syncs_when_there_is_room";
    where_disks_can_be_mounted(name, |dir| {
        let disk = Disk::mount(dir.join("branch"), 6).unwrap();
        let mut cloud = Cloud::start(dir.join("cloud"));
        let branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
        cloud.stop();
        let mut acknowledged = Vec::new();
        let lines = wait_for(PATIENCE * 4, "the disk is full", || {
            let ran = branch.run_with(&["record"], noisy_pages(500).as_bytes());
            acknowledged.extend(ran.stdout.lines().map(str::to_owned));
            (ran.code() == Some(TEMPORARY)).then_some(ran.stderr)
        });
        assert!(lines.contains("disk is full"), "{lines}");
        assert!(acknowledged.len() > 1000, "{} events filled it", acknowledged.len());
        acknowledged.extend((0..20).map(|job| record_end(&branch, job)));

        disk.grow(16);
        acknowledged.extend(record_when_there_is_room(&branch));
        cloud.start_again();
        books_agree(&cloud, &branch, acknowledged);
    });
}

/// Printed pages in JSON Lines, with noise that nothing makes smaller.
fn noisy_pages(count: usize) -> String {
    let mut random = File::open("/dev/urandom").unwrap();
    let mut lines = String::new();
    for _ in 0..count {
        let mut noise = [0_u8; 120];
        random.read_exact(&mut noise).unwrap();
        let noise: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
        let act = serde_json::json!({"kind": "pages.printed", "user": "anna", "impressions": 1, "media": noise});
        lines += &format!("{act}\n");
    }
    lines
}

/// Events of a branch that are pruned there.
fn pruned(branch: &Branch) -> u64 {
    let status = branch.json(&["status"]);
    let logs = status["logs"].as_array().unwrap().iter();
    logs.filter_map(|log| log["pruned"]["events"].as_u64()).sum()
}

/// Nothing but the cloud's word is waited for: what it confirmed makes room for new work, again and again.
#[test]
fn a_branch_that_filled_its_disk_prunes_what_the_cloud_confirmed_and_goes_on_by_itself() {
    let name = "pressure::a_branch_that_filled_its_disk_prunes_what_the_cloud_confirmed_and_goes_on_by_itself";
    where_disks_can_be_mounted(name, |dir| {
        let _disk = Disk::mount(dir.join("branch"), 10).unwrap();
        let cloud = Cloud::start(dir.join("cloud"));
        let branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
        let agent = branch.agent_id();
        let (mut acknowledged, mut refusals) = (Vec::new(), 0);
        // More than three times what the disk takes.
        wait_until(PATIENCE * 6, "a hundred thousand pages and more are recorded", || {
            let ran = branch.run_with(&["record"], noisy_pages(1000).as_bytes());
            acknowledged.extend(ran.stdout.lines().map(str::to_owned));
            match ran.code() {
                Some(0) => {}
                Some(TEMPORARY) => {
                    refusals += 1;
                    std::thread::sleep(Duration::from_millis(500));
                }
                other => panic!("{other:?}: {}", ran.stderr),
            }
            acknowledged.len() >= 150_000
        });
        assert!(pruned(&branch) > 50_000, "{} of {}", pruned(&branch), acknowledged.len());
        acknowledged.extend(record_when_there_is_room(&branch));
        assert_eq!(branch.agent_id(), agent, "nobody restarted it");
        let told = branch.run(&["status"]).succeeded();
        assert!(told.contains("pruned here; the cloud has them"), "{told}");
        books_agree(&cloud, &branch, acknowledged);
    });
}

#[test]
fn a_branch_keeps_to_its_limit_and_its_backup_has_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let mut acknowledged = Vec::new();
    let store = branch.data().join("store.redb");
    let len = || std::fs::metadata(&store).unwrap().len();
    // How soon the file grows is up to redb, which uses free room of its own first.
    wait_until(PATIENCE * 2, "the file is well beyond the limit to come", || {
        let ran = branch.run_with(&["record"], noisy_pages(5000).as_bytes());
        acknowledged.extend(ran.succeeded().lines().map(str::to_owned));
        acknowledged.len() >= 40_000 && len() > 12 << 20
    });
    branch.wait_synced(SOON);
    assert_eq!(pruned(&branch), 0);
    let totals = branch.json(&["view", "totals"]);

    branch.stop();
    let refused = branch.run(&["run", "--disk-limit", "4MB"]).failed(2);
    assert!(refused.contains("64MiB"), "{refused}");
    branch.start_with(&["--disk-limit", "4MiB", "--retain", "30d"]);
    wait_until(SOON, "it prunes", || pruned(&branch) > 20_000);
    wait_until(SOON, "the file is short again", || len() <= 8 << 20);
    assert_eq!(branch.json(&["view", "totals"])["rows"], totals["rows"]);

    let (backup, restored) = (dir.path().join("backup"), Branch::new(dir.path().join("restored")));
    drop(branch.run(&["backup", backup.to_str().unwrap()]).succeeded());
    drop(restored.run(&["restore", backup.to_str().unwrap()]).succeeded());
    assert_eq!(restored.json(&["view", "totals"])["rows"], totals["rows"]);
    assert_eq!(pruned(&restored), pruned(&branch));
    books_agree(&cloud, &branch, acknowledged);
}

#[test]
fn a_cloud_on_a_full_disk_gives_no_receipt_and_goes_on_when_there_is_room() {
    let name = "pressure::a_cloud_on_a_full_disk_gives_no_receipt_and_goes_on_when_there_is_room";
    where_disks_can_be_mounted(name, |dir| {
        let disk = Disk::mount(dir.join("cloud"), 8).unwrap();
        let mut cloud = Cloud::start(dir.join("cloud"));
        let branch = Branch::joined(dir.join("branch"), &cloud.enroll("branch"));
        let (mut acknowledged, _, _) = record(&branch, 1, 100);
        branch.wait_synced(PATIENCE);

        // A restart on the full disk: it comes up, and gives out what it has.
        cloud.stop();
        disk.fill();
        cloud.start_again();
        drop(cloud.run(&["log", "verify"]).succeeded());
        let process = cloud.process_id();

        // What redb has free within its file may take some more.
        let mut writer: u8 = 1;
        wait_until(SOON, "the cloud refuses a grant", || {
            disk.fill();
            writer = writer.saturating_add(1);
            acknowledged.extend(record(&branch, writer, 100).0);
            let granted = cloud.run(&["grant", "user 1", "1"]);
            granted.code() == Some(TEMPORARY) && granted.stderr.contains("no room")
        });
        assert!(metrics(&cloud).contains("tallyroll_disk_full 1"), "{}", metrics(&cloud));
        acknowledged.extend(record(&branch, 99, 100).0);
        wait_until(SOON, "the branch is told", || {
            let status = branch.json(&["status"]);
            status["why"].as_str().is_some_and(|why| why.contains("the cloud's disk is full"))
        });
        let standing = branch.standing();
        assert!(standing.cloud < standing.local, "no receipt without room: {standing:?}");
        drop(cloud.run(&["log", "verify"]).succeeded());

        disk.free();
        branch.wait_synced(SOON);
        drop(cloud.run(&["grant", "user 1", "1"]).succeeded());
        assert_eq!(cloud.process_id(), process, "nobody restarted it");
        assert!(metrics(&cloud).contains("tallyroll_disk_full 0"));
        books_agree(&cloud, &branch, acknowledged);
    });
}

fn metrics(cloud: &Cloud) -> String {
    let mut stream = TcpStream::connect(cloud.http()).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: cloud\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
