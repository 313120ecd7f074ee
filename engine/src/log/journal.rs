//! The journal: committed records that are not sealed yet.
//!
//! Owns a preallocated, zero-filled file of entries; one entry is one commit and
//! costs one fdatasync. Invariant: an entry is written only when the one before
//! is durable, so the first invalid entry ends the journal, and a valid one
//! after it means that acknowledged bytes were damaged; an empty one, the mark,
//! follows the last for that. Entries of an earlier generation are sealed and
//! void. Bytes are drawn in `schema/FORMAT.md`.

use crate::planted::{Bug, planted};
use crate::{Error, Result};
use tallyroll_schema::DecodeError;
use tallyroll_schema::event::log::LogClass;

/// The file below a journal, so that a power cut can be simulated at every write.
pub trait JournalFile {
    /// Its length, bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> std::io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> std::io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// The system's, or fewer bytes than asked.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()>;

    /// Writes all of `bytes` at `offset`. Not durable before [`JournalFile::sync`].
    ///
    /// # Errors
    /// The system's.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()>;

    /// Makes every write so far durable.
    ///
    /// # Errors
    /// The system's; after one, nothing is known of what is durable.
    fn sync(&mut self) -> std::io::Result<()>;
}

/// The file's size, bytes: sixteen tails' worth, and room for the largest commit.
pub const JOURNAL_BYTES: usize = 1024 * 1024;
/// A commit's largest entry, bytes of content.
pub const ENTRY_BYTES_MAX: usize = 640 * 1024;
/// Of the file, kept for the ends of work that runs: where the store has no room, the journal
/// is not emptied, and this takes the ends of two thousand jobs.
pub const JOURNAL_RESERVE_BYTES: usize = 256 * 1024;

const MAGIC: [u8; 4] = *b"TRJ1";
const HEADER_LEN: usize = 40;
const CHECKED_LEN: usize = 24;
const SECTION_LEN: usize = 16;

/// Records of one log within an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Which of the device's two logs.
    pub class: LogClass,
    /// The first record's seq.
    pub first_seq: u64,
    /// Records, end to end.
    pub records: Vec<u8>,
}

/// An open journal, at its end.
#[derive(Debug)]
pub struct Journal<F> {
    file: F,
    key: [u8; 32],
    generation: u64,
    next_entry: u64,
    offset: usize,
}

impl<F: JournalFile> Journal<F> {
    /// Opens the file, preallocating it if it is new, and returns what the
    /// entries of `generation` hold, oldest first.
    ///
    /// What is replayed is written and synced again before anything is built on
    /// it: after a failed fsync the page cache may show bytes the disk never got.
    ///
    /// # Errors
    /// Storage failed, or damage within the acknowledged entries.
    pub fn open(mut file: F, key: [u8; 32], generation: u64) -> Result<(Self, Vec<Section>)> {
        let doing = "preparing the journal";
        if file.len().map_err(|error| Error::storage(doing, error))? < JOURNAL_BYTES as u64 {
            file.write_at(0, &vec![0; JOURNAL_BYTES])
                .and_then(|()| file.sync())
                .map_err(|error| Error::storage(doing, error))?;
        }
        let mut bytes = vec![0; JOURNAL_BYTES];
        let doing = "reading the journal";
        file.read_at(0, &mut bytes).map_err(|error| Error::storage(doing, error))?;

        let mut journal = Self { file, key, generation, next_entry: 0, offset: 0 };
        let (mut sections, mut ends_in_mark) = (Vec::new(), false);
        while let Some(payload) =
            journal.entry_at(&bytes, journal.offset, generation, journal.next_entry)
        {
            sections.extend(read_sections(payload).map_err(|why| Error::corrupt("journal", why))?);
            journal.offset += HEADER_LEN + payload.len();
            journal.next_entry += 1;
            ends_in_mark = payload.is_empty();
        }
        journal.refuse_entries_after_the_end(&bytes)?;
        if ends_in_mark {
            journal.offset -= HEADER_LEN; // the next entry is written over it
            journal.next_entry -= 1;
        }
        if let Some(replayed) = bytes.get(..journal.offset).filter(|bytes| !bytes.is_empty()) {
            journal.write(0, replayed)?;
            journal.mark();
        }
        Ok((journal, sections))
    }

    /// Whether an entry with so much content fits before the journal must be emptied; only
    /// ends of what runs may use the reserve.
    pub fn has_room(&self, content_len: usize, ends: bool) -> bool {
        let reserved = if ends { 0 } else { JOURNAL_RESERVE_BYTES };
        self.offset + HEADER_LEN + content_len + reserved <= JOURNAL_BYTES
    }

    /// What an entry with these sections takes, bytes of content.
    pub fn content_len(sections: &[Section]) -> usize {
        sections.iter().map(|section| SECTION_LEN + section.records.len()).sum()
    }

    /// Makes one commit durable.
    ///
    /// # Errors
    /// [`Error::Full`]: nothing was appended. After any other error the journal must not be used again.
    pub fn append(&mut self, sections: &[Section]) -> Result<()> {
        let content_len = Self::content_len(sections);
        assert!(self.has_room(content_len, true), "the journal is emptied before it is full");
        let mut content = Vec::with_capacity(content_len);
        for section in sections {
            let len = u32::try_from(section.records.len()).unwrap_or(u32::MAX);
            content.extend_from_slice(&[section.class as u8, 0, 0, 0]);
            content.extend_from_slice(&len.to_le_bytes());
            content.extend_from_slice(&section.first_seq.to_le_bytes());
            content.extend_from_slice(&section.records);
        }
        let entry = self.next_entry(&content);
        self.write(self.offset as u64, &entry)?;
        self.offset += entry.len();
        self.next_entry += 1;
        self.mark();
        Ok(())
    }

