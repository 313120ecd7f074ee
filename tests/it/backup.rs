//! Backups of branches and clouds, made while they work, and put back when all else is lost.
//! Invariant shown here: what was acknowledged before a backup, or had reached the other side, is there once at the
//! end; a backup is private, whole, and never changed; one that is damaged is refused, and nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tallyroll_schema::JobId;
use tallyroll_tests::fleet::{Answer, Branch, Cloud, PATIENCE, Ran, program, run, wait_until};
use tempfile::TempDir;

const FAILURE: i32 = 1;
const DOES_NOT_HOLD: i32 = 3;
/// Acts between two steps of a drill.
const SOME: usize = 100;

/// A `record` that is fed acts of one page, each with a job of its own, until it is told to stop or is killed.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<JobId>>>,
    thread: JoinHandle<BTreeSet<JobId>>,
}

impl Load {
    fn start(branch: &Branch, writer: u8) -> Self {
        let (stop, acknowledged) = <(Arc<AtomicBool>, Arc<Mutex<BTreeSet<JobId>>>)>::default();
        let (end, answered, mut record) = (stop.clone(), acknowledged.clone(), branch.record());
        let thread = std::thread::spawn(move || {
            let mut said = BTreeSet::new();
            while !end.load(Ordering::SeqCst) {
                let [a, b, c, d] = (said.len() as u32).to_be_bytes();
                let job = JobId([writer, 0, 0, 0, a, b, c, d]);
                let act = json!({"kind": "pages.captured", "job": job, "user": "anna", "pages": 1, "color": "color"});
                said.insert(job);
                if !record.write(&format!("{act}\n")) {
                    break;
                }
                match record.answer(PATIENCE) {
                    Ok(Answer::At(_)) => drop(answered.lock().unwrap().insert(job)),
                    Ok(Answer::Other(why)) => panic!("{job:?}: {why}"),
                    Err(_) => break, // its agent was killed
                }
            }
            said
        });
        Self { stop, acknowledged, thread }
    }

    fn acknowledged(&self) -> BTreeSet<JobId> {
        self.acknowledged.lock().unwrap().clone()
    }

    fn wait_for_more(&self) {
        let before = self.acknowledged().len();
        wait_until(PATIENCE, "more is recorded", || self.acknowledged().len() >= before + SOME);
    }

    /// All that was said.
    fn stop(self) -> BTreeSet<JobId> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// The jobs of a writer that the cloud holds, told or recorded again, in order.
fn held(cloud: &Cloud, writer: u8) -> Vec<JobId> {
    let job = |line: &Value| {
        let event = &line["event"];
        let job = event["job"].as_str().or(event["recorded"]["event"]["job"].as_str());
        job.and_then(|job| job.parse::<JobId>().ok())
    };
    let mut jobs: Vec<JobId> = cloud.events().iter().filter_map(job).collect();
    jobs.retain(|job| job.0[0] == writer);
    jobs.sort_unstable();
    jobs
}

fn captured(totals: &Value) -> usize {
    let rows = totals["rows"].as_array().unwrap().iter();
    rows.map(|row| row["captured"].as_u64().unwrap() as usize).sum()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Its files, but for those of the running process, with their bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(inner) = dirs.pop() {
        for entry in fs::read_dir(inner).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => {
                    let name = entry.path().strip_prefix(dir).unwrap().to_owned();
                    files.insert(name, fs::read(entry.path()).unwrap());
                }
                _ => {}
            }
        }
    }
    files.remove(Path::new("lock"));
    files
}

/// Loses a directory; its place is free then.
fn lose(data: &Path) {
    fs::rename(data, data.with_extension("lost")).unwrap();
}

