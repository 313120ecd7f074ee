//! A device's own meter against what was counted: reconciliation.
//!
//! Invariant: of each device and month, the items add up to the difference of metered and counted
//! impressions, and those of sheets to that of sheets; impressions and sheets are never mixed. What
//! was printed lies between two readings by the device's clock. A meter that went back rolled over
//! only if it stood just below where meters do, and came out just above 0; else it was reset, and
//! what it ran in between is not guessed. What pages did not leave marks is not metered.

use super::line::inner;
use super::month::Month;
use crate::fold::{Again, Origin, recorded_again};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::counts::{CountSource, PagesPrinted};
use tallyroll_schema::limits::METER_READING_MAX;
use tallyroll_schema::{DeviceId, EpochId, Event, Position, Record, Wall};

/// Where meters begin again: decimal counters of 5 to 9 digits, and 32 bits.
const ROLLOVERS: [u64; 6] = [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 1 << 32];
/// A rollover is one only from the last hundredth before it, and no further than a tenth in all.
const NEAR: u64 = 100;
const FAR: u64 = 10;

/// How a meter went from one reading to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meter {
    /// Forward.
    Ran(u64),
    /// Through its highest figure: so much in all.
    RolledOver(u64),
    /// It was reset; nobody knows how far it ran.
    Reset,
}

impl Meter {
    /// From one reading to the next.
    pub fn between(last: u64, now: u64) -> Self {
        if last.max(now) > METER_READING_MAX {
            return Self::Reset; // what no meter shows tells nothing
        }
        if let Some(ran) = now.checked_sub(last) {
            return Self::Ran(ran);
        }
        let rolled = ROLLOVERS.into_iter().find(|point| last < *point).and_then(|point| {
            let left = point - last;
            (left <= point / NEAR && left + now <= point / FAR).then_some(left + now)
        });
        rolled.map_or(Self::Reset, Self::RolledOver)
    }

    fn ran(self) -> Option<u64> {
        match self {
            Self::Ran(ran) | Self::RolledOver(ran) => Some(ran),
            Self::Reset => None,
        }
    }
}

/// Why metered and counted differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The device never read its meter.
    NoReading,
    /// Counted before its first reading.
    BeforeFirstReading,
    /// Between two readings, of which the later is of this month.
    BetweenReadings,
    /// Counted in an earlier month, metered in this one.
    OfAnEarlierMonth,
    /// Counted in this month, metered in a later one.
    MeteredLater,
    /// Counted after its last reading.
    AfterLastReading,
}

/// A part of the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// Why.
    pub why: Why,
    /// The reading before, if there is one.
    pub from: Option<Wall>,
    /// The reading after.
    pub to: Option<Wall>,
    /// How the meter of impressions went.
    pub meter: Option<Meter>,
    /// How that of sheets went, where both readings have it.
    pub sheets_meter: Option<Meter>,
    /// Impressions of the difference.
    pub impressions: i64,
    /// Sheets of the difference.
    pub sheets: i64,
    /// Jobs whose sheets nobody said.
    pub jobs_with_unknown_sheets: u64,
}

/// One device's month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reconciled {
    /// The month.
    pub month: Month,
    /// The device.
    pub device: DeviceId,
    /// Impressions by the meter, from readings of which the later is of this month; `null`: none is.
    pub metered: Option<u64>,
    /// Impressions counted.
    pub counted: u64,
    /// By who counted them.
    pub by_source: BTreeMap<CountSource, u64>,
    /// Metered less counted.
    pub difference: i64,
    /// Sheets by the meter.
    pub sheets_metered: Option<u64>,
    /// Sheets counted, where the source said.
    pub sheets_counted: u64,
    /// Metered less counted.
    pub sheets_difference: i64,
    /// Jobs whose sheets nobody said.
    pub jobs_with_unknown_sheets: u64,
    /// What the differences are made of; parts that are nothing are left out.
    pub items: Vec<Item>,
}

