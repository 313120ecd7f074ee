//! What the fold does not believe: events beyond counting. What it adds up is tested with the
//! reports, the jobs and the statements.
//! Snapshots are tested where they are written.

use super::*;
use crate::counts::usage::month_of;
use tallyroll_schema::RecordHeader;
use tallyroll_schema::Timestamp;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::counts::{Charge, ColorMode, CreditsGranted, DocumentSent, JobEnded};
use tallyroll_schema::limits::EVENT_COUNT_MAX;
use tallyroll_schema::{Credits, EpochId, LogId};

/// It was counted as 2³² − 1, though its charge was for more.
#[test]
fn an_event_beyond_counting_is_misplaced_and_not_cut_to_fit() {
    let (device, user) = (DeviceId([1; 16]), UserAlias([2; 16]));
    let epoch = EpochId { counter: 0, nonce: [5; 16] };
    let position = Position { log: LogId([4; 32]), epoch, seq: 1 };
    let origin = Origin { device: Some(device), class: LogClass::Ledger, position };
    let sent = |pages, destinations| DocumentSent {
        job: JobId([3; 8]),
        user,
        pages,
        destinations,
        color: ColorMode::Color,
        charge: Charge { credits: Credits::ZERO, card: 1, backing: None },
        device: None,
        request: None,
        media: None,
        policy: None,
        revision: None,
        which_pages: None,
    };
    let mut counts = Counts::default();
    counts.fold_event(&origin, Wall(0), sent(u32::MAX, 1).into(), false);
    counts.fold_event(&origin, Wall(0), sent(u32::MAX, 2).into(), false);
    let key = UsageKey { device, user, month: month_of(Wall(0)) };
    assert_eq!(counts.usage.get(&key).map(|usage| usage.sent), Some(EVENT_COUNT_MAX));
    assert_eq!(counts.misplaced(), 1);
}

fn at(device: Option<DeviceId>, seq: u64) -> Origin {
    let position =
        Position { log: LogId([4; 32]), epoch: EpochId { counter: 0, nonce: [5; 16] }, seq };
    let class = if device.is_some() { LogClass::Ledger } else { LogClass::Accounts };
    Origin { device, class, position }
}

fn encoded(event: impl Into<Event>) -> Vec<u8> {
    Record::encode(&event.into(), Timestamp::default()).expect("is encoded")
}

fn grant(thousandths: i64) -> CreditsGranted {
    let credits = Credits::from_thousandths(thousandths);
    CreditsGranted { subject: SubjectId([6; 16]), credits, reason: String::new() }
}

/// Each is counted, one by one, and none of them does anything.
#[test]
fn what_its_writer_may_not_write_and_what_cannot_be_read_is_noted_and_not_believed() {
    let (device, job) = (Some(DeviceId([1; 16])), JobId([3; 8]));
    let fold = |counts: &mut Counts, device, bytes: &[u8]| {
        let record = Record::split(bytes).expect("is framed").0;
        counts.fold(&at(device, 1), &record);
    };
    let again = |record: Vec<u8>| {
        let resubmitted_from = at(device, 9).position;
        encoded(EventResubmitted { resubmitted_from, record: Bytes(record) })
    };
    let mut counts = Counts::default();
    let mut misplaced = 0;
    for credits in [1, 2] {
        for (device, bytes) in [
            (device, encoded(grant(credits))),
            (None, encoded(JobEnded { job })),
            (device, again(vec![0; 10])),
            (device, again(again(encoded(grant(credits))))),
        ] {
            fold(&mut counts, device, &bytes);
            misplaced += 1;
            assert_eq!((counts.misplaced(), counts.incomplete()), (misplaced, 0));
        }
    }
    let mut unreadable = encoded(JobEnded { job });
    unreadable[RecordHeader::LEN] = 0xff;
    for incomplete in 1..=2 {
        fold(&mut counts, device, &unreadable);
        assert_eq!((counts.misplaced(), counts.incomplete()), (misplaced, incomplete));
    }
    assert!(counts.granted().is_empty() && counts.jobs.is_empty());
    fold(&mut counts, None, &encoded(grant(5)));
    assert_eq!(counts.granted().values().sum::<i128>(), 5);
}