#[test]
fn branches_and_their_cloud_come_back_from_backups_made_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let backup = |name: &str| dir.path().join(format!("{name}.backup"));
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let [mut early, mut late] =
        ["early", "late"].map(|name| Branch::joined(dir.path().join(name), &cloud.enroll(name)));
    let (early_load, late_load) = (Load::start(&early, 1), Load::start(&late, 2));

    // The early branch is backed up before the cloud, which has all of it; the late one after, and has more.
    early_load.wait_for_more();
    let told = early.run(&["backup", text(&backup("early"))]).succeeded();
    assert!(told.contains("are backed up in"), "{told}");
    early_load.wait_for_more();
    let early_acknowledged = early_load.acknowledged();
    let early_said = early_load.stop();
    early.wait_synced(PATIENCE);
    late_load.wait_for_more();
    drop(cloud.run(&["backup", text(&backup("cloud"))]).succeeded());
    late_load.wait_for_more();
    let late_acknowledged = late_load.acknowledged();
    drop(late.run(&["backup", text(&backup("late"))]).succeeded());
    late_load.wait_for_more();
    cloud.kill_9();
    early.kill_9();
    late.kill_9();
    let late_said = late_load.stop();

    for (name, data) in [("early", early.data()), ("late", late.data()), ("cloud", cloud.data())] {
        lose(data);
        let from = backup(name);
        let restore = ["restore", text(&from)];
        let told = match name {
            "cloud" => cloud.run(&restore).succeeded(),
            _ => Branch::new(data.to_owned()).run(&restore).succeeded(),
        };
        assert!(told.contains("are restored in") && told.contains("next: "), "{told}");
    }
    let frozen = cloud.run(&["doctor"]).stdout;
    assert!(frozen.contains("restored from a backup"), "{frozen}");
    cloud.start_again();
    early.start();
    late.start();

    wait_until(PATIENCE, "nothing is frozen", || cloud.run(&["doctor"]).code() == Some(0));
    for (branch, writer, acknowledged, said) in
        [(&early, 1, &early_acknowledged, &early_said), (&late, 2, &late_acknowledged, &late_said)]
    {
        wait_until(PATIENCE, "it knows its past", || {
            branch.json(&["status"])["unconfirmed"] == false
        });
        wait_until(PATIENCE, "all that could be saved is back", || {
            held(&cloud, writer).iter().filter(|job| acknowledged.contains(job)).count()
                >= acknowledged.len()
        });
        branch.wait_synced(PATIENCE);
        let held = held(&cloud, writer);
        let distinct: BTreeSet<JobId> = held.iter().copied().collect();
        assert_eq!(distinct.len(), held.len(), "each once");
        assert!(distinct.is_superset(acknowledged), "what was acknowledged is there");
        assert!(distinct.is_subset(said), "nothing is invented");
        wait_until(PATIENCE, "the branch counts it", || {
            captured(&branch.json(&["view", "totals"])) == held.len()
        });
    }
    let pages = held(&cloud, 1).len() + held(&cloud, 2).len();
    assert_eq!(captured(&cloud.json(&["view", "totals"])), pages);
    drop(cloud.run(&["log", "verify"]).succeeded());
}

/// A cloud and a branch that counted something, and keeps a line that it could not read.
fn linked() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let act = br#"{"kind":"pages.captured","user":"anna","pages":7,"color":"color"}"#;
    drop(branch.run_with(&["record"], act).succeeded());
    drop(branch.run_with(&["import", "page-log", "-"], b"no line of a page log\n"));
    branch.wait_synced(PATIENCE);
    (dir, cloud, branch)
}

/// Runs the program of a data directory's kind on it.
fn on(data: &Path, program_name: &str, arguments: &[&str]) -> Ran {
    let mut command = std::process::Command::new(program(program_name));
    run(command.args(arguments).arg("--data").arg(data), b"")
}

const PROGRAMS: [(&str, &str); 2] = [("cloud", "tallyroll"), ("branch", "tallyroll-edge")];

