//! The books: what was corrected, and which months are closed.
//!
//! Invariant: a correction is a sum beside what was granted and charged, neither of which it
//! touches; a closed month names the commit whose cut holds its figures, and of several decisions
//! about one month the last holds. What the figures are is left to [`super::month`].

use super::month::Month;
use super::state::Place;
use super::sum::CreditSum;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use tallyroll_schema::event::counts::{ChargeCorrected, PeriodClosed};
use tallyroll_schema::{CommitPosition, Position, SubjectId};

/// Corrections by subject, and closed months.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Books {
    #[n(0)]
    corrected: BTreeMap<SubjectId, CreditSum>,
    /// By month, with the place of the decision that holds.
    #[n(1)]
    closed: BTreeMap<u32, (Place, Option<CommitPosition>)>,
}

impl Books {
    /// What was given back to a subject, less what was taken; thousandths.
    pub fn corrected(&self, subject: SubjectId) -> i128 {
        self.corrected.get(&subject).map_or(0, |sum| sum.thousandths())
    }

    /// Who was ever corrected, and by how much.
    pub fn corrections(&self) -> impl Iterator<Item = (SubjectId, i128)> {
        self.corrected.iter().map(|(subject, sum)| (*subject, sum.thousandths()))
    }

    /// The commit whose cut a month's figures are, if it was closed at one.
    pub fn closed(&self, month: Month) -> Option<CommitPosition> {
        self.closed.get(&month.0).and_then(|(_, commit)| *commit)
    }

    /// Every closed month, and its commit.
    pub fn closed_months(&self) -> impl DoubleEndedIterator<Item = (Month, CommitPosition)> {
        self.closed.iter().filter_map(|(month, (_, commit))| Some((Month(*month), (*commit)?)))
    }

    pub(super) fn correct(&mut self, event: &ChargeCorrected) {
        let sum = self.corrected.entry(event.subject).or_default();
        let more = i128::from(event.credits.thousandths());
        *sum = CreditSum::from_thousandths(sum.thousandths() + more);
    }

    pub(super) fn close(&mut self, position: Position, event: &PeriodClosed) {
        let Some(month) = Month::of(event.year, event.month) else { return };
        let place = (position.epoch, position.seq);
        let held = self.closed.get(&month.0);
        if held.is_none_or(|(before, _)| *before < place) {
            self.closed.insert(month.0, (place, event.commit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{EpochId, LogId};

    #[test]
    fn the_last_decision_about_a_month_holds_in_whatever_order_they_come() {
        let position = |seq| {
            let epoch = EpochId { counter: 0, nonce: [1; 16] };
            Position { log: LogId([2; 32]), epoch, seq }
        };
        let closed = |index| PeriodClosed {
            year: 2026,
            month: 11,
            cut: Vec::new(),
            commit: Some(CommitPosition { epoch: 1, index }),
        };
        let november = Month::of(2026, 11).expect("is a month");
        for order in [[3, 4], [4, 3]] {
            let mut books = Books::default();
            for seq in order {
                books.close(position(seq), &closed(seq * 10));
            }
            books.close(position(4), &closed(7)); // one place holds one decision
            assert_eq!(books.closed(november).map(|commit| commit.index), Some(40), "{order:?}");
        }
    }
}
