//! Connecting: by QUIC, and by TLS over TCP where UDP is not let through.
//!
//! Invariant: QUIC goes first, and TCP is begun only while nobody answers it; a
//! cloud that answers by QUIC and refuses is not asked again by the other way. Both
//! trust the same one authority. When to connect is left to the link.

use super::tls::Pinned;
use core::time::Duration;
use quinn::{Connection, ConnectionError, Endpoint};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::pki_types::ServerName;
use serde::Serialize;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tallyroll_schema::enrol::SERVER_NAME;
use tallyroll_schema::limits::links::CONNECT_TIMEOUT;
use tallyroll_schema::limits::links::STALL_TIMEOUT;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// So long QUIC is alone: two of its retransmissions, one and two seconds apart.
const QUIC_ALONE: Duration = Duration::from_secs(3);

/// A way by which the cloud is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

/// A connection to the cloud, by either way.
#[derive(Debug)]
pub enum Line {
    /// By QUIC; the endpoint lives as long as its connection.
    Quic(Endpoint, Connection),
    /// By TLS over TCP.
    Tcp(Box<TlsStream<TcpStream>>),
}

impl Line {
    /// By which way.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Quic(..) => Transport::Quic,
            Self::Tcp(_) => Transport::Tcp,
        }
    }
}

/// Where a cloud is.
#[derive(Debug, Clone)]
pub struct Place {
    /// `HOST:PORT`, for QUIC.
    pub cloud: String,
    /// The port for TLS over TCP, where it is another.
    pub tls_port: Option<u16>,
}

/// Why there is no connection by one way, for people.
enum Failure {
    /// Nobody answered by this way: another may do.
    Unanswered(String),
    /// The cloud refused us, or we it.
    Refused(String),
}

impl Place {
    /// Connects by the first way that comes about.
    ///
    /// # Errors
    /// Why none did, for people.
    pub async fn connect(&self, trust: &Pinned) -> Result<Line, String> {
        let addresses = self.addresses().await?;
        let quic = by_quic(&addresses, trust);
        let tcp = async {
            tokio::time::sleep(QUIC_ALONE).await;
            by_tcp(&addresses, self.tls_port, trust).await
        };
        tokio::pin!(quic, tcp);
        let (mut quic_failed, mut tcp_failed) = (None, None);
        loop {
            tokio::select! {
                biased;
                connected = &mut quic, if quic_failed.is_none() => match connected {
                    Ok(line) => return Ok(line),
                    Err(Failure::Refused(why)) => return Err(why),
                    Err(Failure::Unanswered(why)) => quic_failed = Some(why),
                },
                connected = &mut tcp, if tcp_failed.is_none() => match connected {
                    Ok(line) => return Ok(line),
                    Err(why) => tcp_failed = Some(why),
                },
                else => break,
            }
        }
        let [quic, tcp] = [quic_failed, tcp_failed].map(Option::unwrap_or_default);
        Err(format!("{quic}, and {tcp}; is the cloud up, and UDP or TCP let through?"))
    }

    /// Connects by QUIC alone.
    ///
    /// # Errors
    /// Why it did not come about, for people.
    pub async fn connect_by_quic(&self, trust: &Pinned) -> Result<Line, String> {
        let connected = by_quic(&self.addresses().await?, trust).await;
        connected.map_err(|(Failure::Unanswered(why) | Failure::Refused(why))| why)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let cloud = &self.cloud;
        let found = tokio::net::lookup_host(cloud).await.map_err(|why| {
            format!("{cloud} is not found: {why}; check the name and the network")
        })?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() { Err(format!("{cloud} has no address")) } else { Ok(found) }
    }
}

/// Tries each address; a refusal by one tells more than the silence of the others.
async fn by_quic(addresses: &[SocketAddr], trust: &Pinned) -> Result<Line, Failure> {
    let mut failure = Failure::Unanswered("there is no address".into());
    for address in addresses {
        match quic_to(*address, trust).await {
            Ok(line) => return Ok(line),
            Err(Failure::Unanswered(_)) if matches!(failure, Failure::Refused(_)) => {}
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

async fn quic_to(address: SocketAddr, trust: &Pinned) -> Result<Line, Failure> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let unanswered = |why| Failure::Unanswered(format!("{address} {why}"));
    let endpoint = Endpoint::client(any)
        .map_err(|why| unanswered(format!("cannot be asked by QUIC, for no UDP socket: {why}")))?;
    let connecting = endpoint
        .connect_with(trust.config.clone(), address, SERVER_NAME)
        .map_err(|why| unanswered(format!("cannot be asked by QUIC: {why}")))?;
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(Line::Quic(endpoint, connection)),
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => {
            Err(unanswered("does not answer by QUIC (UDP)".into()))
        }
        Ok(Err(why)) => Err(Failure::Refused(explain(address, &why, trust))),
    }
}

async fn by_tcp(
    addresses: &[SocketAddr],
    port: Option<u16>,
    trust: &Pinned,
) -> Result<Line, String> {
    let mut failure = "there is no address".to_owned();
    for address in addresses {
        let address = SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
        match tokio::time::timeout(CONNECT_TIMEOUT, tcp_to(address, trust)).await {
            Ok(Ok(stream)) => return Ok(Line::Tcp(Box::new(stream))),
            Ok(Err(why)) => failure = format!("by TLS (TCP) {}", explain(address, &why, trust)),
            Err(_) => failure = format!("{address} does not answer by TLS (TCP)"),
        }
    }
    Err(failure)
}

async fn tcp_to(address: SocketAddr, trust: &Pinned) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    set_tcp_user_timeout(&stream, STALL_TIMEOUT.as_millis() as u32)?;
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let stream = TlsConnector::from(trust.tls.clone()).connect(name, stream).await?;
    // QUIC sees to this itself.
    let agreed = stream.get_ref().1.alpn_protocol();
    if agreed != trust.tls.alpn_protocols.first().map(Vec::as_slice) {
        return Err(io::Error::other("it does not speak this protocol"));
    }
    Ok(stream)
}

/// Why a handshake failed; whom we met instead of our cloud, if it was that.
fn explain(address: SocketAddr, why: &dyn std::fmt::Display, trust: &Pinned) -> String {
    match trust.take_stranger() {
        Some(stranger) => format!("{address}: {stranger}"),
        None => format!("{address}: {why}"),
    }
}
