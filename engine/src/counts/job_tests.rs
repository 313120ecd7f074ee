//! Jobs settle by their set of events: mission 1's examples, in every order, with duplicates.
//!
//! Invariant: each example's events are decided as a device decides them, and then folded in every
//! permutation, each event once more as recorded again by two copies. What is due is the mission's.

use super::job::{Job, Step};
use super::pages::PageSet;
use super::{Counts, Terms, UsageKey, decide};
use crate::fold::{Origin, View};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::counts::SettlementPolicy::{self, Additive, ServerSettles};
use tallyroll_schema::event::counts::{ColorMode, Conversion, PageRange, PagesConverted};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::{
    Act, Credits, DeviceId, EpochId, Event, JobId, LogId, Position, Record, Timestamp, UserAlias,
};

const DEVICE: DeviceId = DeviceId([1; 16]);
const JOB: JobId = JobId([2; 8]);
const USER: UserAlias = UserAlias([3; 16]);

fn origin(epoch: u8, seq: u64) -> Origin {
    let epoch = EpochId { counter: epoch.into(), nonce: [5; 16] };
    let position = Position { log: LogId([4; 32]), epoch, seq };
    Origin { device: Some(DEVICE), class: LogClass::Ledger, position }
}

fn fold(counts: &mut Counts, origin: &Origin, event: &Event) {
    let bytes = Record::encode(event, Timestamp::default()).expect("is encoded");
    counts.fold(origin, &Record::split(&bytes).expect("reads back").0);
}

fn again(event: &Event, seq: u64) -> Event {
    let record = Record::encode(event, Timestamp::default()).expect("is encoded");
    let resubmitted_from = origin(9, seq).position;
    EventResubmitted { resubmitted_from, record: Bytes(record) }.into()
}

/// What a device records of these acts, one after the other.
fn record(policy: SettlementPolicy, acts: &[Act]) -> Vec<Event> {
    let mut counts = Counts::default();
    let decided = |(seq, act): (u64, &Act)| {
        let terms = Terms {
            policy,
            job: counts.standing(DEVICE, JOB),
            over: counts.is_over(DEVICE, JOB),
            ..Terms::default()
        };
        let event = decide(&terms, act.clone(), JOB, Some(USER)).expect("is decided");
        fold(&mut counts, &origin(4, seq), &event);
        event
    };
    (1..).zip(acts).map(decided).collect()
}

/// Settled and held, in thousandths; nothing may be misplaced.
fn sums(counts: &Counts) -> (i128, i128) {
    assert_eq!((counts.misplaced(), counts.incomplete()), (0, 0));
    counts.usage().values().fold((0, 0), |sum, row| (sum.0 + row.charged, sum.1 + row.held))
}

fn permutations(len: usize) -> Vec<Vec<usize>> {
    let Some(last) = len.checked_sub(1) else { return vec![Vec::new()] };
    let with_last = |before: Vec<usize>| {
        (0..=last).map(move |at| {
            let mut one = before.clone();
            one.insert(at, last);
            one
        })
    };
    permutations(last).into_iter().flat_map(with_last).collect()
}

/// Whatever the order, and however often two copies record the same again, this is due.
fn comes_to(policy: SettlementPolicy, acts: &[Act], settled: i128, held: i128) {
    let events = record(policy, acts);
    let mut first: Option<Vec<u8>> = None;
    let mut first_again: Option<Vec<u8>> = None;
    for order in permutations(events.len()) {
        let (mut once, mut copied) = (Counts::default(), Counts::default());
        for at in &order {
            let seq = *at as u64 + 1;
            fold(&mut once, &origin(4, seq), &events[*at]);
            let event = again(&events[*at], seq);
            fold(&mut copied, &origin(6, seq), &event);
            fold(&mut copied, &origin(7, seq), &event);
        }
        assert_eq!(sums(&once), (settled, held), "{policy:?}, as {order:?}: {events:?}");
        assert_eq!(sums(&copied), (settled, held), "{policy:?}, copied, as {order:?}");
        let unbacked: i128 = copied.usage().values().map(|row| row.unbacked).sum();
        assert_eq!(unbacked, settled);
        let (bytes, copied_bytes) = (once.to_base(), copied.to_base());
        assert_eq!(first.get_or_insert_with(|| bytes.clone()), &bytes, "{order:?}");
        assert_eq!(first_again.get_or_insert_with(|| copied_bytes.clone()), &copied_bytes);
        assert_eq!(Counts::from_base(&bytes).as_ref(), Ok(&once));
        assert_eq!(Counts::restore(&once.archive()).as_ref(), Some(&once));
    }
}

