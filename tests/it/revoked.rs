//! A revoked device at its cloud's door: what it is told, by the connection it has and by those it makes.
//! Invariant shown here: it hears on the wire, once and for all, that it is revoked and what to do, and its people read
//! the same; also a connection that would resume an earlier one. That nothing more is taken from it is shown with the
//! branches, what becomes of what it still had in `quarantine`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, NamedGroup, SignatureScheme};
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::identity::{Enrolment, Keys};
use tallyroll_edge::link::tls::session_config;
use tallyroll_schema::enrol::SERVER_NAME;
use tallyroll_schema::wire::{
    ALPN_SESSION, ErrorCode, ErrorMessage, FrameReader, Have, Hello, Message, PROTOCOL_VERSION,
    SCHEMA_VERSION, StreamKind, encode_frame,
};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};
use tokio::time::timeout;

/// The cloud's close code for who is not, or no longer, known.
const DENIED: u32 = 1;
/// A revoked device's live session is cut within this time.
const CUT_WITHIN: Duration = Duration::from_secs(5);

fn reason(branch: &Branch) -> String {
    wait_for(PATIENCE, "the branch is told", || {
        let status = branch.json(&["status"]);
        let why = status["why"].as_str().filter(|_| status["link"] == "down");
        why.filter(|why| why.contains("revoked")).map(str::to_owned)
    })
}

#[test]
fn it_reads_that_it_is_revoked_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    branch.wait_synced(PATIENCE); // both logs have their receipts
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    let cut = reason(&branch);
    assert!(cut.contains("this device, branch, is revoked"), "{cut}");
    assert!(cut.contains("joins anew") && cut.contains("tallyroll enroll"), "{cut}");

    branch.stop();
    branch.start();
    assert_eq!(reason(&branch), cut, "as it comes again");

    branch.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (told, closed) = runtime.block_on(knock(branch.data(), cloud.addr()));
    let (code, text) = (ErrorCode::Denied, cut.clone());
    let refused = ErrorMessage { code, retryable: false, log: None, text, epoch: None };
    let (receipts, told): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|message| matches!(message, Message::Receipt(_)));
    assert_eq!(
        (receipts.len(), told),
        (2, vec![Message::Error(refused)]),
        "beside what it has of its two logs"
    );
    let ConnectionError::ApplicationClosed(closed) = closed else { panic!("{closed}") };
    assert_eq!((closed.error_code, closed.reason.as_ref()), (DENIED.into(), cut.as_bytes()));
}

/// Connects as the device of a directory and says that it has nothing; returns what it hears after HELLO, and how the
/// connection ends.
async fn knock(data: &Path, cloud: SocketAddr) -> (Vec<Message>, ConnectionError) {
    let dir = DataDir::new(data);
    let (enrolment, keys) = (Enrolment::load(&dir).unwrap(), Keys::load_or_create(&dir).unwrap());
    let trust = session_config(enrolment.authority, &keys.tls).unwrap();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = endpoint.connect_with(trust.config, cloud, SERVER_NAME).unwrap();
    let connection = connecting.await.unwrap();
    let (mut say, mut hear) = connection.open_bi().await.unwrap();
    let hello = hello(&enrolment);
    let nothing = Message::Have(Have { heads: Vec::new(), more: false });
    for message in [hello, nothing] {
        say.write_all(&encode_frame(&message)).await.unwrap();
    }
    let mut frames = FrameReader::new(StreamKind::Control);
    let heard = timeout(CUT_WITHIN, hear.read_to_end(64 * 1024)).await;
    frames.push(&heard.expect("it is told in time").unwrap());
    let mut heard = std::iter::from_fn(|| frames.next_message().unwrap());
    assert!(matches!(heard.next(), Some(Message::Hello(_))));
    let heard = heard.collect();
    (heard, timeout(CUT_WITHIN, connection.closed()).await.expect("it is cut in time"))
}

