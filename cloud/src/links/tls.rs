//! The cloud's TLS, for QUIC and for TCP: what it presents, whom it lets finish a handshake, how much memory a QUIC
//! link may take.
//!
//! Invariant: a finished handshake proves that the peer holds the key of the certificate it showed, and nothing more.
//! Devices sign their own certificates, so whoever serves one looks its fingerprint up in the table of devices, on every
//! connection, before it believes a word. TLS 1.3 only, no resumption, no early data.
//! Admission under load (retry, rate) is left to the accept loop.

use std::sync::Arc;
use tallyroll_schema::limits::links::{
    BIDIRECTIONAL_STREAMS, CLIENT_CERTIFICATE_BYTES_MAX, IDLE_TIMEOUT, LINK_WINDOW_BYTES,
    STREAM_WINDOW_BYTES, UNIDIRECTIONAL_STREAMS, WAITING_BYTES_EACH, WAITING_BYTES_TOTAL,
    WAITING_HANDSHAKES,
};

use quinn::crypto::rustls::{HandshakeData, NoInitialCipherSuite, QuicServerConfig};
use quinn::{Connection, TransportConfig, VarInt};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConnection, SignatureScheme, version,
};

use tallyroll_schema::Fingerprint;
use tallyroll_schema::enrol::ALPN_ENROL;
use tallyroll_schema::wire::ALPN_SESSION;

use crate::authority::Authority;

/// What a peer came for, agreed in the handshake by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `tallyroll/1`: an enrolled device's sync session.
    Session,
    /// `tallyroll-enrol/1`: a device that wants to join. Nothing is known of it but that it holds its key.
    Enrolment,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Session, Self::Enrolment];

    const fn protocol(self) -> &'static [u8] {
        match self {
            Self::Session => ALPN_SESSION,
            Self::Enrolment => ALPN_ENROL,
        }
    }

    fn of_protocol(agreed: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.protocol() == agreed)
    }
}

/// Why there is no endpoint to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate, key or protocol versions do not fit together.
    #[error("cannot set up TLS")]
    Setup(#[from] Error),
    /// The cryptography provider lacks what QUIC starts with.
    #[error("cannot set up QUIC")]
    Quic(#[from] NoInitialCipherSuite),
}

/// What the cloud presents and accepts, by either way.
pub fn tls_config(authority: &Authority) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKeyHolder::new(&provider)))
        .with_single_cert(authority.server_chain(), authority.server_key())?;
    tls.alpn_protocols = Purpose::ALL.map(|purpose| purpose.protocol().to_vec()).into();
    // A resumed handshake skips the client's certificate and the proof of its key. Never to resume is the simplest
    // way to have both each time; a link lives for days, so the round trip saved would be worth nothing.
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

/// What the cloud's QUIC endpoint is opened with.
pub fn server_config(authority: &Authority) -> Result<quinn::ServerConfig, TlsError> {
    let tls = QuicServerConfig::try_from(tls_config(authority)?)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(Arc::new(transport()))
        .max_incoming(WAITING_HANDSHAKES)
        .incoming_buffer_size(WAITING_BYTES_EACH)
        .incoming_buffer_size_total(WAITING_BYTES_TOTAL);
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into()))
        .max_concurrent_bidi_streams(BIDIRECTIONAL_STREAMS.into())
        .max_concurrent_uni_streams(UNIDIRECTIONAL_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(LINK_WINDOW_BYTES.into())
        .send_window(LINK_WINDOW_BYTES.into())
        .datagram_receive_buffer_size(None);
    transport
}

/// The fingerprint of the certificate whose key the peer has proven to hold. It is not yet a known device's.
pub fn peer_fingerprint(connection: &Connection) -> Option<Fingerprint> {
    let certificates =
        connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    fingerprint_of(&certificates)
}

