//! A cloud whose files are put back in their place, as when its machine goes back to a snapshot: nothing outside
//! them tells, and the cloud learns of it from a device.
//! Invariant shown here: what was lent is known again before anything is lent, what the cloud decided before it
//! heard of its loss contradicts nothing that a device holds, and names that it lost come again.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

use crate::leases::{Books, NOTHING, capture, fleet, leased, left, settled, thousandths};

/// The files of a snapshot of the cloud's machine.
struct Snapshot(Vec<(&'static str, Vec<u8>)>);

impl Snapshot {
    fn take(cloud: &mut Cloud, branch: &Branch) -> Self {
        cloud.stop();
        let read = |name| std::fs::read(cloud.data().join(name)).ok().map(|bytes| (name, bytes));
        let files = ["store.redb", "allocations", "allocations.prepared"];
        let taken = Self(files.into_iter().filter_map(read).collect());
        assert!(taken.0.len() >= 2, "more than the store");
        cloud.start_again();
        wait_until(PATIENCE, "is linked again", || branch.standing().linked);
        taken
    }

    /// The files stay the ones they were, so nothing shows that they are older.
    fn put_back(&self, cloud: &mut Cloud) {
        cloud.stop();
        for (name, bytes) in &self.0 {
            std::fs::write(cloud.data().join(name), bytes).unwrap();
        }
        cloud.start_again();
    }

    fn put_back_unseen(&self, cloud: &mut Cloud) {
        self.put_back(cloud);
        assert_eq!(cloud.json(&["doctor"])["frozen"], Value::Null, "nothing shows");
    }
}

fn wait_thawed(cloud: &Cloud, branch: &Branch) {
    wait_until(PATIENCE, "the device told", || branch.standing().linked);
    branch.wait_synced(PATIENCE);
    wait_until(PATIENCE, "nothing is frozen", || cloud.run(&["doctor"]).code() == Some(0));
}

/// It lent anew what it had lent, a millisecond before it would have heard of that; then neither took what the
/// other had written, for ever, and both spent.
#[test]
fn what_was_lent_is_known_before_anything_is_lent() {
    let (_dir, mut cloud, [mut branch]) = fleet(1000);
    drop(leased(&branch, &capture(10)).succeeded());
    branch.wait_synced(PATIENCE);
    let snapshot = Snapshot::take(&mut cloud, &branch);
    drop(leased(&branch, &capture(300)).succeeded());
    branch.wait_synced(PATIENCE);
    let held = left(&branch);
    branch.stop();

    snapshot.put_back_unseen(&mut cloud);
    branch.start();
    wait_thawed(&cloud, &branch);
    settled(&cloud, Books { charged: 310, leased: held, pool: 690 - held, ..NOTHING });
    drop(leased(&branch, &capture(340)).succeeded());
    branch.wait_synced(PATIENCE);
    let held = left(&branch);
    settled(&cloud, Books { charged: 650, leased: held, pool: 350 - held, ..NOTHING });
    let more = branch.run_with(&["record", "--leased", "--wait", "1"], capture(351).as_bytes());
    assert_ne!(more.code(), Some(0), "there is not so much");
    drop(cloud.run(&["log", "verify"]).succeeded());
}

#[test]
fn what_is_decided_before_a_device_tells_contradicts_nothing_that_it_holds() {
    let (dir, mut cloud, [mut branch]) = fleet(1000);
    let snapshot = Snapshot::take(&mut cloud, &branch);
    let first = cloud.run(&["rates", "show"]).succeeded();
    let publish = |cloud: &Cloud, price: &str| {
        let file = dir.path().join("rates.toml");
        let card = first.replace("capture = \"1.000\"", &format!("capture = \"{price}\""));
        assert_ne!(card, first);
        std::fs::write(&file, card).unwrap();
        drop(cloud.run(&["rates", "publish", file.to_str().unwrap()]).succeeded());
    };
    let charged = |at: &dyn Fn(&[&str]) -> Value| {
        let rows = at(&["view", "balances"])["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| thousandths(&row["charged"])).sum::<i64>()
    };
    let scan = |branch: &Branch| {
        let line = br#"{"kind":"pages.captured","user":"berta","pages":1}"#;
        drop(branch.run_with(&["record"], line).succeeded());
        branch.wait_synced(PATIENCE);
    };
    publish(&cloud, "2.000");
    wait_until(PATIENCE, "the branch has the card", || branch.json(&["status"])["card"] == 2);
    scan(&branch);
    wait_until(PATIENCE, "berta is known", || cloud.run(&["balance", "berta"]).code() == Some(0));
    branch.stop();

    snapshot.put_back_unseen(&mut cloud);
    publish(&cloud, "3.000");
    branch.start();
    wait_thawed(&cloud, &branch);
    wait_until(PATIENCE, "berta's name came again", || {
        cloud.run(&["balance", "berta"]).code() == Some(0)
    });
    scan(&branch);
    let (there, here) = (charged(&|args| cloud.json(args)), charged(&|args| branch.json(args)));
    assert_eq!(
        (there, here),
        (5_000, 5_000),
        "one at 2.000, and one at 3.000: the later card holds"
    );
    drop(cloud.run(&["log", "verify"]).succeeded());
}

fn forget(cloud: &Cloud, name: &str) {
    drop(cloud.run(&["users", "forget", name]).succeeded());
    wait_until(PATIENCE, "the branch has erased it", || {
        cloud.run(&["users", "forget", "--status"]).succeeded().contains("erased")
    });
}

fn users(cloud: &Cloud) -> Vec<String> {
    let rows = cloud.json(&["users", "list"]);
    rows.as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["name"].as_str().map(str::to_owned))
        .collect()
}

/// A device had heard of it, but the name stayed here until the next start: whoever came with that name was given, and
/// spent, what was the forgotten one's.
#[test]
fn who_was_forgotten_in_what_was_lost_is_forgotten_again_at_once() {
    let (_dir, mut cloud, [mut branch]) = fleet(100);
    drop(leased(&branch, &capture(10)).succeeded());
    branch.wait_synced(PATIENCE);
    let snapshot = Snapshot::take(&mut cloud, &branch);
    forget(&cloud, "anna");
    branch.stop();

    snapshot.put_back(&mut cloud); // which shows: names were erased from the file by writing another
    assert_eq!(users(&cloud), ["anna"]);
    branch.start();
    wait_thawed(&cloud, &branch);
    wait_until(PATIENCE, "her name is gone", || users(&cloud).is_empty());
    assert_eq!(cloud.run(&["grant", "anna", "5"]).code(), Some(1), "nobody is called so");
}

/// Credits of somebody whose name is lost were lent and charged, and in no line of the books.
#[test]
fn the_books_add_up_also_where_nobody_knows_whose_an_alias_is() {
    let (_dir, mut cloud, [mut branch]) = fleet(100);
    let snapshot = Snapshot::take(&mut cloud, &branch);
    for ask in [&["users", "add", "zoe"][..], &["grant", "zoe", "50"]] {
        drop(cloud.run(ask).succeeded());
    }
    drop(leased(&branch, &capture(3).replace("anna", "zoe")).succeeded());
    branch.wait_synced(PATIENCE);
    forget(&cloud, "zoe");
    branch.stop();

    snapshot.put_back(&mut cloud); // which shows: names were erased from the file by writing another
    branch.start();
    wait_thawed(&cloud, &branch);
    settled(&cloud, Books { charged: 3, pool: 90, leased: 7, ..NOTHING });
    let rows = cloud.json(&["leases"])["users"].clone();
    let row = rows.as_array().unwrap().iter().find(|row| row["subject"].is_null()).unwrap();
    assert_eq!((&row["charged"], &row["pool"]), (&"3.000".into(), &"-10.000".into()));
    let alias = &row["alias"].as_str().unwrap()[..8];
    let told = cloud.run(&["grant", alias, "10"]);
    assert_eq!(told.code(), Some(1));
    let todo = format!("tallyroll users link NAME branch-1 {alias}");
    assert!(told.stderr.contains(&todo), "{told:?}");
    drop(cloud.run(&["users", "add", "zoe"]).succeeded());
    drop(cloud.run(&["users", "link", "zoe", "branch-1", alias]).succeeded());
    drop(cloud.run(&["grant", "zoe", "10"]).succeeded());
    settled(&cloud, Books { charged: 3, pool: 100, leased: 7, ..NOTHING });
}
