//! The wire: frames, and the messages of a session's control stream.
//!
//! Invariant: a frame states its length first and is refused over its stream's
//! limit before a byte of it is buffered. Messages are CBOR maps with integer
//! keys: unknown keys are skipped, unknown message types are ignored, so a
//! newer peer can talk to an older one. Who may say what, and when, is the
//! engine's session.

mod act;
mod frame;
mod tagged;

pub use act::{ActAnswer, ActOutcome, ActRequest};
pub use frame::{FrameReader, StreamKind, encode_frame};
pub use tagged::{KEEP_ALIVE, TaggedReader, tag_frame};

use crate::cbor::{from_cbor, to_cbor};
use crate::event::Bytes;
use crate::head::{Head, Receipt, SignedHead};
use crate::ids::{DeviceId, EpochId, Hash, LogId, TenantId, UserAlias};
use crate::limits::{
    ACT_ANSWER_BYTES_MAX, ACT_BYTES_MAX, DIRECTORY_ENTRIES_MAX, ENROLMENT_PROOF_BYTES_MAX,
    HEADS_PER_MESSAGE_MAX, SEALED_NAME_BYTES_MAX,
};
use crate::{Batch, DecodeError};
use minicbor::{Decode, Encode};

/// The ALPN of a session.
pub const ALPN_SESSION: &[u8] = b"tallyroll/1";
/// The `info` of HPKE (RFC 9180) when a name is sealed to the directory key. The associated
/// data is the device's id and the alias, so that a row moved to another alias does not open.
pub const DIRECTORY_INFO: &[u8] = b"tallyroll directory v1";
/// The protocol version of HELLO.
pub const PROTOCOL_VERSION: u16 = 1;
/// The newest event schema this build writes.
pub const SCHEMA_VERSION: u16 = 1;

/// First message both ways.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    #[n(0)]
    pub protocol: u16,
    /// Oldest schema the sender reads.
    #[n(1)]
    pub schema_min: u16,
    /// Newest schema the sender writes.
    #[n(2)]
    pub schema_max: u16,
    /// The tenant both must mean.
    #[n(3)]
    pub tenant: TenantId,
    /// The device of this session, named by both ends.
    #[n(4)]
    pub device: DeviceId,
    /// Bytes of batches the sender takes before it gives CREDIT.
    #[n(5)]
    pub window: u32,
    /// Software and version, for people.
    #[n(6)]
    pub agent: String,
    /// The epoch of the cloud's accounts: another one than before says that it lost what it held
    /// last.
    #[n(7)]
    pub accounts: Option<EpochId>,
    /// As a device: what the cloud said when it enrolled it, for a cloud that lost that.
    #[n(8)]
    pub enrolment: Option<EnrolmentProof>,
    /// As the cloud: which names it has of the device, as [`names_digest`]. Others than it said last mean that
    /// it may have lost some.
    #[n(9)]
    pub names: Option<u64>,
}

/// Of the aliases whose names somebody has: the sum, modulo 2^64, of the first 8 bytes, big endian, of the BLAKE3
/// hash of each, so that one more or less costs no walk over the others.
pub fn names_digest(aliases: impl IntoIterator<Item = UserAlias>) -> u64 {
    aliases.into_iter().fold(0, |sum, alias| {
        let hash = blake3::derive_key("tallyroll names v1", alias.as_bytes());
        sum.wrapping_add(hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    })
}

/// That the cloud enrolled a device, by the cloud's own signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EnrolmentProof {
    /// The first batches of an epoch of the device's log, verbatim; `device.enrolled` is among
    /// their records.
    #[n(0)]
    pub batches: Vec<Bytes>,
    /// Of the last one's end.
    #[n(1)]
    pub head: SignedHead,
    /// What the cloud wrote there when it had taken in a change of the device's keys, the newest.
    #[n(2)]
    pub renewed: Option<Box<EnrolmentRenewed>>,
}

/// A later stretch of the same log, in which `device.enrolled` names the keys of today.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EnrolmentRenewed {
    /// The chain's value before the first batch.
    #[n(0)]
    pub after: Hash,
    /// Batches, verbatim.
    #[n(1)]
    pub batches: Vec<Bytes>,
    /// Of the last one's end.
    #[n(2)]
    pub head: SignedHead,
}

impl EnrolmentProof {
    /// The batches' size, bytes.
    pub fn len(&self) -> usize {
        let renewed = self.renewed.iter().flat_map(|renewed| &renewed.batches);
        self.batches.iter().chain(renewed).map(|batch| batch.0.len()).sum()
    }

    /// Whether it proves nothing, for there are no batches.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// What the sender offers: its own logs that concern the peer. Repeated for a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Have {
    /// The newest head of each epoch, in order of log and epoch.
    #[n(0)]
    pub heads: Vec<Head>,
    /// Whether further HAVEs of the opening exchange follow.
    #[n(1)]
    pub more: bool,
}

/// Asks for an epoch from a sequence on, now and as it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Want {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// The epoch.
    #[n(1)]
    pub epoch: EpochId,
    /// The first seq wanted.
    #[n(2)]
    pub from: u64,
    /// The chain's value before it, as the asker holds it: another one is a fork.
    #[n(3)]
    pub hash: Hash,
}

/// One alias's name, sealed to the tenant's directory key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct DirectoryEntry {
    /// The alias.
    #[n(0)]
    pub alias: UserAlias,
    /// RFC 9180 (HPKE) encapsulated key and ciphertext.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

