//! Every persisted thing, one file each: its key, its bytes, its round-trip test.
//!
//! Invariant: integers in keys are big-endian, so that keys order as numbers do.
//! Values are CBOR maps with integer keys, but for batches and views, which are
//! kept as they are.

mod alias;
mod asked;
mod base;
mod batch;
mod child;
mod commit;
mod directory;
mod discarded;
mod divergence;
mod evidence;
mod gap;
mod head;
mod import;
mod invite;
mod log;
mod meta;
mod names;
mod pruned;
mod quarantine;
mod receipt;
mod rotations;
mod snapshot;
mod spool_job;
mod tip;
mod told;

pub use alias::AliasRow;
pub use asked::AskedRow;
pub use base::BaseRow;
pub use batch::BatchRow;
pub use child::ChildRow;
pub use commit::CommitRow;
pub use directory::{DirectoryKey, DirectoryRow};
pub use discarded::DiscardedRow;
pub use divergence::DivergenceRow;
pub use evidence::{EvidenceRow, divergence_key};
pub use gap::GapRow;
pub use head::HeadRow;
pub use import::{ImportRow, PrunedLine};
pub use invite::{Guest, InviteRow};
pub use log::LogRow;
pub use meta::{
    CloudErasure, CloudLogs, CloudRecovery, CloudRole, DeviceErasure, DeviceHistory, DeviceLogs,
    JournalState, MetaKey, RoomProbe,
};
pub use names::NamesRow;
pub use pruned::PrunedRow;
pub use quarantine::{QuarantineBurstRow, QuarantineEntry, QuarantineRow};
pub use receipt::ReceiptRow;
pub use rotations::{Rotation, RotationsRow};
pub use snapshot::SnapshotRow;
pub use spool_job::SpoolJobRow;
pub use tip::TipRow;
pub use told::ToldRow;

use tallyroll_schema::{EpochId, LogId};

/// An epoch of a log as a key prefix, 52 bytes.
pub fn epoch_key(log: LogId, epoch: EpochId) -> Vec<u8> {
    [log.as_bytes(), &epoch.counter.to_be_bytes()[..], &epoch.nonce].concat()
}

/// A place in an epoch as a key, 60 bytes.
pub fn seq_key(log: LogId, epoch: EpochId, seq: u64) -> Vec<u8> {
    let mut key = epoch_key(log, epoch);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// Reads back the log and epoch of a key that begins with them.
pub fn split_epoch_key(key: &[u8]) -> Option<(LogId, EpochId)> {
    let (log, rest) = key.split_first_chunk()?;
    let (counter, rest) = rest.split_first_chunk()?;
    let (nonce, _) = rest.split_first_chunk()?;
    let epoch = EpochId { counter: u32::from_be_bytes(*counter), nonce: *nonce };
    Some((LogId(*log), epoch))
}

/// Gives a row whose value is one CBOR structure its bytes.
macro_rules! cbor_row {
    ($row:ty, $table:ident, $key:ty, $to_key:expr) => {
        impl crate::store::Row for $row {
            const TABLE: crate::store::Table = crate::store::Table::$table;
            type Key = $key;

            fn key(key: &$key) -> Vec<u8> {
                let to_key: fn(&$key) -> Vec<u8> = $to_key;
                to_key(key)
            }

            fn encode(&self) -> Vec<u8> {
                minicbor::to_vec(self)
                    .unwrap_or_else(|never| unreachable!("writing to memory: {never}"))
            }

            fn decode(bytes: &[u8]) -> Result<Self, tallyroll_schema::DecodeError> {
                Ok(minicbor::decode(bytes)?)
            }
        }
    };
}

pub(crate) use cbor_row;

#[cfg(test)]
pub(crate) fn assert_reads_back<R: crate::store::Row + PartialEq + core::fmt::Debug>(row: &R) {
    assert_eq!(R::decode(&row.encode()).as_ref(), Ok(row));
    for len in 0..row.encode().len() {
        let _ = R::decode(&row.encode()[..len]);
    }
}
