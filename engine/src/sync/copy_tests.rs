//! Copies of a device: old ones restored, perfect ones, ones that are noticed at start.
//!
//! Invariant: whichever order they come in, nothing that any of them recorded is
//! lost or counted twice, and the cloud and each copy end with the same figures.

use super::pair::{TestDevice, capture, enrol, hub, now, talk};
use crate::counts::decide;
use crate::hub::Hub;
use crate::store::MemoryStore;
use tallyroll_schema::event::counts::{ColorMode, CountSource};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Event, Hash, JobId, UserAlias};

/// Pages captured and credits charged without a lease, as the cloud counts them.
fn captured(hub: &Hub<MemoryStore>) -> (u64, i128) {
    let usage = hub.counts().usage().values();
    usage.fold((0, 0), |(pages, unbacked), usage| {
        (pages + usage.captured, unbacked + usage.unbacked)
    })
}

fn seal_and_talk(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) {
    device.seal(now(900)).expect("seals");
    talk(device, hub);
}

fn assert_alike(hub: &Hub<MemoryStore>, device: &TestDevice) {
    assert_eq!(hub.counts().usage(), device.counts().usage());
    assert!(!device.is_unconfirmed().expect("reads"));
}

#[test]
fn an_old_copy_gets_its_later_history_back() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    let mut old = device.copy(now(12));
    capture(&mut device, 2, 13);
    seal_and_talk(&mut device, &mut hub);
    seal_and_talk(&mut old, &mut hub);
    assert_eq!(captured(&hub), (3, 0));
    assert_alike(&hub, &old);

    capture(&mut old, 4, 20);
    seal_and_talk(&mut old, &mut hub);
    assert_eq!(captured(&hub), (7, 0), "written in a new epoch");
    assert_alike(&hub, &old);
    assert_alike(&hub.restart(now(30)), &old.restart(now(30)));
}

#[test]
fn a_perfect_copy_is_found_at_first_contact_and_its_tail_recorded_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    let mut copy = device.copy(now(12));
    capture(&mut device, 2, 13);
    capture(&mut copy, 4, 13);
    capture(&mut copy, 8, 14);
    seal_and_talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), (3, 0));
    seal_and_talk(&mut copy, &mut hub);
    assert_eq!(captured(&hub), (15, 12_000), "the common event counts once");
    assert_alike(&hub, &copy);

    // The original's epoch ended with the copy's next one; it goes on in one of its own.
    capture(&mut device, 16, 20);
    seal_and_talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), (31, 28_000));
    assert_alike(&hub, &device);
    let forks = hub.forks().expect("reads");
    let ledgers = forks.iter().filter(|fork| fork.class == LogClass::Ledger);
    let told = ledgers.map(|fork| (fork.device, fork.resubmitted, fork.unbacked.thousandths()));
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(copy.id(), 2, 12_000), (device.id(), 1, 16_000)]);
    for round in 0..3 {
        capture(&mut device, 1, 30 + round);
        capture(&mut copy, 1, 30 + round);
        seal_and_talk(&mut device, &mut hub);
        seal_and_talk(&mut copy, &mut hub);
    }
    assert_eq!(captured(&hub), (37, 28_000), "each writes its own epoch from now on");
    talk(&mut device, &mut hub);
    assert_alike(&hub, &device);
    assert_alike(&hub, &copy);
    let epochs = hub.logs().expect("lists").into_iter();
    assert_eq!(epochs.filter(|log| log.class == LogClass::Ledger).count(), 3);
}

#[test]
fn a_copy_that_finds_another_anchor_opens_an_epoch_before_it_records() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    capture(&mut device, 2, 11);
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    assert!(moved.is_unconfirmed().expect("reads"));
    capture(&mut moved, 4, 13);
    seal_and_talk(&mut moved, &mut hub);
    assert_eq!(captured(&hub), (7, 0), "the tail it brought is the old epoch's");
    assert_alike(&hub, &moved);
    // The original lives on after all, and had the same tail.
    capture(&mut device, 8, 14);
    seal_and_talk(&mut device, &mut hub);
    assert_eq!(captured(&hub), (15, 8_000));
    assert_alike(&hub, &device);
}

#[test]
fn a_tail_that_both_an_original_and_its_moved_copy_bring_counts_once() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    capture(&mut device, 2, 13);
    capture(&mut moved, 4, 13);
    // The original's first batch ends elsewhere than the copy's.
    seal_and_talk(&mut device, &mut hub);
    seal_and_talk(&mut moved, &mut hub);
    assert_eq!(captured(&hub), (7, 0));
    assert_alike(&hub, &moved);
    assert_alike(&hub, &moved.restart(now(50)));
}

