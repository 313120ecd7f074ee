//! Names on their way to the cloud: each once in a session, a message of them at a time.
//!
//! Invariant: what is under way is bounded, however many names there are and however often they
//! are offered; the rest waits here until the cloud has stored what it was sent.

use std::collections::{BTreeSet, VecDeque};
use tallyroll_schema::UserAlias;
use tallyroll_schema::limits::DIRECTORY_ENTRIES_MAX;
use tallyroll_schema::wire::DirectoryEntry;

#[derive(Debug, Default)]
pub(super) struct Names {
    offered: BTreeSet<UserAlias>,
    waiting: VecDeque<DirectoryEntry>,
    under_way: usize,
}

impl Names {
    /// Takes up names that were not offered before.
    pub(super) fn offer(&mut self, entries: Vec<DirectoryEntry>) {
        let offered = &mut self.offered;
        self.waiting.extend(entries.into_iter().filter(|entry| offered.insert(entry.alias)));
    }

    /// The next message, if none is under way.
    pub(super) fn next(&mut self) -> Option<Vec<DirectoryEntry>> {
        if self.under_way > 0 || self.waiting.is_empty() {
            return None;
        }
        let count = self.waiting.len().min(DIRECTORY_ENTRIES_MAX / 2);
        self.under_way = count;
        Some(self.waiting.drain(..count).collect())
    }

    /// Whether some are on their way, or wait for it.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way > 0 || !self.waiting.is_empty()
    }

    /// The cloud has stored so many.
    pub(super) fn stored(&mut self, count: usize) {
        self.under_way = self.under_way.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u16) -> DirectoryEntry {
        let [high, low] = number.to_be_bytes();
        let alias = UserAlias([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        DirectoryEntry { alias, sealed: vec![1] }
    }

    #[test]
    fn they_are_under_way_from_their_offer_until_the_last_is_stored() {
        let mut names = Names::default();
        assert!(!names.is_under_way(), "none was offered");
        names.offer(vec![entry(1)]);
        assert!(names.is_under_way(), "it waits");
        assert_eq!(names.next().map(|message| message.len()), Some(1));
        assert!(names.is_under_way(), "it was sent");
        names.stored(1);
        assert!(!names.is_under_way());
    }

    #[test]
    fn each_name_goes_once_and_a_message_at_a_time() {
        let (mut names, mut sent) = (Names::default(), Vec::new());
        let mut messages = 0;
        for round in 0..10 {
            names.offer((0..100 * (round + 1)).map(entry).collect());
            if let Some(message) = names.next() {
                assert!(message.len() <= DIRECTORY_ENTRIES_MAX / 2);
                assert_eq!(names.next(), None, "one is under way");
                names.stored(message.len());
                sent.extend(message.into_iter().map(|entry| entry.alias));
                messages += 1;
            }
        }
        while let Some(message) = names.next() {
            names.stored(message.len());
            sent.extend(message.into_iter().map(|entry| entry.alias));
            messages += 1;
        }
        let all: Vec<UserAlias> = (0..1000).map(|number| entry(number).alias).collect();
        assert_eq!((sent, messages), (all, 1000_usize.div_ceil(DIRECTORY_ENTRIES_MAX / 2)));
    }
}
