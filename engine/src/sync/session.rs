//! One session: the opening exchange, and who handles which message.
//!
//! Invariant: before HELLO nothing is listened to but ERROR, by which a peer
//! refuses to begin; one that breaks the protocol is told once and closed.
//! Sending logs is `outgoing`, taking them in is `incoming`.

use super::acting::Acting;
use super::incoming::{Incoming, told};
use super::names::Names;
use super::outgoing::Outgoing;
use super::own::OwnLogs;
use super::{Effect, Offer, Opening, Output, Reply};
use crate::merge::Refusal;
use crate::planted::{Bug, planted};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use tallyroll_schema::limits::links::{HELLO_TIMEOUT, STOPS_MAX};
use tallyroll_schema::wire::{
    DirectoryEntry, ErrorCode, ErrorMessage, Hello, Message, PROTOCOL_VERSION, SCHEMA_VERSION,
    StreamKind,
};
use tallyroll_schema::{DeviceId, EpochId, LogId, TenantId};

/// Which end of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A device: sends its logs, takes decisions and receipts.
    Device,
    /// The cloud: takes devices' logs and names, sends decisions and receipts.
    Cloud,
}

/// What both ends of a session must agree on, and our own limits.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Our end.
    pub role: Role,
    /// The tenant.
    pub tenant: TenantId,
    /// The device of this session, authenticated by the transport at the cloud.
    pub device: DeviceId,
    /// Bytes of batches we buffer before they are durable.
    pub window: u32,
    /// Software and version, for people.
    pub agent: String,
}

/// A sync session. How to drive one, in six steps:
///
/// 1. Make it with an [`Opening`]: the heads you offer, the places you hold.
/// 2. Call [`Session::poll_output`] until it returns `None`.
/// 3. Write each [`Output::Send`] to its stream, in order.
/// 4. Carry out each [`Output::Perform`] against your store and give the answer
///    to [`Session::complete`]; effects may take as long as they take.
/// 5. Feed what arrives to [`Session::handle`], what your logs gain to
///    [`Session::grew`], and the time to [`Session::handle_timeout`] at
///    [`Session::deadline`]. After each, go to 2.
/// 6. On [`Output::Close`], or when the connection ends, drop it. A session holds
///    nothing that a new one does not find out again in one round trip.
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    peer: Option<Hello>,
    hello_by: Duration,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    outputs: VecDeque<Output>,
    names: Names,
    pub(super) acting: Acting,
    stops: Vec<ErrorMessage>,
    /// Epochs of the peer's that are not asked for.
    pub(super) held_up: BTreeMap<(LogId, EpochId), Refusal>,
    pub(super) own: OwnLogs,
    closed: bool,
}

