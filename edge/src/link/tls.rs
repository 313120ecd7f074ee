//! The device's TLS identity, and what it opens connections to the cloud with, by QUIC and by TCP.
//!
//! Invariant: a handshake succeeds only with a server whose certificate was issued, for the name "tallyroll", by the
//! one authority whose fingerprint the device was given when it joined. Nothing is trusted on first use, no other
//! root is, and the device's clock has no say in it. TLS 1.3 only, no resumption, no early data.
//! When to connect, and where, is left to the link.

use core::time::Duration;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tallyroll_schema::limits::links::{IDLE_TIMEOUT, KEEP_ALIVE};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig};
use quinn::{ClientConfig, TransportConfig, VarInt};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme, version,
};
use tallyroll_schema::Fingerprint;
use tallyroll_schema::enrol::ALPN_ENROL;
use tallyroll_schema::wire::ALPN_SESSION;
use zeroize::Zeroizing;

/// One batch of the largest size. These bounds are what a stalled link can cost the device, which is to stay under
/// 24 MiB in all; at 500 ms round trips they still allow 1 MiB a second each way.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
const LINK_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
const BIDIRECTIONAL_STREAMS: u32 = 1;
const UNIDIRECTIONAL_STREAMS: u32 = 4;

/// A day at which a certificate as [`DeviceTls::generate`] makes it is good: no clock has a say in that.
const SOME_DAY: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));

/// Why there is nothing to connect with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The device's key or certificate is not one: what is kept of them is damaged, join again.
    #[error("cannot set up TLS with this device's key and certificate")]
    Setup(#[from] Error),
    /// The key is none, or not that of the certificate.
    #[error("its TLS key is none, or not that of its TLS certificate ({0})")]
    Key(Error),
    /// The certificate is not as it was made.
    #[error("its TLS certificate is not as it was made ({0})")]
    Certificate(Error),
    /// The cryptography provider lacks what QUIC starts with.
    #[error("cannot set up QUIC")]
    Quic(#[from] NoInitialCipherSuite),
    /// No key or certificate could be made.
    #[error("cannot make a key and certificate")]
    Generate(#[from] rcgen::Error),
}

/// A device's TLS key and the certificate it signed for itself; the cloud pins its fingerprint at enrolment. It is
/// not the key that signs the device's logs.
#[derive(Clone)]
pub struct DeviceTls {
    /// The certificate, DER.
    pub certificate: CertificateDer<'static>,
    /// The private key, PKCS #8. To be kept where only the device can read it.
    pub key_pkcs8: Zeroizing<Vec<u8>>,
}

impl DeviceTls {
    /// Makes a new key with its certificate. No date is asked: the cloud reads none from it.
    pub fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "Tallyroll device");
        let certificate = parameters.self_signed(&key)?.into();
        Ok(Self { certificate, key_pkcs8: Zeroizing::new(key.serialize_der()) })
    }

    /// Refuses a key and a certificate that are not those that were made: the certificate has to be signed by its
    /// own key, and that has to be this one.
    pub fn check(&self) -> Result<(), TlsError> {
        let mut itself = RootCertStore::empty();
        itself.add(self.certificate.clone()).map_err(TlsError::Certificate)?;
        let provider = Arc::new(ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(self.key_pkcs8.to_vec()).into();
        CertifiedKey::from_der(vec![self.certificate.clone()], key, &provider)
            .map_err(TlsError::Key)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(itself.into(), provider)
            .build()
            .map_err(|why| TlsError::Certificate(Error::General(why.to_string())))?;
        let verified = verifier.verify_client_cert(&self.certificate, &[], SOME_DAY);
        verified.map(drop).map_err(TlsError::Certificate)
    }

    /// What the cloud knows this device's connections by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

impl fmt::Debug for DeviceTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTls")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// What to connect with, and who was met instead of the one cloud it trusts.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// For QUIC; trusts servers of one authority.
    pub config: ClientConfig,
    /// The same for TLS over TCP.
    pub tls: Arc<rustls::ClientConfig>,
    met: Arc<Mutex<Option<Stranger>>>,
}

impl Pinned {
    /// The last server that was refused for its authority, told once. TLS itself says only "unknown".
    pub fn take_stranger(&self) -> Option<Stranger> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A server of another authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another cloud answers there: its authority has the fingerprint {shown}, expected is {expected}; \
     compare address and fingerprint with what `tallyroll enroll` printed"
)]
pub struct Stranger {
    /// The fingerprint of the authority it showed.
    pub shown: Fingerprint,
    /// Of the one that is trusted.
    pub expected: Fingerprint,
}

/// What to connect with in order to join: the authority is known by its fingerprint alone.
pub fn join_config(authority: Fingerprint, device: &DeviceTls) -> Result<Pinned, TlsError> {
    pinned(authority, device, ALPN_ENROL)
}

/// What an enrolled device connects with.
pub fn session_config(authority: Fingerprint, device: &DeviceTls) -> Result<Pinned, TlsError> {
    pinned(authority, device, ALPN_SESSION)
}

fn pinned(authority: Fingerprint, device: &DeviceTls, protocol: &[u8]) -> Result<Pinned, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let met = Arc::default();
    let verifier =
        PinnedAuthority { authority, provider: Arc::clone(&provider), met: Arc::clone(&met) };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous() // what rustls calls any verifier that is not its own; ours calls its own in the end
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(
            vec![device.certificate.clone()],
            PrivatePkcs8KeyDer::from(device.key_pkcs8.to_vec()).into(),
        )?;
    tls.alpn_protocols = vec![protocol.to_vec()];
    // A resumed handshake would skip both certificates. The cloud offers none; nor do we ask for one.
    tls.resumption = Resumption::disabled();

    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.clone())?));
    config.transport_config(Arc::new(transport()));
    Ok(Pinned { config, tls: Arc::new(tls), met })
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into()))
        .max_concurrent_bidi_streams(BIDIRECTIONAL_STREAMS.into())
        .max_concurrent_uni_streams(UNIDIRECTIONAL_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(LINK_WINDOW_BYTES.into())
        .send_window(LINK_WINDOW_BYTES.into())
        .datagram_receive_buffer_size(None);
    transport
}

