//! A device that leaves, where it is a copy or has no room.
//!
//! Invariant: its logs end once, after all that it may still have to record again; what it spent until then
//! counts.

use super::pair::{TestDevice, capture, enrol, hub, now, talk};
use crate::device::Retirement;
use crate::hub::Hub;
use crate::store::MemoryStore;
use core::ops::ControlFlow;
use tallyroll_schema::Hash;
use tallyroll_schema::event::log::LogClass;

fn seal_and_talk(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) {
    device.seal(now(900)).expect("seals");
    talk(device, hub);
}

/// The kinds in each epoch of a device's ledger, as the cloud has them.
fn ledgers(hub: &Hub<MemoryStore>) -> Vec<Vec<&'static str>> {
    let logs = hub.logs().expect("reads").into_iter();
    let ledgers = logs.filter(|log| log.class == LogClass::Ledger);
    let kinds = ledgers.map(|log| {
        let mut kinds = Vec::new();
        hub.read_log(log.log, log.epoch, 0, &mut |_, record| {
            kinds.push(record.event().expect("is known").name());
            ControlFlow::Continue(())
        })
        .expect("reads");
        kinds
    });
    kinds.collect()
}

fn assert_closed_last(hub: &Hub<MemoryStore>) {
    for kinds in ledgers(hub) {
        let closed = kinds.iter().position(|kind| *kind == "log.closed");
        assert!(closed.is_none_or(|at| at + 1 == kinds.len()), "{kinds:?}");
    }
}

/// It hears that it is retired while it does not know what of its past the cloud has.
#[test]
fn a_copy_closes_its_logs_after_all_that_it_records_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let (mut copy, mut moved) = (device.copy(now(11)), device.moved_copy(now(11), Hash([7; 32])));
    let mut both = device.copy(now(11));
    capture(&mut both, 16, 12);
    let mut both = both.moved_copy(now(12), Hash([8; 32]));
    capture(&mut device, 2, 12);
    seal_and_talk(&mut device, &mut hub);
    capture(&mut copy, 4, 12);
    capture(&mut moved, 8, 12);
    hub.retire(now(13), device.id(), "closed down".into()).expect("retires");
    for each in [&mut copy, &mut moved, &mut both] {
        for _ in 0..3 {
            seal_and_talk(each, &mut hub);
        }
        assert_eq!(each.status().expect("reads").retired, Some(Retirement::Delivered));
    }
    let captured: u64 = hub.counts().usage().values().map(|usage| usage.captured).sum();
    assert_eq!(captured, 31, "{:?}", ledgers(&hub));
    assert_closed_last(&hub);
    assert!(hub.is_drained(device.id()).expect("reads"));
}

/// It knew before it was copied, and had closed its logs where they do not go on.
#[test]
fn a_copy_of_a_retired_device_closes_its_new_epoch_last() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let mut twin = device.copy(now(11));
    capture(&mut twin, 4, 12);
    capture(&mut device, 2, 12);
    device.seal(now(12)).expect("seals");
    hub.retire(now(13), device.id(), "closed down".into()).expect("retires");
    talk(&mut twin, &mut hub); // hears of it; what it has is not sealed, and not sent
    talk(&mut device, &mut hub);
    let mut moved = twin.moved_copy(now(14), Hash([8; 32]));
    for _ in 0..3 {
        seal_and_talk(&mut moved, &mut hub);
    }
    let captured: u64 = hub.counts().usage().values().map(|usage| usage.captured).sum();
    assert_eq!(captured, 7, "{:?}", ledgers(&hub));
    assert_closed_last(&hub);
    assert_eq!(moved.status().expect("reads").retired, Some(Retirement::Delivered));
}
