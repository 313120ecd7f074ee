//! Tests of statements: whatever happened, the lines are the balance.
//!
//! Invariant tested: for any history, any user or group and any two cuts, opening balance and the lines'
//! sums are the closing balance, and both are what the view shows at those cuts. What jobs come to is
//! tested in `job_tests`, through the same folds.

use super::statement::{Holder, Standings, Stated, Statement};
use super::{Counts, CreditSum, State, Terms, decide};
use crate::fold::{Committed, Origin, View};
use crate::hub::Funds;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::allotments::AllotmentGiven;
use tallyroll_schema::event::counts::{
    ChargeCorrected, ColorMode, Conversion, CreditsGranted, JobEnded, PeriodClosed,
    SettlementPolicy,
};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::event::people::{GroupJoined, GroupLeft, SubjectLinked};
use tallyroll_schema::{
    Act, CommitPosition, Credits, DeviceId, EpochId, Event, JobId, LogId, Position, Record,
    SubjectId, Timestamp, UserAlias, Wall,
};

/// The one group; the numbers before it are people, of whom the last never joins.
const GROUP: u8 = 3;

/// What happens: which device (none: the cloud), and what.
#[derive(Debug, Clone)]
struct Step {
    device: Option<u8>,
    event: Event,
}

fn alias(user: u8) -> UserAlias {
    UserAlias([user; 16])
}

fn subject(person: u8) -> SubjectId {
    SubjectId([person; 16])
}

fn position(device: Option<u8>, seq: u64) -> Position {
    let log = LogId([device.unwrap_or(99); 32]);
    Position { log, epoch: EpochId { counter: 0, nonce: [7; 16] }, seq }
}

fn act(kind: u8, job: u8, user: u8, pages: u32, settled: bool) -> Event {
    let (job, name, media) = (JobId([job; 8]), "a".to_owned(), None);
    let (color, policy) = (ColorMode::Color, SettlementPolicy::ServerSettles);
    let standing = super::Standing { policy, revision: 1, steps: 0, ended: false, user: None };
    let terms = Terms { job: (!settled).then_some(standing), ..Terms::default() };
    let (revision, from_revision, which_pages) = (Some(1), Some(0), None);
    let act = match kind {
        0 => Act::Capture { job: Some(job), user: name, pages, color, media, page: None },
        1 => {
            let conversions = vec![Conversion::Resize, Conversion::Resolution];
            let user = name;
            Act::Convert {
                job,
                user,
                pages,
                conversions,
                media,
                revision,
                from_revision,
                which_pages,
            }
        }
        2 => {
            let destinations = 2;
            Act::Send { job, user: name, pages, destinations, color, media, revision, which_pages }
        }
        3 => Act::Save { job, user: name, pages, media, revision, which_pages },
        4 => Act::Discard { job },
        _ => return JobEnded { job }.into(),
    };
    decide(&terms, act, job, Some(alias(user))).expect("is decided")
}

/// Of a month: thousandths that are given, and that lapse.
fn given(whose: u8, month: u8, credits: i64, lapsed: i64, alone: bool) -> Event {
    let [credits, lapsed, used] = [credits, lapsed, 0].map(Credits::from_thousandths);
    let (account, year, allotted, nothing_due) = (subject(whose), 2026, credits, Some(alone));
    AllotmentGiven { account, year, month, credits, lapsed, used, allotted, nothing_due }.into()
}

