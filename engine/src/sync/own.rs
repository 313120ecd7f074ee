//! Our own logs as the peer knows them: whether it holds more, or something else.
//!
//! Invariant: only a device diverges, and a session ends when it did: what it
//! began with holds no more. An epoch that is being adopted is finished once, when
//! all that the peer told of is here. Setting a history aside, and recording it
//! again, is the device's.

use super::session::{Role, Session};
use super::Effect;
use std::collections::BTreeMap;
use tallyroll_schema::wire::{ErrorCode, ErrorMessage, Have, Message};
use tallyroll_schema::{EpochId, Head, LogId};

#[derive(Debug, Default)]
pub(super) struct OwnLogs {
    /// Epochs to be adopted, and how far the peer has them.
    adopting: BTreeMap<(LogId, EpochId), u64>,
    surveyed: bool,
    diverging: bool,
}

impl OwnLogs {
    pub(super) fn new(adopting: Vec<(LogId, EpochId)>) -> Self {
        let adopting = adopting.into_iter().map(|epoch| (epoch, 0)).collect();
        Self { adopting, surveyed: false, diverging: false }
    }

    /// Whether our logs are about to become others.
    pub(super) fn is_diverging(&self) -> bool {
        self.diverging
    }
}

impl Session {
    pub(super) fn handle_have(&mut self, have: &Have) {
        for head in &have.heads {
            if !self.wanted(head) {
                continue;
            }
            match self.incoming.have(head) {
                Ok(want) => self.send(Message::Want(want)),
                Err(text) => return self.close(ErrorCode::Protocol, &text),
            }
        }
        if self.config.role == Role::Device && !have.more && !self.own.surveyed {
            self.own.surveyed = true;
            self.perform(Effect::Surveyed);
        }
        self.finish_adopting();
    }

    /// Whether to ask for an epoch. Of one that we offer ourselves, the peer may know more:
    /// if we are writing it, somebody else was.
    fn wanted(&mut self, head: &Head) -> bool {
        let (log, epoch) = (head.position.log, head.position.epoch);
        let theirs = head.position.seq.saturating_add(1);
        if let Some(end) = self.own.adopting.get_mut(&(log, epoch)) {
            *end = theirs;
            return true;
        }
        let offered = self.outgoing.offered(log, epoch);
        let Some((end, hash, open)) = offered.filter(|_| self.config.role == Role::Device) else {
            return true;
        };
        if theirs < end || (theirs == end && head.hash == hash) {
            return false;
        }
        if open || theirs == end {
            self.set_aside(log, epoch);
            return false;
        }
        self.incoming.hold((log, epoch), end, hash);
        true
    }

    /// Says that each adopted epoch is here whose last batch came.
    pub(super) fn finish_adopting(&mut self) {
        if !self.own.surveyed {
            return;
        }
        let here = |(epoch, end): (&(LogId, EpochId), &u64)| {
            self.incoming.holds(*epoch, *end).then_some(*epoch)
        };
        let finished: Vec<_> = self.own.adopting.iter().filter_map(here).collect();
        for epoch in finished {
            self.own.adopting.remove(&epoch);
            self.perform(Effect::CaughtUp(epoch.0, epoch.1));
        }
    }

    /// A log goes no further: ours is set right, another's is given up.
    pub(super) fn stop_or_diverge(&mut self, error: ErrorMessage) {
        self.diverge(&error);
        self.stop(error);
    }

    /// What either end found of a log of ours: another history than the peer's.
    pub(super) fn diverge(&mut self, error: &ErrorMessage) {
        let of_an_epoch = error.log.zip(error.epoch).filter(|_| error.code == ErrorCode::Fork);
        if let Some((log, epoch)) = of_an_epoch
            && self.config.role == Role::Device
            && self.outgoing.offered(log, epoch).is_some()
        {
            self.set_aside(log, epoch);
        }
    }

    fn set_aside(&mut self, log: LogId, epoch: EpochId) {
        if !self.own.diverging {
            self.own.diverging = true;
            self.perform(Effect::Diverged(log, epoch));
        }
    }
}
