//! The receiving half: what we ask for, and bursts as they come together.
//!
//! Invariant: what is buffered, here and in effects under way, is at most the
//! window plus one burst, and what a burst unpacks to has a limit, too; a peer that sends more is closed. A log whose burst
//! was refused is not asked for again in this session, but for a gap, once each
//! time the place moves.

use crate::merge::{Burst, Refusal};
use std::collections::BTreeMap;
use tallyroll_schema::limits::{
    BATCH_BYTES_MAX, BURST_BYTES_MAX, BURST_RECORDS_BYTES_MAX, EPOCHS_MAX,
};
use tallyroll_schema::wire::{ErrorCode, ErrorMessage, StreamKind, Want};
use tallyroll_schema::{Batch, EpochId, Hash, Head, LogId, SignedHead};

#[derive(Debug)]
pub(super) struct Incoming {
    epochs: BTreeMap<(LogId, EpochId), Place>,
    assembling: BTreeMap<StreamKind, Assembling>,
    buffered: usize,
    buffered_max: usize,
}

#[derive(Debug, Default)]
struct Assembling {
    batches: Vec<Batch>,
    /// What they state to unpack to, bytes.
    records: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    next_seq: u64,
    hash: Hash,
    asked_for_gap: Option<u64>,
    /// Where the peer's ended when it was offered.
    offered: u64,
}

impl Incoming {
    pub(super) fn new(window: u32) -> Self {
        let buffered_max = (window + BURST_BYTES_MAX + BATCH_BYTES_MAX) as usize;
        let (epochs, assembling) = (BTreeMap::new(), BTreeMap::new());
        Self { epochs, assembling, buffered: 0, buffered_max }
    }

    /// Where we stand in an epoch the peer may offer.
    pub(super) fn hold(&mut self, epoch: (LogId, EpochId), next_seq: u64, hash: Hash) {
        let offered = self.epochs.get(&epoch).map_or(0, |place| place.offered);
        self.epochs.insert(epoch, Place { next_seq, hash, asked_for_gap: None, offered });
    }

    /// The peer offers an epoch; returns what to ask for.
    pub(super) fn have(&mut self, head: &Head) -> Result<Want, String> {
        let (log, epoch) = (head.position.log, head.position.epoch);
        let start = Place { next_seq: 0, hash: Hash::ZERO, asked_for_gap: None, offered: 0 };
        let place = self.epochs.entry((log, epoch)).or_insert(start);
        place.offered = head.position.seq.saturating_add(1);
        let place = *place;
        if self.epochs.len() > EPOCHS_MAX {
            return Err(format!("more than {EPOCHS_MAX} epochs offered"));
        }
        Ok(Want { log, epoch, from: place.next_seq, hash: place.hash })
    }

    /// Whether we hold an epoch up to a seq.
    pub(super) fn holds(&self, epoch: (LogId, EpochId), end_seq: u64) -> bool {
        end_seq == 0 || self.epochs.get(&epoch).is_some_and(|place| place.next_seq >= end_seq)
    }

    /// Whether all that was offered is here, but for logs that go no further.
    pub(super) fn has_all(&self, stopped: impl Fn(LogId) -> bool) -> bool {
        self.epochs.iter().all(|((log, _), place)| place.next_seq >= place.offered || stopped(*log))
    }

    /// A batch of a burst.
    pub(super) fn batch(&mut self, stream: StreamKind, batch: Batch) -> Result<(), String> {
        if stream == StreamKind::Control {
            return Err("a batch on the control stream".into());
        }
        self.buffered += batch.bytes().len();
        if self.buffered > self.buffered_max {
            return Err("more batches than there was credit for".into());
        }
        let burst = self.assembling.entry(stream).or_default();
        burst.records += u64::from(batch.header().records_len);
        if burst.records > BURST_RECORDS_BYTES_MAX {
            return Err(format!(
                "more than {BURST_RECORDS_BYTES_MAX} bytes of records in one burst"
            ));
        }
        burst.batches.push(batch);
        Ok(())
    }

    /// A head closes the stream's burst.
    pub(super) fn head(&mut self, stream: StreamKind, head: SignedHead) -> Result<Burst, String> {
        match self.assembling.remove(&stream) {
            Some(Assembling { batches, .. }) => Ok(Burst { batches, head }),
            None => Err("a head without batches".into()),
        }
    }

    pub(super) fn persisted(&mut self, epoch: (LogId, EpochId), next_seq: u64, hash: Hash) {
        self.hold(epoch, next_seq, hash);
    }

    /// What to say about a burst that was not admitted: ask again, or an error.
    pub(super) fn refused(
        &mut self,
        (log, epoch): (LogId, EpochId),
        refusal: &Refusal,
    ) -> Result<Want, ErrorMessage> {
        let place = self.epochs.get_mut(&(log, epoch));
        if let (Refusal::Gap { expected, .. }, Some(place)) = (refusal, place)
            && place.asked_for_gap != Some(*expected)
            && *expected == place.next_seq
        {
            place.asked_for_gap = Some(*expected);
            return Ok(Want { log, epoch, from: place.next_seq, hash: place.hash });
        }
        Err(told(refusal, log, epoch))
    }

    /// A burst left the buffer; returns the credit to give for it.
    pub(super) fn release(&mut self, bytes: usize) -> u32 {
        self.buffered = self.buffered.saturating_sub(bytes);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// What the peer is told of a refusal.
pub(super) fn told(refusal: &Refusal, log: LogId, epoch: EpochId) -> ErrorMessage {
    let code = match refusal {
        Refusal::Gap { .. } => ErrorCode::Protocol,
        Refusal::Fork { .. } | Refusal::Orphan { .. } | Refusal::Ended { .. } => ErrorCode::Fork,
        Refusal::Pruned { .. } => ErrorCode::Pruned,
        Refusal::Poison(_) | Refusal::Quarantined { .. } | Refusal::QuarantineFull(_) => {
            ErrorCode::Poison
        }
        Refusal::Denied(_) | Refusal::Closed { .. } => ErrorCode::Denied,
    };
    let (log, epoch, text) = (Some(log), Some(epoch), refusal.to_string());
    ErrorMessage { code, retryable: false, log, text, epoch }
}
