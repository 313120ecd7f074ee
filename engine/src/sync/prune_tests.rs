//! A device that prunes what the cloud confirmed, and whom that concerns: itself after a restart,
//! copies of it, a cloud that lost its tail.
//!
//! Invariant: no figure and no counted line changes by it, what no receipt covers stays, and what is
//! gone is said to be gone, never to be another history.

use super::pair::{TestDevice, bring, capture, enrol, hub, noise, now, talk, talk_at};
use crate::counts::{Counts, decide};
use crate::device::{LogStatus, Retention};
use crate::hub::{Gap, Hub};
use crate::merge::Refusal;
use crate::store::{MemoryStore, Store};
use crate::sync::{Effect, Reply};
use core::ops::ControlFlow;
use core::time::Duration;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::counts::{ColorMode, CountSource};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::wire::{ErrorCode, Message};
use tallyroll_schema::{Act, Event, Hash, JobId, Position, UserAlias};

const DAY: Duration = Duration::from_secs(86_400);
const KEEP_ALL: Retention = Retention { keep: Duration::MAX, limit: None };
const JOB: JobId = JobId([40; 8]);

fn record(device: &mut TestDevice, at: u64, class: LogClass, event: Event) {
    device.commit(now(at), &[(class, event)]).expect("commits");
    device.seal(now(at)).expect("seals");
}

/// A line of a page log, a running total of [`JOB`].
fn print_line(device: &mut TestDevice, line: u8, total: u32) {
    let act = Act::Print {
        job: Some(JobId([line; 8])),
        user: "a".into(),
        impressions: 2,
        sheets: None,
        color: ColorMode::Unknown,
        sides: None,
        media: None,
        source: CountSource::PageLog,
        job_number: Some(17),
        acted_at: None,
        spool_job: Some(JOB),
        running_total: Some(total),
        page: None,
    };
    let event =
        decide(&device.terms(JobId([line; 8])), act, JobId([line; 8]), Some(UserAlias([8; 16])));
    record(device, 20 + u64::from(line), LogClass::Ledger, event.expect("is priced"));
}

fn logs(device: &TestDevice) -> [LogStatus; 2] {
    let logs = device.status().expect("reads").logs;
    [0, 1].map(|at| logs[at].clone())
}

fn pruned(device: &TestDevice) -> [u64; 2] {
    logs(device).map(|log| log.pruned.map_or(0, |pruned| pruned.events))
}

/// Prunes as on a full disk.
fn press(device: &mut TestDevice, at: u64) -> u64 {
    device.set_reserve(false);
    let bytes = device.prune(now(at)).expect("prunes");
    device.set_reserve(true);
    bytes
}

fn assert_same(device: &TestDevice, before: &Counts) {
    assert_eq!(device.counts(), before);
}

fn seal_and_talk(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) -> Vec<Message> {
    device.seal(now(900)).expect("seals");
    talk(device, hub)
}

#[test]
fn telemetry_goes_first_then_the_ledger_and_never_what_no_receipt_covers() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    for number in 0..60 {
        capture(&mut device, 1, 10);
        record(&mut device, 10, LogClass::Ledger, noise(number));
        record(&mut device, 10, LogClass::Telemetry, noise(1000 + number));
    }
    assert_eq!(press(&mut device, 100), 0, "nothing is kept for less until that is said");
    device.set_retention(KEEP_ALL);
    assert_eq!(press(&mut device, 200), 0, "nothing is receipted");
    talk(&mut device, &mut hub);
    for number in 0..5 {
        record(&mut device, 300, LogClass::Ledger, noise(2000 + number));
        record(&mut device, 300, LogClass::Telemetry, noise(3000 + number));
    }
    assert_eq!(device.prune(now(400)).expect("prunes"), 0, "there is room");
    let before = device.counts().clone();

    press(&mut device, 500);
    let [ledger, telemetry] = pruned(&device);
    assert_eq!(telemetry, 59, "all but the last that the receipt covers, and the first batch");
    assert!((1..118).contains(&ledger), "{ledger} events of the ledger");
    assert_same(&device, &before);
    assert_eq!(press(&mut device, 501), 0, "not again within seconds");
    let mut device = device.restart(now(600));
    assert_same(&device, &before);
    device.set_retention(KEEP_ALL);
    press(&mut device, 700);
    assert_eq!(pruned(&device), [118, 59]);
    assert_eq!(press(&mut device, 800), 0);
    let mut device = device.restart(now(900));
    assert_same(&device, &before);

    let told = logs(&device);
    let standing = |log: &LogStatus| (log.durable_local, log.sealed, log.durable_cloud);
    assert_eq!(told.map(|log| standing(&log)), [(126, 126, 121), (66, 66, 61)]);
    talk(&mut device, &mut hub);
    assert_eq!(hub.counts(), device.counts(), "and what was not receipted arrives");
    assert_eq!(hub.counts(), hub.restart(now(1000)).counts());
    let [ledger, telemetry] = logs(&device);
    assert_eq!((ledger.durable_cloud, telemetry.durable_cloud), (126, 66));
}

