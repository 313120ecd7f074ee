//! Where an epoch ends in this store. Key: log, epoch.
//!
//! Invariant: written in the commit that stores the epoch's last batch; its
//! hash is that batch's.

use super::{cbor_row, epoch_key};
use crate::log::Tip;
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, Hash, LogId};

/// An epoch's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TipRow {
    /// The seq that comes next.
    #[n(0)]
    pub next_seq: u64,
    /// The chain's value there.
    #[n(1)]
    pub hash: Hash,
    /// In a log taken in from a peer: whether its writer closed the log there.
    #[n(2)]
    pub closed: Option<bool>,
}

cbor_row!(TipRow, Tip, (LogId, EpochId), |(log, epoch)| epoch_key(*log, *epoch));

impl From<Tip> for TipRow {
    fn from(tip: Tip) -> Self {
        Self { next_seq: tip.next_seq, hash: tip.hash, closed: None }
    }
}

impl From<TipRow> for Tip {
    fn from(row: TipRow) -> Self {
        Self { next_seq: row.next_seq, hash: row.hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&TipRow {
            next_seq: 9,
            hash: Hash([3; 32]),
            closed: Some(true),
        });
    }
}
