//! Tests of reconciliation.
//!
//! Invariant tested: whatever was read and printed when, the items are the difference, and what was
//! counted in all months is all that was counted. What a meter's step means is a table.

use super::Month;
use super::meter::{Meter, Reconciled, Reconciliation, Why};
use crate::fold::Origin;
use proptest::prelude::*;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::counts::{Charge, ColorMode, CountSource, MeterRead, PagesPrinted};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::limits::METER_READING_MAX;
use tallyroll_schema::{
    Credits, DeviceId, EpochId, Event, JobId, LogId, Position, Record, Timestamp, UserAlias, Wall,
};

const DAY: u64 = 86_400_000;

fn print(impressions: u32, sheets: Option<u32>) -> Event {
    PagesPrinted {
        job: JobId([1; 8]),
        user: UserAlias([2; 16]),
        impressions,
        sheets,
        color: ColorMode::Monochrome,
        sides: None,
        media: None,
        source: if sheets.is_some() { CountSource::Device } else { CountSource::PageLog },
        job_number: None,
        acted_at: None,
        charge: Charge { credits: Credits::ZERO, card: 1, backing: None },
        spool_job: None,
        running_total: None,
        page: None,
    }
    .into()
}

fn read(impressions: u64, sheets: Option<u64>) -> Event {
    MeterRead { impressions, sheets }.into()
}

/// The rows of one device's events, each on some day since 1970.
fn reconcile(events: &[(u64, Event)]) -> Vec<Reconciled> {
    let mut reconciliation = Reconciliation::default();
    let shown: Vec<_> = (0..)
        .zip(events)
        .map(|(seq, (day, event))| {
            let time = Timestamp { wall: Wall(day * DAY), ..Timestamp::default() };
            let epoch = EpochId { counter: 0, nonce: [4; 16] };
            let position = Position { log: LogId([3; 32]), epoch, seq };
            let class = LogClass::Ledger;
            let origin = Origin { device: Some(DeviceId([5; 16])), class, position };
            (origin, Record::encode(event, time).expect("is encoded"))
        })
        .collect();
    for (origin, bytes) in &shown {
        reconciliation.note(origin, &Record::split(bytes).expect("is a record").0);
    }
    for (origin, bytes) in &shown {
        reconciliation.count(origin, &Record::split(bytes).expect("is a record").0);
    }
    reconciliation.rows()
}

proptest! {
    #[test]
    fn items_are_the_difference(
        events in proptest::collection::vec(
            (0_u64..120, any::<bool>(), 0_u32..2_000, proptest::option::of(0_u32..900)), 0..40,
        ),
    ) {
        let event = |(day, is_read, impressions, sheets): (u64, bool, u32, Option<u32>)| {
            let meter = || read(impressions.into(), sheets.map(u64::from));
            (day, if is_read { meter() } else { print(impressions, sheets) })
        };
        let printed: u64 = events.iter().filter(|(_, is_read, ..)| !is_read).map(|e| u64::from(e.2)).sum();
        let events: Vec<_> = events.into_iter().map(event).collect();
        let rows = reconcile(&events);
        prop_assert_eq!(rows.iter().map(|row| row.counted).sum::<u64>(), printed);
        for row in rows {
            let sum = |of: fn(&super::meter::Item) -> i64| row.items.iter().map(of).sum::<i64>();
            prop_assert_eq!(sum(|item| item.impressions), row.difference);
            prop_assert_eq!(sum(|item| item.sheets), row.sheets_difference);
            prop_assert_eq!(row.by_source.values().sum::<u64>(), row.counted);
        }
    }
}

#[test]
fn a_decrease_is_a_rollover_only_from_just_below_one_to_just_above() {
    for (last, now, meter) in [
        (7, 7, Meter::Ran(0)),
        (7, 107, Meter::Ran(100)),
        (999_990, 20, Meter::RolledOver(30)),
        ((1 << 32) - 5, 5, Meter::RolledOver(10)),
        (9_999_999, 0, Meter::RolledOver(1)),
        (980_000, 20, Meter::Reset),
        (999_990, 200_000, Meter::Reset),
        (5_000, 20, Meter::Reset),
        (100_000, 20, Meter::Reset), // no counter of five digits shows that
        (999_999, 99_999, Meter::RolledOver(100_000)),
        (999_999, 100_000, Meter::Reset),
        (u64::MAX, 0, Meter::Reset),
        (10, u64::MAX, Meter::Reset),
        (METER_READING_MAX, METER_READING_MAX + 1, Meter::Reset),
        (1, METER_READING_MAX, Meter::Ran(METER_READING_MAX - 1)),
    ] {
        assert_eq!(Meter::between(last, now), meter, "{last} to {now}");
    }
}

#[test]
fn each_part_of_a_difference_has_its_name() {
    let rows = reconcile(&[
        (0, print(3, Some(2))),
        (1, read(1_000, Some(500))),
        (2, print(10, Some(10))),
        (3, read(1_012, Some(510))), // two impressions were marked that nobody counted
        (20, print(5, None)),
        (40, print(7, Some(7))),
        (41, read(1_024, Some(522))), // in February, with January's five
        (42, read(9, Some(522))),
        (43, print(1, Some(1))),
    ]);
    let told = |row: &Reconciled| {
        let item = |item: &super::meter::Item| (item.why, item.impressions, item.sheets);
        (row.month.to_string(), row.difference, row.items.iter().map(item).collect::<Vec<_>>())
    };
    let [january, february] = &rows[..] else { panic!("{rows:?}") };
    let parts = vec![
        (Why::BeforeFirstReading, -3, -2),
        (Why::MeteredLater, -5, 0),
        (Why::BetweenReadings, 2, 0),
    ];
    assert_eq!(told(january), ("1970-01".into(), -6, parts));
    assert_eq!((january.metered, january.counted), (Some(12), 18));
    assert_eq!((january.sheets_metered, january.sheets_counted), (Some(10), 12));
    assert_eq!(january.jobs_with_unknown_sheets, 1);
    let meters = (january.items[2].meter, january.items[2].sheets_meter);
    assert_eq!(meters, (Some(Meter::Ran(12)), Some(Meter::Ran(10))));
    let parts = vec![
        (Why::AfterLastReading, -1, -1),
        (Why::BetweenReadings, 0, 5),
        (Why::OfAnEarlierMonth, 5, 0),
        (Why::BetweenReadings, 0, 0),
    ];
    assert_eq!(told(february), ("1970-02".into(), 4, parts));
    assert_eq!(february.items[3].meter, Some(Meter::Reset));
    assert_eq!(february.month, Month::of(1970, 2).expect("is a month"));
}

#[test]
fn what_is_recorded_again_is_counted_and_by_two_copies_once() {
    let epoch = EpochId { counter: 9, nonce: [4; 16] };
    let resubmitted_from = Position { log: LogId([3; 32]), epoch, seq: 1 };
    let record = Record::encode(&print(3, None), Timestamp::default()).expect("is encoded");
    let again: Event = EventResubmitted { resubmitted_from, record: Bytes(record) }.into();
    for copies in [vec![(1, again.clone())], vec![(1, again.clone()), (2, again)]] {
        let counted: Vec<_> = reconcile(&copies).iter().map(|row| row.counted).collect();
        assert_eq!(counted, [3], "by {}", copies.len());
    }
}
