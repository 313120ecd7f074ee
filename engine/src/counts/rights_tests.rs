//! What is known of rights by what was folded: who stopped, what was spent too late, what lapses when.
//!
//! Invariant: the events are folded as their writers would have written them, one log each. How leases are
//! asked for, lent and taken back between two ends is in `sync::lease_tests`.

use super::{Counts, RightKey};
use crate::fold::{Origin, View};
use tallyroll_schema::event::allotments::AllotmentGiven;
use tallyroll_schema::event::counts::{
    Charge, ColorMode, CountSource, JobBegun, PagesPrinted, SettlementPolicy,
};
use tallyroll_schema::event::leases::{
    Backing, LeaseClosed, LeaseGranted, LeaseRefused, LeaseRequested, LeaseWrittenOff, Right,
};
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::{
    Credits, DeviceId, EpochId, Event, JobId, LogId, Position, PublicKey, Record, SubjectId,
    TenantId, Timestamp, UserAlias, Wall,
};

const DEVICE: DeviceId = DeviceId([1; 16]);
const USER: UserAlias = UserAlias([2; 16]);
const JOB: JobId = JobId([3; 8]);
const EPOCH: EpochId = EpochId { counter: 0, nonce: [5; 16] };

fn credits(thousandths: i64) -> Credits {
    Credits::from_thousandths(thousandths)
}

/// Each with whether the device wrote it, as the next one of its log.
fn fold(counts: &mut Counts, events: impl IntoIterator<Item = (bool, Event)>) {
    for (seq, (by_device, event)) in (1..).zip(events) {
        let (log, class) = match by_device {
            true => (LogId([4; 32]), LogClass::Ledger),
            false => (LogId([6; 32]), LogClass::Accounts),
        };
        let position = Position { log, epoch: EPOCH, seq };
        let origin = Origin { device: by_device.then_some(DEVICE), class, position };
        let bytes = Record::encode(&event, Timestamp::default()).expect("is encoded");
        counts.fold(&origin, &Record::split(&bytes).expect("is framed").0);
    }
    assert_eq!((counts.misplaced(), counts.incomplete()), (0, 0));
}

fn printed(source: CountSource, spent: i64, backing: Option<Backing>) -> Event {
    PagesPrinted {
        job: JobId([9; 8]),
        user: USER,
        impressions: 1,
        sheets: None,
        color: ColorMode::Color,
        sides: None,
        media: None,
        source,
        job_number: None,
        acted_at: None,
        charge: Charge { credits: credits(spent), card: 1, backing },
        spool_job: None,
        running_total: None,
        page: None,
    }
    .into()
}

fn spends(spent: i64) -> Event {
    let backing = Backing { right: Right::Lease, credits: credits(spent) };
    printed(CountSource::Device, spent, Some(backing))
}

/// Its job stopped; what a spooler's log brings of other jobs shows nobody at the device.
#[test]
fn a_stop_outlasts_what_the_page_log_brings_and_not_what_is_spent_or_printed() {
    let spent = Some(Backing { right: Right::Lease, credits: credits(1) });
    for (goes_on, is_stopped) in [
        (printed(CountSource::PageLog, 1, None), true),
        (printed(CountSource::PageLog, 1, spent), false),
        (printed(CountSource::Device, 1, None), false),
    ] {
        let (tenant, writer, about) = (TenantId([7; 16]), PublicKey([8; 32]), None);
        let opened = LogOpened { tenant, class: LogClass::Ledger, writer, about, epoch: EPOCH };
        let (user, policy, job) = (USER, SettlementPolicy::ServerSettles, Some(JOB));
        let (needed, wanted, available) = (credits(1), credits(1), Credits::ZERO);
        let answers = Position { log: LogId([4; 32]), epoch: EPOCH, seq: 3 };
        let stops = [
            (true, opened.into()),
            (true, JobBegun { job: JOB, user, policy }.into()),
            (true, LeaseRequested { user, needed, wanted, job }.into()),
            (false, LeaseRefused { answers, user, available, held: vec![], device: DEVICE }.into()),
        ];
        let mut counts = Counts::default();
        fold(&mut counts, stops.clone());
        assert!(counts.is_stopped(DEVICE, USER));
        let mut counts = Counts::default();
        fold(&mut counts, stops.into_iter().chain([(true, goes_on.clone())]));
        assert_eq!(counts.is_stopped(DEVICE, USER), is_stopped, "{goes_on:?}");
    }
}

/// What came before the write-off was no part of it; what came since was in the pool already.
#[test]
fn what_comes_too_late_is_what_came_after_it_was_written_off_and_no_more_than_that() {
    let closed = |returned| -> (bool, Event) {
        let (spent, returned) = (credits(4), credits(returned));
        (true, LeaseClosed { allocation: 1, spent, returned, user: Some(USER) }.into())
    };
    let granted = LeaseGranted {
        allocation: 1,
        device: DEVICE,
        subject: SubjectId([9; 16]),
        credits: credits(10),
        spend_until: Wall(1),
        user: Some(USER),
        epoch: Some(EPOCH),
        answers: None,
    };
    let off = LeaseWrittenOff {
        allocation: 1,
        reason: String::new(),
        device: Some(DEVICE),
        user: Some(USER),
        epoch: Some(EPOCH),
        credits: Some(credits(5)),
    };
    let known = [(false, granted.into()), (true, spends(4)), closed(1), (false, off.into())];
    let late = [closed(2), (true, spends(2))];
    let right = RightKey { device: DEVICE, epoch: EPOCH, user: USER };
    let came_after = |events: Vec<(bool, Event)>| {
        let mut counts = Counts::default();
        fold(&mut counts, events);
        counts.rights().lease(&right).came_after()
    };
    assert_eq!(came_after(known.to_vec()), 0);
    assert_eq!(came_after(known.iter().chain(&late).cloned().collect()), 4);
    let more = [&known[..], &late, &[(true, spends(3))]].concat();
    assert_eq!(came_after(more), 5, "what it claims beyond is not of it");
}

#[test]
fn a_rest_lapses_when_its_month_is_over() {
    let (account, lapsed, used, nothing_due) = (SubjectId([9; 16]), credits(0), credits(0), None);
    let (year, month, given) = (2026, 5, credits(7));
    let gift = AllotmentGiven {
        account,
        year,
        month,
        credits: given,
        lapsed,
        used,
        allotted: given,
        nothing_due,
    };
    let mut counts = Counts::default();
    fold(&mut counts, [(false, gift.into())]);
    let may = 2026 * 12 + 4;
    assert_eq!(counts.accounts().due(may), []);
    assert_eq!(counts.accounts().due(may + 1), [(account, None)]);
}
