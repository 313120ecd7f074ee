//! That a device pruned what this cloud wants of it: the cloud lost it after it had receipted it.
//! Key: log, epoch.
//!
//! Invariant: it holds while the epoch ends here at `from`; taken in since, it is closed.

use super::{cbor_row, epoch_key};
use minicbor::{Decode, Encode};
use tallyroll_schema::{DeviceId, EpochId, LogId, Wall};

/// What is missing here and pruned there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GapRow {
    /// Whose log it is.
    #[n(0)]
    pub device: DeviceId,
    /// The first seq that is missing.
    #[n(1)]
    pub from: u64,
    /// When the device told so first, by the cloud's clock.
    #[n(2)]
    pub since: Wall,
}

cbor_row!(GapRow, Gap, (LogId, EpochId), |(log, epoch)| epoch_key(*log, *epoch));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let row = GapRow { device: DeviceId([1; 16]), from: 7, since: Wall(5) };
        super::super::assert_reads_back(&row);
    }
}