/// 40 KB for each of so many events, all receipted.
fn filled(events: u64) -> (TestDevice, Hub<MemoryStore>) {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    for number in 0..events {
        record(&mut device, 10, LogClass::Ledger, noise(number));
    }
    talk(&mut device, &mut hub);
    (device, hub)
}

#[test]
fn a_store_beyond_its_limit_is_pruned_to_seven_eighths_of_it_and_measured_when_it_grew() {
    const LIMIT: u64 = 1_600_000; // 40 events; a sixteenth is two and a half
    let retention = Retention { keep: Duration::MAX, limit: Some(LIMIT) };
    let used = |device: &TestDevice| device.store().used_bytes().expect("asks");
    let (mut device, mut hub) = filled(38);
    device.set_retention(retention);
    assert!(used(&device) < LIMIT);
    assert_eq!(device.prune(now(100)).expect("prunes"), 0, "below its limit");
    device.set_retention(Retention { limit: Some(used(&device)), ..retention });
    assert_eq!(device.prune(now(110)).expect("prunes"), 0, "just at its limit");
    device.set_retention(retention);
    assert_eq!(device.prune(now(120)).expect("prunes"), 0, "below its limit");
    assert_eq!(device.prune_due(), None, "and that changes with what is recorded only");

    for (at, number) in (200..).zip(38..40) {
        record(&mut device, at, LogClass::Ledger, noise(number));
        talk(&mut device, &mut hub);
        assert_eq!(device.prune(now(at * 10)).expect("prunes"), 0, "not measured again so soon");
    }
    record(&mut device, 300, LogClass::Ledger, noise(40));
    assert!(used(&device) > LIMIT);
    talk(&mut device, &mut hub);
    let bytes = device.prune(now(3000)).expect("prunes");
    assert!(bytes > 0, "it grew by more than a sixteenth");
    assert_eq!(logs(&device)[0].pruned.map(|pruned| pruned.bytes), Some(bytes));
    let left = used(&device);
    assert!((LIMIT / 8 * 7 - 100_000..=LIMIT / 8 * 7 + 10_000).contains(&left), "{left}");
    let [ledger, telemetry] = pruned(&device);
    assert!(ledger > 0 && telemetry == 0, "{ledger} and {telemetry} events");
    assert_eq!(device.pruned_from_view().expect("reads"), ledger);
    assert_eq!(device.prune_due(), None, "nothing is owed any more");
    let file = device.store().file_bytes().expect("asks");
    assert!(file > LIMIT, "what was freed is used again: the file stays as long as it was");
}

#[test]
fn a_file_of_more_than_twice_the_limit_is_given_back_when_something_went() {
    let (mut device, _hub) = filled(50);
    let sizes = |device: &TestDevice| {
        let store = device.store();
        (store.file_bytes().expect("asks"), store.used_bytes().expect("asks"))
    };
    let (file, used) = sizes(&device);
    assert_eq!(file, used);
    let limit = |bytes| Retention { keep: Duration::MAX, limit: Some(bytes) };
    device.set_retention(limit(file / 2));
    assert!(device.prune(now(100)).expect("prunes") > 0);
    assert_eq!(sizes(&device).0, file, "twice the limit, and no more");
    device.set_retention(limit(file / 3));
    assert!(device.prune(now(200)).expect("prunes") > 0);
    let (shorter, used) = sizes(&device);
    assert!(shorter == used && used < file / 3 && used > file / 4, "{file} {shorter} {used}");
    device.set_retention(limit(1));
    device.prune(now(300)).expect("prunes");
    assert_eq!(sizes(&device).0, sizes(&device).1);
}

