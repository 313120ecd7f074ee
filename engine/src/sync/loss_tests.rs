//! A cloud that lost the end of its logs, and devices that give it back.
//!
//! Invariant: what devices hold comes back, byte for byte; what nobody holds is
//! named; nothing the cloud wrote is written again at the same place.

use super::OfferKind;
use super::pair::{TENANT, capture, enrol, hub, now, talk};
use crate::counts::card;
use crate::hub::mark_restored;
use std::collections::BTreeMap;
use tallyroll_schema::Event;
use tallyroll_schema::event::counts::RateCard;

#[test]
fn devices_refill_a_cloud_that_was_restored() {
    let mut hub = hub();
    let (mut a, mut b) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    capture(&mut a, 1, 10);
    a.seal(now(11)).expect("seals");
    talk(&mut a, &mut hub);
    let mut store = hub.store().clone();
    capture(&mut a, 2, 12);
    capture(&mut b, 4, 12);
    for device in [&mut a, &mut b] {
        device.seal(now(13)).expect("seals");
        talk(device, &mut hub);
    }
    let (commit, published) = (hub.last_commit(), card::default_card());
    hub.publish(now(14), RateCard { version: 7, ..published.clone() }).expect("publishes");
    talk(&mut a, &mut hub); // has the card of version 7; b has not
    let before = hub.counts().clone();

    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(20));
    let recovery = hub.recovery().expect("is frozen");
    assert_eq!(recovery.missing.len(), 2);
    assert!(hub.last_commit().epoch > commit.epoch, "commits go on in a new epoch");
    let refused = hub.publish(now(21), published.clone()).expect_err("is frozen");
    assert!(refused.to_string().contains("2 devices"), "{refused}");
    talk(&mut b, &mut hub);
    assert_eq!(hub.recovery().expect("still").missing, [a.id()]);
    let hub_again = hub.restart(now(22));
    assert_eq!(hub_again.recovery(), hub.recovery(), "survives a restart");
    talk(&mut a, &mut hub);
    assert_eq!(hub.recovery(), None, "both reported");
    assert_eq!(hub.counts().usage(), before.usage());
    assert_eq!(hub.card().version, 7, "the card came back from the device that had it");
    assert_eq!(hub.counts().card(7), Some(&hub.card()));

    talk(&mut b, &mut hub);
    assert_eq!(b.card().version, 7);
    let public = hub.logs().expect("lists").into_iter().filter(|log| log.log == hub.public_log());
    for log in public {
        assert_eq!(hub.verify_log(log.log, log.epoch, None).expect("reads").wrong, None);
    }
    hub.publish(now(30), RateCard { version: 8, ..published }).expect("is thawed");
    talk(&mut a, &mut hub);
    assert_eq!(a.card().version, 8);
    assert_eq!(hub.restart(now(40)).counts(), hub.counts());
}

/// The epochs that it opened after one loss are lost in the next one, and devices give them back.
#[test]
fn a_cloud_goes_on_from_the_newest_epochs_that_it_ever_opened() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    talk(&mut device, &mut hub);
    let store = hub.store().clone();
    let restored = |at| {
        let mut store = store.clone();
        mark_restored(TENANT, &mut store).expect("is noted");
        hub.restart_on(store, now(at))
    };
    let publish = |hub: &mut crate::hub::Hub<_>, version, at| {
        let card = RateCard { version, ..card::default_card() };
        hub.publish(now(at), card).expect("publishes")
    };
    let mut hub = restored(20);
    hub.accept_loss(now(21)).expect("thaws");
    let first = publish(&mut hub, 7, 9_000).epoch;
    assert!(first.counter > 0);
    talk(&mut device, &mut hub);

    let mut hub = restored(30); // its clock is behind what it wrote
    talk(&mut device, &mut hub);
    assert_eq!((hub.recovery(), hub.card().version), (None, 7), "all of it is back");
    let public = hub.public_log();
    let logs = hub.logs().expect("lists");
    let receipt = |log: &crate::hub::LogSummary| (log.log == public).then_some(log.receipt);
    let receipts: Vec<_> = logs.iter().filter_map(receipt).collect();
    assert_eq!(receipts, [None; 3], "nobody signs a receipt for what is their own");
    assert!(publish(&mut hub, 8, 31).epoch.counter > first.counter);
    hub.retire(now(32), device.id(), "closed".into()).expect("retires");
    talk(&mut device, &mut hub);
    assert_eq!(device.card().version, 8);
    assert!(device.status().expect("reads").retired.is_some());

    let (mut times, mut kinds, mut before) = (Vec::new(), Vec::new(), BTreeMap::new());
    for offer in hub.offers(device.id()).expect("reads") {
        kinds.push(offer.kind);
        let (log, epoch) = (offer.head.position.log, offer.head.position.epoch);
        hub.read_log(log, epoch, 0, &mut |_, record| {
            if let Ok(Event::EpochOpened(opened)) = record.event() {
                assert_eq!(before.get(&log), Some(&opened.parent), "a log is one line of epochs");
            }
            times.push((offer.class, record.header.time.hybrid));
            core::ops::ControlFlow::Continue(())
        })
        .expect("reads");
        before.insert(log, epoch);
    }
    let open = |kind: &OfferKind| *kind == OfferKind::Open;
    assert_eq!(kinds.iter().map(open).collect::<Vec<_>>(), [false, false, true].repeat(2));
    let grow = |pair: &[(_, _)]| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1;
    assert!(times.windows(2).all(grow), "a log's time goes on after what it held: {times:?}");
}

