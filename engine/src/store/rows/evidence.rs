//! A batch of a history that was set aside. Key: log, epoch, which
//! divergence, first seq.
//!
//! Invariant: its bytes are those that were sealed, chained as they were; nothing
//! is ever deleted from here. What of our own is not in the accepted history is
//! recorded again in a later epoch.

use super::{BatchRow, epoch_key};
use crate::store::{Row, Table};
use tallyroll_schema::{DecodeError, EpochId, LogId};

/// A batch set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRow(pub BatchRow);

impl Row for EvidenceRow {
    const TABLE: Table = Table::Evidence;
    type Key = (LogId, EpochId, u32, u64);

    fn key((log, epoch, divergence, first_seq): &Self::Key) -> Vec<u8> {
        let mut key = divergence_key(*log, *epoch, *divergence);
        key.extend_from_slice(&first_seq.to_be_bytes());
        key
    }

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        BatchRow::decode(bytes).map(Self)
    }
}

/// All evidence of one divergence as a key prefix, 56 bytes.
pub fn divergence_key(log: LogId, epoch: EpochId, divergence: u32) -> Vec<u8> {
    let mut key = epoch_key(log, epoch);
    key.extend_from_slice(&divergence.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{BatchHeader, Compression, Hash};

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
        let batch = tallyroll_schema::Batch::encode(header, &[0; 24]).expect("encodes");
        let row = EvidenceRow(BatchRow { hash: Hash([4; 32]), batch });
        super::super::assert_reads_back(&row);
    }
}
