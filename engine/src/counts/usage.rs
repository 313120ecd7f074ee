//! What was used: by whom, where, in which month.
//!
//! Invariant: impressions, sheets and pages are three things and never added up;
//! every figure is a sum, so the order of arrival has no part in it. What is
//! charged and held of a job follows from the job, see [`super::job`].

use tallyroll_schema::{DeviceId, UserAlias, Wall};

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
    /// Charged and settled, in thousandths of a credit.
    pub charged: i128,
    /// Of that, by events recorded again after a copy was found: no lease backed them.
    pub unbacked: i128,
    /// Provisionally charged, by jobs that are not decided yet.
    pub held: i128,
}

/// How many figures a line has.
pub(super) const FIGURES: usize = 9;

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
        self.held += other.held;
    }
}

impl Usage {
    /// Each figure, in the order of the fields.
    pub(super) fn figures(&self) -> [i128; FIGURES] {
        let counts =
            [self.impressions, self.sheets, self.captured, self.converted, self.sent, self.saved];
        let [impressions, sheets, captured, converted, sent, saved] = counts.map(i128::from);
        let (charged, unbacked, held) = (self.charged, self.unbacked, self.held);
        [impressions, sheets, captured, converted, sent, saved, charged, unbacked, held]
    }

    /// The same back from its figures.
    pub(super) fn of_figures(figures: [i128; FIGURES]) -> Self {
        let [counts @ .., charged, unbacked, held] = figures;
        let [impressions, sheets, captured, converted, sent, saved] =
            counts.map(|count| u64::try_from(count).unwrap_or_default());
        Self { impressions, sheets, captured, converted, sent, saved, charged, unbacked, held }
    }

    /// What these are more than others were. Counts only grow; what is charged may also shrink.
    #[must_use]
    pub(super) fn less(&self, then: &Self) -> Self {
        Self {
            impressions: self.impressions.saturating_sub(then.impressions),
            sheets: self.sheets.saturating_sub(then.sheets),
            captured: self.captured.saturating_sub(then.captured),
            converted: self.converted.saturating_sub(then.converted),
            sent: self.sent.saturating_sub(then.sent),
            saved: self.saved.saturating_sub(then.saved),
            charged: self.charged - then.charged,
            unbacked: self.unbacked - then.unbacked,
            held: self.held - then.held,
        }
    }
}

/// Year × 12 + month − 1 in UTC. A time beyond the calendar counts as its last month.
pub fn month_of(at: Wall) -> u32 {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    let date = jiff::tz::Offset::UTC.to_datetime(time).date();
    u32::from(date.year().unsigned_abs()) * 12 + u32::from(date.month().unsigned_abs()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        assert_eq!(month_of(Wall(0)), 1970 * 12);
        assert_eq!(month_of(Wall(1_795_910_400_000)), 2026 * 12 + 10, "29 November 2026");
        assert_eq!(month_of(Wall(u64::MAX)), 9999 * 12 + 11);
    }

    fn all(count: u64, amount: i128) -> Usage {
        Usage {
            impressions: count,
            sheets: count + 1,
            captured: count + 2,
            converted: count + 3,
            sent: count + 4,
            saved: count + 5,
            charged: amount,
            unbacked: amount + 1,
            held: amount + 2,
        }
    }

    #[test]
    fn figures_come_back_each_in_its_place() {
        assert_eq!(Usage::of_figures(all(10, -20).figures()), all(10, -20));
        assert_eq!(all(10, -20).figures(), [10, 11, 12, 13, 14, 15, -20, -19, -18]);
    }

    #[test]
    fn figures_are_added_and_taken_away_each_by_itself() {
        let mut sum = all(10, -20);
        sum.add(&all(3, 50));
        let both = Usage {
            impressions: 13,
            sheets: 15,
            captured: 17,
            converted: 19,
            sent: 21,
            saved: 23,
            charged: 30,
            unbacked: 32,
            held: 34,
        };
        assert_eq!(sum, both);
        assert_eq!(sum.less(&all(3, 50)), all(10, -20));
        let fewer = Usage::default().less(&all(3, 50));
        assert_eq!((fewer.impressions, fewer.charged), (0, -50), "counts only grow");
    }
}
