//! Which names are held of a device. Key: the device.
//!
//! Invariant: the digest of the aliases that the directory has rows of, changed with them in one commit. A store of an
//! earlier version has no such row until a name is stored or erased.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::DeviceId;

/// Their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NamesRow {
    /// As the message NAMES says it.
    #[n(0)]
    pub digest: u64,
}

cbor_row!(NamesRow, Names, DeviceId, |device| device.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        super::super::assert_reads_back(&NamesRow { digest: u64::MAX });
    }
}
