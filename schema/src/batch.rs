//! A batch: the unit that is sealed, chained, stored, sent and proven, verbatim.
//!
//! Invariant: a batch's bytes are made once, when it is sealed. Its hash covers
//! the uncompressed records, so compression is no part of the proof. The
//! previous hash is implied by the place in the chain, not stored.
//! Compressing and decompressing are the engine's.

use crate::ids::{EpochId, Hash, LogId, TenantId};
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::{DecodeError, RecordHeader};

const MAGIC: [u8; 4] = *b"TRB1";

/// How a batch's records are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// One zstd frame.
    Zstd = 1,
}

/// What stands before a batch's payload, 80 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// How the payload is packed.
    pub compression: Compression,
    /// The shared dictionary used, 0 for none.
    pub dictionary: u8,
    /// The log.
    pub log: LogId,
    /// Its epoch.
    pub epoch: EpochId,
    /// The first record's seq.
    pub first_seq: u64,
    /// Records; at least one.
    pub count: u32,
    /// Bytes of records before compression.
    pub records_len: u32,
    /// Bytes of payload that follow.
    pub payload_len: u32,
}

impl BatchHeader {
    /// Its size, bytes.
    pub const LEN: usize = 80;

    /// The seq after the last record's.
    ///
    /// # Errors
    /// When it would be beyond 2⁶⁴.
    pub fn end_seq(&self) -> Result<u64, DecodeError> {
        self.first_seq
            .checked_add(u64::from(self.count))
            .ok_or(DecodeError::Malformed("batch: its last seq overflows"))
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut input = Input { rest: bytes };
        if input.take::<4>()? != MAGIC {
            return Err(DecodeError::Malformed("batch: wrong magic number"));
        }
        let [version, compression, dictionary, reserved] = input.take()?;
        known("batch format", version, version == 1)?;
        known("reserved byte of batch", reserved, reserved == 0)?;
        known("compression", compression, compression <= 1)?;
        let compression = if compression == 0 { Compression::None } else { Compression::Zstd };
        let log = LogId(input.take()?);
        let epoch = EpochId { counter: u32::from_le_bytes(input.take()?), nonce: input.take()? };
        let header = Self {
            compression,
            dictionary,
            log,
            epoch,
            first_seq: u64::from_le_bytes(input.take()?),
            count: u32::from_le_bytes(input.take()?),
            records_len: u32::from_le_bytes(input.take()?),
            payload_len: u32::from_le_bytes(input.take()?),
        };
        header.check()?;
        Ok((header, input.rest))
    }

    fn check(&self) -> Result<(), DecodeError> {
        within("batch's records", self.records_len.into(), BATCH_RECORDS_BYTES_MAX)?;
        within("batch's count", self.count.into(), BATCH_RECORDS_MAX)?;
        within("batch", Self::LEN as u64 + u64::from(self.payload_len), BATCH_BYTES_MAX)?;
        self.end_seq()?;
        if self.count == 0 {
            return Err(DecodeError::Malformed("batch: no records"));
        }
        if u64::from(self.records_len) < u64::from(self.count) * RecordHeader::LEN as u64 {
            return Err(DecodeError::Malformed("batch: more records than bytes for them"));
        }
        if self.compression == Compression::None && self.payload_len != self.records_len {
            return Err(DecodeError::Malformed("batch: plain payload of another length"));
        }
        if self.compression == Compression::None && self.dictionary != 0 {
            return Err(DecodeError::Malformed("batch: a dictionary, but no compression"));
        }
        Ok(())
    }
}

fn known(what: &'static str, found: u8, is_known: bool) -> Result<(), DecodeError> {
    if is_known { Ok(()) } else { Err(DecodeError::Unknown { what, found: u64::from(found) }) }
}

