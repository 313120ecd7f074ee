//! A signed head that came with a burst. Key: log, epoch, seq.
//!
//! Invariant: its signature was verified before it was stored. A later head
//! stands for all before it; older ones are evidence.

use super::{cbor_row, seq_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, LogId, SignedHead};

/// A verified head.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct HeadRow(#[n(0)] pub SignedHead);

cbor_row!(HeadRow, Head, (LogId, EpochId, u64), |(log, epoch, seq)| seq_key(*log, *epoch, *seq));

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Hash, Head, Position, Signature};

    #[test]
    fn reads_back() {
        let epoch = EpochId { counter: 0, nonce: [2; 16] };
        let position = Position { log: LogId([1; 32]), epoch, seq: 9 };
        let head = Head { position, hash: Hash([3; 32]) };
        let signature = Signature([4; 64]);
        super::super::assert_reads_back(&HeadRow(SignedHead { head, signature }));
    }
}