#[test]
fn what_is_owed_is_tried_again_after_a_pause_and_only_when_somebody_said_what_to_keep() {
    let (mut device, _hub) = filled(3);
    device.set_reserve(false);
    assert_eq!(device.prune_due(), None, "everything is kept until it is said");
    device.set_retention(KEEP_ALL);
    assert_eq!(device.prune_due(), Some(Duration::ZERO), "a full disk");
    device.set_reserve(true);
    assert_eq!(device.prune_due(), None, "there is room");
    // Beyond its limit, and nothing that may go: one batch is all that was receipted.
    device.set_retention(Retention { keep: Duration::MAX, limit: Some(1) });
    device.prune(now(1000)).expect("prunes");
    assert_eq!(device.prune_due(), Some(now(1000).monotonic + Duration::from_secs(5)));
    // It is tried at that moment, or whoever waits for it would try again and again.
    device.prune(now(1005)).expect("prunes");
    assert_eq!(device.prune_due(), Some(now(1010).monotonic));
}

/// Others on a full disk have what was freed only when it is given back, each time.
#[test]
fn a_full_disk_is_given_back_what_was_freed_again_and_again() {
    let (mut device, mut hub) = filled(120);
    device.set_retention(KEEP_ALL);
    for (at, round) in [(1000, 0), (2000, 1)] {
        assert!(press(&mut device, at) > 0);
        let store = device.store();
        assert_eq!(store.file_bytes().expect("asks"), store.used_bytes().expect("asks"));
        for number in 0..60 {
            record(&mut device, at + 1, LogClass::Ledger, noise(1000 * (round + 1) + number));
        }
        talk(&mut device, &mut hub);
    }
}

/// What was pruned can neither be set aside nor given to the cloud again.
#[test]
fn a_history_that_hangs_on_what_was_pruned_is_not_set_aside() {
    let (mut device, _hub) = filled(60);
    device.set_retention(KEEP_ALL);
    press(&mut device, 1000);
    let LogStatus { log, epoch, pruned, .. } = logs(&device)[0].clone();
    let end = pruned.expect("was pruned").up_to_seq + 1;
    let diverged = |device: &mut TestDevice| {
        device.perform(now(1001), Effect::Diverged(log, epoch)).expect("performs")
    };
    assert_eq!(diverged(&mut device), Reply::StartOver, "nothing is beyond its receipt");
    let gone = Reply::Stays(log, epoch, Refusal::Pruned { from: 1, end });
    assert_eq!(diverged(&mut device), gone, "the cloud does not even hold what it receipted");
}

/// What its receipt covers is not in doubt, also in an epoch that was another history before.
#[test]
fn what_was_adopted_beyond_a_receipt_is_set_aside_and_what_was_pruned_below_it_is_let_be() {
    let (mut device, mut hub) = filled(60);
    let LogStatus { log, epoch, receipt, .. } = logs(&device)[0].clone();
    let held = receipt.expect("is receipted").head;
    let mut copy = device.copy(now(900));
    capture(&mut copy, 1, 901);
    seal_and_talk(&mut copy, &mut hub);
    let diverged = |device: &mut TestDevice, at| {
        device.perform(now(at), Effect::Diverged(log, epoch)).expect("performs")
    };
    assert_eq!(diverged(&mut device, 1001), Reply::StartOver);
    bring(&mut hub, &mut device, held, 1002);
    for effect in [Effect::CaughtUp(log, epoch), Effect::Surveyed] {
        device.perform(now(1002), effect).expect("performs");
    }
    device.set_retention(KEEP_ALL);
    assert!(press(&mut device, 1003) > 0);
    assert_eq!(diverged(&mut device, 1004), Reply::StartOver, "the receipt holds");
}