fn step() -> impl Strategy<Value = Step> {
    let acts = (0_u8..2, 0_u8..6, 0_u8..4, 0_u8..3, 1_u32..4, any::<bool>()).prop_map(
        |(device, kind, job, user, pages, settled)| Step {
            device: Some(device),
            event: act(kind, job, user, pages, settled),
        },
    );
    let again = (0_u8..2, 0_u8..6, 0_u8..4, 0_u8..3, any::<bool>()).prop_map(
        |(device, kind, job, user, settled)| {
            let record = Record::encode(&act(kind, job, user, 1, settled), Timestamp::default());
            let record = Bytes(record.expect("is encoded"));
            let resubmitted_from = position(Some(device), kind.into());
            Step {
                device: Some(device),
                event: EventResubmitted { resubmitted_from, record }.into(),
            }
        },
    );
    let decisions = (0_u8..6, 0_u8..3, 0_u8..4, -5_i64..9).prop_map(|(kind, user, whose, many)| {
        // A group has no aliases and is no member.
        let whose = if (2..5).contains(&kind) { whose % GROUP } else { whose };
        let (subject, credits) = (subject(whose), Credits::from_thousandths(many * 500));
        let (reason, by) = (String::new(), None);
        let event: Event = match kind {
            0 => CreditsGranted { subject, credits, reason }.into(),
            1 => {
                let corrects = position(Some(0), 0);
                // Of a group's: who was charged.
                let charged = (whose == GROUP).then_some(self::subject(user));
                ChargeCorrected { subject, corrects, credits, reason, by, charged }.into()
            }
            2 => {
                let (group, used, lapsing) = (self::subject(GROUP), None, None);
                GroupJoined { group, member: subject, used, lapsing }.into()
            }
            3 => {
                let group = self::subject(GROUP);
                let (used, lapsing) = (None, None);
                GroupLeft { group, member: subject, settled: credits, used, lapsing }.into()
            }
            5 => given(whose, user + 1, many.max(0) * 500, i64::from(user) * 500, many < 0),
            _ => {
                let device = DeviceId([u8::from(many > 2); 16]);
                SubjectLinked { device, alias: alias(user), subject }.into()
            }
        };
        Step { device: None, event }
    });
    prop_oneof![6 => acts, 1 => again, 3 => decisions]
}

/// Plays a history, a commit for each step; the statement of `person` after one, and the report's row
/// at the opening and at the closing.
fn play(steps: &[Step], person: u8, after: u64) -> (Stated, [Standings; 2]) {
    let mut records = Vec::new();
    let mut counts = Counts::default();
    let (mut opening, mut closing) = (Standings::default(), Standings::default());
    for (index, Step { device, event }) in (1..).zip(steps) {
        let time = Timestamp { wall: Wall(index * 100_000_000), ..Timestamp::default() };
        let class = if device.is_some() { LogClass::Ledger } else { LogClass::Accounts };
        let origin = Origin {
            device: device.map(|device| DeviceId([device; 16])),
            class,
            position: position(*device, index),
        };
        let bytes = Record::encode(event, time).expect("is encoded");
        counts.fold(&origin, &Record::split(&bytes).expect("is a record").0);
        records.push((origin, bytes));
        closing = shown(&counts, person);
        opening = if index <= after { closing } else { opening };
    }
    // As the hub finds them: who ever joined, and whose aliases they are in the end.
    let joined = steps.iter().filter_map(|step| match &step.event {
        Event::GroupJoined(joined) => Some(joined.member),
        _ => None,
    });
    let (holder, whose) = match person == GROUP {
        true => {
            let ever: BTreeSet<SubjectId> = joined.collect();
            (Holder::Group(subject(GROUP), ever.clone()), ever)
        }
        false => (Holder::Person(subject(person)), BTreeSet::from([subject(person)])),
    };
    let theirs = counts.links().filter(|(_, to)| whose.contains(to));
    let mut statement = Statement::new(holder, theirs.map(|(alias, _)| alias), BTreeSet::new());
    for (index, (origin, bytes)) in (1..).zip(&records) {
        let position = CommitPosition { epoch: 0, index };
        let committed = Committed { position, received_at: Wall(index) };
        statement.take_in(committed, origin, &Record::split(bytes).expect("is a record").0);
    }
    (statement.end(|line| line.commit.index <= after), [opening, closing])
}

