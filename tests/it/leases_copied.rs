//! Leases of a device that there is twice: what was copied with it may be spent again only where nobody can tell.
//! Invariant: a copy that can be told begins without rights; one that cannot spends at most the one lease once more,
//! is charged for it like for all else, and `leases` shows how much that was.

use serde_json::Value;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_until};

use super::copies::{copy, knows_its_past};
use super::leases::{Books, NOTHING, TEMPORARY, capture, fleet, leased, left, settled};

/// Both say that there is nothing to spend, and why nobody can be asked.
#[track_caller]
fn has_nothing(branch: &Branch) {
    let told = leased(branch, &capture(1)).failed(TEMPORARY);
    assert!(told.contains("0.000 are left"), "{told}");
}

fn copied(cloud: &Cloud) -> [Value; 2] {
    let leases = cloud.json(&["leases"]);
    [&leases["leases"][0], &leases["totals"]].map(|of| of["copied"].clone())
}

/// A backup is put back into the same files, so that nothing outside them tells.
#[test]
fn a_perfect_copy_spends_at_most_one_lease_once_more_and_it_is_shown() {
    let (dir, mut cloud, [mut branch]) = fleet(100);
    drop(leased(&branch, &capture(1)).succeeded());
    assert_eq!(left(&branch), 9);
    branch.wait_synced(PATIENCE);
    branch.stop();
    cloud.stop();
    let backup = dir.path().join("backup");
    copy(branch.data(), &backup);

    drop(leased(&branch, &capture(1).repeat(4)).succeeded());
    cloud.start_again();
    branch.start();
    branch.wait_synced(PATIENCE);
    let spent = Books { charged: 5, pool: 90, leased: 5, ..NOTHING };
    settled(&cloud, spent);
    branch.stop();
    cloud.stop();

    copy(&backup, branch.data());
    assert_eq!(left(&branch), 9, "it knows nothing of what was spent");
    let ran = leased(&branch, &capture(1).repeat(10));
    assert_eq!(ran.stdout.lines().count(), 9, "{ran:?}");
    has_nothing(&branch);
    cloud.start_again();
    branch.start();
    wait_until(PATIENCE, "it knows its past", || knows_its_past(&branch));
    branch.wait_synced(PATIENCE);
    settled(&cloud, Books { charged: 14, pool: 81, frozen: 5, ..NOTHING });
    assert_eq!(copied(&cloud), ["9.000", "9.000"]);
    let told = cloud.run(&["leases"]).succeeded();
    let row = told.lines().find(|line| line.contains("branch-1")).unwrap();
    assert!(told.contains("copied") && row.contains("9.000"), "{told}");
    drop(leased(&branch, &capture(81)).succeeded());
    settled(&cloud, Books { charged: 95, frozen: 5, ..NOTHING });
    assert_eq!(copied(&cloud), ["9.000", "9.000"], "what it was lent since is its own");
}

/// The directory is copied to another place, and both run.
#[test]
fn a_clone_that_can_be_told_spends_nothing_of_what_the_original_was_lent() {
    let (dir, mut cloud, [mut branch]) = fleet(100);
    drop(leased(&branch, &capture(1)).succeeded());
    branch.wait_synced(PATIENCE);
    branch.stop();
    cloud.stop();
    let other = dir.path().join("other");
    copy(branch.data(), &other);
    let mut other = Branch::new(other);
    other.start();
    branch.start();
    assert_eq!((left(&branch), left(&other)), (9, 0));
    has_nothing(&other);
    drop(leased(&branch, &capture(1).repeat(3)).succeeded());
    branch.stop();
    other.stop();
    has_nothing(&other); // nor without its agent

    cloud.start_again();
    branch.start();
    branch.wait_synced(PATIENCE);
    settled(&cloud, Books { charged: 4, pool: 90, leased: 6, ..NOTHING });
    branch.stop();
    other.start();
    wait_until(PATIENCE, "it knows its past", || knows_its_past(&other));
    other.wait_synced(PATIENCE);
    settled(&cloud, Books { charged: 4, pool: 90, frozen: 6, ..NOTHING });
    assert_eq!(left(&other), 0);
    drop(leased(&other, &capture(90)).succeeded());
    settled(&cloud, Books { charged: 94, frozen: 6, ..NOTHING });
    assert_eq!(copied(&cloud), ["0.000", "0.000"]);
}