/// A base that counted it at its old place would count it twice.
#[test]
fn what_was_recorded_again_is_not_kept_of_its_old_place_that_is_pruned() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    for at in [10, 11] {
        capture(&mut device, 1, at);
        seal_and_talk(&mut device, &mut hub);
    }
    let LogStatus { log, epoch, .. } = logs(&device)[0].clone();
    let mut first = Vec::new();
    hub.read_log(log, epoch, 1, &mut |_, record| {
        first = record.bytes.to_vec();
        ControlFlow::Break(())
    })
    .expect("reads");
    let mut device = device.moved_copy(now(12), Hash([77; 32])); // goes on in another epoch
    let resubmitted_from = Position { log, epoch, seq: 1 };
    let again = EventResubmitted { resubmitted_from, record: Bytes(first) };
    record(&mut device, 13, LogClass::Ledger, again.into());
    seal_and_talk(&mut device, &mut hub);
    let before = device.counts().clone();
    assert_eq!(before.usage().values().map(|usage| usage.captured).sum::<u64>(), 2);
    device.set_retention(KEEP_ALL);
    assert!(press(&mut device, 1000) > 0);
    assert_eq!(device.pruned_from_view().expect("reads"), 1, "the old place");
    assert_same(&device.restart(now(1001)), &before);
}

#[test]
fn old_telemetry_goes_by_itself_and_the_ledger_stays() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let beat = || Event::from(HeartbeatSent { uptime_seconds: 1 });
    for day in 0..5 {
        record(&mut device, day * 86_400, LogClass::Telemetry, beat());
        record(&mut device, day * 86_400, LogClass::Ledger, beat());
    }
    // A clock that is ten years ahead makes nothing old: the cloud's word counts, too.
    talk(&mut device, &mut hub);
    device.set_retention(Retention { keep: DAY * 2, limit: None });
    device.prune(now(3650 * 86_400)).expect("prunes");
    assert_eq!(pruned(&device), [0, 0], "it talked at second 9");

    record(&mut device, 5 * 86_400, LogClass::Telemetry, beat());
    talk_at(&mut device, &mut hub, 5 * 86_400);
    device.set_retention(Retention { keep: DAY * 2, limit: None });
    let bytes = device.prune(now(5 * 86_400)).expect("prunes");
    assert_eq!(pruned(&device), [0, 3], "of the days 0, 1 and 2, and not of day 3");
    assert_eq!(logs(&device)[1].pruned.map(|pruned| pruned.bytes), Some(bytes));
    let up_to = logs(&device)[1].pruned.map(|pruned| pruned.up_to);
    assert_eq!(up_to, Some(now(2 * 86_400).wall));
}

/// The snapshot is a cache; what cannot be folded again is kept otherwise.
#[test]
fn totals_are_the_same_with_and_without_a_snapshot() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    for round in 0..100 {
        for _ in 0..200 {
            capture(&mut device, 1, 10 + round);
        }
        device.seal(now(10 + round)).expect("seals");
        talk(&mut device, &mut hub);
    }
    device.set_retention(KEEP_ALL);
    let before = device.counts().clone();
    press(&mut device, 500);
    assert!(pruned(&device)[0] > 19_000);
    let device = device.restart(now(600));
    assert_same(&device, &before);
    let device = device.without_snapshots(now(700));
    assert_same(&device, &before);
    assert_eq!(hub.counts(), device.counts());
}

