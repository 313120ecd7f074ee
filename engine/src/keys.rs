//! Signing and verifying heads, receipts, enrolments and consents to take over a log.
//!
//! Invariant: verification is strict (RFC 8032 with `verify_strict`: no small-order
//! keys, no malleable signatures). A private key never leaves [`Signer`], which
//! shows nothing of it in its debug form. Making and keeping keys is the rims'.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::log::KeyRotated;
use tallyroll_schema::{Commit, Head, LogId, PublicKey, Receipt, Signature, SignedHead, TenantId};

/// A private signing key.
pub struct Signer {
    key: SigningKey,
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Signer({})", self.public_key().short())
    }
}

impl Signer {
    /// From 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed) }
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// A writer's signature on its log's head.
    pub fn sign_head(&self, tenant: TenantId, head: Head) -> SignedHead {
        SignedHead { head, signature: self.sign(&head.signed_bytes(tenant)) }
    }

    /// The cloud's signature on what it committed.
    pub fn sign_receipt(&self, tenant: TenantId, head: Head, commit: Commit) -> Receipt {
        let signature = self.sign(&Receipt::signed_bytes(tenant, &head, &commit));
        Receipt { head, commit, signature }
    }

    /// A device's binding of its signing key to its TLS key.
    pub fn sign_enrolment(&self, name: &str, tls_fingerprint: &[u8; 32]) -> Signature {
        self.sign(&JoinRequest::signed_bytes(name, tls_fingerprint))
    }

    /// A log's next key agrees to take over from its `old` one.
    pub fn sign_consent(&self, tenant: TenantId, log: LogId, old: &PublicKey) -> Signature {
        self.sign(&KeyRotated::consent_bytes(tenant, log, old, &self.public_key()))
    }

    /// A secret of this key's holder for another use, named by `context`, over
    /// public `material`.
    pub(crate) fn derive_secret(&self, context: &str, material: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(self.key.as_bytes()).update(material);
        *hasher.finalize().as_bytes()
    }

    #[cfg(test)]
    pub(crate) fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        Signature(self.key.sign(bytes).to_bytes())
    }
}

/// Whether a head is its writer's.
pub fn verify_head(tenant: TenantId, writer: &PublicKey, head: &SignedHead) -> bool {
    verify(writer, &head.head.signed_bytes(tenant), &head.signature)
}

/// Whether a receipt is the cloud's.
pub fn verify_receipt(tenant: TenantId, cloud: &PublicKey, receipt: &Receipt) -> bool {
    let bytes = Receipt::signed_bytes(tenant, &receipt.head, &receipt.commit);
    verify(cloud, &bytes, &receipt.signature)
}

/// Whether a log's next key agreed to take over from its `old` one.
pub fn verify_consent(tenant: TenantId, log: LogId, old: &PublicKey, event: &KeyRotated) -> bool {
    let bytes = KeyRotated::consent_bytes(tenant, log, old, &event.writer);
    verify(&event.writer, &bytes, &event.consent)
}

/// Whether an enrolment's signing key vouches for the TLS key it came with.
pub fn verify_enrolment(request: &JoinRequest, tls_fingerprint: &[u8; 32]) -> bool {
    let bytes = JoinRequest::signed_bytes(&request.name, tls_fingerprint);
    verify(&request.signing_key, &bytes, &request.proof)
}

fn verify(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(bytes, &signature).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(signer: &Signer, name: &str, tls_fingerprint: &[u8; 32]) -> JoinRequest {
        JoinRequest {
            name: name.into(),
            pin: "ABCD-EFGH".into(),
            signing_key: signer.public_key(),
            proof: signer.sign_enrolment(name, tls_fingerprint),
            agent: String::new(),
        }
    }

    #[test]
    fn an_enrolment_vouches_for_one_name_one_tls_key_and_its_own_signing_key() {
        let (signer, other) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
        let request = request(&signer, "lobby", &[3; 32]);
        assert!(verify_enrolment(&request, &[3; 32]));
        assert!(!verify_enrolment(&request, &[4; 32]), "another TLS key");
        let renamed = JoinRequest { name: "cellar".into(), ..request.clone() };
        assert!(!verify_enrolment(&renamed, &[3; 32]), "another name");
        let taken = JoinRequest { signing_key: other.public_key(), ..request };
        assert!(!verify_enrolment(&taken, &[3; 32]), "somebody else's proof");
    }

    #[test]
    fn a_derived_secret_is_of_one_key_one_use_and_one_material() {
        let (signer, other) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
        let secret = signer.derive_secret("tallyroll test one", b"material");
        assert_eq!(
            secret,
            Signer::from_seed(&[1; 32]).derive_secret("tallyroll test one", b"material")
        );
        for another in [
            other.derive_secret("tallyroll test one", b"material"),
            signer.derive_secret("tallyroll test two", b"material"),
            signer.derive_secret("tallyroll test one", b"materia"),
            signer.seed(),
        ] {
            assert_ne!(secret, another);
        }
    }

    #[test]
    fn a_signer_shows_its_public_half_only() {
        let signer = Signer::from_seed(&[1; 32]);
        assert_eq!(format!("{signer:?}"), format!("Signer({})", signer.public_key().short()));
    }
}