/// As the view shows it; of a member, their own part.
fn shown(counts: &Counts, person: u8) -> Standings {
    let funds = match person == GROUP {
        true => Funds::of_accounts(counts),
        false => Funds::of_subjects(counts),
    };
    let funds = funds.get(&subject(person)).copied().unwrap_or_default();
    let [balance, held] = [funds.balance(), funds.held].map(CreditSum::from_thousandths);
    Standings { balance, held }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn opening_and_lines_are_the_closing_balance_and_both_are_the_views(
        steps in proptest::collection::vec(step(), 0..60), person in 0..=GROUP, after in 0_u64..60,
    ) {
        let (stated, [opening, closing]) = play(&steps, person, after);
        prop_assert_eq!(stated.opening, opening);
        prop_assert_eq!(stated.closing, closing);
        // What is of one member stands as theirs.
        let whose = stated.lines.iter().filter(|line| line.what != "credits.granted");
        prop_assert!(whose.filter(|line| line.moved.thousandths() != 0).all(|line| line.subject.is_some()));
        let (mut balance, mut held) = (opening.balance.thousandths(), opening.held.thousandths());
        for line in &stated.lines {
            balance += line.moved.thousandths();
            held += line.held.thousandths();
            prop_assert_eq!(line.balance.thousandths(), balance);
            prop_assert_eq!(line.still_held.thousandths(), held);
        }
        prop_assert_eq!(balance, closing.balance.thousandths());
        prop_assert_eq!(held, closing.held.thousandths());
    }
}

fn linked(steps: Vec<Step>) -> Vec<Step> {
    let (device, alias, subject) = (DeviceId([0; 16]), alias(0), subject(0));
    let link = Step { device: None, event: SubjectLinked { device, alias, subject }.into() };
    [steps, vec![link]].concat()
}

/// What a line says of itself: kind, state, moved, held.
fn told(stated: &Stated) -> Vec<(&'static str, State, i128, i128)> {
    let line = |line: &super::Line| {
        (line.what, line.state, line.moved.thousandths(), line.held.thousandths())
    };
    stated.lines.iter().map(line).collect()
}

/// Each line is there though its user had no name yet when it came.
#[test]
fn a_job_reads_as_held_and_then_void_where_its_delivery_settles_it() {
    let device = |event| Step { device: Some(0), event };
    let begun = [act(0, 1, 0, 1, false), act(1, 1, 0, 1, false)].map(device);
    let (held, _) = play(&linked(begun.to_vec()), 0, 0);
    let capture = |state| ("pages.captured", state, 0, 1_000);
    let convert = ("pages.converted", State::WithDelivery, 0, 0);
    assert_eq!(told(&held), [capture(State::Held), convert]);
    let sent = [&begun[..], &[device(act(2, 1, 0, 1, false))]].concat();
    let (settled, _) = play(&linked(sent), 0, 0);
    // Two conversions at 0.5, and color to two destinations.
    let send = ("document.sent", State::Settled, -3_000, -1_000);
    assert_eq!(told(&settled), [capture(State::Void), convert, send]);
    assert_eq!(settled.closing.balance.to_string(), "-3.000");
    // They are the user's since the link came.
    assert!(settled.lines.iter().all(|line| line.arrived == Wall(4)));
}

#[test]
fn what_counts_nowhere_is_no_line() {
    let by_cloud_alone = CreditsGranted {
        subject: subject(0),
        credits: Credits::from_thousandths(1),
        reason: String::new(),
    };
    let mut wrong = act(2, 1, 0, 1, true);
    if let Some((_, charge)) = super::rights::charge_mut(&mut wrong) {
        charge.credits = Credits::from_thousandths(-1);
    }
    let mut steps = linked(vec![]);
    steps.extend([by_cloud_alone.into(), wrong].map(|event| Step { device: Some(0), event }));
    assert_eq!(told(&play(&steps, 0, 0).0), []);
}