/// When something was, and where in its ledger if that was the same moment.
type Moment = (Wall, EpochId, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    at: Moment,
    impressions: u64,
    sheets: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Counted {
    impressions: u64,
    sheets: u64,
    jobs_with_unknown_sheets: u64,
    by_source: BTreeMap<CountSource, u64>,
}

impl Counted {
    fn add(&mut self, other: &Self) {
        self.impressions += other.impressions;
        self.sheets += other.sheets;
        self.jobs_with_unknown_sheets += other.jobs_with_unknown_sheets;
        for (source, impressions) in &other.by_source {
            *self.by_source.entry(*source).or_default() += impressions;
        }
    }
}

/// Readings, and then what was counted between them: all records are shown to it twice.
#[derive(Debug, Default)]
pub struct Reconciliation {
    readings: BTreeMap<DeviceId, BTreeSet<Reading>>,
    sorted: BTreeMap<DeviceId, Vec<Reading>>,
    /// By device, readings before it, and month.
    counted: BTreeMap<(DeviceId, usize, Month), Counted>,
    again: BTreeSet<Again>,
}

impl Reconciliation {
    /// Takes in readings.
    pub fn note(&mut self, origin: &Origin, record: &Record<'_>) {
        let Some((device, Event::MeterRead(read), written_at)) = own(origin, record) else {
            return;
        };
        let at = moment(written_at, origin.position);
        let reading = Reading { at, impressions: read.impressions, sheets: read.sheets };
        // Recorded again by two copies it is the same reading of the same moment, and changes nothing.
        self.readings.entry(device).or_default().insert(reading);
    }

    /// Takes in what was printed; after all readings.
    pub fn count(&mut self, origin: &Origin, record: &Record<'_>) {
        if self.sorted.is_empty() {
            let readings = core::mem::take(&mut self.readings).into_iter();
            self.sorted = readings.map(|(id, read)| (id, read.into_iter().collect())).collect();
        }
        let Some((device, Event::PagesPrinted(e), written_at)) = own(origin, record) else {
            return;
        };
        if let Ok(Event::EventResubmitted(again)) = record.event()
            && !recorded_again(origin.position, &again)
                .is_some_and(|again| self.again.insert(again))
        {
            return;
        }
        let acted_at = e.acted_at.unwrap_or(written_at);
        let readings = self.sorted.get(&device).map_or(&[][..], Vec::as_slice);
        let at = moment(acted_at, origin.position);
        let before = readings.partition_point(|reading| reading.at < at);
        let counted = self.counted.entry((device, before, Month::at(acted_at))).or_default();
        counted.add(&counted_of(&e));
    }

    /// A row per device and month.
    pub fn rows(&self) -> Vec<Reconciled> {
        let mut months: BTreeSet<(DeviceId, Month)> =
            self.counted.keys().map(|(device, _, month)| (*device, *month)).collect();
        for (device, readings) in &self.sorted {
            let later = readings.iter().skip(1);
            months.extend(later.map(|reading| (*device, Month::at(reading.at.0))));
        }
        months.into_iter().map(|(device, month)| self.row(device, month)).collect()
    }

    fn row(&self, device: DeviceId, month: Month) -> Reconciled {
        let readings = self.sorted.get(&device).map_or(&[][..], Vec::as_slice);
        let mut all = Counted::default();
        let mut items = Vec::new();
        let own = self.counted.range((device, 0, Month(0))..=(device, usize::MAX, Month(u32::MAX)));
        for ((_, before, of), counted) in own.clone().filter(|((.., of), _)| *of == month) {
            all.add(counted);
            let (from, to) = around(readings, *before);
            let why = match (from, to) {
                (None, None) => Why::NoReading,
                (None, Some(_)) => Why::BeforeFirstReading,
                (Some(_), None) => Why::AfterLastReading,
                (Some(_), Some(to)) if Month::at(to) == *of => continue,
                (Some(_), Some(_)) => Why::MeteredLater,
            };
            items.push(Item::apart(why, (from, to), counted, -1));
        }
        let (mut metered, mut sheets_metered) = (None, None);
        for (index, pair) in (1..).zip(readings.windows(2)) {
            let [last, now] = pair else { continue };
            if Month::at(now.at.0) != month {
                continue;
            }
            let between = own.clone().filter(|((_, before, _), _)| *before == index);
            let (mut here, mut earlier) = (Counted::default(), Counted::default());
            for ((.., of), counted) in between {
                here.add(counted);
                if *of != month {
                    earlier.add(counted);
                }
            }
            let meter = Meter::between(last.impressions, now.impressions);
            let sheets = last.sheets.zip(now.sheets).map(|(last, now)| Meter::between(last, now));
            let ran = meter.ran().unwrap_or(0);
            let sheets_ran = sheets.and_then(Meter::ran);
            metered = Some(ran.saturating_add(metered.unwrap_or(0)));
            sheets_metered = sheets_ran
                .map(|ran| ran.saturating_add(sheets_metered.unwrap_or(0)))
                .or(sheets_metered);
            let span = (Some(last.at.0), Some(now.at.0));
            items.push(Item {
                meter: Some(meter),
                sheets_meter: sheets,
                impressions: less(ran, here.impressions),
                sheets: less(sheets_ran.unwrap_or(0), here.sheets),
                ..Item::apart(Why::BetweenReadings, span, &here, -1)
            });
            items.push(Item::apart(Why::OfAnEarlierMonth, span, &earlier, 1));
        }
        items.retain(|item| !item.is_nothing());
        Reconciled {
            month,
            device,
            metered,
            counted: all.impressions,
            by_source: all.by_source,
            difference: less(metered.unwrap_or(0), all.impressions),
            sheets_metered,
            sheets_counted: all.sheets,
            sheets_difference: less(sheets_metered.unwrap_or(0), all.sheets),
            jobs_with_unknown_sheets: all.jobs_with_unknown_sheets,
            items,
        }
    }
}

impl Item {
    /// What was counted and is metered elsewhere, or the other way round.
    fn apart(why: Why, (from, to): Span, counted: &Counted, sign: i64) -> Self {
        Self {
            why,
            from,
            to,
            meter: None,
            sheets_meter: None,
            impressions: sign * less(counted.impressions, 0),
            sheets: sign * less(counted.sheets, 0),
            jobs_with_unknown_sheets: counted.jobs_with_unknown_sheets,
        }
    }

    fn is_nothing(&self) -> bool {
        let ran = |meter: &Option<Meter>| matches!(meter, None | Some(Meter::Ran(_)));
        let same = ran(&self.meter) && ran(&self.sheets_meter);
        same && (self.impressions, self.sheets, self.jobs_with_unknown_sheets) == (0, 0, 0)
    }
}

type Span = (Option<Wall>, Option<Wall>);

/// The readings around what has so many before it.
fn around(readings: &[Reading], before: usize) -> Span {
    let last = before.checked_sub(1).and_then(|last| readings.get(last));
    (last.map(|last| last.at.0), readings.get(before).map(|next| next.at.0))
}

fn less(a: u64, b: u64) -> i64 {
    let difference = i128::from(a) - i128::from(b);
    let end = if difference < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(difference).unwrap_or(end)
}

fn moment(at: Wall, Position { epoch, seq, .. }: Position) -> Moment {
    (at, epoch, seq)
}

/// A device's event, and when it was written.
fn own(origin: &Origin, record: &Record<'_>) -> Option<(DeviceId, Event, Wall)> {
    let (event, _, written_at) = inner(record);
    Some((origin.device?, event?, written_at))
}

fn counted_of(e: &PagesPrinted) -> Counted {
    Counted {
        impressions: e.impressions.into(),
        sheets: e.sheets.unwrap_or(0).into(),
        jobs_with_unknown_sheets: u64::from(e.sheets.is_none()),
        by_source: [(e.source, e.impressions.into())].into(),
    }
}
