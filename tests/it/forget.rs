//! Forgetting a person: their name is nowhere afterwards, on no disk of ours, and every figure is as it was.
//! Invariant shown here: a device that was away does it when it is back, one put back from a backup does it again,
//! and neither a late name nor a page log that is read again brings it back. Who the person is stays known to CUPS.

use std::path::Path;

use serde_json::{Value, json};
use tallyroll_engine::store::RedbStore;
use tallyroll_engine::store::Table;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

use super::panel::{ask, begin_job, get, page_of};

const CANARY: &str = "Quixote-canary-77";

fn act(user: &str, pages: u32) -> String {
    format!(r#"{{"kind":"pages.captured","user":"{user}","pages":{pages}}}"#)
}

fn capture(branch: &Branch, user: &str, pages: u32) {
    drop(branch.run_with(&["record"], act(user, pages).as_bytes()).succeeded());
}

/// Files below a folder that hold some bytes, the folder's own name aside.
fn holding(root: &Path, bytes: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, bytes, found);
        } else if std::fs::read(&path)
            .is_ok_and(|held| held.windows(bytes.len()).any(|window| window == bytes))
        {
            found.push(path.display().to_string());
        }
    }
}

fn found(root: &Path, bytes: &[u8]) -> Vec<String> {
    let mut files = Vec::new();
    holding(root, bytes, &mut files);
    files
}

