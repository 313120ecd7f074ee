//! Sets of a document's pages.
//!
//! Owns their arithmetic. Invariant: ranges ascend and leave at least a page
//! between them, so that equal sets are equal bytes, and a set takes the room of
//! its ranges and not of its pages. Which pages an act says is checked here, too.

use minicbor::{Decode, Encode};
use tallyroll_schema::event::counts::PageRange;

/// Pages, from 1 on, as ranges: first and last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct PageSet(#[n(0)] Vec<(u32, u32)>);

impl PageSet {
    /// The pages an act names, or else the first ones; `None` unless they ascend, do not
    /// overlap, and are as many as it counts.
    pub(super) fn named(which: Option<&[PageRange]>, pages: u32) -> Option<Self> {
        let Some(which) = which else {
            let first = (pages > 0).then_some((1, pages));
            return Some(Self(first.into_iter().collect()));
        };
        let mut end = 0;
        for range in which {
            if range.first <= end || range.last < range.first {
                return None;
            }
            end = range.last;
        }
        let set = Self(which.iter().map(|range| (range.first, range.last)).collect());
        (set.count() == u64::from(pages)).then(|| set.union(&Self::default()))
    }

    /// How many pages.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// The pages in one of the two.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all = [&self.0[..], &other.0[..]].concat();
        all.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        merged.shrink_to_fit();
        Self(merged)
    }

    /// The pages in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let both = |(first, last): (u32, u32)| {
            let overlap = other.0.iter().map(move |range| (first.max(range.0), last.min(range.1)));
            overlap.filter(|(first, last)| first <= last)
        };
        Self(self.0.iter().copied().flat_map(both).collect())
    }

    /// The pages that are not in the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for (first, last) in &other.0 {
            left = left.into_iter().flat_map(|range| around(range, (*first, *last))).collect();
        }
        Self(left)
    }
}

/// What is left of a range before and after another.
fn around(range: (u32, u32), gap: (u32, u32)) -> impl Iterator<Item = (u32, u32)> {
    let before = (range.0, range.1.min(gap.0.saturating_sub(1)));
    let after = (range.0.max(gap.1.saturating_add(1)), range.1);
    let after = Some(after).filter(|_| gap.1 < range.1);
    let before = Some(before).filter(|_| gap.0 > range.0);
    before.into_iter().chain(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(pages: &BTreeSet<u32>) -> PageSet {
        let one = |set: PageSet, page: &u32| set.union(&PageSet(vec![(*page, *page)]));
        pages.iter().fold(PageSet::default(), one)
    }

    proptest! {
        #[test]
        fn sets_are_sets(
            a in proptest::collection::btree_set(1u32..20, 0..12),
            b in proptest::collection::btree_set(1u32..20, 0..12),
        ) {
            let (left, right) = (set(&a), set(&b));
            prop_assert_eq!(left.union(&right), set(&a.union(&b).copied().collect()));
            prop_assert_eq!(left.intersection(&right), set(&a.intersection(&b).copied().collect()));
            prop_assert_eq!(left.without(&right), set(&a.difference(&b).copied().collect()));
            prop_assert_eq!(left.count(), a.len() as u64);
        }
    }

    #[test]
    fn what_is_named_ascends_and_adds_up() {
        let named = |ranges: &[(u32, u32)], pages| {
            let ranges: Vec<_> = ranges
                .iter()
                .map(|(first, last)| PageRange { first: *first, last: *last })
                .collect();
            PageSet::named(Some(&ranges), pages)
        };
        assert_eq!(PageSet::named(None, 3), Some(PageSet(vec![(1, 3)])));
        assert_eq!(PageSet::named(None, 0), Some(PageSet::default()));
        assert_eq!(named(&[(1, 2), (3, 3), (7, 7)], 4), Some(PageSet(vec![(1, 3), (7, 7)])));
        assert_eq!(named(&[(1, u32::MAX)], u32::MAX).map(|set| set.count()), Some(u32::MAX.into()));
        for wrong in [&[(0, 3)][..], &[(2, 1)], &[(1, 2), (2, 3)], &[(5, 6), (1, 2)], &[(1, 2)]] {
            assert_eq!(named(wrong, 4), None, "{wrong:?}");
        }
    }
}
