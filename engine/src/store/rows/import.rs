//! A page-log line, or a numbered page, that is already counted. Key: its own.
//!
//! Invariant: written in the commit that seals the line's event, so that the
//! line is counted if and only if the row, or the event in the journal, is there.
//! When the event is pruned the row keeps what the counted lines are made of.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, JobId};

/// Marks a counted line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ImportRow {
    /// The seq of its event in the ledger.
    #[n(0)]
    pub seq: u64,
    /// What its event said, once that is pruned.
    #[n(1)]
    pub pruned: Option<PrunedLine>,
    /// The epoch of its event; absent in what was kept before pages had numbers.
    #[n(2)]
    pub epoch: Option<EpochId>,
}

/// What is kept of a line whose event was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PrunedLine {
    /// The epoch it stood in.
    #[n(0)]
    pub epoch: EpochId,
    /// There, its seq.
    #[n(1)]
    pub seq: u64,
    /// The spooler's job.
    #[n(2)]
    pub spool_job: Option<JobId>,
    /// What it counted.
    #[n(3)]
    pub impressions: u32,
    /// The running total that CUPS logged.
    #[n(4)]
    pub running_total: Option<u32>,
}

cbor_row!(ImportRow, Import, JobId, |job| job.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let row = ImportRow { seq: 1 << 40, pruned: None, epoch: None };
        super::super::assert_reads_back(&row);
        let epoch = EpochId { counter: 1, nonce: [2; 16] };
        let (spool_job, running_total) = (Some(JobId([3; 8])), Some(9));
        let line = PrunedLine { epoch, seq: 4, spool_job, impressions: 7, running_total };
        super::super::assert_reads_back(&ImportRow {
            seq: 4,
            pruned: Some(line),
            epoch: Some(epoch),
        });
    }
}
