//! That an epoch was another history here than at the cloud. Key: log, epoch.
//!
//! Invariant: written in the commit that sets this history aside. Of our own it is pending until the
//! accepted one was taken in and the commit that records again what that one lacks.

use super::{cbor_row, epoch_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, Head, LogId};

/// The newest divergence of an epoch, of ours or of the cloud's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DivergenceRow {
    /// Which of the epoch's divergences, from 0.
    #[n(0)]
    pub number: u32,
    /// The first seq that was set aside.
    #[n(1)]
    pub from: u64,
    /// Where the history that was set aside ended; none when there was nothing.
    #[n(2)]
    pub divergent: Option<Head>,
    /// Whether the accepted history is still to be taken in.
    #[n(3)]
    pub pending: bool,
    /// Events recorded again.
    #[n(4)]
    pub resubmitted: u64,
    /// How many of those before it are recorded again together with it: while each was pending, the next came.
    #[n(5)]
    #[cbor(default)]
    pub earlier: u32,
}

cbor_row!(DivergenceRow, Divergence, (LogId, EpochId), |(log, epoch)| epoch_key(*log, *epoch));

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Hash, Position};

    #[test]
    fn reads_back() {
        let epoch = EpochId { counter: 0, nonce: [2; 16] };
        let position = Position { log: LogId([1; 32]), epoch, seq: 9 };
        let divergent = Some(Head { position, hash: Hash([3; 32]) });
        let row = DivergenceRow {
            number: 1,
            from: 4,
            divergent,
            pending: true,
            resubmitted: 7,
            earlier: 1,
        };
        super::super::assert_reads_back(&row);
    }
}
