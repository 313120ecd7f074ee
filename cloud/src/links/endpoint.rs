//! The cloud's one UDP socket, and how devices learn that the process behind it is a new one.
//!
//! Invariant: the keys of connection ids and of stateless resets (RFC 9000,
//! section 10.3) are the same from start to start. So a packet for a connection
//! that died with its process is answered by a reset, and the device connects
//! again at once instead of waiting for silence to tell.

use core::fmt;
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

/// The secret of an endpoint's ids and resets.
#[derive(Clone, Copy)]
pub struct EndpointSecret([u8; 32]);

impl EndpointSecret {
    /// Derived from the cloud's signing seed, which it does not tell anything of.
    pub fn derive(seed: &[u8; 32]) -> Self {
        Self(blake3::derive_key("tallyroll 2026-11 quic endpoint", seed))
    }
}

impl fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointSecret")
    }
}

/// Opens the endpoint.
///
/// # Errors
/// The system's.
pub fn open(
    secret: EndpointSecret,
    server: ServerConfig,
    address: SocketAddr,
) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(secret.0)));
    let [a, b, c, d, e, f, g, h, ..] =
        blake3::derive_key("tallyroll 2026-11 quic connection ids", &secret.0);
    let ids = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    let socket = UdpSocket::bind(address)?;
    Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))
}

/// Keyed BLAKE3 as the function that makes reset tokens.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = blake3::Hash::from_slice(signature).map_err(|_| CryptoError)?;
        // Compared in constant time.
        if blake3::keyed_hash(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_same_from_start_to_start_and_another_clouds_are_not() {
        let token = |seed| {
            let mut token = [0; blake3::OUT_LEN];
            ResetKey(EndpointSecret::derive(&seed).0).sign(b"connection", &mut token);
            token
        };
        assert_eq!(token([1; 32]), token([1; 32]));
        assert_ne!(token([1; 32]), token([2; 32]));
        let key = ResetKey(EndpointSecret::derive(&[1; 32]).0);
        assert!(key.verify(b"connection", &token([1; 32])).is_ok());
        assert!(key.verify(b"connection", &token([2; 32])).is_err());
    }
}
