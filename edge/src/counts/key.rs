//! What makes reading a log again harmless: a line's key, and a job's.
//!
//! Owns [`LineKey`], which depends on nothing but the line's own bytes and on how many identical lines
//! stood before it in the file. So a file read twice, a copy, a grown one, a rotated one and one that
//! lost its head give the same keys. Invariant: a key is never new for a line that was counted before.
//! The price: where identical lines of one second are torn apart by a rotation, the second half counts
//! as already seen. Leaves remembering keys to the recorder.

use std::collections::{HashMap, VecDeque};

/// Identical lines carry the same time, so only lines of the last few times can have one to come.
const TIMES_MAX: usize = 16;
/// And so many lines in all; a second that prints more is cut off (towards "already seen").
const LINES_MAX: usize = 1 << 15;

/// Identifies a `page_log` line, wherever it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey(pub u64);

impl LineKey {
    /// The key of `line` (without its newline) when `occurrence` identical lines stood before it.
    ///
    /// The first 8 bytes, little-endian, of BLAKE3 in key derivation mode under the context
    /// `tallyroll page log line v1`, over the line and the occurrence as 4 little-endian bytes.
    #[must_use]
    pub fn of(line: &[u8], occurrence: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("tallyroll page log line v1");
        hasher.update(line).update(&occurrence.to_le_bytes());
        Self(first_bytes(&hasher))
    }
}

/// Identifies a job as far as a `page_log` can: queue, user, number and free text (title, host, billing).
/// Another job that is the same in all of these after the spool was cleared has the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub u64);

impl JobKey {
    /// BLAKE3 as for [`LineKey`], under `tallyroll page log job v1`, each text preceded by its length.
    #[must_use]
    pub fn of(printer: &[u8], user: &[u8], job_number: u32, free_text: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("tallyroll page log job v1");
        for text in [printer, user, free_text] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
        }
        hasher.update(&job_number.to_le_bytes());
        Self(first_bytes(&hasher))
    }
}

fn first_bytes(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Counts identical lines within one file. At most [`LINES_MAX`] lines are remembered (about 1 MiB).
#[derive(Debug, Default)]
pub struct Occurrences {
    times: VecDeque<(i64, HashMap<LineKey, u32>)>,
    lines: usize,
}

impl Occurrences {
    /// The key of the file's next line, which was printed at `printed_at`.
    pub fn key(&mut self, line: &[u8], printed_at: i64) -> LineKey {
        let first = LineKey::of(line, 0);
        self.make_room(printed_at);
        let at = self.position(printed_at);
        let Some((_, lines)) = self.times.get_mut(at) else {
            return first;
        };
        if let Some(seen) = lines.get_mut(&first) {
            let occurrence = *seen;
            *seen = seen.saturating_add(1);
            return LineKey::of(line, occurrence);
        }
        if self.lines < LINES_MAX {
            lines.insert(first, 1);
            self.lines += 1;
        }
        first
    }

    /// Where the lines of a time are kept.
    fn position(&mut self, printed_at: i64) -> usize {
        // The newest time is almost always the one asked for.
        if let Some(at) = self.times.iter().rposition(|(time, _)| *time == printed_at) {
            return at;
        }
        self.times.push_back((printed_at, HashMap::new()));
        self.times.len() - 1
    }

    /// Forgets the oldest times, but never the one that is being read.
    fn make_room(&mut self, printed_at: i64) {
        while self.times.len() > TIMES_MAX || self.lines >= LINES_MAX {
            match self.times.pop_front_if(|(time, _)| *time != printed_at) {
                Some((_, forgotten)) => self.lines -= forgotten.len(),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(lines: &[(&str, i64)]) -> Vec<LineKey> {
        let mut occurrences = Occurrences::default();
        lines.iter().map(|(line, time)| occurrences.key(line.as_bytes(), *time)).collect()
    }

    #[test]
    fn keys_are_frozen() {
        assert_eq!(LineKey::of(b"hall anna 1", 0).0, 9_419_125_677_919_746_126);
        assert_eq!(LineKey::of(b"hall anna 1", 1).0, 442_721_635_310_928_562);
        assert_eq!(JobKey::of(b"hall", b"anna", 1, b"report").0, 14_679_825_843_832_150_859);
    }

    #[test]
    fn identical_lines_have_their_own_keys() {
        let keys = keys(&[("a", 1), ("a", 1), ("b", 1), ("a", 1), ("b", 2)]);
        assert_eq!(keys[0], LineKey::of(b"a", 0));
        assert_eq!(keys[1], LineKey::of(b"a", 1));
        assert_eq!(keys[3], LineKey::of(b"a", 2));
        assert_eq!(keys[2], keys[4], "the line is what counts, and a line holds its time");
    }

    #[test]
    fn a_file_without_its_head_has_no_new_keys() {
        let lines = [("a", 1), ("a", 1), ("c", 2), ("c", 2), ("c", 2), ("d", 3)];
        let whole = keys(&lines);
        for cut in 0..lines.len() {
            assert!(keys(&lines[cut..]).iter().all(|key| whole.contains(key)), "cut at {cut}");
        }
    }

    #[test]
    fn memory_is_bounded_over_times_and_within_one() {
        let mut occurrences = Occurrences::default();
        for time in 0..100_000 {
            occurrences.key(time.to_string().as_bytes(), time);
        }
        assert!(occurrences.times.len() <= TIMES_MAX + 1 && occurrences.lines <= TIMES_MAX + 1);
        for line in 0..2 * LINES_MAX {
            occurrences.key(line.to_string().as_bytes(), 0);
        }
        assert!(occurrences.lines <= LINES_MAX);
        occurrences.key(b"next", 1);
        assert_eq!(occurrences.lines, 1, "a full table makes room for the next time");
    }
}
