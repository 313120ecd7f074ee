//! Leases are renewed before they run out, and before they end, while nobody waits.
//! Invariant: whoever spends of a lease while there is a link is refused nothing and waits for nothing; what is asked
//! for by way of renewal is needed by nobody. Days pass on a calendar of the processes' own.

use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};

use super::leases::{Books, NOTHING, TEMPORARY, capture, fleet, lease, leased, left, settled};

/// What devices asked for and could not do without, in the order of the log.
fn needed(cloud: &Cloud) -> Vec<String> {
    let events = cloud.events().into_iter();
    let asked = events.filter(|line| line["event"]["kind"] == "lease.requested");
    asked.map(|line| line["event"]["needed"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_lease_is_renewed_by_itself_once_less_than_half_of_it_is_left() {
    let (_dir, cloud, [branch]) = fleet(100);
    for spent in 1..=5 {
        drop(leased(&branch, &capture(1)).succeeded());
        branch.wait_synced(PATIENCE);
        assert_eq!(left(&branch), 10 - spent, "it has enough");
    }
    assert_eq!(needed(&cloud), ["1.000"], "the first page asked for itself");
    drop(leased(&branch, &capture(1)).succeeded());
    wait_until(PATIENCE, "it is renewed, and nobody asked", || left(&branch) == 14);
    settled(&cloud, Books { charged: 6, pool: 80, leased: 14, ..NOTHING });
    assert_eq!(needed(&cloud), ["1.000", "0.000"], "nobody needs it");
    let refused = cloud.events().iter().any(|line| line["event"]["kind"] == "lease.refused");
    assert!(!refused, "somebody was refused");
}

/// A line may be down for a week: what would end meanwhile is renewed before.
#[test]
fn a_lease_that_ends_within_a_week_is_renewed_by_the_next_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start_on(dir.path().join("cloud"), Some("2031-01-01"));
    let mut branch = Branch::new(dir.path().join("branch"));
    branch.set_day("2031-01-01");
    drop(branch.join(&cloud.enroll("branch")).succeeded());
    branch.start_with(&["--lease-idle", "86400"]);
    drop(cloud.run(&["users", "add", "anna"]).succeeded());
    drop(cloud.run(&["grant", "anna", "100"]).succeeded());
    let until = |branch: &Branch| lease(branch).unwrap()["spend-until"].as_u64().unwrap();
    wait_until(PATIENCE, "she is known there", || leased(&branch, &capture(1)).code() == Some(0));
    let first = until(&branch);
    let mut on = |branch: &mut Branch, day: &'static str| {
        branch.stop();
        cloud.wake_on(day);
        branch.set_day(day);
        branch.start_with(&["--lease-idle", "86400"]);
        branch.wait_synced(PATIENCE);
    };

    // It ends on the 31st: on the 23rd there is more than a week.
    on(&mut branch, "2031-01-23");
    drop(leased(&branch, &capture(1)).succeeded());
    branch.wait_synced(PATIENCE);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!((left(&branch), until(&branch)), (8, first));
    on(&mut branch, "2031-01-25");
    drop(leased(&branch, &capture(1)).succeeded());
    let renewed = wait_for(PATIENCE, "it is renewed, though enough is left", || {
        Some(until(&branch)).filter(|until| *until > first)
    });
    let days = (renewed - first).div_ceil(86_400_000);
    assert_eq!((days, left(&branch)), (24, 17), "ten more, and the days that had passed");

    // Past its end nothing may be spent of it; what was left goes back before more is asked for.
    branch.stop();
    branch.set_day("2031-02-25");
    let told = leased(&branch, &capture(1)).failed(TEMPORARY);
    assert!(told.contains("this costs 1.000 credits"), "{told}");
    on(&mut branch, "2031-02-25");
    drop(leased(&branch, &capture(1)).succeeded());
}

/// Regression: by its own clock each lease had ended when it came; it asked for one after the other, and emptied the pool.
#[test]
fn a_device_whose_clock_goes_ten_years_ahead_holds_one_lease_and_goes_on() {
    let (_dir, mut cloud, [mut branch]) = fleet(100);
    drop(leased(&branch, &capture(1)).succeeded());
    settled(&cloud, Books { charged: 1, pool: 90, leased: 9, ..NOTHING });
    branch.stop();
    cloud.stop();
    branch.set_day("2041-01-01");
    branch.start();
    wait_until(PATIENCE, "whoever wants to spend is told of the clock", || {
        leased(&branch, &capture(1)).failed(TEMPORARY).contains("ended by this machine's clock")
    });
    cloud.start_again();
    wait_until(PATIENCE, "it goes on with the line", || {
        leased(&branch, &capture(1)).code() == Some(0)
    });
    for _ in 0..2 {
        drop(leased(&branch, &capture(1)).succeeded());
    }
    branch.wait_synced(PATIENCE);
    settled(&cloud, Books { charged: 4, pool: 89, leased: 7, ..NOTHING });
    assert_eq!(needed(&cloud), ["1.000", "1.000"], "what was left went back, and it asked once");
}