    /// Says behind the last entry, which is durable, that it is: were it damaged later, it could not be told
    /// from one whose write was cut short. It comes to the disk when the system likes, with the next
    /// entry in its place, or not at all.
    fn mark(&mut self) {
        if self.offset + HEADER_LEN <= JOURNAL_BYTES {
            let mark = self.next_entry(&[]);
            drop(self.file.write_at(self.offset as u64, &mark)); // half of one is none
        }
    }

    fn next_entry(&self, content: &[u8]) -> Vec<u8> {
        let mut entry = entry_header(content.len(), self.generation, self.next_entry);
        let checksum = checksum(&self.key, &entry, content);
        entry.extend_from_slice(&checksum);
        entry.extend_from_slice(content);
        entry
    }

    /// Forgets the entries: the store has them, and `generation`, durably.
    pub fn reset(&mut self, generation: u64) {
        assert!(generation > self.generation, "generations only grow");
        (self.generation, self.next_entry, self.offset) = (generation, 0, 0);
    }

    #[cfg(test)]
    pub(crate) fn file(&self) -> &F {
        &self.file
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let doing = "writing the journal";
        // What a write without room left behind is no entry, and written over by the next.
        self.file.write_at(offset, bytes).map_err(|source| Error::storage(doing, source))?;
        if planted(Bug::JournalUnsynced) {
            return Ok(());
        }
        self.file.sync().map_err(|source| Error::Storage { doing, source })
    }

    /// An entry is only written after the one before it is durable, and one of a later generation
    /// after the store has that generation. So either, after the end, means damage: before it, or
    /// to the store.
    fn refuse_entries_after_the_end(&self, bytes: &[u8]) -> Result<()> {
        let rest = bytes.get(self.offset..used_len(bytes)).unwrap_or_default();
        for (at, header) in rest.windows(CHECKED_LEN).enumerate() {
            if !header.starts_with(&MAGIC) {
                continue;
            }
            let found = (le_u64(header, 8), le_u64(header, 16));
            let later = found > (self.generation, self.next_entry);
            if later && self.entry_at(bytes, self.offset + at, found.0, found.1).is_some() {
                let (entry, offset) = (self.next_entry, self.offset);
                let why = if found.0 > self.generation {
                    "it goes on after a commit that the store has lost".into()
                } else {
                    let number = found.1;
                    format!(
                        "entry {entry} at byte {offset} does not verify, yet entry {number} after it does"
                    )
                };
                return Err(Error::corrupt("journal", why));
            }
        }
        Ok(())
    }

    /// The content of the entry at `offset`, if it is the one with this number.
    fn entry_at<'b>(
        &self,
        bytes: &'b [u8],
        offset: usize,
        generation: u64,
        number: u64,
    ) -> Option<&'b [u8]> {
        let (header, rest) = bytes.get(offset..)?.split_at_checked(HEADER_LEN)?;
        let (checked, sum) = header.split_at_checked(CHECKED_LEN)?;
        let len = u32::from_le_bytes(checked.get(4..8)?.try_into().ok()?) as usize;
        let content = rest.get(..len)?;
        let expected = entry_header(len, generation, number);
        let sound = sum == checksum(&self.key, checked, content) || planted(Bug::TornEntryAccepted);
        (checked == expected && sound).then_some(content)
    }
}

/// Where the zeros begin that were never written over: most of a journal, and quickly skipped.
fn used_len(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let used = bytes.chunks(ZEROS.len()).rposition(|chunk| !ZEROS.starts_with(chunk));
    used.map_or(0, |last| (last + 1) * ZEROS.len()).min(bytes.len())
}

fn entry_header(content_len: usize, generation: u64, number: u64) -> Vec<u8> {
    let len = u32::try_from(content_len).unwrap_or(u32::MAX);
    [&MAGIC[..], &len.to_le_bytes(), &generation.to_le_bytes(), &number.to_le_bytes()].concat()
}

/// Keyed, so that nobody's text can be made to look like an entry.
fn checksum(key: &[u8; 32], header: &[u8], content: &[u8]) -> [u8; HEADER_LEN - CHECKED_LEN] {
    let mut sum = [0; HEADER_LEN - CHECKED_LEN];
    blake3::Hasher::new_keyed(key).update(header).update(content).finalize_xof().fill(&mut sum);
    sum
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(field.unwrap_or_default())
}

fn read_sections(mut content: &[u8]) -> Result<Vec<Section>, DecodeError> {
    let mut sections = Vec::new();
    while let Some((header, rest)) = content.split_first_chunk::<SECTION_LEN>() {
        let [class, _, _, _, l0, l1, l2, l3, seq @ ..] = *header;
        let class = match class {
            0 => LogClass::Ledger,
            1 => LogClass::Telemetry,
            found => {
                let found = u64::from(found);
                return Err(DecodeError::Unknown { what: "journal section", found });
            }
        };
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let (records, rest) =
            rest.split_at_checked(len).ok_or(DecodeError::Truncated("journal section"))?;
        let first_seq = u64::from_le_bytes(seq);
        sections.push(Section { class, first_seq, records: records.to_vec() });
        content = rest;
    }
    if content.is_empty() { Ok(sections) } else { Err(DecodeError::Malformed("journal entry")) }
}

/// 32 bytes that no other call in this process gives.
#[cfg(test)]
pub(crate) fn test_entropy() -> [u8; 32] {
    use core::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    *blake3::hash(&CALLS.fetch_add(1, Ordering::Relaxed).to_le_bytes()).as_bytes()
}

#[cfg(test)]
mod tests;