#[test]
fn a_backup_is_private_and_whole_and_tells_what_it_is() {
    let (dir, mut cloud, mut branch) = linked();
    for running in [true, false] {
        for (name, program_name) in PROGRAMS {
            let data = dir.path().join(name);
            let to = dir.path().join(format!("{name}.backup.{running}"));
            let made = on(&data, program_name, &["backup", text(&to), "--json"]).succeeded();
            let made: Value = serde_json::from_str(&made).unwrap();
            assert_eq!(made["directory"], text(&to));
            assert_eq!(made["backup-of"], program_name);
            let said: u64 = made["logs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|log| log["events"].as_u64().unwrap())
                .sum();
            assert_eq!(made["events"], said);
            let standing = branch.standing();
            assert!(said >= standing.local, "{made}");
            assert_eq!(standing.local, standing.cloud);

            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&to), 0o700);
            let (kept, there) = (files(&to), files(&data));
            for name in kept.keys() {
                assert_eq!(mode(&to.join(name)), 0o600, "{}", name.display());
            }
            // Whatever a directory holds comes along: only the journal is sealed into the store instead, the reserve
            // and what is prepared are but room, and what was lent last is told by what is beside the store.
            let left = ["journal", "reserve", "allocations", "allocations.prepared"].map(Path::new);
            for name in there.keys().filter(|name| !left.contains(&name.as_path())) {
                assert!(kept.contains_key(name), "{} is not in the backup", name.display());
                let copied = *name == Path::new("store.redb") || kept[name] == there[name];
                assert!(copied, "{} is another file", name.display());
            }
            let bytes: usize = kept.values().map(Vec::len).sum();
            assert_eq!(made["bytes"], bytes - kept[Path::new("backup.json")].len());
        }
        cloud.stop();
        branch.stop();
    }
}

#[test]
fn a_backup_is_made_where_it_was_asked_for_and_never_over_another() {
    let (dir, _cloud, _branch) = linked();
    for (name, program_name) in PROGRAMS {
        let data = dir.path().join(name);
        let mut here = std::process::Command::new(program(program_name));
        let relative = format!("{name}.backup");
        here.current_dir(dir.path()).args(["backup", &relative, "--data", text(&data)]);
        drop(run(&mut here, b"").succeeded());
        let first = dir.path().join(&relative);
        let before = files(&first);
        assert!(before.contains_key(Path::new("backup.json")));
        let refused = on(&data, program_name, &["backup", text(&first)]).failed(FAILURE);
        assert!(refused.contains("is there already and not empty"), "{refused}");
        let in_a_file = first.join("store.redb/backup");
        let refused = on(&data, program_name, &["backup", text(&in_a_file)]).failed(FAILURE);
        assert!(refused.contains("Not a directory"), "{refused}");
        let nowhere = dir.path().join("no/such/place");
        let refused = on(&data, program_name, &["backup", text(&nowhere)]).failed(FAILURE);
        assert!(refused.contains("No such file or directory"), "{refused}");

        // A backup is not used, but another can be made of it, and it is the same.
        let refused = on(&first, program_name, &["view", "totals"]).failed(FAILURE);
        assert!(refused.contains("is a backup"), "{refused}");
        let second = dir.path().join(format!("{name}.again"));
        drop(on(&first, program_name, &["backup", text(&second)]).succeeded());
        assert_eq!(files(&second), before);
        let restored = dir.path().join(format!("{name}.restored"));
        fs::create_dir(&restored).unwrap(); // an empty one is as good as none
        drop(on(&restored, program_name, &["restore", text(&second)]).succeeded());
        assert_eq!((files(&first), files(&second)), (before.clone(), before), "neither is changed");
        let refused = on(&restored, program_name, &["restore", text(&second)]).failed(FAILURE);
        assert!(refused.contains("is there already and not empty"), "{refused}");
        let below = dir.path().join("not").join("yet").join(name);
        drop(on(&below, program_name, &["restore", text(&second)]).succeeded());
        let shown = on(&restored, program_name, &["view", "totals", "--json"]).succeeded();
        assert_eq!(captured(&serde_json::from_str(&shown).unwrap()), 7);
    }
    let verified = on(&dir.path().join("cloud.restored"), "tallyroll", &["log", "verify"]);
    drop(verified.succeeded());
    let from = dir.path().join("branch.backup");
    let refused =
        on(&dir.path().join("new"), "tallyroll", &["restore", text(&from)]).failed(FAILURE);
    assert!(refused.contains("it is one of `tallyroll-edge`"), "{refused}");
    let from = dir.path().join("branch");
    let refused = on(&dir.path().join("new"), "tallyroll-edge", &["restore", text(&from)]);
    assert!(refused.failed(FAILURE).contains("there is no backup.json in it"));
    assert!(!dir.path().join("new").exists());
}

