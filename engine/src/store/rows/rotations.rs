//! Where a log's writer changed its key, in the order it was taken in. Key: the log.
//!
//! Invariant: each is a `key.rotated` that is held, closed by a head of the key
//! before it, with the consent of the one it names. Which of them is in force at
//! a place is [`crate::log`]'s to say.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::{EpochId, LogId, PublicKey};

/// A change of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rotation {
    /// The epoch.
    #[n(0)]
    pub epoch: EpochId,
    /// Where in it; heads of later places are the new key's.
    #[n(1)]
    pub seq: u64,
    /// The new key.
    #[n(2)]
    pub writer: PublicKey,
}

/// All of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct RotationsRow(#[n(0)] pub Vec<Rotation>);

cbor_row!(RotationsRow, Rotations, LogId, |log| log.as_bytes().to_vec());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let epoch = EpochId { counter: 1, nonce: [2; 16] };
        let rotation = Rotation { epoch, seq: 9, writer: PublicKey([3; 32]) };
        super::super::assert_reads_back(&RotationsRow(vec![rotation, rotation]));
    }
}