fn within(what: &'static str, found: u64, limit: u32) -> Result<(), DecodeError> {
    if found <= u64::from(limit) {
        return Ok(());
    }
    Err(DecodeError::Limit { what, found, limit: u64::from(limit) })
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(DecodeError::Truncated("batch header"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// A batch and the bytes it is: header, then payload, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Vec<u8>,
}

impl Batch {
    /// A new batch around a payload; fills in the payload's length.
    ///
    /// # Errors
    /// When the header is inconsistent or over a limit.
    pub fn encode(mut header: BatchHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        header.payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header.check()?;
        let mut bytes = Vec::with_capacity(BatchHeader::LEN + payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[1, header.compression as u8, header.dictionary, 0]);
        bytes.extend_from_slice(header.log.as_bytes());
        bytes.extend_from_slice(&header.epoch.counter.to_le_bytes());
        bytes.extend_from_slice(&header.epoch.nonce);
        bytes.extend_from_slice(&header.first_seq.to_le_bytes());
        bytes.extend_from_slice(&header.count.to_le_bytes());
        bytes.extend_from_slice(&header.records_len.to_le_bytes());
        bytes.extend_from_slice(&header.payload_len.to_le_bytes());
        bytes.extend_from_slice(payload);
        Ok(Self { header, bytes })
    }

    /// Takes bytes that are exactly one batch.
    ///
    /// # Errors
    /// When they are not, or a limit is passed. The payload is not looked at.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let (header, payload) = BatchHeader::decode(&bytes)?;
        if payload.len() != header.payload_len as usize {
            return Err(DecodeError::Malformed("batch: payload of another length than stated"));
        }
        Ok(Self { header, bytes })
    }

    /// What the batch says of itself.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records, packed.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(BatchHeader::LEN..).unwrap_or_default()
    }

    /// The whole batch, verbatim.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The chain's next value: BLAKE3 over domain, tenant, place, previous hash and
/// the uncompressed records. `previous` is [`Hash::ZERO`] at an epoch's start.
pub fn batch_hash(tenant: TenantId, header: &BatchHeader, previous: Hash, records: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"tallyroll batch v1");
    hasher.update(tenant.as_bytes());
    hasher.update(header.log.as_bytes());
    hasher.update(&header.epoch.counter.to_le_bytes());
    hasher.update(&header.epoch.nonce);
    hasher.update(&header.first_seq.to_le_bytes());
    hasher.update(&header.count.to_le_bytes());
    hasher.update(previous.as_bytes());
    hasher.update(records);
    Hash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(count: u32, records_len: u32) -> BatchHeader {
        BatchHeader {
            compression: Compression::None,
            dictionary: 0,
            log: LogId([7; 32]),
            epoch: EpochId { counter: 3, nonce: [9; 16] },
            first_seq: 100,
            count,
            records_len,
            payload_len: 0,
        }
    }

    #[test]
    fn reads_back_and_keeps_its_bytes() {
        let batch = Batch::encode(header(2, 48), &[5; 48]).expect("encodes");
        let again = Batch::decode(batch.bytes().to_vec()).expect("decodes");
        assert_eq!(again, batch);
        assert_eq!(again.header().end_seq(), Ok(102));
        assert_eq!(again.payload(), [5; 48]);
    }

    /// Found while drawing the paper: the header was not counted, so that the largest batch
    /// passed as one but was over the limit of its frame.
    #[test]
    fn the_largest_batch_is_that_with_its_header() {
        let packed = BatchHeader { compression: Compression::Zstd, ..header(2, 48) };
        let payload = vec![0; BATCH_BYTES_MAX as usize - BatchHeader::LEN + 1];
        assert!(Batch::encode(packed, &payload[1..]).is_ok());
        assert!(matches!(Batch::encode(packed, &payload), Err(DecodeError::Limit { .. })));
    }

    #[test]
    fn there_are_no_more_records_than_bytes_for_their_headers() {
        let bytes = [5; 3 * RecordHeader::LEN];
        assert!(Batch::encode(header(3, 72), &bytes).is_ok());
        let crowded = DecodeError::Malformed("batch: more records than bytes for them");
        assert_eq!(Batch::encode(header(4, 72), &bytes), Err(crowded));
    }

    #[test]
    fn a_dictionary_without_compression_is_refused() {
        let named = BatchHeader { dictionary: 1, ..header(2, 48) };
        assert!(Batch::encode(named, &[5; 48]).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_refused_or_names_another_place() {
        let batch = Batch::encode(header(2, 48), &[5; 48]).expect("encodes");
        for bit in 0..BatchHeader::LEN * 8 {
            let mut bytes = batch.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(changed) = Batch::decode(bytes) {
                assert_ne!(changed.header(), batch.header(), "bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>, valid_start: bool) {
            if valid_start {
                bytes.splice(0..bytes.len().min(8), *b"TRB1\x01\x00\x00\x00");
            }
            let _ = Batch::decode(bytes);
        }
    }
}
