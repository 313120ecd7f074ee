//! The counts view: usage per device, alias and month, and what credits were given.
//!
//! Invariant: every field is a sum, a maximum or a per-writer last value, so the
//! fold commutes across logs. Events where their writer may not write are not
//! believed, but counted as misplaced; kinds not understood as incomplete.

use crate::fold::{Origin, View};
use crate::planted::{Bug, planted};
use std::collections::{BTreeMap, BTreeSet};
use tallyroll_schema::event::counts::{Charge, RateCard};
use tallyroll_schema::event::log::{EventResubmitted, LogClass};
use tallyroll_schema::limits::EVENT_COUNT_MAX;
use tallyroll_schema::{
    Credits, DecodeError, DeviceId, EpochId, Event, Hash, Position, Record, SubjectId, UserAlias,
    Wall, Writer,
};

/// Whose usage, where, when. Months count from year 0, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    /// The device.
    pub device: DeviceId,
    /// The user, as the device calls them.
    pub user: UserAlias,
    /// Year × 12 + month − 1.
    pub month: u32,
}

/// What was used. Impressions, sheets and pages are never added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Sides of media marked.
    pub impressions: u64,
    /// Media used, where the source said.
    pub sheets: u64,
    /// Pages captured.
    pub captured: u64,
    /// Pages converted, once per kind.
    pub converted: u64,
    /// Pages sent, once per destination.
    pub sent: u64,
    /// Pages saved.
    pub saved: u64,
    /// Charged, in thousandths of a credit.
    pub charged: i128,
    /// Of that, by events recorded again after a copy was found: no lease backed them.
    pub unbacked: i128,
}

impl Usage {
    /// Adds another's figures to these.
    pub fn add(&mut self, other: &Self) {
        self.impressions += other.impressions;
        self.sheets += other.sheets;
        self.captured += other.captured;
        self.converted += other.converted;
        self.sent += other.sent;
        self.saved += other.saved;
        self.charged += other.charged;
        self.unbacked += other.unbacked;
    }
}

/// Everything that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    pub(super) usage: BTreeMap<UsageKey, Usage>,
    /// With the place of the decision that holds: a log's later epochs are folded in any order.
    pub(super) links: BTreeMap<(DeviceId, UserAlias), (Place, SubjectId)>,
    pub(super) granted: BTreeMap<SubjectId, i128>,
    pub(super) cards: BTreeMap<u32, (Place, RateCard)>,
    /// Events recorded again: where they stood, and their records' hashes.
    pub(super) resubmitted: BTreeSet<(Position, Hash)>,
    pub(super) incomplete: u64,
    pub(super) misplaced: u64,
}

impl Counts {
    /// Usage by device, alias and month.
    pub fn usage(&self) -> &BTreeMap<UsageKey, Usage> {
        &self.usage
    }