/// Who joined before their alias was linked brings lines, and not a sum.
#[test]
fn what_a_member_did_before_their_alias_was_linked_is_told_one_by_one() {
    let (used, lapsing) = (None, None);
    let joined = GroupJoined { group: subject(GROUP), member: subject(0), used, lapsing };
    let sent = || Step { device: Some(0), event: act(2, 1, 0, 1, true) };
    let steps = linked(vec![sent(), sent(), Step { device: None, event: joined.into() }]);
    let send = ("document.sent", State::Settled, -2_000, 0);
    assert_eq!(told(&play(&steps, GROUP, 0).0), [send, send]);
}

#[test]
fn what_a_month_gives_and_what_lapses_are_two_lines() {
    let steps = [
        given(0, 1, 100, 0, false),
        given(0, 2, 100, 100, false),
        given(0, 2, 100, 0, false), // the first of a month counts
        given(0, 3, 0, 0, false),
        given(0, 4, 0, 70, true),
        given(0, 5, 0, 0, true),
        given(1, 5, 100, 0, false),
    ];
    let steps = steps.map(|event| Step { device: None, event });
    let (stated, _) = play(&steps, 0, 0);
    let given = |moved| ("allotment.given", State::Settled, moved, 0);
    let lapsed = |moved| ("allotment.lapsed", State::Settled, moved, 0);
    let lines = [given(100), given(100), lapsed(-100), given(0), lapsed(-70)];
    assert_eq!(told(&stated), lines);
    let balances: Vec<_> = stated.lines.iter().map(|line| line.balance.thousandths()).collect();
    assert_eq!(balances, [100, 200, 100, 100, 30]);
}

/// Nothing of the month before was used: as much lapses as is given, and no balance moves.
#[test]
fn a_gift_that_comes_to_nothing_is_told_once_and_to_its_account_alone() {
    let steps = [
        given(0, 1, 100, 100, false),
        given(0, 1, 70, 70, false), // the first of a month counts
        given(1, 1, 100, 100, false),
    ];
    let steps = steps.map(|event| Step { device: None, event });
    let (given, lapsed) = ("allotment.given", "allotment.lapsed");
    let lines = [(given, State::Settled, 100, 0), (lapsed, State::Settled, -100, 0)];
    assert_eq!(told(&play(&steps, 0, 0).0), lines);
}

/// Who was charged sees the correction of what a group bore, and the group whose charge it was.
#[test]
fn a_correction_that_a_group_gets_is_a_line_of_both() {
    let (reason, by) = (String::new(), None);
    let (credits, charged) = (Credits::from_thousandths(7), Some(subject(0)));
    let (corrects, subject) = (position(Some(0), 0), subject(GROUP));
    let event = ChargeCorrected { subject, corrects, credits, reason, by, charged }.into();
    let steps = linked(vec![Step { device: None, event }]);
    for (person, moved) in [(0, 0), (GROUP, 7)] {
        let (stated, _) = play(&steps, person, 0);
        assert_eq!(told(&stated), [("charge.corrected", State::Settled, moved, 0)]);
        assert_eq!((stated.lines[0].subject, stated.lines[0].borne_by), (charged, Some(subject)));
    }
}

/// An event that says a month that is closed is booked where it arrives, and says so.
#[test]
fn what_comes_of_a_closed_month_is_told_to() {
    let commit = Some(CommitPosition { epoch: 0, index: 1 });
    let closed = PeriodClosed { year: 1970, month: 1, cut: Vec::new(), commit };
    let print = |device| Step { device, event: act(2, 1, 0, 1, true) };
    let close = Step { device: None, event: closed.into() };
    let (stated, _) = play(&linked(vec![print(Some(0)), close, print(Some(0))]), 0, 0);
    let adjusts: Vec<_> = stated.lines.iter().map(|line| line.adjusts.as_deref()).collect();
    assert_eq!(adjusts, [None, Some("1970-01")]);
}
