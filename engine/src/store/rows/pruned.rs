//! What an epoch of our own had and was pruned here. Key: log, epoch.
//!
//! Invariant: written in the commit that deletes the batches. What lies before `next_seq`, but for
//! the epoch's first batch, is gone here; the cloud receipted it, so it has it.

use super::{cbor_row, epoch_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, Hash, LogId, Wall};

/// How far an epoch is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PrunedRow {
    /// The first seq that is kept after the first batch.
    #[n(0)]
    pub next_seq: u64,
    /// The chain's value before it.
    #[n(1)]
    pub hash: Hash,
    /// Events pruned.
    #[n(2)]
    pub events: u64,
    /// Bytes their batches took.
    #[n(3)]
    pub bytes: u64,
    /// The time of the newest of them, by the device's raw clock.
    #[n(4)]
    pub newest: Wall,
}

impl PrunedRow {
    /// Whether what stood at a seq was pruned.
    pub fn covers(&self, seq: u64) -> bool {
        seq < self.next_seq && seq.saturating_add(self.events) >= self.next_seq
    }
}

cbor_row!(PrunedRow, Pruned, (LogId, EpochId), |(log, epoch)| epoch_key(*log, *epoch));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_the_first_batch_is_not_pruned() {
        let (hash, newest) = (Hash([3; 32]), Wall(5));
        let row = PrunedRow { next_seq: 9, hash, events: 8, bytes: 100, newest };
        super::super::assert_reads_back(&row);
        assert_eq!([0, 1, 8, 9].map(|seq| row.covers(seq)), [false, true, true, false]);
    }
}
