//! The sending half: what we offer, what the peer asked for, what it has room for.
//!
//! Invariant: at most one fetch is under way; what the peer lost of its own goes first,
//! for it waits for that, and telemetry last; no batch is sent that the peer gave no credit for (the last of a
//! burst may pass it by less than its own size).

use super::{Fetch, Offer, OfferKind, Role};
use crate::merge::Burst;
use crate::planted::{Bug, planted};
use std::collections::BTreeMap;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::{BURST_BYTES_MAX, HEADS_PER_MESSAGE_MAX};
use tallyroll_schema::wire::{ErrorCode, ErrorMessage, Have, Message, StreamKind, Want};
use tallyroll_schema::{EpochId, Hash, LogId};

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Ordered by stream, so that telemetry comes last.
    epochs: BTreeMap<(StreamKind, LogId, EpochId), Epoch>,
    credit: i64,
    fetching: bool,
}

#[derive(Debug)]
struct Epoch {
    end_seq: u64,
    /// The chain's value there.
    end_hash: Hash,
    /// Where the peer stands, once it asked.
    peer: Option<(u64, Hash)>,
    kind: OfferKind,
    stopped: bool,
}

impl Outgoing {
    /// Takes new heads; returns the HAVEs for epochs the peer was not told of.
    pub(super) fn offer(&mut self, offers: Vec<Offer>) -> Vec<Have> {
        let mut untold = Vec::new();
        for Offer { head, class, kind } in offers {
            let key = (stream_of(class), head.position.log, head.position.epoch);
            let end_seq = head.position.seq.saturating_add(1);
            match self.epochs.get_mut(&key) {
                Some(epoch) if epoch.end_seq >= end_seq || planted(Bug::GrowthUnheard) => {}
                Some(epoch) => (epoch.end_seq, epoch.end_hash) = (end_seq, head.hash),
                None => {
                    let end_hash = head.hash;
                    let epoch = Epoch { end_seq, end_hash, peer: None, kind, stopped: false };
                    self.epochs.insert(key, epoch);
                    untold.push(head);
                }
            }
        }
        let count = untold.chunks(HEADS_PER_MESSAGE_MAX).len();
        let have =
            |(at, heads): (usize, &[_])| Have { heads: heads.to_vec(), more: at + 1 < count };
        untold.chunks(HEADS_PER_MESSAGE_MAX).enumerate().map(have).collect()
    }

    /// The peer asks for an epoch, now and as it grows.
    pub(super) fn want(&mut self, role: Role, want: &Want) -> Result<(), ErrorMessage> {
        let Want { log, epoch: id, from, hash } = *want;
        let Some(epoch) = self.epoch(log, id) else {
            return Err(error(ErrorCode::Denied, log, id, "this log is not offered here"));
        };
        if from > epoch.end_seq && (role == Role::Cloud || epoch.kind != OfferKind::Open) {
            epoch.peer = Some((from, hash)); // it has more; its HAVE says so
            return Ok(());
        }
        // Where the peer is behind, the fetch compares the chains.
        let other = from == epoch.end_seq && hash != epoch.end_hash;
        if from > epoch.end_seq || other {
            epoch.stopped = true;
            let end = epoch.end_seq;
            let text = format!(
                "another history is held there up to seq {from}, this one ends at {end}: one is a copy"
            );
            return Err(error(ErrorCode::Fork, log, id, &text));
        }
        epoch.peer = Some((want.from, want.hash));
        Ok(())
    }

    /// How far we offer an epoch of our own log, and whether we are writing it.
    pub(super) fn offered(&self, log: LogId, epoch: EpochId) -> Option<(u64, Hash, bool)> {
        let found = self.epochs.iter().find(|((_, l, e), _)| (*l, *e) == (log, epoch));
        let own = found.filter(|(_, epoch)| epoch.kind != OfferKind::GivenBack);
        own.map(|(_, epoch)| (epoch.end_seq, epoch.end_hash, epoch.kind == OfferKind::Open))
    }

