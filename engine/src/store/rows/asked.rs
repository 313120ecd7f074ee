//! A request of a processing server whose answer has not come. Key: its id.
//!
//! Invariant: it is written before the account server can hear of the request and deleted after the answer,
//! so what is here at a start may have been done. It names no user.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{JobId, RequestId, Wall};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskedRow {
    /// The device in whose job, as whoever asked called it.
    #[n(0)]
    pub device: String,
    /// The job.
    #[n(1)]
    pub job: JobId,
    /// The `kind` of the act.
    #[n(2)]
    pub kind: String,
    /// When it was asked first, by this machine's clock.
    #[n(3)]
    pub asked_at: Wall,
}

cbor_row!(AskedRow, Asked, RequestId, |request| request.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&AskedRow {
            device: "branch-1".into(),
            job: JobId([1; 8]),
            kind: "document.sent".into(),
            asked_at: Wall(2),
        });
    }
}
