//! The epoch that closed another one. Key: log, the closed epoch.
//!
//! Invariant: written in the commit that admits the first epoch that names it as
//! its parent; from then on the cloud takes nothing more into the closed one.

use super::{cbor_row, epoch_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, LogId};

/// The first epoch that names this one as its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChildRow {
    /// That epoch.
    #[n(0)]
    pub epoch: EpochId,
}

cbor_row!(ChildRow, Child, (LogId, EpochId), |(log, epoch)| epoch_key(*log, *epoch));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let epoch = EpochId { counter: 3, nonce: [2; 16] };
        super::super::assert_reads_back(&ChildRow { epoch });
    }
}
