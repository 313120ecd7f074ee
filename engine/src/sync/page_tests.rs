//! Numbered pages of a job: recorded once at their device, whatever becomes of its logs.
//!
//! Invariant: a page has one position, which the device knows from its journal, its store, what is kept of
//! pruned events, and from a history that the cloud gave back. Pages of two copies are two.

use super::pair::{TestDevice, enrol, hub, now, talk};
use crate::counts::decide;
use crate::device::Retention;
use crate::hub::Hub;
use crate::store::MemoryStore;
use core::time::Duration;
use tallyroll_schema::event::UnknownEvent;
use tallyroll_schema::event::counts::ColorMode;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Event, JobId, Position, UserAlias};

const JOB: JobId = JobId([40; 8]);

fn record(device: &mut TestDevice, at: u64, act: Act) -> Position {
    let user = act.user().map(|_| UserAlias([8; 16]));
    let event = decide(&device.terms(JOB), act, JOB, user).expect("is priced");
    device.commit(now(at), &[(LogClass::Ledger, event)]).expect("commits")[0]
}

fn begin(device: &mut TestDevice, at: u64) {
    record(device, at, Act::Begin { job: JOB, user: "a".into() });
}

fn page(device: &mut TestDevice, at: u64, page: u32) -> Position {
    let (job, color, page) = (Some(JOB), ColorMode::Color, Some(page));
    record(device, at, Act::Capture { job, user: "a".into(), pages: 1, color, media: None, page })
}

fn seal_and_talk(device: &mut TestDevice, hub: &mut Hub<MemoryStore>) {
    device.seal(now(900)).expect("seals");
    talk(device, hub);
}

fn places(device: &TestDevice) -> Vec<Option<Position>> {
    (1..=4).map(|page| device.recorded_page(JOB, page).expect("reads")).collect()
}

#[test]
fn a_page_has_one_place_in_journal_and_store_and_once_it_is_pruned() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    begin(&mut device, 10);
    let first = page(&mut device, 11, 1);
    seal_and_talk(&mut device, &mut hub);
    let expected = vec![Some(first), Some(page(&mut device, 12, 2)), None, None];
    assert_eq!(places(&device), expected, "one in the store, one in the journal");
    let mut device = device.restart(now(13));
    assert_eq!(places(&device), expected);
    for number in 0..60_u64 {
        let mut body = vec![0; 40_000];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
        let body = tallyroll_schema::event::Bytes(body);
        let noise = Event::Unknown(UnknownEvent { code: 0x7fff, version: 9, body });
        device.commit(now(20), &[(LogClass::Ledger, noise)]).expect("commits");
        device.seal(now(20)).expect("seals");
    }
    talk(&mut device, &mut hub);
    device.set_retention(Retention { keep: Duration::MAX, limit: None });
    device.set_reserve(false);
    device.prune(now(500)).expect("prunes");
    let pruned = device.status().expect("reads").logs[0].pruned;
    assert!(pruned.is_some_and(|pruned| pruned.events > 3), "{pruned:?}");
    assert_eq!(places(&device), expected);
    assert_eq!(places(&device.restart(now(600))), expected);
}

#[test]
fn an_old_copy_learns_of_pages_it_forgot_and_pages_of_two_copies_are_two() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    begin(&mut device, 10);
    let first = page(&mut device, 11, 1);
    let mut old = device.copy(now(12));
    let second = page(&mut device, 13, 2);
    seal_and_talk(&mut device, &mut hub);
    assert_eq!(places(&old), [Some(first), None, None, None]);
    seal_and_talk(&mut old, &mut hub);
    assert_eq!(places(&old), [Some(first), Some(second), None, None]);

    // Two that run side by side each move paper.
    let mut copy = old.copy(now(20));
    page(&mut old, 21, 3);
    page(&mut copy, 22, 3);
    page(&mut copy, 23, 4);
    seal_and_talk(&mut old, &mut hub);
    seal_and_talk(&mut copy, &mut hub);
    seal_and_talk(&mut copy, &mut hub);
    let captured: u64 = hub.counts().usage().values().map(|usage| usage.captured).sum();
    assert_eq!(captured, 5, "page 3 twice");
}

#[test]
fn what_runs_is_known_with_its_user_and_its_time_until_it_ends() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let running = |device: &TestDevice| device.counts().running(device.id()).collect::<Vec<_>>();
    begin(&mut device, 10);
    page(&mut device, 11, 1);
    let [job] = running(&device)[..] else { panic!("one job") };
    assert_eq!((job.job, job.user, job.undecided), (JOB, UserAlias([8; 16]), true));
    assert_eq!(job.begun_at, now(10).wall);
    device.seal(now(12)).expect("seals");
    let mut device = device.without_snapshots(now(13));
    record(&mut device, 14, Act::Discard { job: JOB });
    assert!(!running(&device)[0].undecided);
    record(&mut device, 15, Act::End { job: JOB });
    assert_eq!(running(&device), []);
}

#[test]
fn a_page_without_a_job_or_with_number_nothing_is_refused() {
    let mut hub = hub();
    let device = enrol(&mut hub, "branch-1", 11);
    for (job, page, says) in [(None, 1, "say the job"), (Some(JOB), 0, "count from 1")] {
        let (color, page) = (ColorMode::Color, Some(page));
        let act = Act::Capture { job, user: "a".into(), pages: 1, color, media: None, page };
        let refused = decide(&device.terms(JOB), act, JOB, Some(UserAlias([8; 16])));
        assert!(refused.expect_err("is refused").to_string().contains(says));
    }
}
