//! A view at a cut, to be folded on from there. Key: the view's name.
//!
//! Invariant: a cache, never the truth: what does not fit this build's format
//! fingerprint is dropped and folded again from the log.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, Hash, LogId};

/// A view's bytes and where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotRow {
    /// Of the view's name, version and layout.
    #[n(0)]
    pub fingerprint: Hash,
    /// The next seq to fold of each epoch.
    #[n(1)]
    pub cut: Vec<(LogId, EpochId, u64)>,
    /// The view, an rkyv archive.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub archive: Vec<u8>,
}

cbor_row!(SnapshotRow, Snapshot, String, |name| name.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let cut = vec![(LogId([1; 32]), EpochId { counter: 0, nonce: [2; 16] }, 9)];
        super::super::assert_reads_back(&SnapshotRow {
            fingerprint: Hash([3; 32]),
            cut,
            archive: vec![1, 2],
        });
    }
}
