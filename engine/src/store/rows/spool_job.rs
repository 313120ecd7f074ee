//! How far a spooler's job is counted. Key: the job's key.
//!
//! Invariant: written in the commit that seals the job's events, and the fold of
//! them, so that a running total logged again adds only what is new.

use super::cbor_row;
use crate::counts::SpoolJob;
use minicbor::{Decode, Encode};

/// A spooler's job so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct SpoolJobRow(#[n(0)] pub SpoolJob);

cbor_row!(SpoolJobRow, SpoolJob, tallyroll_schema::JobId, |job| job.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let job = SpoolJob::default().after(3, None).after(9, Some(9));
        super::super::assert_reads_back(&SpoolJobRow(job));
    }
}
