//! What a statement's line tells of an event: every kind that has one.
//!
//! Invariant: an event of the cloud's in a device's job is told as that device's. What a line moves is tested with
//! the statements.

use super::line::{Charged, Line};
use super::requests::request_of;
use super::settle::job_of;
use super::{Terms, decide};
use crate::fold::{Committed, Origin};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::allotments::AllotmentGiven;
use tallyroll_schema::event::counts::{
    ColorMode, Conversion, CountSource, CreditsGranted, JobEnded,
};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::event::people::{GroupJoined, SubjectLinked};
use tallyroll_schema::{
    Act, CommitPosition, Credits, DeviceId, EpochId, Event, JobId, LogId, Position, Record,
    RequestId, SubjectId, Timestamp, UserAlias, Wall,
};

const DEVICE: DeviceId = DeviceId([1; 16]);
const USER: UserAlias = UserAlias([2; 16]);
const JOB: JobId = JobId([3; 8]);
const ADA: SubjectId = SubjectId([4; 16]);
const REQUEST: RequestId = RequestId([5; 8]);

fn position(seq: u64) -> Position {
    Position { log: LogId([6; 32]), epoch: EpochId { counter: 0, nonce: [7; 16] }, seq }
}

/// Written by a device or by the cloud, at 70 ms.
fn line(device: Option<DeviceId>, event: &Event) -> (Line, Charged) {
    let time = Timestamp { wall: Wall(70), ..Timestamp::default() };
    let bytes = Record::encode(event, time).expect("is encoded");
    let record = Record::split(&bytes).expect("reads back").0;
    let origin = Origin { device, class: LogClass::Ledger, position: position(8) };
    let commit = CommitPosition { epoch: 0, index: 9 };
    let committed = Committed { position: commit, received_at: Wall(80) };
    let line = Line::of(committed, &origin, &record, None);
    assert_eq!((line.position, line.commit, line.arrived), (position(8), commit, Wall(80)));
    (line, Charged::read(&origin, &record))
}

fn act(act: Act) -> Event {
    decide(&Terms::default(), act, JOB, Some(USER)).expect("is decided")
}

fn user() -> String {
    "a".into()
}

fn saved() -> Event {
    let (media, revision, which_pages) = (None, None, None);
    act(Act::Save { job: JOB, user: user(), pages: 4, media, revision, which_pages })
}

fn sent() -> Event {
    let (color, media) = (ColorMode::Color, None);
    let (revision, which_pages) = (None, None);
    let (pages, destinations) = (2, 3);
    act(Act::Send {
        job: JOB,
        user: user(),
        pages,
        destinations,
        color,
        media,
        revision,
        which_pages,
    })
}

fn converted() -> Event {
    let conversions = vec![Conversion::Resize];
    let (media, revision, from_revision, which_pages) = (None, None, None, None);
    let (job, user, pages) = (JOB, user(), 5);
    act(Act::Convert { job, user, pages, conversions, media, revision, from_revision, which_pages })
}

fn discarded() -> Event {
    act(Act::Discard { job: JOB })
}

/// The same, as the cloud does it when it is asked.
fn of_cloud(event: Event) -> Event {
    let (device, request) = (Some(DEVICE), Some(REQUEST));
    match event {
        Event::PagesConverted(mut e) => {
            (e.device, e.request) = (device, request);
            e.into()
        }
        Event::DocumentSent(mut e) => {
            (e.device, e.request) = (device, request);
            e.into()
        }
        Event::DocumentSaved(mut e) => {
            (e.device, e.request) = (device, request);
            e.into()
        }
        Event::DocumentDiscarded(mut e) => {
            (e.device, e.request) = (device, request);
            e.into()
        }
        other => panic!("not the cloud's: {other:?}"),
    }
}