#[test]
fn a_cloud_that_lost_what_was_pruned_is_told_so_and_the_other_log_goes_on() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    seal_and_talk(&mut device, &mut hub);
    let mut old = hub.restart(now(20));
    for number in 0..5 {
        capture(&mut device, 1, 30 + number);
        record(&mut device, 30 + number, LogClass::Telemetry, noise(number));
    }
    talk_at(&mut device, &mut hub, 90);
    device.set_retention(Retention { keep: Duration::ZERO, limit: None });
    device.prune(now(100)).expect("prunes");
    assert_eq!(pruned(&device), [0, 4]);

    let said = talk(&mut device, &mut old);
    let gone = |message: &&Message| matches!(message, Message::Error(error) if error.code == ErrorCode::Pruned && error.text.contains("newer backup"));
    assert_eq!(said.iter().filter(gone).count(), 1, "{said:?}");
    assert_eq!(old.counts().usage(), device.counts().usage(), "the ledger is refilled");
    let gaps = old.gaps().expect("reads");
    let telemetry = logs(&device)[1].clone();
    let told: Vec<_> = gaps.iter().map(|gap| (gap.device, gap.log, gap.from)).collect();
    assert_eq!(told, [(device.id(), telemetry.log, 1)]);
    assert_eq!(old.restart(now(200)).gaps().expect("reads"), gaps);
    assert!(!device.is_unconfirmed().expect("reads"), "that was no other history");
    talk_at(&mut device, &mut old, 500);
    assert_eq!(old.gaps().expect("reads"), gaps, "told first, and told again");
    let mut without = old.restart(now(500));
    without.revoke(now(500), device.id(), "stolen".into()).expect("revokes");
    assert_eq!(without.gaps().expect("reads"), [], "nothing more is wanted of it");
    let mut retired = old.restart(now(500));
    retired.retire(now(500), device.id(), "gone".into()).expect("retires");
    let lost: Vec<_> = gaps.iter().map(|gap| Gap { retired: true, ..*gap }).collect();
    assert_eq!(retired.gaps().expect("reads"), lost, "what was lost stays lost");
    assert_eq!(device.status().expect("reads").logs.len(), 2, "and no new epoch");

    // A newer backup has it.
    let mut newer = hub.restart(now(300));
    assert!(newer.gaps().expect("reads").is_empty());
    record(&mut device, 400, LogClass::Telemetry, noise(9));
    talk(&mut device, &mut newer);
    assert_eq!(logs(&device)[1].durable_cloud, telemetry.durable_cloud + 1);
}

/// Other histories hang on what was pruned: a perfect copy and an older one.
#[test]
fn copies_of_a_device_that_prunes_end_with_the_same_figures_and_lines() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let mut oldest = device.copy(now(11));
    for (line, total) in [(1, 2), (2, 4), (3, 6)] {
        print_line(&mut device, line, total);
    }
    seal_and_talk(&mut device, &mut hub);
    let whole = device.copy(now(90));
    device.set_retention(KEEP_ALL);
    press(&mut device, 100);
    assert_eq!(pruned(&device)[0], 2);
    let mut copy = device.copy(now(110));
    let mut moved = whole.moved_copy(now(110), Hash([8; 32]));
    moved.set_retention(KEEP_ALL);
    print_line(&mut moved, 5, 10);
    assert_eq!(press(&mut moved, 115), 0, "the cloud may hold another history");

    print_line(&mut device, 4, 8);
    capture(&mut device, 1, 120);
    seal_and_talk(&mut device, &mut hub);
    device.set_retention(KEEP_ALL);
    press(&mut device, 200);
    capture(&mut copy, 2, 130);
    copy.seal(now(130)).expect("seals");
    copy.set_retention(KEEP_ALL);
    seal_and_talk(&mut copy, &mut hub);
    seal_and_talk(&mut oldest, &mut hub);
    capture(&mut device, 4, 320);
    seal_and_talk(&mut device, &mut hub);
    for round in 0..3 {
        for one in [&mut device, &mut copy, &mut oldest] {
            seal_and_talk(one, &mut hub);
            one.set_retention(KEEP_ALL);
            press(one, 400 + round * 10);
        }
    }
    for one in [device, copy, oldest] {
        for one in [one.copy(now(500)), one.without_snapshots(now(500))] {
            assert_eq!(one.counts().usage(), hub.counts().usage());
            for line in 1..5 {
                assert!(one.is_imported(JobId([line; 8])).expect("reads"), "line {line}");
            }
            assert_eq!(one.spool_job(JOB).expect("reads").impressions(), 8);
        }
    }
}