fn hello(enrolment: &Enrolment) -> Message {
    Message::Hello(Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: 1,
        schema_max: SCHEMA_VERSION,
        tenant: enrolment.tenant,
        device: enrolment.device,
        window: 0,
        agent: "a test".into(),
        accounts: None,
        enrolment: None,
        names: None,
    })
}

/// A resumed handshake would show no certificate, and who is not looked up again is not refused: so there is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_would_resume_another_is_refused_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_until(PATIENCE, "the branch is linked", || branch.standing().linked);
    branch.stop();
    let (enrolment, keys) = {
        let dir = DataDir::new(branch.data());
        (Enrolment::load(&dir).unwrap(), Keys::load_or_create(&dir).unwrap())
    };
    let client = Arc::new(Client::default());
    let config = resuming(&keys, &client);
    let connect = async || {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let connecting = endpoint.connect_with(config.clone(), cloud.addr(), SERVER_NAME).unwrap();
        (connecting.await.unwrap(), endpoint)
    };
    let (live, _endpoint) = connect().await;
    let (mut say, mut hear) = live.open_bi().await.unwrap();
    let hello = hello(&enrolment);
    say.write_all(&encode_frame(&hello)).await.unwrap();
    assert!(hear.read_chunk(1024, true).await.unwrap().is_some(), "it is taken");

    let began = Instant::now();
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    cut(&live).await;
    assert!(began.elapsed() < CUT_WITHIN, "{:?}", began.elapsed());
    let (again, _endpoint) = connect().await;
    let (mut say, _hear) = again.open_bi().await.unwrap();
    let nothing = Message::Have(Have { heads: Vec::new(), more: false });
    for message in [hello, nothing] {
        drop(say.write_all(&encode_frame(&message)).await); // it may be cut already
    }
    cut(&again).await;
    // It came with the certificate anew, for it was given nothing to resume with, not even as long as it was known.
    let counts = [&client.asked, &client.tickets, &client.handshakes];
    assert_eq!(counts.map(|count| count.load(Ordering::SeqCst)), [2, 0, 2]);
}

/// Waits until the cloud has denied it.
async fn cut(connection: &Connection) {
    let closed = timeout(CUT_WITHIN, connection.closed()).await.expect("it is cut in time");
    let ConnectionError::ApplicationClosed(closed) = closed else { panic!("{closed}") };
    assert_eq!(closed.error_code, DENIED.into());
}

/// A client that keeps whatever it could resume with, and trusts whoever answers.
fn resuming(keys: &Keys, client: &Arc<Client>) -> ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&client.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(client) as _)
        .with_client_auth_cert(
            vec![keys.tls.certificate.clone()],
            PrivatePkcs8KeyDer::from(keys.tls.key_pkcs8.to_vec()).into(),
        )
        .unwrap();
    tls.resumption = Resumption::store(Arc::clone(client) as _);
    tls.alpn_protocols = vec![ALPN_SESSION.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

#[derive(Debug)]
struct Client {
    provider: Arc<CryptoProvider>,
    kept: ClientSessionMemoryCache,
    /// How often it looked for a ticket, before it said hello.
    asked: AtomicUsize,
    /// How many it was given.
    tickets: AtomicUsize,
    /// How often it was shown the cloud's certificate, which a resumed handshake does not.
    handshakes: AtomicUsize,
}

impl Default for Client {
    fn default() -> Self {
        let provider = Arc::new(ring::default_provider());
        let kept = ClientSessionMemoryCache::new(8);
        let [asked, tickets, handshakes] = Default::default();
        Self { provider, kept, asked, tickets, handshakes }
    }
}

impl ClientSessionStore for Client {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(server)
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tickets.fetch_add(1, Ordering::SeqCst);
        self.kept.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.kept.take_tls13_ticket(server)
    }
}

impl ServerCertVerifier for Client {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.handshakes.fetch_add(1, Ordering::SeqCst);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
