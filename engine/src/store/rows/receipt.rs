//! The newest receipt of an epoch. Key: log, epoch.
//!
//! Invariant: at a device, its signature was verified; at the cloud, it was
//! signed after the commit it names.

use super::{cbor_row, epoch_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, LogId, Receipt};

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct ReceiptRow(#[n(0)] pub Receipt);

cbor_row!(ReceiptRow, Receipt, (LogId, EpochId), |(log, epoch)| epoch_key(*log, *epoch));

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Commit, CommitPosition, Hash, Head, Position, Signature, Wall};

    #[test]
    fn reads_back() {
        let epoch = EpochId { counter: 0, nonce: [2; 16] };
        let position = Position { log: LogId([1; 32]), epoch, seq: 9 };
        let head = Head { position, hash: Hash([3; 32]) };
        let position = CommitPosition { epoch: 1, index: 5 };
        let commit = Commit { position, received_at: Wall(8) };
        let signature = Signature([4; 64]);
        super::super::assert_reads_back(&ReceiptRow(Receipt { head, commit, signature }));
    }
}
