//! What is known of balances told, event by event.
//!
//! Invariant: every case is folded in both orders and once more, and comes to the same. What is told, and when,
//! is tested beside the sessions, in `sync/balance_tests`.

use super::Counts;
use super::balances::Acquaintance;
use crate::fold::{Origin, View};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::balances::{
    BalanceAsked, BalanceSyncRequested, BalanceTold, SyncMode, SyncModePublished,
};
use tallyroll_schema::event::counts::{
    Charge, ColorMode, DocumentDiscarded, DocumentSaved, DocumentSent, PagesCaptured,
    PagesConverted, SettlementPolicy,
};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::{
    Credits, DeviceId, EpochId, Event, JobId, LogId, Position, Record, Timestamp, UserAlias, Wall,
};

const DEVICE: DeviceId = DeviceId([4; 16]);
const USER: UserAlias = UserAlias([5; 16]);
const FREE: Charge = Charge { credits: Credits::from_thousandths(0), card: 0, backing: None };
const JOB: JobId = JobId([6; 8]);

fn at(log: u8, seq: u64) -> Position {
    Position { log: LogId([log; 32]), epoch: EpochId { counter: 0, nonce: [1; 16] }, seq }
}

/// The device's log is 1, the cloud's 2; written at as many milliseconds as its seq.
type Written = (bool, u64, Event);

fn by_device(seq: u64, event: impl Into<Event>) -> Written {
    (true, seq, event.into())
}

fn by_cloud(seq: u64, event: impl Into<Event>) -> Written {
    (false, seq, event.into())
}

fn folded<'a>(events: impl Iterator<Item = &'a Written>) -> Counts {
    let mut counts = Counts::default();
    for (own, seq, event) in events {
        let origin = Origin {
            device: own.then_some(DEVICE),
            class: if *own { LogClass::Ledger } else { LogClass::Device },
            position: at(if *own { 1 } else { 2 }, *seq),
        };
        let time = Timestamp { wall: Wall(*seq), ..Timestamp::default() };
        let bytes = Record::encode(event, time).expect("is encoded");
        counts.fold(&origin, &Record::split(&bytes).expect("reads back").0);
    }
    counts
}

fn known(events: &[Written]) -> Acquaintance {
    let forwards = folded(events.iter()).balances().of(DEVICE, USER);
    assert_eq!(folded(events.iter().rev()).balances().of(DEVICE, USER), forwards);
    forwards
}

fn asked(seq: u64) -> Written {
    by_device(seq, BalanceAsked { user: USER })
}

fn told(seq: u64, up_to: u64) -> Written {
    let credits = Credits::from_thousandths(7_000);
    let (balance, held, available) = (credits, Credits::default(), credits);
    by_cloud(
        seq,
        BalanceTold { device: DEVICE, user: USER, balance, held, available, up_to: at(1, up_to) },
    )
}

fn flagged(seq: u64, up_to: u64) -> Written {
    by_cloud(seq, BalanceSyncRequested { device: DEVICE, user: USER, up_to: at(1, up_to) })
}

fn captured(seq: u64, policy: Option<SettlementPolicy>) -> Written {
    by_device(
        seq,
        PagesCaptured {
            job: JOB,
            user: USER,
            pages: 1,
            color: ColorMode::Color,
            charge: FREE,
            media: None,
            policy,
            page: None,
        },
    )
}

#[test]
fn a_device_that_asked_is_owed_a_word_until_one_has_its_asking_in_it() {
    assert!(!known(&[]).is_asked());
    assert!(!known(&[told(1, 0)]).is_asked(), "told unasked");
    assert!(known(&[asked(3)]).is_asked());
    assert!(known(&[asked(3), told(1, 2)]).is_asked(), "an older word");
    assert!(!known(&[asked(3), told(1, 3)]).is_asked());
    assert!(!known(&[asked(3), told(1, 4)]).is_asked());
}