#[test]
fn a_line_tells_the_job_the_pages_the_color_and_the_price() {
    let print = act(Act::Print {
        job: Some(JOB),
        user: user(),
        impressions: 6,
        sheets: Some(3),
        color: ColorMode::Monochrome,
        sides: None,
        media: None,
        source: CountSource::PageLog,
        job_number: None,
        acted_at: Some(Wall(50)),
        spool_job: None,
        running_total: None,
        page: None,
    });
    let (printed, charged) = line(Some(DEVICE), &print);
    assert_eq!(charged.who, Some((DEVICE, USER)));
    assert_eq!((printed.what, printed.job, printed.pages), ("pages.printed", Some(JOB), Some(6)));
    assert_eq!((printed.color, printed.acted_at), (Some(ColorMode::Monochrome), Wall(50)));
    assert_eq!(printed.price.map(|price| price.to_string()).as_deref(), Some("6.000"));

    let (sent, _) = line(Some(DEVICE), &sent());
    assert_eq!((sent.job, sent.pages, sent.destinations), (Some(JOB), Some(2), Some(3)));
    assert_eq!((sent.color, sent.acted_at), (Some(ColorMode::Color), Wall(70)));
    let (saved, _) = line(Some(DEVICE), &saved());
    assert_eq!((saved.job, saved.pages, saved.destinations), (Some(JOB), Some(4), None));
    let (converted, _) = line(Some(DEVICE), &converted());
    assert_eq!((converted.job, converted.pages), (Some(JOB), Some(5)));
    assert_eq!(converted.conversions, [Conversion::Resize]);

    let begun = act(Act::Begin { job: JOB, user: user() });
    for of_a_job in [begun, discarded(), JobEnded { job: JOB }.into()] {
        let (line, charged) = line(Some(DEVICE), &of_a_job);
        assert_eq!((line.job, line.price, charged.who), (Some(JOB), None, None), "{}", line.what);
    }
}

#[test]
fn what_the_cloud_did_in_a_job_is_its_devices_and_found_by_its_request() {
    for event in [converted(), sent(), saved(), discarded()] {
        assert_eq!(job_of(&event), Some((None, JOB)));
        assert_eq!(request_of(&event), None, "nobody asked");
        let event = of_cloud(event);
        let (line, charged) = line(None, &event);
        assert_eq!(line.device, Some(DEVICE), "{}", line.what);
        let costs = !matches!(event, Event::DocumentDiscarded(_));
        assert_eq!(charged.who, costs.then_some((DEVICE, USER)));
        assert_eq!(job_of(&event), Some((Some(DEVICE), JOB)));
        assert_eq!(request_of(&event), Some((DEVICE, JOB, REQUEST)));
    }
    let media = None;
    let (color, page) = (ColorMode::Color, None);
    let captured = act(Act::Capture { job: Some(JOB), user: user(), pages: 1, color, media, page });
    assert_eq!(job_of(&captured), Some((None, JOB)));
    assert_eq!(request_of(&captured), None);
}

#[test]
fn a_decision_is_told_with_whom_it_is_about_and_why() {
    let (credits, reason) = (Credits::from_thousandths(5), "september".to_owned());
    let granted = CreditsGranted { subject: ADA, credits, reason: reason.clone() };
    assert_eq!(line(None, &granted.into()).0.reason, Some(reason));
    let allotted = Credits::ZERO;
    let given: Event = AllotmentGiven {
        account: ADA,
        year: 2026,
        month: 9,
        credits,
        lapsed: allotted,
        used: allotted,
        allotted,
        nothing_due: None,
    }
    .into();
    let granted = CreditsGranted { subject: ADA, credits, reason: String::new() }.into();
    let joined =
        GroupJoined { group: SubjectId([9; 16]), member: ADA, used: None, lapsing: None }.into();
    let linked = SubjectLinked { device: DEVICE, alias: USER, subject: ADA }.into();
    for event in [granted, given, joined, linked] {
        let (line, charged) = line(None, &event);
        assert_eq!((line.subject, charged.who), (Some(ADA), None), "{}", line.what);
    }
}

#[test]
fn an_event_recorded_again_is_told_as_itself_at_its_own_time() {
    let time = Timestamp { wall: Wall(60), ..Timestamp::default() };
    let record = Bytes(Record::encode(&saved(), time).expect("is encoded"));
    let again = |record| EventResubmitted { resubmitted_from: position(1), record }.into();
    let (saved, charged) = line(Some(DEVICE), &again(record));
    assert_eq!((saved.what, saved.pages, saved.acted_at), ("document.saved", Some(4), Wall(60)));
    assert!(charged.is_repeated && charged.who == Some((DEVICE, USER)));
    let (torn, charged) = line(Some(DEVICE), &again(Bytes(vec![1, 2])));
    assert_eq!((torn.what, torn.acted_at, charged.who), ("unreadable", Wall(70), None));
}
