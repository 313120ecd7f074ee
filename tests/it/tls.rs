//! The two rims, one against the other: the cloud's QUIC endpoint and the device's, and names sealed at one and opened
//! at the other.
//!
//! Whom each refuses is tested beside each; here they are to understand one another.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use quinn::{Connection, ConnectionError, Endpoint, TransportErrorCode};
use tallyroll_cloud::authority::Authority;
use tallyroll_cloud::links::tls::{Purpose, peer_fingerprint, purpose, server_config};
use tallyroll_cloud::people::sealed::{DirectoryKey, OpenError};
use tallyroll_edge::link::tls::{DeviceTls, Pinned, Stranger, join_config, session_config};
use tallyroll_edge::people::sealed::seal_name;
use tallyroll_schema::Fingerprint;
use tallyroll_schema::enrol::SERVER_NAME;
use tallyroll_schema::limits::{NAME_BYTES_MAX, SEALED_NAME_BYTES_MAX};
use tempfile::TempDir;

/// The TLS alert of this name (RFC 8446, section 6).
const UNKNOWN_CERTIFICATE_AUTHORITY: u8 = 48;
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A cloud with its own authority, which listens on loopback.
struct Cloud {
    directory: TempDir,
    endpoint: Endpoint,
    fingerprint: Fingerprint,
}