fn user() -> String {
    "anna".into()
}

fn begin() -> Act {
    Act::Begin { job: JOB, user: user() }
}

fn capture(pages: u32, color: ColorMode) -> Act {
    Act::Capture { job: Some(JOB), user: user(), pages, color, media: None, page: None }
}

fn convert(pages: u32, conversions: &[Conversion]) -> Act {
    Act::Convert {
        job: JOB,
        user: user(),
        pages,
        conversions: conversions.to_vec(),
        media: None,
        revision: None,
        from_revision: None,
        which_pages: None,
    }
}

fn send(pages: u32, destinations: u32, color: ColorMode) -> Act {
    let (job, media, revision, which_pages) = (JOB, None, None, None);
    Act::Send { job, user: user(), pages, destinations, color, media, revision, which_pages }
}

fn save(pages: u32, revision: Option<u32>) -> Act {
    let (job, media, which_pages) = (JOB, None, None);
    Act::Save { job, user: user(), pages, media, revision, which_pages }
}

const DISCARD: Act = Act::Discard { job: JOB };
const END: Act = Act::End { job: JOB };
use ColorMode::{Color, Monochrome};
use Conversion::{ColorToMonochrome, Resize};

#[test]
fn the_worked_examples_whatever_the_order() {
    let mono = || capture(1, Monochrome);
    // 1, 2, 6: scanned, then mailed to five.
    comes_to(ServerSettles, &[begin(), mono()], 0, 1_000);
    comes_to(ServerSettles, &[begin(), mono(), send(1, 5, Monochrome)], 2_500, 0);
    comes_to(Additive, &[begin(), mono()], 1_000, 0);
    comes_to(Additive, &[begin(), mono(), send(1, 5, Monochrome), END], 3_500, 0);
    comes_to(Additive, &[begin(), mono(), DISCARD], 1_000, 0);
    // 2: the second job, one color page to one.
    comes_to(ServerSettles, &[begin(), capture(1, Color), send(1, 1, Color), END], 1_000, 0);
    // 3: resized and made monochrome, then saved.
    let converted = convert(1, &[Resize, ColorToMonochrome]);
    let example = [begin(), capture(1, Color), converted.clone(), save(1, None), END];
    comes_to(ServerSettles, &example, 1_000, 0);
    comes_to(Additive, &example, 2_000, 0);
    let two_steps = [convert(1, &[Resize]), convert(1, &[ColorToMonochrome])];
    let [resized, mono_made] = two_steps;
    let example =
        [begin(), capture(1, Color), resized.clone(), mono_made.clone(), save(1, None), END];
    comes_to(ServerSettles, &example, 1_000, 0);
    // 4: resized, to three; turned to monochrome first.
    let example = [begin(), capture(1, Color), resized.clone(), send(1, 3, Color), END];
    comes_to(ServerSettles, &example, 3_500, 0);
    comes_to(Additive, &example, 4_500, 0);
    let example = [begin(), capture(1, Color), resized.clone(), mono_made, send(1, 3, Monochrome)];
    comes_to(ServerSettles, &example, 2_500, 0);
    comes_to(Additive, &example, 3_500, 0);
    // 5: deleted.
    comes_to(ServerSettles, &[begin(), mono(), DISCARD], 0, 0);
    comes_to(ServerSettles, &[begin(), mono(), DISCARD, END], 0, 0);
    comes_to(ServerSettles, &[begin(), mono(), END], 0, 0);
    // 7: monochrome, to two.
    comes_to(ServerSettles, &[begin(), mono(), send(1, 2, Monochrome)], 1_000, 0);
    // 8: saved as it is.
    comes_to(ServerSettles, &[begin(), mono(), save(1, None), END], 0, 0);
    comes_to(Additive, &[begin(), mono(), save(1, None), END], 1_000, 0);
    // 9: resized, deleted.
    comes_to(ServerSettles, &[begin(), mono(), resized.clone(), DISCARD], 0, 0);
    comes_to(Additive, &[begin(), mono(), resized, DISCARD], 1_000, 0);
}