impl Session {
    /// A session that begins now (any monotonic time).
    pub fn new(config: SessionConfig, opening: Opening, now: Duration) -> Self {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            schema_min: 1,
            schema_max: SCHEMA_VERSION,
            tenant: config.tenant,
            device: config.device,
            window: config.window,
            agent: config.agent.clone(),
            accounts: opening.accounts,
            names: opening.names,
            enrolment: opening.enrolment.clone(),
        };
        let mut session = Self {
            incoming: Incoming::new(config.window),
            outgoing: Outgoing::default(),
            own: OwnLogs::new(config.role, &opening),
            held_up: opening.held_up.into_iter().collect(),
            config,
            peer: None,
            hello_by: now.saturating_add(HELLO_TIMEOUT),
            names: Names::default(),
            acting: Acting::default(),
            outputs: VecDeque::new(),
            stops: Vec::new(),
            closed: false,
        };
        for (epoch, tip) in opening.held {
            session.incoming.hold(epoch, tip.next_seq, tip.hash);
        }
        session.send(Message::Hello(hello));
        session.grew(opening.offers);
        for receipt in opening.receipts {
            session.send(Message::Receipt(receipt));
        }
        session
    }

    /// What the peer said of itself, once it did.
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// Whether the peer has told what it has, and all of it that can be taken was.
    pub fn has_all(&self) -> bool {
        self.own.has_heard() && self.incoming.has_all(|log| self.is_stopped(log))
    }

    /// Whether a log goes no further.
    pub(super) fn is_stopped(&self, log: LogId) -> bool {
        self.stops.iter().any(|stop| stop.log == Some(log))
    }

    /// The logs that go no further in this session and why, as either end found:
    /// a fork, poison, or one that is not the device's. The rim tells people.
    pub fn stops(&self) -> &[ErrorMessage] {
        &self.stops
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn deadline(&self) -> Option<Duration> {
        (self.peer.is_none() && !self.closed).then_some(self.hello_by)
    }

    /// Tells the session what time it is.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.close(ErrorCode::Protocol, "no HELLO within 10 s");
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Our logs have new heads.
    pub fn grew(&mut self, offers: Vec<Offer>) {
        for have in self.outgoing.offer(offers) {
            self.send(Message::Have(have));
        }
        self.pump();
    }

    /// Sends names, sealed, to the cloud.
    pub fn offer_directory(&mut self, entries: Vec<DirectoryEntry>) {
        self.names.offer(entries);
        self.send_names();
    }

    fn send_names(&mut self) {
        if let Some(entries) = self.names.next() {
            self.send(Message::Directory(entries));
        }
    }

    /// A message arrived.
    pub fn handle(&mut self, stream: StreamKind, message: Message) {
        if self.closed || self.own.is_diverging() {
            return;
        }
        match message {
            Message::Hello(hello) if self.peer.is_none() => self.handle_hello(hello),
            Message::Error(error) => self.handle_error(error),
            _ if self.peer.is_none() => {
                // Batch streams can overtake the control stream's first bytes,
                // but nobody asked for a batch before HELLO.
                self.close(ErrorCode::Protocol, "HELLO comes first");
            }
            Message::Hello(_) => self.close(ErrorCode::Protocol, "HELLO comes once"),
            Message::Have(have) => self.handle_have(&have),
            Message::Want(want) => {
                if let Err(error) = self.outgoing.want(self.config.role, &want) {
                    self.stop_or_diverge(error);
                }
                self.pump();
            }
            Message::Credit(bytes) => {
                self.outgoing.credit(bytes);
                self.pump();
            }
            Message::Batch(batch) => {
                if let Err(text) = self.incoming.batch(stream, batch) {
                    self.close(ErrorCode::Protocol, &text);
                }
            }
            Message::Head(head) => match self.incoming.head(stream, head) {
                Ok(burst) => self.perform(Effect::Persist(burst)),
                Err(text) => self.close(ErrorCode::Protocol, &text),
            },
            Message::Receipt(receipt) => self.for_role(Role::Device, Effect::KeepReceipt(receipt)),
            Message::Directory(entries) => {
                self.for_role(Role::Cloud, Effect::StoreDirectory(entries));
            }
            Message::DirectoryStored(aliases) => {
                self.names.stored(aliases.len());
                self.send_names();
                self.for_role(Role::Device, Effect::DirectoryStored(aliases));
            }
            // Before the last of ours it says nothing of them.
            Message::Names(_) if self.names.is_under_way() => {}
            Message::Names(digest) => self.for_role(Role::Device, Effect::Names(digest)),
            Message::Surveyed(_) => self.handle_surveyed(),
            Message::Act(asked) => self.handle_act(asked),
            Message::Acted(answer) => self.for_role(Role::Device, Effect::Acted(answer)),
            Message::Fork(signed) => self.outgoing.stop(signed.head.position.log),
            Message::Unknown(_) => {}
        }
    }

    /// An effect was carried out.
    pub fn complete(&mut self, reply: Reply) {
        if self.closed {
            return;
        }
        if matches!(reply, Reply::Fetched(_) | Reply::NothingThere(..) | Reply::NotFetched(..)) {
            self.outgoing.fetch_ended();
        }
        match reply {
            Reply::StartOver => {
                let text = "this log was set right; the next session goes on from there";
                self.end(ErrorMessage {
                    code: ErrorCode::Fork,
                    retryable: true,
                    log: None,
                    text: text.into(),
                    epoch: None,
                });
            }
            Reply::Stays(log, epoch, refusal) => {
                self.own.stays((log, epoch));
                self.is_not_here(log, epoch, &refusal);
            }
            _ if self.own.is_diverging() => {} // what our logs were is not what they will be
            Reply::Persisted { epoch, next_seq, hash, receipt, bytes } => {
                self.incoming.persisted(epoch, next_seq, hash);
                self.finish_adopting();
                if !planted(Bug::CreditKept) {
                    self.give_credit(bytes);
                }
                if let Some(receipt) = receipt {
                    self.send(Message::Receipt(receipt));
                }
            }
            Reply::Refused { epoch, refusal, bytes } => {
                self.give_credit(bytes);
                match self.incoming.refused(epoch, &refusal) {
                    Ok(want) => self.send(Message::Want(want)),
                    // What we wrote ourselves is never set aside for what is given back of it.
                    Err(error) if self.outgoing.is_own(epoch.0) => self.stop(error),
                    Err(error) => self.stop_or_diverge(error),
                }
            }
            Reply::Fetched(burst) => {
                for (stream, message) in self.outgoing.fetched(burst) {
                    self.outputs.push_back(Output::Send { stream, message });
                }
                self.pump();
            }
            Reply::NothingThere(log, epoch) => self.outgoing.nothing_there(log, epoch),
            Reply::NotFetched(log, epoch, refusal @ Refusal::Pruned { .. }) => {
                self.is_not_here(log, epoch, &refusal);
            }
            Reply::NotFetched(log, epoch, refusal) => {
                self.outgoing.stop(log);
                let (text, log, epoch) = (refusal.to_string(), Some(log), Some(epoch));
                let code = ErrorCode::Fork;
                self.stop_or_diverge(ErrorMessage { code, retryable: false, log, text, epoch });
                self.pump();
            }
            Reply::Grew(offers) => self.grew(offers),
            Reply::GaveBack(offers) => self.gave_back(offers),
            Reply::Directory(entries) => self.offer_directory(entries),
            Reply::Acted(answer) => self.acted(answer),
            Reply::DirectoryStored(aliases, digest) => {
                self.send(Message::DirectoryStored(aliases));
                self.send(Message::Names(digest));
            }
            Reply::Done => {}
        }
    }

    fn is_not_here(&mut self, log: LogId, epoch: EpochId, refusal: &Refusal) {
        self.outgoing.stop(log);
        self.stop(told(refusal, log, epoch));
        self.pump();
    }

    fn handle_hello(&mut self, hello: Hello) {
        let text = if hello.protocol != PROTOCOL_VERSION {
            format!("protocol {} here, {} there; update one", PROTOCOL_VERSION, hello.protocol)
        } else if hello.schema_min > SCHEMA_VERSION {
            format!("schema {} here, {} there; update this one", SCHEMA_VERSION, hello.schema_min)
        } else if hello.tenant != self.config.tenant || hello.device != self.config.device {
            return self.close(ErrorCode::Denied, "another tenant or device than authenticated");
        } else {
            self.outgoing.credit(hello.window);
            if let Some(epoch) = hello.accounts.filter(|_| self.config.role == Role::Device) {
                self.perform(Effect::Accounts { epoch, names: hello.names });
            }
            self.peer = Some(hello);
            return self.pump();
        };
        self.close(ErrorCode::Version, &text);
    }

    fn handle_error(&mut self, error: ErrorMessage) {
        match error.log {
            Some(log) => {
                self.outgoing.stop(log);
                self.diverge(&error);
                let place = error.epoch.filter(|_| error.code == ErrorCode::Pruned);
                if let Some(epoch) = place.filter(|_| self.config.role == Role::Cloud) {
                    self.perform(Effect::PrunedThere(log, epoch));
                }
                self.note(error);
            }
            None => {
                self.closed = true;
                self.outputs.push_back(Output::Close(error));
            }
        }
    }

    pub(super) fn for_role(&mut self, role: Role, effect: Effect) {
        if self.config.role == role {
            self.perform(effect);
        } else {
            self.close(ErrorCode::Protocol, "a message for the other role");
        }
    }

    fn pump(&mut self) {
        if self.peer.is_some() {
            while let Some(fetch) = self.outgoing.next_fetch() {
                self.perform(Effect::Fetch(fetch));
            }
        }
    }

    fn give_credit(&mut self, bytes: usize) {
        let bytes = self.incoming.release(bytes);
        self.send(Message::Credit(bytes));
    }

    pub(super) fn send(&mut self, message: Message) {
        self.outputs.push_back(Output::Send { stream: StreamKind::Control, message });
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Perform(effect));
    }

    /// Tells the peer that a log goes no further.
    pub(super) fn stop(&mut self, error: ErrorMessage) {
        self.send(Message::Error(error.clone()));
        self.note(error);
    }

    /// A log is noted once, by the first reason.
    fn note(&mut self, error: ErrorMessage) {
        let known = self.stops.iter().any(|stop| stop.log == error.log);
        if !known && self.stops.len() < STOPS_MAX {
            self.stops.push(error);
            self.finish_adopting();
        }
    }

    pub(super) fn close(&mut self, code: ErrorCode, text: &str) {
        let text = text.into();
        self.end(ErrorMessage { code, retryable: false, log: None, text, epoch: None });
    }

    fn end(&mut self, error: ErrorMessage) {
        self.send(Message::Error(error.clone()));
        self.outputs.push_back(Output::Close(error));
        self.closed = true;
    }
}