#[test]
fn a_flag_is_set_until_the_device_asks_after_it_or_is_told_after_it() {
    assert!(!known(&[]).is_flagged());
    assert!(known(&[flagged(2, 5)]).is_flagged());
    assert!(known(&[flagged(2, 5), asked(5)]).is_flagged(), "asked before the flag");
    assert!(!known(&[flagged(2, 5), asked(6)]).is_flagged());
    assert!(known(&[told(1, 5), flagged(2, 5)]).is_flagged(), "told before the flag");
    assert!(!known(&[flagged(2, 5), told(3, 5)]).is_flagged());
    assert!(!known(&[flagged(2, 5), asked(5), told(3, 5)]).is_flagged());
}

#[test]
fn charges_that_only_the_cloud_can_settle_overtake_what_was_told_before() {
    let settles = Some(SettlementPolicy::ServerSettles);
    assert!(!known(&[told(1, 2)]).is_overtaken());
    assert!(known(&[captured(3, settles)]).is_overtaken());
    assert!(known(&[told(1, 2), captured(3, settles)]).is_overtaken());
    assert!(!known(&[captured(3, settles), told(1, 3)]).is_overtaken());
    for settled_at_once in [None, Some(SettlementPolicy::Additive)] {
        assert!(!known(&[captured(3, settled_at_once)]).is_overtaken());
    }
}

#[test]
fn a_charge_that_is_recorded_again_overtakes_what_was_told_before_whoever_was_first() {
    for settled_at_once in [None, Some(SettlementPolicy::Additive)] {
        let (_, _, event) = captured(1, settled_at_once);
        let bytes = Record::encode(&event, Timestamp::default()).expect("is encoded");
        let epoch = EpochId { counter: 9, nonce: [2; 16] };
        let resubmitted_from = Position { epoch, ..at(1, 1) };
        let again = |seq| {
            by_device(seq, EventResubmitted { resubmitted_from, record: Bytes(bytes.clone()) })
        };
        assert!(known(&[told(1, 2), again(3)]).is_overtaken());
        assert!(known(&[again(2), told(1, 2), again(3)]).is_overtaken(), "by another copy");
        assert!(!known(&[again(3), told(1, 3)]).is_overtaken());
    }
}

#[test]
fn whatever_the_cloud_does_in_a_job_serves_its_user_there() {
    let (device, user, job) = (Some(DEVICE), USER, JOB);
    let converted = PagesConverted {
        job,
        user,
        pages: 1,
        conversions: Vec::new(),
        charge: FREE,
        device,
        media: None,
        policy: None,
        prices: None,
        revision: None,
        from_revision: None,
        which_pages: None,
        request: None,
    };
    let sent = DocumentSent {
        job,
        user,
        pages: 1,
        destinations: 1,
        color: ColorMode::Color,
        charge: FREE,
        device,
        media: None,
        policy: None,
        revision: None,
        which_pages: None,
        request: None,
    };
    let saved = DocumentSaved {
        job,
        user,
        pages: 1,
        charge: FREE,
        device,
        media: None,
        policy: None,
        revision: None,
        which_pages: None,
        request: None,
    };
    let discarded = DocumentDiscarded { job, user: Some(user), device, request: None };
    let all = [
        by_cloud(9, converted),
        by_cloud(9, sent),
        by_cloud(9, saved),
        by_cloud(9, discarded),
        asked(9),
    ];
    assert_eq!(known(&[]).served_at, Wall(0));
    for one in all {
        assert_eq!(known(&[one, asked(4)]).served_at, Wall(9));
    }
}

#[test]
fn a_device_is_known_by_its_users_and_a_mode_by_the_last_decision() {
    let counts = folded([asked(1)].iter());
    let ([below, above], balances) = ([3, 5].map(|byte| DeviceId([byte; 16])), counts.balances());
    assert!(balances.is_acquainted(DEVICE));
    assert!(!balances.is_acquainted(below) && !balances.is_acquainted(above));
    let modes = [(1, SyncMode::Flag), (2, SyncMode::Wait), (3, SyncMode::Flag)]
        .map(|(seq, mode)| by_cloud(seq, SyncModePublished { mode }));
    assert_eq!(folded([].iter()).balances().mode(), SyncMode::Wait);
    assert_eq!(folded(modes.iter()).balances().mode(), SyncMode::Flag);
    assert_eq!(folded(modes.iter().take(2).rev()).balances().mode(), SyncMode::Wait);
}
