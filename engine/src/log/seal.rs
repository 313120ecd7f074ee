//! Sealing records into a batch, and opening one again.
//!
//! Invariant: opening allocates no more than the limit, whatever the batch
//! claims, and returns exactly the stated number of well-framed records.
//! Compression is no part of the proof: the chain covers the records themselves.

use crate::planted::{Bug, planted};
use crate::{Error, Result as EngineResult};
use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use tallyroll_schema::limits::BATCH_RECORDS_BYTES_MAX;
use tallyroll_schema::{Batch, BatchHeader, Compression, DecodeError, EpochId, LogId, Records};
use zstd::bulk::Decompressor;

const ZSTD_LEVEL: i32 = 3;

/// A batch with its records uncompressed.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The batch.
    pub batch: Batch,
    /// Its records, end to end.
    pub records: Vec<u8>,
}

/// A batch that opened once: its records are here still, or unpacked again when they are wanted.
#[derive(Debug, Clone)]
pub enum Checked {
    /// There was room for them.
    Kept(Opened),
    /// There was none.
    Packed(Batch),
}

impl From<Opened> for Checked {
    fn from(opened: Opened) -> Self {
        Self::Kept(opened)
    }
}

impl Checked {
    /// Has its records still if there is room for them, bytes, which they take.
    #[must_use]
    pub fn within(self, room: &mut usize) -> Self {
        match (room.checked_sub(self.kept_len()), self) {
            (Some(left), checked) => {
                *room = left;
                checked
            }
            (None, Self::Kept(Opened { batch, .. }) | Self::Packed(batch)) => Self::Packed(batch),
        }
    }

    /// What its records take now, bytes.
    pub fn kept_len(&self) -> usize {
        match self {
            Self::Kept(opened) => opened.records.len(),
            Self::Packed(_) => 0,
        }
    }

    /// The batch.
    pub fn batch(&self) -> &Batch {
        match self {
            Self::Kept(Opened { batch, .. }) | Self::Packed(batch) => batch,
        }
    }

    /// The batch and its records.
    ///
    /// # Errors
    /// Never: it opened before.
    pub fn opened(&self) -> EngineResult<Cow<'_, Opened>> {
        match self {
            Self::Kept(opened) => Ok(Cow::Borrowed(opened)),
            Self::Packed(batch) => match open(batch.clone()) {
                Ok(opened) => Ok(Cow::Owned(opened)),
                Err(why) => Err(Error::corrupt("batch", why)),
            },
        }
    }
}

/// Makes a batch of `count` records; compressed when that is smaller.
///
/// # Errors
/// When a limit is passed or compression fails.
pub fn seal(
    log: LogId,
    epoch: EpochId,
    first_seq: u64,
    count: u32,
    records: &[u8],
) -> Result<Batch, DecodeError> {
    let records_len = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let compressed = zstd::bulk::compress(records, ZSTD_LEVEL)
        .map_err(|_| DecodeError::Malformed("records: they do not compress"))?;
    let (compression, payload) = if compressed.len() < records.len() {
        (Compression::Zstd, &*compressed)
    } else {
        (Compression::None, records)
    };
    let dictionary = 0;
    let payload_len = 0; // filled in by `encode`
    let header = BatchHeader {
        compression,
        dictionary,
        log,
        epoch,
        first_seq,
        count,
        records_len,
        payload_len,
    };
    Batch::encode(header, payload)
}

/// Uncompresses a batch and checks its records' framing.
///
/// # Errors
/// When it is not what its header says.
pub fn open(batch: Batch) -> Result<Opened, DecodeError> {
    let header = batch.header();
    if header.dictionary != 0 {
        let found = u64::from(header.dictionary);
        return Err(DecodeError::Unknown { what: "compression dictionary", found });
    }
    let stated = header.records_len.min(BATCH_RECORDS_BYTES_MAX) as usize;
    let records = match header.compression {
        Compression::None => batch.payload().to_vec(),
        Compression::Zstd => decompress(batch.payload(), stated)
            .map_err(|_| DecodeError::Malformed("batch: it does not uncompress to its length"))?,
    };
    if records.len() != stated && !planted(Bug::CompressedLengthTrusted) {
        return Err(DecodeError::Malformed("batch: it uncompresses to another length"));
    }
    let mut count: u32 = 0;
    for record in Records::new(&records) {
        record?;
        count += 1;
    }
    if count != header.count && !planted(Bug::RecordCountTrusted) {
        return Err(DecodeError::Malformed("batch: another number of records than stated"));
    }
    Ok(Opened { batch, records })
}

fn decompress(payload: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    thread_local! {
        /// Kept, as it holds nothing from one frame to the next: a new one asks the processor what it
        /// can do, and a virtual machine answers that slower than a small batch uncompresses.
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(decompressor) => decompressor.decompress(payload, bytes_max),
        None => kept.insert(Decompressor::new()?).decompress(payload, bytes_max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::event::alerts::HeartbeatSent;
    use tallyroll_schema::{Event, Record, Timestamp};

    fn heartbeat() -> Vec<u8> {
        let event = Event::from(HeartbeatSent { uptime_seconds: 1 });
        Record::encode(&event, Timestamp::default()).expect("encodes")
    }

    fn sealed(count: u32, records: &[u8]) -> Batch {
        let epoch = EpochId { counter: 0, nonce: [2; 16] };
        seal(LogId([1; 32]), epoch, 0, count, records).expect("seals")
    }

    #[test]
    fn opens_to_what_was_sealed() {
        for count in [1, 100] {
            let records = heartbeat().repeat(count as usize);
            let opened = open(sealed(count, &records)).expect("opens");
            assert_eq!(opened.records, records);
        }
    }

    #[test]
    fn a_bomb_is_refused_within_the_limit() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).expect("compresses");
        let records = heartbeat().repeat(100);
        let honest = sealed(100, &records);
        let lying = Batch::encode(*honest.header(), &bomb).expect("encodes");
        assert!(open(lying).is_err());
    }

    #[test]
    fn what_was_checked_has_its_records_whether_there_was_room_or_not() {
        let records = heartbeat().repeat(100);
        let mut room = 2 * records.len() + 1;
        let opened = || open(sealed(100, &records)).expect("opens");
        let checked: Vec<_> = (0..3).map(|_| Checked::from(opened()).within(&mut room)).collect();
        assert_eq!(room, 1);
        let len = records.len();
        assert_eq!(checked.iter().map(Checked::kept_len).collect::<Vec<_>>(), [len, len, 0]);
        for checked in checked {
            assert_eq!(checked.opened().expect("opens again").records, records);
            assert_eq!(checked.within(&mut room).kept_len(), 0);
        }
    }

    #[test]
    fn a_wrong_count_is_refused() {
        assert!(open(sealed(99, &heartbeat().repeat(100))).is_err());
    }
}
