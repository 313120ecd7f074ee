//! The cloud's numbering of accepted batches. Key: commit epoch, index.
//!
//! Invariant: indexes are gap-free from 1 within a commit epoch, and the rows up
//! to one are a cut: every log is in them as a prefix. The receive time is the
//! cloud's clock, outside all signed bytes; no view reads it.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{CommitPosition, EpochId, LogId, Wall};

/// An accepted batch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CommitRow {
    /// Its log.
    #[n(0)]
    pub log: LogId,
    /// Its epoch.
    #[n(1)]
    pub epoch: EpochId,
    /// Its first seq, which finds it.
    #[n(2)]
    pub first_seq: u64,
    /// The seq after its last.
    #[n(3)]
    pub end_seq: u64,
    /// When the cloud accepted it.
    #[n(4)]
    pub received_at: Wall,
}

cbor_row!(CommitRow, Commit, CommitPosition, |position| {
    [&position.epoch.to_be_bytes()[..], &position.index.to_be_bytes()].concat()
});

impl CommitRow {
    /// Reads a key back.
    pub fn position(key: &[u8]) -> Option<CommitPosition> {
        let (epoch, index) = key.split_first_chunk()?;
        let index = u64::from_be_bytes(index.try_into().ok()?);
        Some(CommitPosition { epoch: u32::from_be_bytes(*epoch), index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Row;

    #[test]
    fn reads_back() {
        let epoch = EpochId { counter: 0, nonce: [2; 16] };
        let (log, received_at) = (LogId([1; 32]), Wall(9));
        super::super::assert_reads_back(&CommitRow {
            log,
            epoch,
            first_seq: 3,
            end_seq: 5,
            received_at,
        });
        let position = CommitPosition { epoch: 1, index: 77 };
        assert_eq!(CommitRow::position(&CommitRow::key(&position)), Some(position));
    }
}