/// Trusts the one authority of this fingerprint, which the server sends along with its own certificate.
#[derive(Debug)]
struct PinnedAuthority {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
    met: Arc<Mutex<Option<Stranger>>>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let expected = self.authority;
        let authority =
            intermediates.iter().find(|certificate| Fingerprint::of(certificate) == expected);
        let Some(authority) = authority else {
            let shown = Fingerprint::of(intermediates.last().unwrap_or(end_entity));
            *self.met.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Stranger { shown, expected });
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
        let verify_at =
            |time| verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, time);
        // A printer without a battery starts in 1970, and may need this very link to learn the time. So a time out of
        // the certificate's dates is moved to the nearest one within them. What dates guard against, a key that was
        // stolen long ago, is guarded against by the authority: it is ours alone, and a new one is pinned if need be.
        match verify_at(now) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => verify_at(not_before),
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => verify_at(not_after),
            verdict => verdict,
        }
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
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, Certificate, IsCa, Issuer, date_time_ymd};
    use tallyroll_schema::enrol::SERVER_NAME;

    use super::*;

    const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

    /// An authority, and what it issues: valid in 2026 alone.
    struct Issued {
        authority: Certificate,
        server: Certificate,
    }

    fn issue(name: &str) -> Issued {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let authority = parameters.self_signed(&key).unwrap();
        let issuer = Issuer::new(parameters, key);
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2026, 12, 31);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Issued { authority, server: parameters.signed_by(&key, &issuer).unwrap() }
    }

    fn verify(pinned: &Issued, server: &Issued, sent: &[&Issued], year: u64) -> Result<(), Error> {
        let authority = Fingerprint::of(pinned.authority.der());
        let provider = Arc::new(ring::default_provider());
        let verifier = PinnedAuthority { authority, provider, met: Arc::default() };
        let chain: Vec<_> = sent.iter().map(|issued| issued.authority.der().clone()).collect();
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let now = UnixTime::since_unix_epoch(core::time::Duration::from_secs(
            (year - 1970) * YEAR_SECONDS,
        ));
        verifier.verify_server_cert(server.server.der(), &chain, &name, &[], now).map(|_| ())
    }

    #[test]
    fn the_clock_has_no_say() {
        let issued = issue(SERVER_NAME);
        for year in [1970, 2016, 2026, 2036, 9000] {
            assert_eq!(verify(&issued, &issued, &[&issued], year), Ok(()), "in {year}");
        }
    }

    #[test]
    fn only_the_pinned_authority_is_trusted_in_any_year() {
        let [ours, other] = [issue(SERVER_NAME), issue(SERVER_NAME)];
        for year in [1970, 2026, 9000] {
            assert!(verify(&ours, &other, &[&other], year).is_err(), "it sends its own authority");
            assert!(
                verify(&ours, &other, &[&ours], year).is_err(),
                "it sends ours, which did not issue it"
            );
            assert!(verify(&ours, &other, &[&other, &ours], year).is_err(), "it sends both");
            assert!(verify(&ours, &ours, &[], year).is_err(), "it sends none");
        }
    }

    #[test]
    fn a_certificate_for_another_name_is_refused() {
        let issued = issue("printer");
        let refused = verify(&issued, &issued, &[&issued], 2026).unwrap_err();
        assert!(matches!(
            refused,
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
        ));
    }

    #[test]
    fn a_kept_identity_is_the_same_identity() {
        let device = DeviceTls::generate().unwrap();
        let kept = DeviceTls {
            certificate: CertificateDer::from(device.certificate.to_vec()),
            key_pkcs8: device.key_pkcs8.clone(),
        };
        assert_eq!(kept.fingerprint(), device.fingerprint());
        session_config(device.fingerprint(), &kept).unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_noticed() {
        let [mut device, other] = [(), ()].map(|()| DeviceTls::generate().unwrap());
        device.key_pkcs8 = other.key_pkcs8;
        assert!(matches!(session_config(device.fingerprint(), &device), Err(TlsError::Setup(_))));
    }

    #[test]
    fn a_damaged_key_or_certificate_is_noticed_wherever_it_is() {
        let whole = DeviceTls::generate().unwrap();
        whole.check().unwrap();
        for at in 0..whole.certificate.len() {
            let mut bytes = whole.certificate.to_vec();
            bytes[at] ^= 0x10;
            let damaged = DeviceTls { certificate: bytes.into(), ..whole.clone() };
            assert!(damaged.check().is_err(), "byte {at} of the certificate");
        }
        let cut = Zeroizing::new(whole.key_pkcs8[..20].to_vec());
        let other = DeviceTls::generate().unwrap().key_pkcs8;
        for key_pkcs8 in [cut, other] {
            let damaged = DeviceTls { key_pkcs8, ..whole.clone() }.check();
            assert!(matches!(damaged, Err(TlsError::Key(_))), "{damaged:?}");
        }
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let device = DeviceTls::generate().unwrap();
        assert_eq!(
            format!("{device:?}"),
            format!("DeviceTls {{ fingerprint: {:?}, .. }}", device.fingerprint())
        );
    }
}