/// What went wrong, so that the peer knows what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode)]
#[cbor(index_only)]
pub enum ErrorCode {
    /// Speaks no common protocol or schema.
    #[n(0)]
    Version,
    /// Broke the protocol.
    #[n(1)]
    Protocol,
    /// Is not, or no longer, allowed.
    #[n(2)]
    Denied,
    /// Sent a batch that does not verify; the log is in quarantine.
    #[n(3)]
    Poison,
    /// Shows another history than one already held.
    #[n(4)]
    Fork,
    /// No room or too busy; come again later.
    #[n(5)]
    Busy,
    /// The sender's own fault. What a newer sender says with a code that this build does not
    /// know is read as this, so that its text still arrives.
    #[n(6)]
    Internal,
    /// Pruned what is asked for, after it was receipted.
    #[n(7)]
    Pruned,
}

impl<'b, C> Decode<'b, C> for ErrorCode {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(match d.u32()? {
            0 => Self::Version,
            1 => Self::Protocol,
            2 => Self::Denied,
            3 => Self::Poison,
            4 => Self::Fork,
            5 => Self::Busy,
            7 => Self::Pruned,
            _ => Self::Internal,
        })
    }
}

/// An error, on one log or on the session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ErrorMessage {
    /// What kind.
    #[n(0)]
    pub code: ErrorCode,
    /// Whether the same may succeed later.
    #[n(1)]
    pub retryable: bool,
    /// The log it concerns; the session when absent.
    #[n(2)]
    pub log: Option<LogId>,
    /// For people: what failed and what to do.
    #[n(3)]
    pub text: String,
    /// The epoch of the log, where it is about one.
    #[n(4)]
    pub epoch: Option<EpochId>,
}

/// A message of the control stream, or a part of a burst on a batch stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Opens the session.
    Hello(Hello),
    /// Says what is held.
    Have(Have),
    /// Asks for an epoch's batches.
    Want(Want),
    /// Allows so many more bytes of batches.
    Credit(u32),
    /// Confirms durability.
    Receipt(Receipt),
    /// Shows a head that contradicts one the peer holds.
    Fork(SignedHead),
    /// Reports an error.
    Error(ErrorMessage),
    /// Brings sealed names.
    Directory(Vec<DirectoryEntry>),
    /// Confirms that these aliases' names are durable.
    DirectoryStored(Vec<UserAlias>),
    /// From the cloud, after that: which names it has of the device then, as [`names_digest`].
    Names(u64),
    /// Says that all was told that is held of the peer's own logs, of so many epochs.
    Surveyed(u32),
    /// Asks for permission to act, as a processing server.
    Act(ActRequest),
    /// Gives it, or not.
    Acted(ActAnswer),
    /// A batch of a burst (batch streams only).
    Batch(Batch),
    /// Closes a burst: the head of its last batch (batch streams only).
    Head(SignedHead),
    /// A type this build does not know; ignored.
    Unknown(u8),
}

/// Pairs every CBOR message with its type byte, once, for both directions.
macro_rules! messages {
    ($($tag:literal => $variant:ident),* $(,)?) => {
        impl Message {
            /// The frame's type byte and payload.
            pub fn encode(&self) -> (u8, Vec<u8>) {
                match self {
                    $(Self::$variant(body) => ($tag, to_cbor(body)),)*
                    Self::Batch(batch) => (BATCH, batch.bytes().to_vec()),
                    Self::Unknown(tag) => (*tag, Vec::new()),
                }
            }

            /// Reads a frame's payload.
            ///
            /// # Errors
            /// When the payload does not fit its type or a limit is passed.
            pub fn decode(tag: u8, payload: Vec<u8>) -> Result<Self, DecodeError> {
                let message = match tag {
                    $($tag => Self::$variant(from_cbor(&payload)?),)*
                    BATCH => Self::Batch(Batch::decode(payload)?),
                    unknown => Self::Unknown(unknown),
                };
                message.check()?;
                Ok(message)
            }
        }
    };
}

const BATCH: u8 = 64;

messages! {
    1 => Hello,
    2 => Have,
    3 => Want,
    4 => Credit,
    5 => Receipt,
    6 => Fork,
    7 => Error,
    8 => Directory,
    9 => DirectoryStored,
    10 => Surveyed,
    11 => Act,
    12 => Acted,
    13 => Names,
    65 => Head,
}

impl Message {
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::Hello(hello) => {
                let proof = hello.enrolment.as_ref().map_or(0, EnrolmentProof::len);
                within("proof of an enrolment", proof, ENROLMENT_PROOF_BYTES_MAX)
            }
            Self::Have(have) => within("HAVE", have.heads.len(), HEADS_PER_MESSAGE_MAX),
            Self::Directory(entries) => {
                within("DIRECTORY", entries.len(), DIRECTORY_ENTRIES_MAX)?;
                let longest = entries.iter().map(|entry| entry.sealed.len()).max();
                within("sealed name", longest.unwrap_or(0), SEALED_NAME_BYTES_MAX)
            }
            Self::DirectoryStored(aliases) => {
                within("DIRECTORY_STORED", aliases.len(), DIRECTORY_ENTRIES_MAX)
            }
            Self::Act(asked) => within("act", asked.act.len(), ACT_BYTES_MAX),
            Self::Acted(ActAnswer {
                outcome: ActOutcome::Refused(text) | ActOutcome::Later(text),
                ..
            }) => within("answer to an act", text.len(), ACT_ANSWER_BYTES_MAX),
            _ => Ok(()),
        }
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found <= limit {
        return Ok(());
    }
    Err(DecodeError::Limit { what, found: found as u64, limit: limit as u64 })
}

#[cfg(test)]
mod tests;