impl Cloud {
    fn start(now: SystemTime) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), now)
    }

    fn start_in(directory: TempDir, now: SystemTime) -> Self {
        let authority = Authority::open_or_create(directory.path(), now).unwrap();
        let endpoint = Endpoint::server(server_config(&authority).unwrap(), loopback()).unwrap();
        // As `join` carries it: in text.
        let fingerprint = authority.fingerprint().to_string().parse().unwrap();
        Self { directory, endpoint, fingerprint }
    }

    /// Both ends of a connection, or what the device is told. The device's endpoint lives as long as its connection.
    async fn meet(&self, trust: &Pinned) -> Result<[Connection; 2], ConnectionError> {
        let device = Endpoint::client(loopback()).unwrap();
        let address = self.endpoint.local_addr().unwrap();
        let connecting = device.connect_with(trust.config.clone(), address, SERVER_NAME).unwrap();
        let accepting = async { self.endpoint.accept().await.unwrap().await };
        let (at_device, at_cloud) = tokio::join!(connecting, accepting);
        Ok([at_device?, at_cloud?])
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[tokio::test]
async fn a_device_joins_and_then_syncs_as_the_same_device() {
    let cloud = Cloud::start(SystemTime::now());
    let device = DeviceTls::generate().unwrap();
    let trusts = [
        (join_config(cloud.fingerprint, &device).unwrap(), Purpose::Enrolment),
        (session_config(cloud.fingerprint, &device).unwrap(), Purpose::Session),
        (session_config(cloud.fingerprint, &device).unwrap(), Purpose::Session),
    ];
    for (trust, expected) in trusts {
        let [_at_device, at_cloud] = cloud.meet(&trust).await.unwrap();
        assert_eq!(purpose(&at_cloud), Some(expected));
        let seen = peer_fingerprint(&at_cloud).unwrap();
        assert_eq!(seen.as_bytes(), device.fingerprint().as_bytes());
    }
}

#[tokio::test]
async fn a_cloud_with_another_authority_is_refused() {
    let [joined, impostor] = [(), ()].map(|()| Cloud::start(SystemTime::now()));
    let device = DeviceTls::generate().unwrap();
    for config in [join_config, session_config] {
        let trust = config(joined.fingerprint, &device).unwrap();
        let refused = impostor.meet(&trust).await.unwrap_err();
        let ConnectionError::TransportError(refused) = refused else { panic!("{refused}") };
        assert_eq!(refused.code, TransportErrorCode::crypto(UNKNOWN_CERTIFICATE_AUTHORITY));
        let met = Stranger { shown: impostor.fingerprint, expected: joined.fingerprint };
        assert_eq!((trust.take_stranger(), trust.take_stranger()), (Some(met), None));
    }
}

#[tokio::test]
async fn a_restarted_cloud_is_still_trusted() {
    let first = Cloud::start(SystemTime::now());
    let device = DeviceTls::generate().unwrap();
    let trust = session_config(first.fingerprint, &device).unwrap();
    first.meet(&trust).await.unwrap();
    let Cloud { directory, endpoint, .. } = first;
    endpoint.close(0u8.into(), b"restarting");
    let second = Cloud::start_in(directory, SystemTime::now());
    second.meet(&trust).await.unwrap();
}

/// The cloud's clock is set off instead of the device's: what counts is the difference.
#[tokio::test]
async fn a_device_whose_clock_is_ten_years_off_joins_and_syncs() {
    let now = SystemTime::now();
    for cloud_time in [now - TEN_YEARS - TEN_YEARS, now + TEN_YEARS] {
        let cloud = Cloud::start(cloud_time);
        let device = DeviceTls::generate().unwrap();
        cloud.meet(&join_config(cloud.fingerprint, &device).unwrap()).await.unwrap();
        cloud.meet(&session_config(cloud.fingerprint, &device).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_larger_than_every_window_comes_back_whole() {
    const MESSAGE_BYTES: usize = 8 * 1024 * 1024;
    let cloud = Cloud::start(SystemTime::now());
    let device = DeviceTls::generate().unwrap();
    let trust = session_config(cloud.fingerprint, &device).unwrap();
    let [at_device, at_cloud] = cloud.meet(&trust).await.unwrap();
    let message: Vec<u8> = (0..MESSAGE_BYTES).map(|index| (index / 7) as u8).collect();

    let echo = async {
        let (mut sending, mut receiving) = at_cloud.accept_bi().await.unwrap();
        while let Some(chunk) = receiving.read_chunk(64 * 1024, true).await.unwrap() {
            sending.write_chunk(chunk.bytes).await.unwrap();
        }
        sending.finish().unwrap();
    };
    let (mut sending, mut receiving) = at_device.open_bi().await.unwrap();
    let send = async {
        sending.write_all(&message).await.unwrap();
        sending.finish().unwrap();
    };
    let ((), (), echoed) = tokio::join!(echo, send, receiving.read_to_end(MESSAGE_BYTES));
    assert!(echoed.unwrap() == message);
}

#[tokio::test]
async fn a_peer_may_open_only_as_many_streams_as_the_protocol_has() {
    let cloud = Cloud::start(SystemTime::now());
    let device = DeviceTls::generate().unwrap();
    let trust = session_config(cloud.fingerprint, &device).unwrap();
    let ends = cloud.meet(&trust).await.unwrap();
    for connection in &ends {
        let _control = connection.open_bi().await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(connection.open_uni().await.unwrap());
        }
        let patience = Duration::from_millis(100);
        assert!(tokio::time::timeout(patience, connection.open_bi()).await.is_err());
        assert!(tokio::time::timeout(patience, connection.open_uni()).await.is_err());
    }
}

#[test]
fn a_name_sealed_at_a_device_opens_at_its_cloud_alone() {
    let [ours, other] = [(), ()]
        .map(|()| DirectoryKey::open_or_create(tempfile::tempdir().unwrap().path()).unwrap());
    let (device, alias) = (b"device", [1; 16]);
    for name in ["", "ada", "Zoë Müller-Ångström", &"n".repeat(NAME_BYTES_MAX)] {
        let sealed = seal_name(&ours.public(), &alias, device, name).unwrap();
        assert!(sealed.len() <= SEALED_NAME_BYTES_MAX);
        assert_eq!(ours.open(device, &alias, &sealed).as_deref(), Ok(name));
        assert_eq!(other.open(device, &alias, &sealed), Err(OpenError::Refused));
        assert_eq!(ours.open(b"devic3", &alias, &sealed), Err(OpenError::Refused));
        assert_eq!(ours.open(device, &[2; 16], &sealed), Err(OpenError::Refused));
    }
}
