//! A device's journal, replayed at its start.
//!
//! Invariant: a dressed journal has entries of the right generation, numbered from 0, with checksums
//! made by the device's own key; what their sections hold is hostile. The store below is as it was.

use super::decoder::Decoder;
use super::mutation::mutate;
use super::records::Bodies;
use crate::hostile::image::Image;
use crate::hostile::place::{TENANT, now, open_device};
use crate::hostile::shared::Shared;
use crate::sim::entropy::Entropy;
use tallyroll_engine::log::journal::{JOURNAL_BYTES, JournalFile};
use tallyroll_engine::store::rows::JournalState;
use tallyroll_engine::store::{MemoryStore, Rows};
use tallyroll_schema::LogId;

const PUBLIC_LOG: LogId = LogId([4; 32]);
const ANCHOR: u8 = 9;

/// The journal of a device that never sealed.
pub(super) struct JournalDecoder {
    store: MemoryStore,
    state: JournalState,
    bodies: Bodies,
}

impl JournalDecoder {
    pub(super) fn new() -> Self {
        let store = Shared::default();
        drop(open_device(PUBLIC_LOG, ANCHOR, Image::default(), store.clone()).expect("opens"));
        let store = store.copy();
        let state = Rows::new(TENANT, &store).get(&()).expect("reads").expect("is there");
        Self { store, state, bodies: Bodies::new() }
    }

    /// As `schema/FORMAT.md` draws it.
    fn entry(&self, number: u64, content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len()).expect("is small").to_le_bytes();
        let (generation, number) = (self.state.generation.to_le_bytes(), number.to_le_bytes());
        let header = [&b"TRJ1"[..], &len, &generation, &number].concat();
        let mut checksum = [0; 16];
        let mut hasher = blake3::Hasher::new_keyed(&self.state.key.0);
        hasher.update(&header).update(content).finalize_xof().fill(&mut checksum);
        [&header[..], &checksum, content].concat()
    }
}

fn section(class: u8, first_seq: u64, records: &[u8]) -> Vec<u8> {
    let len = u32::try_from(records.len()).expect("is small").to_le_bytes();
    [&[class, 0, 0, 0][..], &len, &first_seq.to_le_bytes(), records].concat()
}

impl Decoder for JournalDecoder {
    fn name(&self) -> &'static str {
        "journal"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut entropy = Entropy::new(0, 0, "valid journals");
        (0..20).map(|_| self.dressed(&mut entropy)).collect()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let (mut journal, mut next) = (Vec::new(), [1, 1]);
        for number in 0..entropy.between(1, 4) {
            let mut content = Vec::new();
            for _ in 0..entropy.between(1, 2) {
                let (class, count) = (entropy.index(2), entropy.between(1, 4));
                let records: Vec<u8> =
                    (0..count).flat_map(|_| self.bodies.record(entropy)).collect();
                content.extend(section(class as u8, next[class], &records));
                next[class] += count;
            }
            if entropy.percent(15) {
                content = mutate(entropy, &[content]);
            }
            journal.extend(self.entry(number, &content));
        }
        journal
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let device = open_device(PUBLIC_LOG, ANCHOR, Replayed(input), self.store.clone());
        let mut device = device.map_err(|why| why.to_string())?;
        let sealed = device.seal(now(500)).expect("what was replayed can be sealed");
        let counts = device.counts();
        let sound = counts.incomplete() == 0 && counts.misplaced() == 0;
        Ok(format!(
            "{} {}",
            if sealed { "records" } else { "nothing" },
            if sound { "sound" } else { "unsound" }
        ))
    }
}

/// A journal file that begins with these bytes. What is written to it is not looked at again.
struct Replayed<'a>(&'a [u8]);

impl JournalFile for Replayed<'_> {
    fn len(&self) -> std::io::Result<u64> {
        Ok(JOURNAL_BYTES as u64)
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        assert_eq!(offset, 0, "a journal is read at once");
        let held = self.0.get(..bytes.len()).unwrap_or(self.0);
        bytes[..held.len()].copy_from_slice(held);
        Ok(())
    }
    fn write_at(&mut self, _: u64, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
