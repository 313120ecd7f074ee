//! The journal file, byte by byte: what a cut, a flip or a lost write leaves of it.
//!
//! Invariant: what was acknowledged is read back, in order, or the journal is refused; a tail that was
//! never acknowledged is cut away without a word.

use super::*;
use crate::log::MemoryFile;

const KEY: [u8; 32] = [7; 32];

fn section(first_seq: u64, len: usize) -> Section {
    Section { class: LogClass::Ledger, first_seq, records: vec![first_seq as u8 + 1; len] }
}

fn journal_of(entries: u64) -> MemoryFile {
    let (mut journal, _) = Journal::open(MemoryFile::default(), KEY, 1).expect("opens");
    for seq in 0..entries {
        journal.append(&[section(seq, 50)]).expect("appends");
    }
    journal.file
}

#[test]
fn replays_what_was_appended_and_nothing_of_an_older_generation() {
    let (mut journal, sections) = Journal::open(journal_of(3), KEY, 1).expect("opens");
    assert_eq!(sections, [section(0, 50), section(1, 50), section(2, 50)]);
    journal.append(&[section(3, 50)]).expect("appends");
    let (mut journal, sections) = Journal::open(journal.file, KEY, 2).expect("opens");
    assert_eq!(sections, []);
    journal.append(&[section(4, 10)]).expect("appends");
    assert_eq!(Journal::open(journal.file, KEY, 2).expect("opens").1, [section(4, 10)]);
}

#[test]
fn an_older_store_than_the_journal_is_reported() {
    let (mut journal, _) = Journal::open(journal_of(3), KEY, 1).expect("opens");
    journal.reset(2);
    journal.append(&[section(3, 50)]).expect("appends");
    let error = Journal::open(journal.file, KEY, 1).expect_err("is refused");
    assert!(error.to_string().contains("a commit that the store has lost"), "{error}");
}

/// A user's text lay in an old entry and read like a later one; the device did not start.
#[test]
fn a_text_that_looks_like_an_entry_is_none() {
    let (mut forger, _) = Journal::open(MemoryFile::default(), [0; 32], 2).expect("opens");
    for seq in 0..3 {
        forger.append(&[section(seq, 50)]).expect("appends");
    }
    let forged = forger.file.0[..3 * (HEADER_LEN + SECTION_LEN + 50)].to_vec();
    let (mut journal, _) = Journal::open(MemoryFile::default(), KEY, 1).expect("opens");
    let text = Section { class: LogClass::Ledger, first_seq: 0, records: forged };
    journal.append(&[text]).expect("appends");
    assert_eq!(Journal::open(journal.file, KEY, 2).expect("opens").1, []);
}

#[test]
fn every_flipped_bit_is_reported_but_for_the_mark_s_own() {
    let file = journal_of(3);
    let end = 3 * (HEADER_LEN + SECTION_LEN + 50);
    for bit in 0..(end + HEADER_LEN) * 8 {
        let mut changed = file.clone();
        changed.0[bit / 8] ^= 1 << (bit % 8);
        match Journal::open(changed, KEY, 1) {
            Ok((_, sections)) => assert!(bit / 8 >= end && sections.len() == 3, "bit {bit}"),
            Err(error) => {
                let told = error.to_string().contains("yet entry ");
                assert!(bit / 8 < end && told, "bit {bit}: {error}");
            }
        }
    }
}

/// Without the mark, which the system had not written yet when the power went, the last entry may be one that
/// was never acknowledged; whatever came of the next one's write, what is before it holds.
#[test]
fn a_write_that_was_cut_short_is_no_damage() {
    let (two, three) = (journal_of(2).0, journal_of(3).0);
    let (begin, end) = (2 * (HEADER_LEN + SECTION_LEN + 50), 3 * (HEADER_LEN + SECTION_LEN + 50));
    for cut in begin..=end {
        for rest in [&two, &vec![0; JOURNAL_BYTES]] {
            let mut torn = three[..cut].to_vec();
            torn.extend_from_slice(&rest[cut..]);
            let (journal, sections) = Journal::open(MemoryFile(torn), KEY, 1).expect("opens");
            assert_eq!(sections.len(), if cut == end { 3 } else { 2 }, "cut at {cut}");
            let again = Journal::open(journal.file, KEY, 1).expect("opens again");
            assert_eq!(again.1, sections, "cut at {cut}");
        }
    }
}

#[test]
fn the_next_entry_is_written_over_the_mark() {
    let (mut journal, _) = Journal::open(journal_of(2), KEY, 1).expect("opens");
    journal.append(&[section(2, 50)]).expect("appends");
    assert_eq!(journal.file.0, journal_of(3).0);
}

/// Its last bytes are looked at too, though most journals hold nothing there.
#[test]
fn damage_is_found_in_a_journal_that_is_full() {
    let (mut journal, _) = Journal::open(MemoryFile::default(), KEY, 1).expect("opens");
    let entry = [section(1, 1000), section(2, 10)];
    assert_eq!(Journal::<MemoryFile>::content_len(&entry), 2 * SECTION_LEN + 1010);
    let len = Journal::<MemoryFile>::content_len(&entry);
    while journal.has_room(len, true) {
        journal.append(&entry).expect("appends");
    }
    assert!(journal.offset > JOURNAL_BYTES - HEADER_LEN - len && journal.offset <= JOURNAL_BYTES);
    assert_eq!(journal.file.0.len(), JOURNAL_BYTES);
    let mut file = journal.file;
    file.0[JOURNAL_BYTES / 2] ^= 1;
    Journal::open(file, KEY, 1).expect_err("what is acknowledged is damaged");
}

/// What it was told to write, and whether that was synced.
#[derive(Default)]
struct Watched(MemoryFile, Vec<Option<(u64, usize)>>);

impl JournalFile for Watched {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.1.push(Some((offset, bytes.len())));
        self.0.write_at(offset, bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.1.push(None);
        Ok(())
    }
}

#[test]
fn what_is_replayed_is_made_durable_again() {
    let len = 2 * (HEADER_LEN + SECTION_LEN + 50);
    let mark = Some((len as u64, HEADER_LEN)); // not synced
    for (entries, done) in [(2, vec![Some((0, len)), None, mark]), (0, vec![])] {
        let file = Watched(journal_of(entries), Vec::new());
        let (journal, _) = Journal::open(file, KEY, 1).expect("opens");
        assert_eq!(journal.file.1, done);
    }
}