    /// Whether a log is our own.
    pub(super) fn is_own(&self, log: LogId) -> bool {
        let own = |epoch: &Epoch| epoch.kind != OfferKind::GivenBack;
        self.epochs.iter().any(|((_, offered, _), epoch)| *offered == log && own(epoch))
    }

    pub(super) fn credit(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(i64::from(bytes));
    }

    /// The next batches to read, if there is something to send and room for it.
    pub(super) fn next_fetch(&mut self) -> Option<Fetch> {
        if self.fetching || (self.credit <= 0 && !planted(Bug::CreditIgnored)) {
            return None;
        }
        let waiting = |given_back: bool| {
            self.epochs.iter().find_map(|((_, log, epoch), state)| {
                let (from, after) = state.peer?;
                let next = (state.kind == OfferKind::GivenBack) == given_back
                    && !state.stopped
                    && from < state.end_seq;
                next.then_some((*log, *epoch, from, after))
            })
        };
        let (log, epoch, from, after) = waiting(true).or_else(|| waiting(false))?;
        self.fetching = true;
        let credit = if planted(Bug::CreditIgnored) { i64::MAX } else { self.credit };
        let bytes_max = usize::try_from(credit).unwrap_or(usize::MAX);
        let bytes_max = bytes_max.min(BURST_BYTES_MAX as usize);
        Some(Fetch { log, epoch, from, after, bytes_max })
    }

    /// The fetch that was under way is done, however it came out.
    pub(super) fn fetch_ended(&mut self) {
        self.fetching = false;
    }

    /// The messages of a burst that was read.
    pub(super) fn fetched(&mut self, burst: Burst) -> Vec<(StreamKind, Message)> {
        let (log, epoch) = burst.epoch();
        let begin = burst.batches.first().map(|batch| batch.header().first_seq);
        let end = burst.head.head.position.seq.saturating_add(1);
        let Some(stream) = self.stream(log, epoch) else { return Vec::new() };
        match self.epoch(log, epoch) {
            Some(epoch) if epoch.stopped => return Vec::new(),
            // The peer asked again meanwhile, from elsewhere: that ask stands.
            Some(epoch) if epoch.peer.map(|(from, _)| from) != begin => return Vec::new(),
            Some(epoch) => epoch.peer = Some((end, burst.head.head.hash)),
            None => {}
        }
        self.credit = self.credit.saturating_sub(i64::try_from(burst.len()).unwrap_or(i64::MAX));
        let batches = burst.batches.into_iter().map(Message::Batch);
        batches.chain([Message::Head(burst.head)]).map(|message| (stream, message)).collect()
    }

    pub(super) fn nothing_there(&mut self, log: LogId, epoch: EpochId) {
        if let Some(epoch) = self.epoch(log, epoch) {
            // The offer ran ahead of the store; the next one sets it right.
            (epoch.end_seq, epoch.end_hash) = epoch.peer.unwrap_or((0, Hash::ZERO));
        }
    }

    /// The peer will not take more of a log in this session.
    pub(super) fn stop(&mut self, log: LogId) {
        for ((_, of, _), epoch) in &mut self.epochs {
            epoch.stopped |= *of == log;
        }
    }

    fn epoch(&mut self, log: LogId, epoch: EpochId) -> Option<&mut Epoch> {
        let found = self.epochs.iter_mut().find(|((_, l, e), _)| (*l, *e) == (log, epoch));
        found.map(|(_, epoch)| epoch)
    }

    fn stream(&self, log: LogId, epoch: EpochId) -> Option<StreamKind> {
        let found = self.epochs.keys().find(|(_, l, e)| (*l, *e) == (log, epoch));
        found.map(|(stream, _, _)| *stream)
    }
}

fn stream_of(class: LogClass) -> StreamKind {
    match class {
        LogClass::Telemetry => StreamKind::Telemetry,
        LogClass::Ledger | LogClass::Public | LogClass::Accounts | LogClass::Device => {
            StreamKind::Ledger
        }
    }
}

fn error(code: ErrorCode, log: LogId, epoch: EpochId, text: &str) -> ErrorMessage {
    let (log, epoch) = (Some(log), Some(epoch));
    ErrorMessage { code, retryable: false, log, text: text.into(), epoch }
}