#[test]
fn a_backup_is_not_made_in_what_it_is_made_of_and_a_file_is_none() {
    let (dir, _cloud, _branch) = linked();
    for (name, program_name) in PROGRAMS {
        let data = dir.path().join(name);
        let before: Vec<_> = files(&data).into_keys().collect();
        let link = dir.path().join(format!("{name}.link"));
        std::os::unix::fs::symlink(&data, &link).unwrap();
        for inside in [data.join("backup"), data.clone(), link.join("backup")] {
            let refused = on(&data, program_name, &["backup", text(&inside)]).failed(FAILURE);
            assert!(refused.contains("name a place outside of it"), "{refused}");
        }
        assert_eq!(files(&data).into_keys().collect::<Vec<_>>(), before);
        let (file, new) = (dir.path().join("page_log"), dir.path().join("new"));
        fs::write(&file, vec![b'x'; 100_000]).unwrap();
        let refused = on(&new, program_name, &["restore", text(&file)]).failed(FAILURE);
        assert!(refused.contains("is no backup of a"), "{refused}");
        assert!(!new.exists());
    }
    let inside = dir.path().join("cloud/identity");
    let only = ["backup", "--identity-only", text(&inside)];
    let refused = on(&dir.path().join("cloud"), "tallyroll", &only).failed(FAILURE);
    assert!(refused.contains("name a place outside of it"), "{refused}");
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_is_written() {
    let (dir, _cloud, _branch) = linked();
    for (name, program_name) in PROGRAMS {
        let backup = dir.path().join(format!("{name}.backup"));
        drop(on(&dir.path().join(name), program_name, &["backup", text(&backup)]).succeeded());
        let restored = dir.path().join("restored").join(name);
        fs::create_dir_all(restored.parent().unwrap()).unwrap();
        let whole = files(&backup);
        let refuse = |what: &str| {
            let refused = on(&restored, program_name, &["restore", text(&backup)]);
            let told = refused.failed(DOES_NOT_HOLD);
            assert!(told.contains("does not hold what was backed up"), "{what}: {told}");
            let left = fs::read_dir(restored.parent().unwrap()).unwrap().count();
            assert_eq!(left, 0, "{what}");
            let copied = on(&backup, program_name, &["backup", text(&restored)]);
            drop(copied.failed(DOES_NOT_HOLD));
        };
        for (file, bytes) in &whole {
            let path = backup.join(file);
            for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                if file == Path::new("backup.json") && at > 0 {
                    continue; // a byte of its time or version changes nothing that is put back
                }
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                fs::write(&path, damaged).unwrap();
                refuse(&format!("byte {at} of {}", file.display()));
            }
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            refuse(&format!("half of {}", file.display()));
            if file != Path::new("backup.json") {
                fs::remove_file(&path).unwrap();
                refuse(&format!("no {}", file.display()));
            }
            fs::write(&path, bytes).unwrap();
        }
        assert_eq!(files(&backup), whole);
        drop(on(&restored, program_name, &["restore", text(&backup)]).succeeded());
        fs::remove_dir_all(&restored).unwrap();
    }
}

/// Who is killed while making a backup leaves what nobody takes for one, and is told of the next time.
#[test]
fn a_backup_that_broke_off_is_none() {
    let (dir, _cloud, branch) = linked();
    let to = dir.path().join("backup");
    let unfinished = dir.path().join(".backup.unfinished");
    fs::create_dir(&unfinished).unwrap();
    let refused = branch.run(&["backup", text(&to)]).failed(FAILURE);
    assert!(refused.contains("broke off; if nobody is, remove it"), "{refused}");
    assert!(!to.exists());
    fs::remove_dir(&unfinished).unwrap();
    drop(branch.run(&["backup", text(&to)]).succeeded());
    assert!(!unfinished.exists());
}
