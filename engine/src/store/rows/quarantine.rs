//! What is kept apart of what a device brought: its entries, and their bursts beside them.
//! Keys: the device; the device, log, epoch and number of a burst.
//!
//! Invariant: an entry and its bursts are written and deleted in one commit; within a
//! device, an epoch has at most one entry. The limits are held by the hub.

use super::{cbor_row, epoch_key};
use crate::store::{Row, Table};
use minicbor::{Decode, Encode};
use tallyroll_schema::{
    Batch, DecodeError, DeviceId, EpochId, Hash, Head, LogId, QuarantineId, SignedHead, Wall,
};

/// Bursts of one epoch in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, serde::Serialize)]
#[cbor(map)]
#[serde(rename_all = "kebab-case")]
pub struct QuarantineEntry {
    /// Names it for people.
    #[n(0)]
    pub id: QuarantineId,
    /// The log they claim.
    #[n(1)]
    pub log: LogId,
    /// Its epoch.
    #[n(2)]
    pub epoch: EpochId,
    /// The first seq they claim.
    #[n(3)]
    pub first_seq: u64,
    /// The events they claim.
    #[n(4)]
    pub count: u64,
    /// Where the last one says it ends.
    #[n(5)]
    pub head: Head,
    /// Bursts kept.
    #[n(6)]
    pub bursts: u32,
    /// Their bytes.
    #[n(7)]
    pub bytes: u64,
    /// BLAKE3 of them, each chained to those before.
    #[n(8)]
    pub hash: Hash,
    /// When the first came, by the cloud's clock.
    #[n(9)]
    pub since: Wall,
    /// Why.
    #[n(10)]
    pub reason: String,
    /// Whether they are here because the device was revoked: then more may join them.
    #[n(11)]
    pub revoked: bool,
}

impl QuarantineEntry {
    /// The epoch they claim.
    pub fn place(&self) -> (LogId, EpochId) {
        (self.log, self.epoch)
    }
}

/// A device's entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct QuarantineRow(#[n(0)] pub Vec<QuarantineEntry>);

cbor_row!(QuarantineRow, Quarantine, DeviceId, |device| device.as_bytes().to_vec());

impl QuarantineRow {
    /// Reads back the device of a key.
    pub fn device(key: &[u8]) -> Option<DeviceId> {
        Some(DeviceId(key.try_into().ok()?))
    }
}

/// A burst, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineBurstRow {
    /// Its batches, unread.
    pub batches: Vec<Batch>,
    /// The head that closed it.
    pub head: SignedHead,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Stored {
    #[n(0)]
    batches: Vec<minicbor::bytes::ByteVec>,
    #[n(1)]
    head: SignedHead,
}

impl Row for QuarantineBurstRow {
    const TABLE: Table = Table::QuarantineBurst;
    type Key = (DeviceId, LogId, EpochId, u32);

    fn key((device, log, epoch, number): &Self::Key) -> Vec<u8> {
        let mut key = device.as_bytes().to_vec();
        key.extend_from_slice(&epoch_key(*log, *epoch));
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    fn encode(&self) -> Vec<u8> {
        let batches = self.batches.iter().map(|batch| batch.bytes().to_vec().into()).collect();
        minicbor::to_vec(Stored { batches, head: self.head })
            .unwrap_or_else(|never| unreachable!("writing to memory: {never}"))
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Stored { batches, head } = minicbor::decode(bytes)?;
        let batches = batches.into_iter().map(|bytes| Batch::decode(bytes.into()));
        Ok(Self { batches: batches.collect::<Result<_, _>>()?, head })
    }
}

#[cfg(test)]
mod tests {
    use super::super::assert_reads_back;
    use super::*;
    use tallyroll_schema::{BatchHeader, Compression, Position, Signature};

    const LOG: LogId = LogId([1; 32]);
    const EPOCH: EpochId = EpochId { counter: 0, nonce: [2; 16] };

    fn head() -> Head {
        Head { position: Position { log: LOG, epoch: EPOCH, seq: 9 }, hash: Hash([3; 32]) }
    }

    #[test]
    fn entries_read_back() {
        let entry = QuarantineEntry {
            id: QuarantineId([4; 8]),
            log: LOG,
            epoch: EPOCH,
            first_seq: 3,
            count: 7,
            head: head(),
            bursts: 1,
            bytes: 480,
            hash: Hash([5; 32]),
            since: Wall(6),
            reason: "its head is not signed".into(),
            revoked: false,
        };
        assert_reads_back(&QuarantineRow(vec![entry.clone(), entry]));
        let device = DeviceId([7; 16]);
        assert_eq!(QuarantineRow::device(&QuarantineRow::key(&device)), Some(device));
    }

    #[test]
    fn bursts_read_back() {
        let header = BatchHeader {
            compression: Compression::None,
            dictionary: 0,
            log: LOG,
            epoch: EPOCH,
            first_seq: 9,
            count: 1,
            records_len: 24,
            payload_len: 0,
        };
        let batch = Batch::encode(header, &[0; 24]).expect("encodes");
        let head = SignedHead { head: head(), signature: Signature([8; 64]) };
        assert_reads_back(&QuarantineBurstRow { batches: vec![batch], head });
    }
}
