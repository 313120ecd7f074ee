//! A damaged byte is detected or harmless: in a journal, in a session, in a store.
//! Invariant: what is small is damaged byte by byte, the rest at seeded places; the binary `fuzz` takes every
//! byte. What a power cut leaves is the simulator's.

use tallyroll_tests::hostile::damage::{self, Damage, Extent};

/// So many bytes of what is mostly empty.
const REST: Extent = Extent::Some(1, 2000);

fn assert_kept(damage: &Damage) {
    let Damage { detected, harmless, wrong } = damage;
    println!("{detected} detected, {harmless} harmless");
    assert!(wrong.is_empty(), "{} came to harm:\n{}", wrong.len(), wrong.join("\n"));
    assert!(*detected > 0 && *harmless > 0, "damage of both kinds was tried");
}

#[test]
fn a_damaged_journal_is_refused_or_replays_all_that_was_acknowledged() {
    assert_kept(&damage::journal(REST));
}

#[test]
fn a_damaged_session_gives_no_wrong_view_and_the_next_one_brings_the_rest() {
    assert_kept(&damage::wire());
}

#[test]
fn a_damaged_store_of_a_killed_device_is_refused_or_whole() {
    assert_kept(&damage::store(&damage::stores()[0], REST));
}

#[test]
fn a_damaged_store_of_a_closed_cloud_is_refused_or_whole() {
    assert_kept(&damage::store(&damage::stores()[3], REST));
}