#[test]
fn a_conversion_is_charged_once_with_what_is_delivered_of_it() {
    let resized = || convert(2, &[Resize]);
    // Later sends add their own price; a later delete takes nothing back.
    let twice = [begin(), resized(), save(2, None), send(2, 1, Monochrome), DISCARD];
    comes_to(ServerSettles, &twice, 2_000, 0);
    // The original is sent, so the conversion was for nothing.
    comes_to(ServerSettles, &[begin(), capture(2, Color), resized(), save(2, Some(0))], 0, 0);
    // Of two pages converted one is delivered.
    comes_to(ServerSettles, &[begin(), resized(), save(1, None)], 500, 0);
    let second = PageRange { first: 2, last: 2 };
    let which_pages = Some(vec![second]);
    let (job, media, revision) = (JOB, None, None);
    let second = Act::Save { job, user: user(), pages: 1, media, revision, which_pages };
    comes_to(ServerSettles, &[begin(), resized(), second.clone()], 500, 0);
    comes_to(ServerSettles, &[begin(), convert(1, &[Resize]), second], 0, 0);
    // Two revisions, each resized of the same pages, both delivered: once a kind and page.
    let example = [begin(), resized(), save(2, None), resized(), save(2, None)];
    comes_to(ServerSettles, &example, 1_000, 0);
}

/// Every job that settles is kept: decision 0018 says what it takes.
#[test]
fn a_job_takes_little_room() {
    assert!(size_of::<((DeviceId, JobId), Job)>() <= 144);
    assert!(size_of::<Step>() <= 72);
    assert!(size_of::<(u32, PageSet)>() <= 32);
}

#[test]
fn what_never_began_settles_as_it_happens() {
    let acts = [capture(1, Color), convert(1, &[Resize]), send(1, 1, Color), DISCARD, END];
    comes_to(ServerSettles, &acts, 2_500, 0);
    let key = |counts: &Counts| counts.usage().keys().next().copied();
    let mut counts = Counts::default();
    fold(&mut counts, &origin(4, 1), &record(Additive, &acts)[0]);
    let month = 1970 * 12;
    assert_eq!(key(&counts), Some(UsageKey { device: DEVICE, user: USER, month }));
}

#[test]
fn a_job_begins_once_and_takes_no_pages_after_its_end() {
    let terms = |acts: &[Act]| {
        let mut counts = Counts::default();
        for (seq, event) in (1..).zip(record(ServerSettles, acts)) {
            fold(&mut counts, &origin(4, seq), &event);
        }
        let (job, over) = (counts.standing(DEVICE, JOB), counts.is_over(DEVICE, JOB));
        Terms { job, over, ..Terms::default() }
    };
    let decide = |terms: &Terms, act| decide(terms, act, JOB, Some(USER));
    let refused = |terms: &Terms, act| decide(terms, act).expect_err("is refused").to_string();
    assert!(refused(&terms(&[END]), begin()).contains("was ended before it began"));
    assert!(!terms(&[DISCARD]).over && !terms(&[begin(), END]).over);
    let begun = terms(&[begin()]);
    assert!(refused(&begun, begin()).contains("take a new id"));
    let ended = terms(&[begin(), END]);
    for act in [capture(1, Color), convert(1, &[Resize])] {
        decide(&begun, act.clone()).expect("is taken");
        assert!(refused(&ended, act).contains("begin another"));
    }
    for act in [send(1, 1, Color), DISCARD, END] {
        decide(&ended, act).expect("is taken");
    }
}

/// What a hostile device writes moves no figure, and is counted as misplaced.
#[test]
fn what_cannot_be_is_misplaced() {
    let sound = record(ServerSettles, &[begin(), convert(2, &[Resize])]).remove(1);
    let Event::PagesConverted(sound) = sound else { panic!("no conversion") };
    let priced = |price| vec![Credits::from_thousandths(price)];
    let free = PagesConverted { prices: Some(priced(0)), ..sound.clone() };
    let mut counts = Counts::default();
    fold(&mut counts, &origin(4, 1), &free.into());
    assert_eq!((counts.misplaced(), counts.usage().len()), (0, 1));
    let wrong = [
        PagesConverted { prices: Some(priced(-1)), ..sound.clone() },
        PagesConverted { revision: None, ..sound.clone() },
        PagesConverted { from_revision: Some(1), ..sound.clone() },
        PagesConverted { revision: Some(u32::MAX), ..sound.clone() },
        PagesConverted { prices: Some(vec![]), ..sound.clone() },
        PagesConverted { which_pages: Some(vec![PageRange { first: 0, last: 1 }]), ..sound },
    ];
    for event in wrong {
        let mut counts = Counts::default();
        fold(&mut counts, &origin(4, 1), &event.into());
        assert_eq!((counts.misplaced(), counts.usage().len()), (1, 0));
    }
}
