//! A page-log line that is already counted. Key: the line's own key.
//!
//! Invariant: written in the commit that seals the line's event, so that the
//! line is counted if and only if the row, or the event in the journal, is there.

use super::cbor_row;
use minicbor::{Decode, Encode};

/// Marks a counted line.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ImportRow {
    /// The seq of its event in the ledger.
    #[n(0)]
    pub seq: u64,
}

cbor_row!(ImportRow, Import, tallyroll_schema::JobId, |job| job.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&ImportRow { seq: 1 << 40 });
    }
}
