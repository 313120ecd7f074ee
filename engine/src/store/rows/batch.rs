//! A batch, verbatim, after the chain's value at its end.
//!
//! Invariant: the batch's bytes are those that were sealed or received; the hash
//! before them is what the chain gives there, so that a peer's head can be
//! checked without reading the log. Key: log, epoch, first seq.
//! Value: 32 bytes of hash ‖ the batch.

use super::seq_key;
use crate::store::{Row, Table};
use tallyroll_schema::{Batch, DecodeError, EpochId, Hash, LogId};

/// A stored batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// The chain's value after the batch.
    pub hash: Hash,
    /// The batch.
    pub batch: Batch,
}

impl Row for BatchRow {
    const TABLE: Table = Table::Batch;
    type Key = (LogId, EpochId, u64);

    fn key((log, epoch, first_seq): &Self::Key) -> Vec<u8> {
        seq_key(*log, *epoch, *first_seq)
    }

    fn encode(&self) -> Vec<u8> {
        [self.hash.as_bytes(), self.batch.bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (hash, batch) = bytes.split_first_chunk().ok_or(DecodeError::Truncated("batch row"))?;
        Ok(Self { hash: Hash(*hash), batch: Batch::decode(batch.to_vec())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{BatchHeader, Compression};

    #[test]
    fn reads_back() {
        let header = BatchHeader {
            compression: Compression::None,
            dictionary: 0,
            log: LogId([1; 32]),
            epoch: EpochId { counter: 0, nonce: [2; 16] },
            first_seq: 3,
            count: 1,
            records_len: 24,
            payload_len: 0,
        };
        let batch = Batch::encode(header, &[0; 24]).expect("encodes");
        super::super::assert_reads_back(&BatchRow { hash: Hash([4; 32]), batch });
    }
}
