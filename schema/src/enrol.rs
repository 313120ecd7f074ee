//! Enrolment: the one exchange before a device has an identity.
//!
//! Invariant: the request is sent only over a connection whose authority was
//! checked against the fingerprint in the join URL, and the PIN is bound to the
//! keys it came with: the same keys may ask again, other keys may not.

use crate::cbor::{from_cbor, to_cbor};
use crate::ids::{DeviceId, LogId, PublicKey, TenantId};
use crate::limits::{ENROLMENT_BYTES_MAX, NAME_BYTES_MAX, PIN_BYTES_MAX};
use crate::{DecodeError, Signature};
use minicbor::{Decode, Encode};

/// What a cloud tells who shows a certificate that it never enrolled. A device that changed its
/// keys then tries an older one: the cloud may have lost that it did.
pub const UNKNOWN_CERTIFICATE: &str = "no device with this certificate is enrolled here";

/// What a cloud tells a device that is revoked, among other things: it is never believed again.
pub const REVOKED: &str = "is revoked: nothing more is taken from it";

/// The ALPN of an enrolment.
pub const ALPN_ENROL: &[u8] = b"tallyroll-enrol/1";
/// The name in every server's certificate, which devices ask for wherever the cloud may be.
/// What is pinned is the authority; under which address it is reached is of no consequence.
pub const SERVER_NAME: &str = "tallyroll";

/// What a new device asks.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JoinRequest {
    /// The name the administrator enrolled.
    #[n(0)]
    pub name: String,
    /// The PIN; a secret.
    #[n(1)]
    pub pin: String,
    /// The device's signing key.
    #[n(2)]
    pub signing_key: PublicKey,
    /// By the signing key, over [`JoinRequest::signed_bytes`].
    #[n(3)]
    pub proof: Signature,
    /// Software and version.
    #[n(4)]
    pub agent: String,
}

impl JoinRequest {
    /// What the signing key signs: its own binding to the TLS key of this connection.
    pub fn signed_bytes(name: &str, tls_fingerprint: &[u8; 32]) -> Vec<u8> {
        [b"tallyroll enrol v1", tls_fingerprint.as_slice(), name.as_bytes()].concat()
    }
}

/// What the cloud answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum JoinAnswer {
    /// The device is enrolled.
    #[n(0)]
    Welcome(#[n(0)] Welcome),
    /// It is not; the text says why and what to do.
    #[n(1)]
    Refused(#[n(0)] String),
}

/// What a device needs to know for the rest of its life.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The tenant.
    #[n(0)]
    pub tenant: TenantId,
    /// The device's identity, from its signing key.
    #[n(1)]
    pub device: DeviceId,
    /// The cloud's signing key: for receipts and decisions.
    #[n(2)]
    pub cloud_key: PublicKey,
    /// The X25519 key that names are sealed to.
    #[n(3)]
    pub directory_key: PublicKey,
    /// The tenant's public log.
    #[n(4)]
    pub public_log: LogId,
}

impl DeviceId {
    /// The identity of a device whose first signing key is `key`.
    pub fn of_key(tenant: TenantId, key: &PublicKey) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"tallyroll device v1").update(tenant.as_bytes()).update(key.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

/// Bytes of a request or an answer.
pub fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    to_cbor(message)
}

/// Reads a request.
///
/// # Errors
/// When the bytes are none or a limit is passed.
pub fn decode_request(bytes: &[u8]) -> Result<JoinRequest, DecodeError> {
    let request: JoinRequest = decode(bytes)?;
    if request.name.len() > NAME_BYTES_MAX || request.pin.len() > PIN_BYTES_MAX {
        return Err(DecodeError::Malformed("enrolment: name or PIN too long"));
    }
    Ok(request)
}

/// Reads an answer.
///
/// # Errors
/// When the bytes are none.
pub fn decode_answer(bytes: &[u8]) -> Result<JoinAnswer, DecodeError> {
    decode(bytes)
}

fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, DecodeError> {
    if bytes.len() > ENROLMENT_BYTES_MAX {
        let (found, limit) = (bytes.len() as u64, ENROLMENT_BYTES_MAX as u64);
        return Err(DecodeError::Limit { what: "enrolment message", found, limit });
    }
    from_cbor(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_pin_are_as_long_as_they_may_be_and_no_longer() {
        let request = |name: usize, pin: usize| JoinRequest {
            name: "n".repeat(name),
            pin: "P".repeat(pin),
            signing_key: PublicKey([1; 32]),
            proof: Signature([2; 64]),
            agent: String::new(),
        };
        // A request is shown to nobody, for its PIN: its lengths are enough here.
        let read = |request: &JoinRequest| {
            decode_request(&encode(request)).map(|read| (read.name.len(), read.pin.len()))
        };
        let longest = request(NAME_BYTES_MAX, PIN_BYTES_MAX);
        assert_eq!(read(&longest), Ok((NAME_BYTES_MAX, PIN_BYTES_MAX)));
        let too_long = Err(DecodeError::Malformed("enrolment: name or PIN too long"));
        assert_eq!(read(&request(NAME_BYTES_MAX + 1, 1)), too_long);
        assert_eq!(read(&request(1, PIN_BYTES_MAX + 1)), too_long);
        let limit = ENROLMENT_BYTES_MAX as u64;
        let refused = |len| decode_answer(&vec![0; len]).map(drop).expect_err("is none");
        assert!(!matches!(refused(ENROLMENT_BYTES_MAX), DecodeError::Limit { .. }));
        let (what, found) = ("enrolment message", limit + 1);
        assert_eq!(refused(ENROLMENT_BYTES_MAX + 1), DecodeError::Limit { what, found, limit });
    }
}