    /// Whom an alias belongs to, if it is linked.
    pub fn subject(&self, device: DeviceId, alias: UserAlias) -> Option<SubjectId> {
        self.links.get(&(device, alias)).map(|(_, subject)| *subject)
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = ((DeviceId, UserAlias), SubjectId)> {
        self.links.iter().map(|(alias, (_, subject))| (*alias, *subject))
    }

    /// What a subject was granted, in thousandths of a credit.
    pub fn granted(&self) -> &BTreeMap<SubjectId, i128> {
        &self.granted
    }

    /// The newest rate card, if any was published.
    pub fn newest_card(&self) -> Option<&RateCard> {
        self.cards.values().next_back().map(|(_, card)| card)
    }

    /// Events of histories that were set aside, counted where they were recorded again.
    pub fn resubmitted(&self) -> &BTreeSet<(Position, Hash)> {
        &self.resubmitted
    }

    /// Records whose kind or body this build does not understand.
    pub fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// Records of a kind their log's writer may not write, or that charge less than nothing or
    /// count more than [`EVENT_COUNT_MAX`].
    pub fn misplaced(&self) -> u64 {
        self.misplaced
    }

    /// Counts an event if its log's writer may write it.
    fn fold_record(&mut self, origin: &Origin, record: &Record<'_>, again: bool) {
        let Ok(event) = record.event() else {
            self.incomplete += 1;
            return;
        };
        let may = match event.writer() {
            Writer::Both => true,
            Writer::Device => origin.device.is_some(),
            Writer::Cloud => origin.device.is_none(),
        };
        match event {
            _ if !may => self.misplaced += 1,
            // What is recorded again is an event, not that one was.
            Event::EventResubmitted(_) if again => self.misplaced += 1,
            Event::EventResubmitted(event) => self.fold_resubmitted(origin, &event),
            event => self.fold_event(origin, record.header.time.wall, event, again),
        }
    }

    /// Two copies of a device may have set aside the same event; it counts once.
    fn fold_resubmitted(&mut self, origin: &Origin, event: &EventResubmitted) {
        let bytes = &event.record.0;
        let Ok((record, [])) = Record::split(bytes) else {
            self.misplaced += 1;
            return;
        };
        let hash = Hash(*blake3::hash(bytes).as_bytes());
        let first = self.resubmitted.insert((event.resubmitted_from, hash));
        if first || planted(Bug::ResubmittedCountedAgain) {
            self.fold_record(origin, &record, true);
        }
    }

    fn fold_event(&mut self, origin: &Origin, written_at: Wall, event: Event, again: bool) {
        match event {
            Event::PagesPrinted(e) => {
                let usage = Usage {
                    impressions: e.impressions.into(),
                    sheets: e.sheets.unwrap_or(0).into(),
                    ..Usage::default()
                };
                let acted_at = e.acted_at.filter(|_| !planted(Bug::MonthOfImport));
                let at = acted_at.unwrap_or(written_at);
                self.charge(origin.device, e.user, at, usage, e.charge, again);
            }
            Event::PagesCaptured(e) => {
                let usage = Usage { captured: e.pages.into(), ..Usage::default() };
                self.charge(origin.device, e.user, written_at, usage, e.charge, again);
            }
            Event::PagesConverted(e) => {
                let Some(converted) = times(e.pages, e.conversions.len()) else {
                    return self.misplaced += 1;
                };
                let usage = Usage { converted, ..Usage::default() };
                self.charge(origin.device.or(e.device), e.user, written_at, usage, e.charge, again);
            }
            Event::DocumentSent(e) => {
                let Some(sent) = times(e.pages, e.destinations as usize) else {
                    return self.misplaced += 1;
                };
                let usage = Usage { sent, ..Usage::default() };
                self.charge(origin.device.or(e.device), e.user, written_at, usage, e.charge, again);
            }
            Event::DocumentSaved(e) => {
                let usage = Usage { saved: e.pages.into(), ..Usage::default() };
                self.charge(origin.device.or(e.device), e.user, written_at, usage, e.charge, again);
            }
            Event::CreditsGranted(e) => {
                *self.granted.entry(e.subject).or_default() += i128::from(e.credits.thousandths());
            }
            Event::SubjectLinked(e) => {
                newest(&mut self.links, (e.device, e.alias), origin.position, e.subject);
            }
            Event::RateCardPublished(e) => {
                newest(&mut self.cards, e.card.version, origin.position, e.card);
            }
            Event::Unknown(_) => self.incomplete += 1,
            _ => {}
        }
    }

    fn charge(
        &mut self,
        device: Option<DeviceId>,
        user: UserAlias,
        at: Wall,
        mut usage: Usage,
        charge: Charge,
        again: bool,
    ) {
        let Some(device) = device.filter(|_| charge.credits >= Credits::ZERO) else {
            self.misplaced += 1;
            return;
        };
        usage.charged = i128::from(charge.credits.thousandths());
        let again = again && !planted(Bug::UnbackedForgotten);
        usage.unbacked = if again { usage.charged } else { 0 };
        let key = UsageKey { device, user, month: month_of(at) };
        self.usage.entry(key).or_default().add(&usage);
    }
}

/// Where a decision stands within its log.
pub(super) type Place = (EpochId, u64);

/// Of several decisions about one thing, all in one log, the last holds.
fn newest<K: Ord, V>(held: &mut BTreeMap<K, (Place, V)>, key: K, position: Position, value: V) {
    let place = (position.epoch, position.seq);
    let newer = held.get(&key).is_none_or(|(before, _)| *before < place);
    if newer || planted(Bug::LastArrivedHolds) {
        held.insert(key, (place, value));
    }
}

/// The product, if it is within what one event may count: then no sum of them overflows.
fn times(pages: u32, factor: usize) -> Option<u64> {
    let product = u64::from(pages).checked_mul(factor as u64)?;
    (product <= EVENT_COUNT_MAX).then_some(product)
}

/// Year × 12 + month − 1 in UTC. A time beyond the calendar counts as its last month.
fn month_of(at: Wall) -> u32 {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    let date = jiff::tz::Offset::UTC.to_datetime(time).date();
    u32::from(date.year().unsigned_abs()) * 12 + u32::from(date.month().unsigned_abs()) - 1
}

impl View for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 4;
    const CLASSES: &'static [LogClass] =
        &[LogClass::Ledger, LogClass::Public, LogClass::Accounts, LogClass::Device];

    fn fold(&mut self, origin: &Origin, record: &Record<'_>) {
        self.fold_record(origin, record, false);
    }

    fn archive(&self) -> Vec<u8> {
        super::snapshot::archive(self)
    }

    fn restore(archive: &[u8]) -> Option<Self> {
        super::snapshot::restore(archive)
    }

    fn to_base(&self) -> Vec<u8> {
        super::base::encode(self)
    }

    fn from_base(base: &[u8]) -> Result<Self, DecodeError> {
        super::base::decode(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::event::counts::{ColorMode, DocumentSent};
    use tallyroll_schema::{EpochId, JobId, LogId, Position};

    #[test]
    fn months_are_those_of_the_calendar() {
        assert_eq!(month_of(Wall(0)), 1970 * 12);
        assert_eq!(month_of(Wall(1_795_910_400_000)), 2026 * 12 + 10, "29 November 2026");
        assert_eq!(month_of(Wall(u64::MAX)), 9999 * 12 + 11);
    }

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
            charge: Charge { credits: Credits::ZERO, card: 1 },
            device: None,
        };
        let mut counts = Counts::default();
        counts.fold_event(&origin, Wall(0), sent(u32::MAX, 1).into(), false);
        counts.fold_event(&origin, Wall(0), sent(u32::MAX, 2).into(), false);
        let key = UsageKey { device, user, month: month_of(Wall(0)) };
        assert_eq!(counts.usage.get(&key).map(|usage| usage.sent), Some(EVENT_COUNT_MAX));
        assert_eq!(counts.misplaced(), 1);
    }
}
