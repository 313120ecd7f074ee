//! Our own logs as the peer knows them: whether it holds more, or something else.
//!
//! Invariant: only a device diverges, and a session ends when it did: what it
//! began with holds no more. A device adopts epochs once the cloud has ended them,
//! so that nothing is added behind its back; a cloud that lost its tail adopts what
//! its devices give back. What either does with it is theirs.

use super::session::{Role, Session};
use super::{Effect, Offer, Opening};
use crate::planted::{Bug, planted};
use std::collections::BTreeMap;
use tallyroll_schema::wire::{ErrorCode, ErrorMessage, Have, Message};
use tallyroll_schema::{EpochId, Head, LogId};

#[derive(Debug, Default)]
pub(super) struct OwnLogs {
    /// Epochs of ours to be taken from the peer, and how far it has them.
    adopting: BTreeMap<(LogId, EpochId), u64>,
    /// At a device: the cloud's epochs, as far as we hold more of them than it told of.
    ahead: BTreeMap<(LogId, EpochId), u64>,
    settled: bool,
    /// Whether the peer told of all it has of ours.
    told: bool,
    /// Whether its first HAVEs came.
    heard: bool,
    surveyed: bool,
    /// The one that is about to become another.
    diverging: Option<(LogId, EpochId)>,
}

impl OwnLogs {
    pub(super) fn new(role: Role, opening: &Opening) -> Self {
        let adopting: BTreeMap<_, _> = opening.adopting.iter().map(|epoch| (*epoch, 0)).collect();
        let theirs = opening.held.iter().filter(|(epoch, _)| !adopting.contains_key(epoch));
        let theirs = theirs.filter(|_| role == Role::Device);
        let ahead = theirs.map(|(epoch, tip)| (*epoch, tip.next_seq)).collect();
        Self { adopting, ahead, settled: opening.settled, ..Self::default() }
    }

    /// Whether the peer has told what it has.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether our logs are about to become others.
    pub(super) fn is_diverging(&self) -> bool {
        self.diverging.is_some()
    }

    /// It stays what it was.
    pub(super) fn stays(&mut self, epoch: (LogId, EpochId)) {
        self.diverging = self.diverging.filter(|diverging| *diverging != epoch);
    }
}

impl Session {
    pub(super) fn handle_have(&mut self, have: &Have) {
        for head in &have.heads {
            if !self.wanted(head) {
                continue;
            }
            let place = (head.position.log, head.position.epoch);
            if let Some(refusal) = self.held_up.get(&place) {
                if let Err(error) = self.incoming.refused(place, &refusal.clone()) {
                    self.stop(error);
                }
                continue;
            }
            match self.incoming.have(head) {
                Ok(want) => self.send(Message::Want(want)),
                Err(text) => return self.close(ErrorCode::Protocol, &text),
            }
        }
        self.own.heard |= !have.more;
        if self.config.role == Role::Device && !have.more && !self.own.told {
            self.own.told = true;
            let ahead: Vec<_> = self.own.ahead.keys().copied().collect();
            self.perform(Effect::GiveBack(ahead));
        }
        self.finish_adopting();
    }

    /// Offers the peer's own logs to it, and says that this is all.
    pub(super) fn gave_back(&mut self, offers: Vec<Offer>) {
        let count = u32::try_from(offers.len()).unwrap_or(u32::MAX);
        self.grew(offers);
        self.send(Message::Surveyed(count));
    }

    pub(super) fn handle_surveyed(&mut self) {
        self.own.told |= self.config.role == Role::Cloud;
        self.finish_adopting();
    }

    /// Whether to ask for an epoch. Of one that we offer ourselves, the peer may know more:
    /// if a device is writing it, another copy of it was; if a cloud is, it lost its tail.
    fn wanted(&mut self, head: &Head) -> bool {
        let (log, epoch) = (head.position.log, head.position.epoch);
        let theirs = head.position.seq.saturating_add(1);
        if self.own.ahead.get(&(log, epoch)).is_some_and(|ours| *ours <= theirs) {
            self.own.ahead.remove(&(log, epoch));
        }
        if let Some(end) = self.own.adopting.get_mut(&(log, epoch)) {
            *end = theirs;
            return self.own.settled;
        }
        let device = self.config.role == Role::Device;
        match self.outgoing.offered(log, epoch) {
            Some((end, hash, _)) if theirs < end || (theirs == end && head.hash == hash) => false,
            Some((end, _, open)) if device && (open || theirs == end) => {
                self.set_aside(log, epoch);
                false
            }
            Some((end, hash, _)) => {
                self.incoming.hold((log, epoch), end, hash);
                self.own.adopting.insert((log, epoch), theirs);
                true
            }
            None => {
                if self.outgoing.is_own(log) {
                    self.own.adopting.insert((log, epoch), theirs);
                }
                true
            }
        }
    }

    /// Says that all our epochs are here, each up to where the peer told of it. None is caught up
    /// with before the others are here: a page-log line that one lacks may be counted in another.
    pub(super) fn finish_adopting(&mut self) {
        let told = self.own.told || planted(Bug::SurveyedUntold);
        if !told || !self.own.settled || self.own.surveyed {
            return;
        }
        // What a cloud cannot be given back it need not wait for: the other logs go on.
        let stopped = |log| self.config.role == Role::Cloud && self.is_stopped(log);
        let mut adopting = self.own.adopting.iter();
        if adopting.all(|(epoch, end)| self.incoming.holds(*epoch, *end) || stopped(epoch.0)) {
            for (log, epoch) in core::mem::take(&mut self.own.adopting).into_keys() {
                self.perform(Effect::CaughtUp(log, epoch));
            }
            self.own.surveyed = true;
            self.perform(Effect::Surveyed);
        }
    }

    /// A log goes no further: ours is set right, another's is given up.
    pub(super) fn stop_or_diverge(&mut self, error: ErrorMessage) {
        self.diverge(&error);
        self.stop(error);
    }

    /// What either end found, as a device: another history than the peer's, of a log of ours, which is set right, or of
    /// one of the cloud's, which it says anew.
    pub(super) fn diverge(&mut self, error: &ErrorMessage) {
        let of_an_epoch = error.log.zip(error.epoch).filter(|_| error.code == ErrorCode::Fork);
        if let Some((log, epoch)) = of_an_epoch
            && self.config.role == Role::Device
        {
            self.set_aside(log, epoch);
        }
    }

    fn set_aside(&mut self, log: LogId, epoch: EpochId) {
        if !self.own.is_diverging() {
            self.own.diverging = Some((log, epoch));
            self.perform(Effect::Diverged(log, epoch));
        }
    }
}