#[test]
fn copies_of_a_copy_that_recorded_its_tail_again_count_it_once() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut copy = device.copy(now(9));
    capture(&mut device, 1, 10);
    capture(&mut copy, 2, 10);
    let mut second = copy.copy(now(11));
    for each in [&mut device, &mut copy, &mut second] {
        seal_and_talk(each, &mut hub);
    }
    assert_eq!(captured(&hub), (3, 2_000));
    assert_alike(&hub, &second);
}

#[test]
fn what_was_set_aside_is_recorded_again_verbatim() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut copy = device.copy(now(9));
    let unknown = Event::decode(0x7abc, 3, &[0xa0]).expect("any kind is kept");
    capture(&mut device, 1, 10);
    let from = copy.commit(now(10), &[(LogClass::Ledger, unknown.clone())]).expect("commits")[0];
    seal_and_talk(&mut device, &mut hub);
    seal_and_talk(&mut copy, &mut hub);
    let ledger = copy.status().expect("reads").logs[0].clone();
    let mut again = Vec::new();
    hub.read_log(ledger.log, ledger.epoch, 0, &mut |_, record| {
        again.extend(record.event());
        core::ops::ControlFlow::Continue(())
    })
    .expect("reads");
    let [Event::EpochOpened(opened), Event::EventResubmitted(event)] = &again[..] else {
        panic!("{again:?}")
    };
    assert!(opened.divergent.is_some_and(|head| head.position == from));
    assert_eq!(event.resubmitted_from, from);
    let (record, _) = tallyroll_schema::Record::split(&event.record.0).expect("a record");
    assert_eq!(record.event(), Ok(unknown));
}

/// A line of the page log, which is a file of its own and goes back in time with no disk.
const LINE: JobId = JobId([6; 8]);

fn import_line(device: &mut TestDevice, at: u64) {
    assert!(!device.is_unconfirmed().expect("reads"), "page logs wait");
    assert!(!device.is_imported(LINE).expect("reads"));
    let act = Act::Print {
        job: Some(LINE),
        user: "a".into(),
        impressions: 27,
        sheets: None,
        color: ColorMode::Unknown,
        sides: None,
        media: None,
        source: CountSource::PageLog,
        job_number: Some(17),
        acted_at: None,
        spool_job: None,
        running_total: None,
        page: None,
    };
    let event =
        decide(&device.terms(LINE), act, LINE, Some(UserAlias([8; 16]))).expect("is priced");
    device.commit(now(at), &[(LogClass::Ledger, event)]).expect("commits");
}

/// One that found another anchor went on by itself: what it is given back counts its lines, too.
#[test]
fn a_line_that_the_original_counted_is_counted_at_a_copy_that_went_on() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    seal_and_talk(&mut device, &mut hub);
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    import_line(&mut device, 13);
    seal_and_talk(&mut device, &mut hub);
    seal_and_talk(&mut moved, &mut hub);
    assert!(moved.is_imported(LINE).expect("reads"));
    assert_alike(&hub, &moved);
}

/// An epoch's opening is its first event, also by the clock.
#[test]
fn the_time_of_a_log_does_not_stand_still_where_an_epoch_begins() {
    let mut hub = hub();
    let device = enrol(&mut hub, "branch-1", 11);
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    capture(&mut moved, 1, 12);
    seal_and_talk(&mut moved, &mut hub);
    let mut times = Vec::new();
    let ledger = &moved.status().expect("reads").logs[0];
    hub.read_log(ledger.log, ledger.epoch, 0, &mut |_, record| {
        times.push(record.header.time.hybrid);
        core::ops::ControlFlow::Continue(())
    })
    .expect("reads");
    assert!(times.len() == 2 && times[0] < times[1], "{times:?}");
}

fn printed(hub: &Hub<MemoryStore>) -> u64 {
    hub.counts().usage().values().map(|usage| usage.impressions).sum()
}

/// The simulator put an old copy back where it was. It read the page log before it heard from the
/// cloud, and recorded the lines again as soon as the epoch that it had gone on in was here: the
/// epochs after that one, in which they were counted, came a moment later.
#[test]
fn a_line_that_a_later_epoch_counts_is_not_recorded_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let mut old = device.copy(now(11));
    capture(&mut device, 4, 12);
    seal_and_talk(&mut device, &mut hub);
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    seal_and_talk(&mut moved, &mut hub);
    import_line(&mut moved, 13);
    seal_and_talk(&mut moved, &mut hub);
    assert_eq!(printed(&hub), 27);

    import_line(&mut old, 20);
    capture(&mut old, 2, 21);
    seal_and_talk(&mut old, &mut hub);
    assert_eq!((printed(&hub), captured(&hub)), (27, (7, 2_000)));
    assert!(old.is_imported(LINE).expect("reads"));
    assert_alike(&hub, &old);
    assert_alike(&hub.restart(now(30)), &old.restart(now(30)));
}