/// A store that was put back in its place does not know: it goes on in the same epoch only once every device told.
#[test]
fn the_public_log_goes_on_where_it_is_once_every_active_device_told_what_it_holds() {
    let mut hub = hub();
    let (mut a, mut b) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    let gone = enrol(&mut hub, "gone", 13);
    hub.revoke(now(4), gone.id(), "stolen".into()).expect("revokes");
    let publish = |hub: &mut crate::hub::Hub<_>, version, at| {
        let card = RateCard { version, ..card::default_card() };
        hub.publish(now(at), card).expect("publishes").epoch
    };
    let first = publish(&mut hub, 7, 5);
    for device in [&mut a, &mut b] {
        talk(device, &mut hub);
    }
    let mut hub = hub.restart(now(20));
    for device in [&mut a, &mut b] {
        talk(device, &mut hub);
    }
    assert_eq!(publish(&mut hub, 8, 21), first);
    let mut hub = hub.restart(now(30));
    talk(&mut a, &mut hub);
    assert_ne!(publish(&mut hub, 9, 31), first, "the other may hold more");
}

#[test]
fn a_loss_nobody_noted_is_found_when_a_device_shows_more() {
    let mut hub = hub();
    let (mut device, mut other) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    let store = hub.store().clone();
    let published = card::default_card();
    hub.publish(now(14), RateCard { version: 7, ..published }).expect("publishes");
    talk(&mut device, &mut hub);
    let mut hub = hub.restart_on(store, now(20));
    assert_eq!(hub.recovery(), None);
    talk(&mut device, &mut hub);
    assert_eq!(hub.card().version, 7);
    assert_eq!(hub.recovery().expect("is frozen").missing, [other.id()]);
    talk(&mut other, &mut hub);
    assert_eq!(hub.recovery(), None);
}

#[test]
fn an_administrator_may_accept_what_is_missing() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    let mut store = hub.store().clone();
    capture(&mut device, 3, 10);
    device.seal(now(11)).expect("seals");
    talk(&mut device, &mut hub);
    mark_restored(TENANT, &mut store).expect("is noted");
    let mut hub = hub.restart_on(store, now(20));
    hub.accept_loss(now(21)).expect("accepts");
    assert_eq!(hub.recovery(), None);
    hub.accept_loss(now(22)).expect_err("nothing is frozen");
}

/// The simulator restored a cloud from a backup that was made before an earlier recovery. Both
/// times it went on in the commit epoch after the backup's, and one commit number named two commits.
#[test]
fn a_backup_restored_twice_gives_other_commit_numbers_each_time() {
    let mut hub = hub();
    let device = enrol(&mut hub, "a", 11);
    let mut store = hub.store().clone();
    mark_restored(TENANT, &mut store).expect("is noted");
    let [first, second] = [20, 30].map(|at| {
        let mut hub = hub.restart_on(store.clone(), now(at));
        hub.retire(now(at + 1), device.id(), "gone".into()).expect("accounts go on");
        hub.last_commit()
    });
    assert!(first.epoch > hub.last_commit().epoch && second.epoch > hub.last_commit().epoch);
    assert_ne!(first, second);
}
