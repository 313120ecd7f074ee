//! Heads and receipts: the two statements that are signed.
//!
//! Invariant: what is signed is a fixed-size byte string with a domain of its
//! own, so that no signature can stand for another statement. A head is the
//! writer's word for a log up to a place; a receipt is the cloud's word that it
//! holds that place durably. Signing and verifying are the engine's.

use crate::cbor;
use crate::clock::Wall;
use crate::ids::{CommitPosition, Hash, IdParseError, Position, TenantId};
use core::fmt;
use minicbor::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

cbor::as_bytes!(Signature, 64);
cbor::as_json_text!(Signature, "signature", "^([0-9a-f]{2}){64}$");

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = self.0.split_at(32);
        for half in [left, right] {
            let half: [u8; 32] = half.try_into().unwrap_or_default();
            write!(f, "{}", Hash(half))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", self.to_string().get(..8).unwrap_or_default())
    }
}

impl FromStr for Signature {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let parse = || {
            let (left, right) = text.split_at_checked(64)?;
            let (left, right): (Hash, Hash) = (left.parse().ok()?, right.parse().ok()?);
            let mut bytes = [0; 64];
            for (to, from) in bytes.iter_mut().zip(left.0.into_iter().chain(right.0)) {
                *to = from;
            }
            Some(Self(bytes))
        };
        parse().ok_or_else(|| IdParseError::new("signature", "128 hex digits", text))
    }
}

/// A log's state up to and including a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, JsonSchema)]
#[cbor(map)]
pub struct Head {
    /// The last record it covers; always a batch's last.
    #[n(0)]
    pub position: Position,
    /// The chain's value there.
    #[n(1)]
    pub hash: Hash,
}

impl Head {
    /// The bytes a writer signs.
    pub fn signed_bytes(&self, tenant: TenantId) -> Vec<u8> {
        statement(b"tallyroll head v1", tenant, self, &[])
    }
}

/// A head with its writer's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, JsonSchema)]
#[cbor(map)]
pub struct SignedHead {
    /// The head.
    #[n(0)]
    pub head: Head,
    /// Over [`Head::signed_bytes`], by the log's writer.
    #[n(1)]
    pub signature: Signature,
}

/// Where and when the cloud committed a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, JsonSchema)]
#[cbor(map)]
#[serde(rename_all = "kebab-case")]
pub struct Commit {
    /// The cloud's number for the batch that the head closes.
    #[n(0)]
    pub position: CommitPosition,
    /// The cloud's clock then. For display; no view reads it.
    #[n(1)]
    pub received_at: Wall,
}

/// The cloud's signed word that it holds a log durably up to a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, JsonSchema)]
#[cbor(map)]
pub struct Receipt {
    /// What is held.
    #[n(0)]
    pub head: Head,
    /// Where it was committed.
    #[n(1)]
    pub commit: Commit,
    /// Over [`Receipt::signed_bytes`], by the cloud.
    #[n(2)]
    pub signature: Signature,
}

impl Receipt {
    /// The bytes the cloud signs for a head it committed.
    pub fn signed_bytes(tenant: TenantId, head: &Head, commit: &Commit) -> Vec<u8> {
        let place = [
            &commit.position.epoch.to_le_bytes()[..],
            &commit.position.index.to_le_bytes(),
            &commit.received_at.0.to_le_bytes(),
        ];
        statement(b"tallyroll receipt v1", tenant, head, &place)
    }
}

fn statement(domain: &[u8], tenant: TenantId, head: &Head, more: &[&[u8]]) -> Vec<u8> {
    let Position { log, epoch, seq } = head.position;
    let parts: [&[u8]; 7] = [
        domain,
        tenant.as_bytes(),
        log.as_bytes(),
        &epoch.counter.to_le_bytes(),
        &epoch.nonce,
        &seq.to_le_bytes(),
        head.hash.as_bytes(),
    ];
    parts.iter().chain(more).flat_map(|part| part.iter().copied()).collect()
}