/// Every sealed name that a stopped cloud holds.
fn sealed(cloud: &Cloud, aside: &Path) -> Vec<Vec<u8>> {
    let copy = aside.join("copy.redb");
    std::fs::copy(cloud.data().join("store.redb"), &copy).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&copy).unwrap();
    let store = RedbStore::open(redb::backends::FileBackend::new(file).unwrap(), 1 << 20).unwrap();
    let mut rows = Vec::new();
    let moment = store.moment().unwrap();
    moment
        .scan(Table::Directory, &mut |_, value| {
            rows.push(value.to_vec());
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    rows
}

fn charged(cloud: &Cloud) -> Vec<String> {
    let view = cloud.json(&["view", "balances"]);
    let rows = view["rows"].as_array().unwrap().iter();
    let mut charged: Vec<_> = rows.map(|row| row["charged"].as_str().unwrap().to_owned()).collect();
    charged.sort();
    charged
}

fn state(cloud: &Cloud, device: &str) -> Value {
    let status = cloud.json(&["users", "forget", "--status"]);
    let mut rows = status.as_array().unwrap().iter();
    rows.find(|row| row["device-name"] == device).map_or(Value::Null, |row| row["state"].clone())
}

/// Logs in at the panel and scans for what the cloud lends; a processing server mails of one job, another one is left
/// running. Returns the session.
fn at_the_panel(branch: &Branch, office: &Branch) -> String {
    let (status, said) = ask(branch, "POST", "/v1/sessions", &json!({ "user": CANARY }));
    assert_eq!(status, 201, "{said}");
    let path = format!("/v1/sessions/{}", said["session"].as_str().unwrap());
    for job in ["00000000000000d1", "00000000000000d2"] {
        let begun = || begin_job(branch, said["session"].as_str().unwrap(), job, 1).0 == 201;
        wait_until(PATIENCE, "the job may run", begun);
        assert_eq!(page_of(branch, job, 1).0, 200);
    }
    branch.wait_synced(PATIENCE);
    let mail = json!({
        "device": "one", "kind": "document.sent", "job": "00000000000000d1", "user": CANARY,
        "pages": 1, "destinations": 1, "color": "monochrome",
    });
    drop(office.run_with(&["act"], mail.to_string().as_bytes()).succeeded());
    drop(ask(branch, "POST", "/v1/jobs/00000000000000d1/end", &Value::Null));
    let shown = get(branch, &path);
    assert_eq!((&shown["user"], &shown["lease"]["spent"]), (&json!(CANARY), &json!("2.000")));
    assert_eq!(shown["account"]["balance"], "24.000", "{shown}");
    path
}

#[test]
fn a_forgotten_name_is_nowhere_and_every_figure_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let aside = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let [mut one, mut two, three] = ["one", "two", "three"]
        .map(|name| Branch::joined(dir.path().join(name), &cloud.enroll(name)));

    let invited = cloud.enroll_with(&["office", "--processing"]);
    let office = Branch::joined(dir.path().join("office"), &invited);

    // A page log counts for them; a line of it that cannot be read is kept.
    let log = aside.path().join("page_log");
    let line = format!(
        "PDF {CANARY} 7 [19/Nov/2026:10:00:00 +0000] total 4 - localhost report.pdf - -\nodd {CANARY} line\n"
    );
    std::fs::write(&log, line).unwrap();
    let import = || import(&dir.path().join("one"), &log);
    assert_eq!(import(), 1, "one is counted");
    // Another one knows the name from a line alone that it could not read.
    let odd = aside.path().join("odd_log");
    std::fs::write(&odd, format!("odd {CANARY} line\n")).unwrap();
    assert_eq!(self::import(three.data(), &odd), 0);
    assert!(!found(three.data(), CANARY.as_bytes()).is_empty());
    capture(&one, CANARY, 2);
    capture(&one, "bob", 1);
    one.wait_synced(PATIENCE);
    drop(cloud.run(&["users", "add", CANARY, "--mail", "quixote@example.com"]).succeeded());
    drop(cloud.run(&["grant", CANARY, "30"]).succeeded());
    let session = at_the_panel(&one, &office);
    // The other one is away with a name that the cloud has not seen there.
    two.wait_synced(PATIENCE);
    let backup = aside.path().join("one.backup");
    drop(one.run(&["backup", backup.to_str().unwrap()]).succeeded());
    cloud.stop();
    capture(&two, CANARY, 5);
    two.stop();
    let rows = sealed(&cloud, aside.path());
    cloud.start_again();
    one.wait_synced(PATIENCE);
    assert!(!found(one.data(), CANARY.as_bytes()).is_empty(), "the search finds nothing at all");
    let (before, totals) = (cloud.json(&["balance", CANARY]), charged(&cloud));

    drop(cloud.run(&["users", "forget", CANARY]).succeeded());
    wait_until(PATIENCE, "the one that is there says so", || state(&cloud, "one") == "erased");
    wait_until(PATIENCE, "and the third one", || state(&cloud, "three") == "erased");
    assert_eq!(found(three.data(), CANARY.as_bytes()), [""; 0]);
    assert_eq!(self::import(three.data(), &odd), 0);
    assert_eq!(found(three.data(), CANARY.as_bytes()), [""; 0], "it was read again");
    assert_eq!(state(&cloud, "two"), "pending");
    wait_until(PATIENCE, "who did the server's work says so", || {
        state(&cloud, "office") == "erased"
    });
    wait_until(PATIENCE, "nobody is logged in", || {
        ask(&one, "GET", &session, &Value::Null).0 == 404
    });
    assert!(cloud.run(&["balance", CANARY]).failed(1).contains("no user"));
    assert_eq!(charged(&cloud), totals);
    let subject = before["subject"].as_str().unwrap();
    let shown = cloud.run(&["view", "balances"]).succeeded();
    assert!(shown.contains(&format!("({})", &subject[..8])) && shown.contains("30.000"), "{shown}");
    let id = format!("({})", &subject[..8]);
    for id in [&id, &id[1..9]] {
        assert_eq!(cloud.json(&["balance", id])["granted"], "30.000", "they are asked for by it");
        let stated = cloud.json(&["view", "statement", id]);
        assert_eq!(stated["closing"]["balance"], before["balance"], "{stated}");
    }
    let lent = cloud.run(&["leases"]).succeeded();
    assert!(lent.contains(&id) && !lent.contains(subject), "{lent}");
    assert_eq!(found(one.data(), CANARY.as_bytes()), [""; 0]);

    // The one that was away brings the name late: it counts for who they were, and goes.
    two.start();
    two.wait_synced(PATIENCE);
    wait_until(PATIENCE, "the other one says so", || state(&cloud, "two") == "erased");
    wait_until(PATIENCE, "and its work counts to them", || {
        let row =
            |row: &Value| row["who"]["subject"] == subject && row["charged"] != before["charged"];
        cloud.json(&["view", "balances"])["rows"].as_array().unwrap().iter().any(row)
    });
    // A page log that is read again brings nobody back.
    assert_eq!(import(), 0);
    assert_eq!(found(&dir.path().join("one"), CANARY.as_bytes()), [""; 0]);
    drop(cloud.run(&["log", "verify"]).succeeded());

    // Nobody has the name, and no bytes of it as it was sealed.
    let rows_now = {
        cloud.stop();
        let now = sealed(&cloud, aside.path());
        cloud.start_again();
        now
    };
    let gone: Vec<_> = rows.iter().filter(|row| !rows_now.contains(row)).collect();
    assert!(!gone.is_empty());
    for row in gone {
        assert_eq!(found(cloud.data(), &row[8..48]), [""; 0], "a sealed name's bytes are there");
    }
    assert_eq!(found(dir.path(), CANARY.as_bytes()), [""; 0], "with all that was logged");
    assert_eq!(found(dir.path(), b"quixote@example.com"), [""; 0]);

    // Put back from a backup from before: told again, done again.
    one.stop();
    std::fs::remove_dir_all(one.data()).unwrap();
    drop(one.run(&["restore", backup.to_str().unwrap()]).succeeded());
    assert!(!found(one.data(), CANARY.as_bytes()).is_empty());
    one.start();
    wait_until(PATIENCE, "it is erased again", || found(one.data(), CANARY.as_bytes()).is_empty());
    one.wait_synced(PATIENCE);

    // Who comes again is somebody new.
    capture(&one, CANARY, 6);
    one.wait_synced(PATIENCE);
    wait_until(PATIENCE, "the cloud has seen them", || {
        cloud.run(&["users", "show", CANARY]).code() == Some(0)
    });
    let again = cloud.json(&["balance", CANARY]);
    assert_eq!((&again["charged"], &again["granted"]), (&"6.000".into(), &"0.000".into()));
    assert_ne!(again["subject"], before["subject"]);
}

/// Imports and tells how many lines were counted; one that cannot be read fails the command.
fn import(data: &Path, log: &Path) -> u64 {
    let branch = Branch::new(data.to_owned());
    let ran = branch.run(&["import", "page-log", log.to_str().unwrap(), "--json"]);
    let told: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|why| panic!("{why}: {ran:?}"));
    told["counted"].as_u64().unwrap()
}