fn fingerprint_of(certificates: &[CertificateDer<'_>]) -> Option<Fingerprint> {
    certificates.first().map(|certificate| Fingerprint::of(certificate))
}

/// What the peer came for.
pub fn purpose(connection: &Connection) -> Option<Purpose> {
    let agreed = connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol?;
    Purpose::of_protocol(&agreed)
}

/// What a QUIC connection's peer came for, and by which certificate.
pub(super) fn quic_caller(connection: &Connection) -> Option<(Purpose, Fingerprint)> {
    Some((purpose(connection)?, peer_fingerprint(connection)?))
}

/// The same of a TCP connection's.
pub(super) fn tcp_caller(tls: &ServerConnection) -> Option<(Purpose, Fingerprint)> {
    Some((Purpose::of_protocol(tls.alpn_protocol()?)?, fingerprint_of(tls.peer_certificates()?)?))
}

/// Accepts any one well-formed certificate whose key signs the handshake. Its names, dates and its own signature mean
/// nothing to us: the fingerprint does, and it is judged by the caller.
#[derive(Debug)]
struct AnyKeyHolder {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyKeyHolder {
    fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyKeyHolder {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !intermediates.is_empty() || end_entity.len() > CLIENT_CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::BadEncoding.into());
        }
        ParsedCertificate::try_from(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::SystemTime;

    use quinn::crypto::rustls::QuicClientConfig;
    use quinn::{ConnectionError, Endpoint};
    use rcgen::{CertificateParams, KeyPair};
    use rustls::RootCertStore;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::sign::{CertifiedKey, SingleCertAndKey};

    use super::*;
    use tallyroll_schema::enrol::SERVER_NAME;

    type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    fn identity() -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        (vec![certificate.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// What a client shows, whether or not the key belongs to the certificate.
    fn unchecked(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Arc<SingleCertAndKey> {
        let key = ring::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(chain, key).into())
    }

    /// Connects a client made by rustls's own means, and returns what the server saw of it.
    async fn connect(
        client: Option<Identity>,
        protocol: &[u8],
    ) -> Result<Connection, ConnectionError> {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(directory.path(), SystemTime::now()).unwrap();
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Endpoint::server(server_config(&authority).unwrap(), local).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(authority.server_chain().remove(1)).unwrap();
        let builder =
            rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[&version::TLS13])
                .unwrap()
                .with_root_certificates(roots);
        let mut tls = match client {
            Some((chain, key)) => builder.with_client_cert_resolver(unchecked(chain, key)),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![protocol.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));

        let client = Endpoint::client(local).unwrap();
        let connecting =
            client.connect_with(config, server.local_addr().unwrap(), SERVER_NAME).unwrap();
        let (accepted, _connected) =
            tokio::join!(async { server.accept().await.unwrap().await }, connecting);
        accepted
    }

    #[tokio::test]
    async fn a_peer_is_known_by_the_key_it_holds_and_by_what_it_came_for() {
        for purpose_wanted in Purpose::ALL {
            let (chain, key) = identity();
            let expected = Fingerprint::of(&chain[0]);
            let connection = connect(Some((chain, key)), purpose_wanted.protocol()).await.unwrap();
            assert_eq!(peer_fingerprint(&connection), Some(expected));
            assert_eq!(purpose(&connection), Some(purpose_wanted));
        }
    }

    #[tokio::test]
    async fn a_peer_without_a_certificate_is_refused() {
        connect(None, Purpose::Session.protocol()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_peer_that_shows_the_certificate_of_another_is_refused() {
        let [(chain, _), (_, key)] = [identity(), identity()];
        connect(Some((chain, key)), Purpose::Session.protocol()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_peer_that_shows_more_than_one_certificate_is_refused() {
        let (mut chain, key) = identity();
        chain.extend(identity().0);
        connect(Some((chain, key)), Purpose::Session.protocol()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_peer_that_speaks_another_protocol_is_refused() {
        connect(Some(identity()), b"h3").await.unwrap_err();
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let verifier = AnyKeyHolder::new(&ring::default_provider());
        let now = UnixTime::since_unix_epoch(core::time::Duration::ZERO);
        let (chain, _) = identity();
        assert!(verifier.verify_client_cert(&chain[0], &[], now).is_ok());
        let cut_off = CertificateDer::from(&chain[0][..chain[0].len() - 1]);
        let swollen = CertificateDer::from(vec![0x30; CLIENT_CERTIFICATE_BYTES_MAX + 1]);
        for certificate in [cut_off, swollen, CertificateDer::from(vec![])] {
            assert!(verifier.verify_client_cert(&certificate, &[], now).is_err());
        }
    }
}
