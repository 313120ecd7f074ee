//! A log's own mechanics: genesis, the chain over its batches, sealing, the journal.
//!
//! Invariant: an epoch's batches are contiguous from seq 0 and each is chained to
//! the one before; only [`Tip::advance`] moves a chain. Storing and sending
//! batches is left to the store and the sync session.

mod epoch;
pub mod journal;
mod memory;
mod newest;
mod seal;
mod writer;

pub(crate) use epoch::{admit_opening, epoch_nonce, hash_before, holds, open_epoch, read_opening};
pub use memory::MemoryFile;
pub(crate) use newest::{is_closed, newest_time};
pub use seal::{Checked, Opened, open, seal};
pub(crate) use writer::{
    AFTER_ROTATION, InForce, check_rotation, forget_rotations, in_force, next_rotation, rotation,
};

use crate::planted::{Bug, planted};
use tallyroll_schema::event::log::{LogClosed, LogOpened};
use tallyroll_schema::{
    Batch, DecodeError, EpochId, Event, Hash, Head, LogId, Position, Record, Records, TenantId,
    Timestamp, batch_hash,
};

/// The end of an epoch's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The seq that comes next.
    pub next_seq: u64,
    /// The chain's value there.
    pub hash: Hash,
}

impl Tip {
    /// The end of an epoch with nothing in it.
    pub const START: Self = Self { next_seq: 0, hash: Hash::ZERO };

    /// The tip after `batch`, whose uncompressed records are `records`.
    /// `None` when the batch does not begin where this tip ends.
    pub fn advance(self, tenant: TenantId, batch: &Batch, records: &[u8]) -> Option<Self> {
        let header = batch.header();
        if header.first_seq != self.next_seq && !planted(Bug::GapAccepted) {
            return None;
        }
        let next_seq = header.end_seq().ok()?;
        let before = if planted(Bug::BatchesUnchained) { Hash::ZERO } else { self.hash };
        Some(Self { next_seq, hash: batch_hash(tenant, header, before, records) })
    }

    /// The head at this tip, or `None` when nothing is there yet.
    pub fn head(self, log: LogId, epoch: EpochId) -> Option<Head> {
        let seq = self.next_seq.checked_sub(1)?;
        Some(Head { position: Position { log, epoch, seq }, hash: self.hash })
    }
}

/// A new log's first record and the id it gives the log.
///
/// # Errors
/// Never for a genesis within limits.
pub fn genesis(opened: &LogOpened, time: Timestamp) -> Result<(LogId, Vec<u8>), DecodeError> {
    let record = Record::encode(&Event::LogOpened(opened.clone()), time)?;
    Ok((log_id(&record), record))
}

/// The genesis in an epoch 0's first record, if it is one and makes this log's id.
pub fn read_genesis(log: LogId, epoch: EpochId, records: &[u8]) -> Option<LogOpened> {
    let first = Records::new(records).next()?.ok()?;
    match first.event() {
        Ok(Event::LogOpened(opened)) if opened.epoch == epoch && log_id(first.bytes) == log => {
            Some(opened)
        }
        _ => None,
    }
}

/// Whether these records close their log; after the one that does none may come.
pub(crate) fn closes(records: &[u8]) -> Result<bool, DecodeError> {
    let mut closed = false;
    for record in Records::new(records) {
        if closed {
            return Err(DecodeError::Malformed("log: events after the one that closes it"));
        }
        closed = record?.header.kind == LogClosed::KIND;
    }
    Ok(closed)
}

fn log_id(genesis_record: &[u8]) -> LogId {
    LogId(*blake3::hash(genesis_record).as_bytes())
}
