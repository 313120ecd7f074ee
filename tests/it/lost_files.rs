//! A file of a directory that is gone: it is said which, why it matters and what to do, and nothing goes on without.
//! Invariant shown here: what was acknowledged is never gone without a word, a device or cloud that wrote before is
//! never taken for a new one, and what the message advises works. What is there and damaged is in `damaged_store`.

use std::fs;
use std::path::Path;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, Process, run};
use tempfile::TempDir;

fn linked_branch() -> (TempDir, Cloud, Branch) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    capture(&branch, 1);
    branch.wait_synced(PATIENCE);
    (dir, cloud, branch)
}

fn capture(branch: &Branch, times: usize) {
    let line = r#"{"kind":"pages.captured","user":"anna","pages":1}"#.to_owned() + "\n";
    drop(branch.run_with(&["record"], line.repeat(times).as_bytes()).succeeded());
}

fn captured(branch: &Branch) -> u64 {
    branch.json(&["view", "totals"])["rows"][0]["captured"].as_u64().unwrap()
}

#[test]
fn what_is_lost_of_a_branch_is_told_and_it_is_no_new_device() {
    let (_dir, _cloud, mut branch) = linked_branch();
    branch.stop();
    capture(&branch, 3); // in the journal alone, which stays so without a link
    let kept = |name: &str| (branch.data().join(name), fs::read(branch.data().join(name)).unwrap());
    let refused = |file: &Path| {
        for command in [&["status"][..], &["run"], &["view", "totals"]] {
            let told = branch.run(command).failed(1);
            assert!(told.contains(file.to_str().unwrap()), "{told}");
        }
        branch.run(&["status"]).stderr
    };
    for name in ["journal", "store.redb", "identity/keys.json", "identity/enrolment.json"] {
        let (path, bytes) = kept(name);
        fs::remove_file(&path).unwrap();
        drop(refused(&path));
        assert!(!path.exists() || fs::metadata(&path).unwrap().len() == 0, "{name} is made anew");
        fs::write(&path, &bytes).unwrap();
    }
    let (store, bytes) = kept("store.redb");
    fs::write(&store, []).unwrap();
    assert!(refused(&store).contains("joins anew"));
    fs::write(&store, bytes).unwrap();

    // The end is gone, and nothing of it was ever written: all is there that was acknowledged.
    let (journal, bytes) = kept("journal");
    fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
    let told = refused(&journal);
    let advised = told.split('`').nth(1).unwrap();
    let mut words = advised.split(' ');
    let mut advised = std::process::Command::new(words.next().unwrap());
    drop(run(advised.args(words), b"").succeeded());
    assert_eq!(captured(&branch), 4);
}

#[test]
fn a_cloud_without_one_of_its_keys_makes_no_other() {
    let (_dir, mut cloud, _branch) = linked_branch();
    cloud.stop();
    for name in ["authority/authority.pem", "directory.key", "identity.json"] {
        let path = cloud.data().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let stderr = cloud.data().with_extension("refused");
        let told = Process::start(&mut cloud.serving(), &stderr).unwrap_err();
        assert!(told.stderr.contains(name) && told.stderr.contains("is missing"), "{told:?}");
        assert!(!path.exists(), "{name} is made anew");
        fs::write(&path, &bytes).unwrap();
    }
    let (store, bytes) =
        (cloud.data().join("store.redb"), fs::read(cloud.data().join("store.redb")).unwrap());
    for gone in [true, false] {
        drop(if gone { fs::remove_file(&store) } else { fs::write(&store, []) });
        let stderr = cloud.data().with_extension("refused");
        let told = Process::start(&mut cloud.serving(), &stderr).unwrap_err().stderr;
        assert!(told.contains("store.redb is missing or empty"), "{told}");
        assert!(told.contains("tallyroll restore FILE"), "{told}");
        assert!(fs::metadata(&store).map_or(0, |store| store.len()) == 0, "is made anew");
    }
    fs::write(&store, bytes).unwrap();
    cloud.start_again();
}

#[test]
fn a_store_beside_the_identity_of_another_is_refused_and_stays_as_it_is() {
    let (dir, mut cloud, mut branch) = linked_branch();
    branch.stop();
    let mut other = Branch::joined(dir.path().join("other"), &cloud.enroll("other"));
    other.stop();
    swap(&branch.data().join("identity"), &other.data().join("identity"));
    for branch in [&branch, &other] {
        let told = branch.run(&["run"]).failed(1);
        assert!(told.contains("the store is of device") && told.contains("damaged"), "{told}");
    }
    swap(&branch.data().join("identity"), &other.data().join("identity"));
    branch.start();
    other.start();

    cloud.stop();
    let mut stranger = Cloud::start(dir.path().join("stranger"));
    stranger.stop();
    swap(&cloud.data().join("identity.json"), &stranger.data().join("identity.json"));
    for cloud in [&cloud, &stranger] {
        let stderr = cloud.data().with_extension("refused");
        let told = Process::start(&mut cloud.serving(), &stderr).unwrap_err().stderr;
        assert!(told.contains("another tenant than the identity beside it"), "{told}");
    }
    swap(&cloud.data().join("identity.json"), &stranger.data().join("identity.json"));
    cloud.start_again();
    stranger.start_again();
}

fn swap(one: &Path, two: &Path) {
    let aside = one.with_extension("aside");
    for (from, to) in [(one, aside.as_path()), (two, one), (&aside, two)] {
        fs::rename(from, to).unwrap();
    }
}
