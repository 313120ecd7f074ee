//! The sync session, sans-IO: the same code at both ends and in the simulator.
//!
//! Owns the conversation: who has what, who wants what, what may be sent. How to
//! drive one is told, in six steps, at [`Session`]. Invariant: nothing is
//! acknowledged to the peer before [`Session::complete`] said that it is durable;
//! what is buffered is bounded by the window. Streams and stores are the driver's.

#[cfg(test)]
mod act_tests;
mod acting;
#[cfg(test)]
mod again_tests;
#[cfg(test)]
mod apart_tests;
#[cfg(test)]
mod balance_tests;
#[cfg(test)]
mod books_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod copy_tests;
#[cfg(test)]
mod forget_tests;
mod incoming;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod leaving_tests;
#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod lost_copy_tests;
mod names;
mod outgoing;
mod own;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
pub(crate) mod pair;
#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod past_tests;
#[cfg(test)]
mod prune_tests;
#[cfg(test)]
mod put_back_tests;
#[cfg(test)]
mod quarantine_tests;
#[cfg(test)]
mod rebuilt_tests;
#[cfg(test)]
mod rekeyed_tests;
#[cfg(test)]
mod right_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod seal_tests;
#[cfg(test)]
mod served_tests;
mod session;
#[cfg(test)]
mod session_tests;

pub use session::{Role, Session, SessionConfig};

use crate::log::Tip;
use crate::merge::{Burst, Refusal};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{
    ActAnswer, ActRequest, DirectoryEntry, EnrolmentProof, ErrorMessage, Message, StreamKind,
};
use tallyroll_schema::{EpochId, Hash, Head, LogId, Receipt, UserAlias};

/// A log epoch that we write and the peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its newest sealed head.
    pub head: Head,
    /// Decides the stream and the priority.
    pub class: LogClass,
    /// How it is ours to offer.
    pub kind: OfferKind,
}

/// How an epoch is ours to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    /// We are writing it: nobody should know more of it than we do.
    Open,
    /// It is of our own log, and ended, or another copy of us wrote it.
    Ended,
    /// It is of the peer's own log, given back to a peer that lost it.
    GivenBack,
}

/// What a session begins with: what its owner's store holds.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Our logs that concern the peer.
    pub offers: Vec<Offer>,
    /// Where we stand in the logs the peer writes, or gives back to us.
    pub held: Vec<((LogId, EpochId), Tip)>,
    /// As a device: epochs of our own in which the cloud's history is to replace ours.
    pub adopting: Vec<(LogId, EpochId)>,
    /// Whether what the peer has of our own epochs can be adopted for good. At a device: the
    /// cloud receipted our open ones, so it takes nothing more into those before them.
    pub settled: bool,
    /// As the cloud: the epoch of our accounts. Another one than before says that we lost what we
    /// held last.
    pub accounts: Option<EpochId>,
    /// As the cloud: the digest of the names that we have of the device.
    pub names: Option<u64>,
    /// As a device: that the cloud enrolled it.
    pub enrolment: Option<EnrolmentProof>,
    /// As the cloud: the newest receipts of the device's epochs, said again in
    /// case they were lost.
    pub receipts: Vec<Receipt>,
    /// As the cloud: epochs of the device that are not asked for, and why.
    pub held_up: Vec<((LogId, EpochId), Refusal)>,
}

/// What the session wants its driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write a message.
    Send {
        /// To this stream.
        stream: StreamKind,
        /// The message.
        message: Message,
    },
    /// Carry out against the store, then answer with [`Session::complete`].
    Perform(Effect),
    /// End the connection; the error was, or need not be, sent.
    Close(ErrorMessage),
}

/// Work for the owner of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Admit a burst and make it durable.
    Persist(Burst),
    /// Read batches to be sent.
    Fetch(Fetch),
    /// Keep the cloud's receipt.
    KeepReceipt(Receipt),
    /// Make a device's sealed names durable.
    StoreDirectory(Vec<DirectoryEntry>),
    /// Note that the cloud has these names.
    DirectoryStored(Vec<UserAlias>),
    /// As a device: note which names the cloud has, by their digest.
    Names(u64),
    /// As a device: the cloud's history of this epoch of ours is another one. Set ours aside.
    Diverged(LogId, EpochId),
    /// All that the peer has of our own epochs that ended is here.
    Surveyed,
    /// What the peer has of this epoch of ours, which we are adopting, is here, and what it has of
    /// our others too.
    CaughtUp(LogId, EpochId),
    /// As a device: the cloud has less of these epochs of its own logs than we do. Offer them.
    GiveBack(Vec<(LogId, EpochId)>),
    /// As the cloud: the device pruned what comes next in this epoch of its own.
    PrunedThere(LogId, EpochId),
    /// As a device: what the cloud says of what it holds.
    Accounts {
        /// The epoch of its accounts.
        epoch: EpochId,
        /// Which names it has of the device, by their digest.
        names: Option<u64>,
    },
    /// As the cloud: may the device, as a processing server, do this. It may wait; other effects need not
    /// wait for it.
    Act(ActRequest),
    /// As a device: what was answered. For whoever asked; the store has no part in it.
    Acted(ActAnswer),
}

/// Which batches to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// The first seq; must be a batch's first.
    pub from: u64,
    /// The chain's value before it, as the peer holds it.
    pub after: Hash,
    /// Stop before more than so many bytes, but return at least one batch.
    pub bytes_max: usize,
}

/// How an [`Effect`] came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A burst is durable.
    Persisted {
        /// The log and epoch.
        epoch: (LogId, EpochId),
        /// The seq that comes next.
        next_seq: u64,
        /// The chain's value there.
        hash: Hash,
        /// The cloud's receipt, when we are the cloud.
        receipt: Option<Receipt>,
        /// The burst's size, bytes.
        bytes: usize,
    },
    /// A burst was not admitted.
    Refused {
        /// The log and epoch.
        epoch: (LogId, EpochId),
        /// Why.
        refusal: Refusal,
        /// The burst's size, bytes.
        bytes: usize,
    },
    /// Batches to be sent.
    Fetched(Burst),
    /// There is nothing from that place on, yet.
    NothingThere(LogId, EpochId),
    /// What was asked for contradicts what is held, or is here no more.
    NotFetched(LogId, EpochId, Refusal),
    /// As a device: this epoch of ours stays what it was, for what the cloud has otherwise was pruned.
    Stays(LogId, EpochId, Refusal),
    /// Names are durable here; the digest of all that are.
    DirectoryStored(Vec<UserAlias>, u64),
    /// Our logs have these heads now.
    Grew(Vec<Offer>),
    /// The peer's logs, as we hold them.
    GaveBack(Vec<Offer>),
    /// Names that the cloud is to have, again.
    Directory(Vec<DirectoryEntry>),
    /// What a processing server is told.
    Acted(ActAnswer),
    /// Our logs are not what this session began with; another one is to begin.
    StartOver,
    /// Done; nothing to tell the peer.
    Done,
}
