//! Months: as they are written, when they begin, and what was booked in one.
//!
//! Invariant: the figures of a closed month are those of its cut, for ever. What comes of a closed
//! month after that is an adjustment, booked in the next open one with the month it is of, so that
//! the books of all months add up to everything counted. A month is UTC's.

use super::report::{Report, TotalsRow};
use super::state::Counts;
use super::usage::{Usage, UsageKey};
use crate::planted::{Bug, planted};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tallyroll_schema::Wall;

/// Year × 12 + month − 1. Text form: `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Month(pub u32);

/// A text is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no month; one is written as 2026-11")]
pub struct NoMonth(String);

impl Month {
    /// A month, 1 to 12, of a year.
    pub fn of(year: u16, month: u8) -> Option<Self> {
        let in_year = u32::from(month).checked_sub(1).filter(|month| *month < 12)?;
        Some(Self(u32::from(year) * 12 + in_year))
    }

    /// The month of a time.
    pub fn at(time: Wall) -> Self {
        Self(super::usage::month_of(time))
    }

    /// The year, and the month of it from 1 to 12.
    pub fn year_and_month(self) -> (u16, u8) {
        let year = u16::try_from(self.0 / 12).unwrap_or(u16::MAX);
        (year, u8::try_from(self.0 % 12 + 1).unwrap_or(1))
    }

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Its first millisecond.
    pub fn begins(self) -> Wall {
        let (year, month) = self.year_and_month();
        let year = i16::try_from(year).unwrap_or(i16::MAX).min(9999);
        let date = jiff::civil::Date::new(year, i8::try_from(month).unwrap_or(1), 1);
        let time = date.ok().and_then(|date| {
            jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()
        });
        let milliseconds = time.map_or(0, jiff::Timestamp::as_millisecond);
        Wall(u64::try_from(milliseconds).unwrap_or(0))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month) = self.year_and_month();
        f.pad(&format!("{year:04}-{month:02}"))
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let read = || {
            let (year, month) = text.split_once('-')?;
            let digits = |text: &str, many| {
                text.len() == many && text.bytes().all(|byte| byte.is_ascii_digit())
            };
            let written = digits(year, 4) && digits(month, 2);
            let year = year.parse().ok().filter(|year| written && *year >= 1970)?;
            Self::of(year, month.parse().ok()?)
        };
        read().ok_or_else(|| NoMonth(text.to_owned()))
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl TryFrom<String> for Month {
    type Error = NoMonth;

    fn try_from(text: String) -> Result<Self, NoMonth> {
        text.parse()
    }
}

impl Report<'_> {
    /// What is booked in a month: what was done in it, and, each with the month it is of, what came of
    /// closed months since `closed`: the last one before it, and the counts at that one's cut.
    pub fn booked_in(&self, month: Month, closed: Option<(Month, &Counts)>) -> Vec<TotalsRow> {
        let usage = &self.counts.usage;
        let of_month = usage.iter().filter(|(key, _)| key.month == month.0);
        let mut rows = self.rows_of(of_month.map(|(key, usage)| (*key, *usage)));
        let Some((last, before)) = closed.filter(|_| !planted(Bug::AdjustmentsDropped)) else {
            return rows;
        };
        let late: BTreeMap<UsageKey, Usage> = usage
            .iter()
            .filter(|(key, _)| key.month <= last.0)
            .map(|(key, now)| {
                let then = before.usage.get(key).copied().unwrap_or_default();
                (*key, now.less(&then))
            })
            .filter(|(_, late)| *late != Usage::default())
            .collect();
        let adjusted = self.rows_of(late.into_iter());
        rows.extend(adjusted.into_iter().map(|row| TotalsRow {
            adjusts: Some(row.month),
            month: month.to_string(),
            ..row
        }));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_reads_back_and_begins_where_it_does() {
        for (text, begins) in [("1970-01", 0), ("2026-11", 1_793_491_200_000)] {
            let month: Month = text.parse().unwrap();
            assert_eq!((month.to_string(), String::from(month)), (text.into(), text.into()));
            assert_eq!(month.begins(), Wall(begins));
            assert_eq!(Month::at(Wall(begins)), month);
            assert_eq!(Month::at(Wall(month.next().begins().0 - 1)), month);
        }
        for wrong in ["2026", "2026-13", "2026-00", "2026-1", "26-11", "+026-11", "1969-12", ""] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }
}
