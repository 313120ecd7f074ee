//! How far an administrator discarded what a revoked device brought of an epoch.
//! Key: the device that brought it, log, epoch.
//!
//! Invariant: it only grows; nothing up to its head is asked for or kept again. What was taken in
//! of the epoch, and what is in quarantine since, are elsewhere.

use super::{cbor_row, epoch_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{DeviceId, EpochId, Head, LogId, QuarantineId, Wall};

/// What was discarded of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, serde::Serialize)]
#[cbor(map)]
#[serde(rename_all = "kebab-case")]
pub struct DiscardedRow {
    /// The last entry of it.
    #[n(0)]
    pub id: QuarantineId,
    /// The first seq.
    #[n(1)]
    pub first_seq: u64,
    /// The events.
    #[n(2)]
    pub count: u64,
    /// Where it ends.
    #[n(3)]
    pub head: Head,
    /// When, by the cloud's clock.
    #[n(4)]
    pub discarded: Wall,
    /// Why.
    #[n(5)]
    pub reason: String,
}

cbor_row!(DiscardedRow, Discarded, (DeviceId, LogId, EpochId), |(device, log, epoch)| {
    [device.as_bytes().to_vec(), epoch_key(*log, *epoch)].concat()
});

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Hash, Position};

    #[test]
    fn reads_back() {
        let position =
            Position { log: LogId([1; 32]), epoch: EpochId { counter: 0, nonce: [2; 16] }, seq: 9 };
        super::super::assert_reads_back(&DiscardedRow {
            id: QuarantineId([4; 8]),
            first_seq: 3,
            count: 7,
            head: Head { position, hash: Hash([3; 32]) },
            discarded: Wall(6),
            reason: "stolen".into(),
        });
    }
}
