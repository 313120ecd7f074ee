//! What is kept apart of a device: how much at most, and that each entry is decided about by itself.
//!
//! Invariant: bytes are bounded as entries are; neither a revocation nor another log's poison changes what
//! was refused, or why.

use super::pair::{TestDevice, enrol, hub, noise, now};
use super::quarantine_tests::{bring, capture_sealed, only, poisoned};
use super::{Effect, Fetch, Offer, OfferKind, Reply};
use crate::merge::Refusal;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::{QUARANTINE_BYTES_MAX, QUARANTINE_ENTRIES_MAX};
use tallyroll_schema::{Hash, Position, Signature};

#[test]
fn what_is_kept_of_a_device_is_bounded_in_bytes_too() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    for number in 0..20 {
        device.commit(now(10), &[(LogClass::Ledger, noise(number))]).expect("commits");
        device.seal(now(10)).expect("seals");
    }
    let mut poison = poisoned(&mut device);
    let batches = poison.batches.clone();
    (0..4).for_each(|_| poison.batches.extend(batches.clone()));
    let bytes = poison.len() as u64;
    let fit = usize::try_from(QUARANTINE_BYTES_MAX / bytes).expect("is small");
    assert!((3..QUARANTINE_ENTRIES_MAX).contains(&fit), "{bytes} bytes");
    for counter in 0..QUARANTINE_ENTRIES_MAX {
        poison.head.head.position.log.0[0] = counter as u8;
        bring(&mut hub, &device, poison.clone());
    }
    let kept: Vec<_> =
        hub.quarantine().expect("reads").iter().map(|kept| kept.entry.bytes).collect();
    assert_eq!(kept, vec![bytes; fit]);
}

/// It was poison before the device was revoked, and is decided about by itself.
#[test]
fn poison_of_a_device_that_is_revoked_stays_an_entry_of_its_own() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture_sealed(&mut device, 1, 10);
    let poison = poisoned(&mut device);
    let reply = bring(&mut hub, &device, poison.clone());
    hub.revoke(now(12), device.id(), "stolen".into()).expect("is revoked");
    let entry = only(&hub);
    assert_eq!(bring(&mut hub, &device, poison), reply);
    assert_eq!(only(&hub), entry);
    let opening = hub.opening(device.id()).expect("reads");
    let held_up: Vec<_> = opening.held_up.iter().map(|(place, _)| *place).collect();
    assert_eq!((held_up, opening.settled), (vec![entry.entry.place()], true));
}

/// What hangs on nothing waits for what it hangs on, whatever of another log is kept apart.
#[test]
fn poison_in_one_log_says_nothing_of_the_other() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let burst = |device: &mut TestDevice, class, open| {
        let offers = device.offers().expect("reads");
        let of = |offer: &&Offer| offer.class == class && (offer.kind == OfferKind::Open) == open;
        let Position { log, epoch, .. } = offers.iter().find(of).expect("is there").head.position;
        let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
        match device.perform(now(900), Effect::Fetch(ask)).expect("reads") {
            Reply::Fetched(burst) => burst,
            other => panic!("{other:?}"),
        }
    };
    let mut poison = burst(&mut device, LogClass::Telemetry, true);
    poison.head.signature = Signature([7; 64]);
    bring(&mut hub, &device, poison);
    let mut moved = device.moved_copy(now(11), Hash([77; 32]));
    let orphan = burst(&mut moved, LogClass::Ledger, true);
    let reply = bring(&mut hub, &moved, orphan);
    assert!(matches!(reply, Reply::Refused { refusal: Refusal::Orphan { .. }, .. }), "{reply:?}");
}
