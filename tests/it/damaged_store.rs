//! A `store.redb` that is there and whose bytes were flipped, by a failing disk, at a branch and at a cloud.
//! Invariant shown here: nothing opens it or changes what it says, the message says what to do, and who does just that
//! has afterwards all that either side had: the figures agree, and work goes on.
//! That every single byte is noticed is the hostile tests'; files that are gone are in `lost_files`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Process, program, run, wait_until};
use tempfile::TempDir;

const FAILURE: i32 = 1;
/// The magic number, and where redb's two commit slots say what counts.
const HEADER: [&[usize]; 2] = [&[0], &[64 + 8, 192 + 8]];
/// Where redb marks that a file was opened and not closed.
const OPENED: usize = 9;

/// A branch that counted a page and was backed up, like its cloud, and counted two more.
struct Place {
    dir: TempDir,
    cloud: Cloud,
    branch: Branch,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(dir.path().join("cloud"));
        let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
        let place = Self { dir, cloud, branch };
        place.capture(1);
        drop(place.cloud.run(&["backup", place.backup("cloud").to_str().unwrap()]).succeeded());
        drop(place.branch.run(&["backup", place.backup("branch").to_str().unwrap()]).succeeded());
        place.capture(2);
        place
    }

    fn backup(&self, of: &str) -> PathBuf {
        self.dir.path().join(format!("{of}.backup"))
    }

    fn capture(&self, times: usize) {
        let line = r#"{"kind":"pages.captured","user":"anna","pages":1}"#.to_owned() + "\n";
        drop(self.branch.run_with(&["record"], line.repeat(times).as_bytes()).succeeded());
        self.branch.wait_synced(PATIENCE);
    }

    /// All is there, at both, once; and more can be.
    #[track_caller]
    fn agrees(&self) {
        wait_until(PATIENCE, "the branch knows its past", || {
            self.branch.json(&["status"])["unconfirmed"] == false
        });
        wait_until(PATIENCE, "nothing is frozen", || self.cloud.run(&["doctor"]).code() == Some(0));
        for more in [0, 4] {
            self.capture(more);
            let [here, there] =
                [self.branch.json(&["view", "totals"]), self.cloud.json(&["view", "totals"])];
            for totals in [here, there] {
                let rows = totals["rows"].as_array().unwrap();
                let sum = rows.iter().filter_map(|row| row["captured"].as_u64()).sum::<u64>();
                assert_eq!(sum, 3 + more as u64, "{totals}");
            }
        }
        drop(self.cloud.run(&["log", "verify"]).succeeded());
    }
}

/// Ways to damage a store: of its header, and of what lies in its middle.
fn damages(store: &[u8]) -> Vec<Vec<u8>> {
    let batch = b"TRB1"; // every batch begins so; there are copies in pages that redb has freed
    let middle = (0..store.len() - 100).filter(|&at| store[at..].starts_with(batch));
    let middle: Vec<usize> = middle.map(|at| at + 60).collect();
    assert!(!middle.is_empty() && middle.iter().all(|at| *at > 4096));
    let flipped = |places: &&[usize]| {
        let mut bytes = store.to_owned();
        places.iter().for_each(|at| bytes[*at] ^= 0x10);
        bytes
    };
    HEADER.iter().chain([&&*middle]).map(flipped).collect()
}

/// What is told of each damage, the last of which stays; nothing is written.
fn told(data: &Path, mut refuse: impl FnMut() -> Vec<String>) -> String {
    let store = data.join("store.redb");
    let mut last = String::new();
    for damaged in damages(&fs::read(&store).unwrap()) {
        fs::write(&store, &damaged).unwrap();
        for told in refuse() {
            assert!(told.contains(data.to_str().unwrap()), "{told}");
            assert!(told.contains("is damaged (corrupt database: "), "{told}");
            assert!(!told.contains("panicked"), "{told}");
            last = told;
        }
        let mut left = fs::read(&store).unwrap();
        left[OPENED] = damaged[OPENED];
        assert!(left == damaged, "a damaged store is changed");
    }
    last
}

/// Keeps what is damaged, and does what was printed; its place is that of the new directory.
fn follow(told: &str, data: &Path, backup: &Path) {
    fs::rename(data, data.with_extension("damaged")).unwrap();
    let advised = told.split('`').nth(1).unwrap();
    let mut words = advised.split(' ').map(|word| match word {
        "BACKUP" => backup.to_str().unwrap(),
        "NEW" => data.to_str().unwrap(),
        word => word,
    });
    let mut advised = Command::new(program(words.next().unwrap()));
    drop(run(advised.args(words), b"").succeeded());
}

#[test]
fn a_branch_with_a_damaged_store_comes_back_as_it_is_told() {
    let mut place = Place::new();
    place.branch.stop();
    let data = place.branch.data().to_owned();
    let told = told(&data, || {
        let commands = [&["run"][..], &["status"], &["view", "totals"], &["record"]];
        commands.map(|command| place.branch.run(command).failed(FAILURE)).to_vec()
    });
    assert!(told.contains("the device joins anew"), "{told}");
    follow(&told, &data, &place.backup("branch"));
    place.branch.start();
    place.agrees();
}

#[test]
fn a_cloud_with_a_damaged_store_comes_back_as_it_is_told() {
    let mut place = Place::new();
    place.cloud.stop();
    let data = place.cloud.data().to_owned();
    let told = told(&data, || {
        let stderr = data.with_extension("refused");
        let served = Process::start(&mut place.cloud.serving(), &stderr).unwrap_err();
        let commands = [&["doctor"][..], &["view", "totals"], &["log", "verify"]];
        let mut told = commands.map(|command| place.cloud.run(command).failed(FAILURE)).to_vec();
        told.push(served.failed(FAILURE));
        told
    });
    assert!(told.contains("backup --identity-only"), "{told}");
    follow(&told, &data, &place.backup("cloud"));
    let frozen = place.cloud.run(&["doctor"]).stdout;
    assert!(frozen.contains("restored from a backup"), "{frozen}");
    place.cloud.start_again();
    place.agrees();
}

/// redb panics where some pages are damaged; its words are for nobody who runs this.
#[test]
fn whatever_page_is_damaged_nothing_is_told_of_the_program() {
    const PAGE: usize = 4096;
    let mut place = Place::new();
    place.branch.stop();
    place.cloud.stop();
    let [branch, cloud] = [place.branch.data(), place.cloud.data()].map(Path::to_owned);
    for (data, is_cloud) in [(cloud, true), (branch, false)] {
        let store = data.join("store.redb");
        let whole = fs::read(&store).unwrap();
        let mut led_nowhere = 0;
        for page in (PAGE..whole.len()).step_by(PAGE).filter(|at| whole[*at] != 0) {
            let mut damaged = whole.clone();
            damaged[page] ^= 0x10; // what kind of page it is
            fs::write(&store, damaged).unwrap();
            let told = match is_cloud {
                true => place.cloud.run(&["log", "list"]),
                false => place.branch.run(&["view", "totals"]),
            };
            assert!(!told.stderr.contains("panicked"), "page at {page}: {told:?}");
            led_nowhere += usize::from(told.stderr.contains("a page leads nowhere"));
        }
        assert!(led_nowhere > 0, "no page of {} made redb panic", store.display());
    }
}

#[test]
fn damaged_keys_for_the_link_are_told_with_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    branch.stop();
    let path = branch.data().join("identity/keys.json");
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, what) in
        [("tls-key", "its TLS key is none"), ("tls-certificate", "its TLS certificate is not")]
    {
        let mut hex = whole[key].as_str().unwrap().to_owned();
        let other = if hex.as_bytes()[40] == b'0' { "1" } else { "0" };
        hex.replace_range(40..41, other);
        fs::write(&path, whole.to_string()).unwrap();
        branch.edit_identity("keys.json", |keys| keys[key] = hex.clone().into());
        let told = branch.run(&["run"]).failed(FAILURE);
        assert!(told.contains(path.to_str().unwrap()) && told.contains(what), "{told}");
        assert!(told.contains("restore it from a backup"), "{told}");
        let mut keys = whole.clone();
        keys[key] = hex.into();
        fs::write(&path, keys.to_string()).unwrap();
        let told = branch.run(&["run"]).failed(FAILURE);
        assert!(told.contains("keys.json is damaged: its checksum is another"), "{told}");
    }
    fs::write(&path, whole.to_string()).unwrap();
    branch.start();
}
