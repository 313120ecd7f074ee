//! A connection by either way, and who called over it.
//!
//! Invariant: there is a [`Caller`] only where the handshake has proven which key is
//! at the other end and agreed on what for. Whom that key belongs to, and whether it
//! is believed, is looked up by those who serve the caller.

use super::tls::{Purpose, quic_caller, tcp_caller};
use std::net::SocketAddr;
use tallyroll_schema::Fingerprint;
use tallyroll_schema::limits::links::LEAVE_TIMEOUT;
use tallyroll_schema::wire::ErrorCode;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A peer, by the key it holds.
pub(super) struct Caller {
    pub(super) from: SocketAddr,
    pub(super) fingerprint: Fingerprint,
    pub(super) purpose: Purpose,
    pub(super) line: Line,
}

/// What a session or an enrolment runs over.
pub(super) enum Line {
    /// QUIC.
    Quic(quinn::Connection),
    /// TLS over TCP.
    Tcp(Box<TlsStream<TcpStream>>),
}

/// Why a connection was ended, as the code its peer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Ending {
    /// All was said.
    Done = 0,
    /// The peer is not, or no longer, known here.
    Denied = 1,
    /// A newer connection of the same device took its place.
    Replaced = 2,
    /// The peer broke the protocol, or does not keep up.
    Protocol = 3,
    /// Too much to do; come again.
    Busy = 4,
    /// The cloud stops, or cannot go on.
    Stopped = 5,
}

impl Caller {
    /// Who called by QUIC; none if the handshake left it open.
    pub(super) fn by_quic(connection: quinn::Connection) -> Option<Self> {
        let (purpose, fingerprint) = quic_caller(&connection)?;
        let from = connection.remote_address();
        Some(Self { from, fingerprint, purpose, line: Line::Quic(connection) })
    }

    /// Who called by TLS over TCP; none if the handshake left it open.
    pub(super) fn by_tcp(stream: TlsStream<TcpStream>, from: SocketAddr) -> Option<Self> {
        let (purpose, fingerprint) = tcp_caller(stream.get_ref().1)?;
        Some(Self { from, fingerprint, purpose, line: Line::Tcp(Box::new(stream)) })
    }
}

impl Line {
    /// By which way, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Quic(_) => "quic",
            Self::Tcp(_) => "tcp",
        }
    }

    /// The connection, if it is by QUIC.
    pub(super) fn quic(&self) -> Option<&quinn::Connection> {
        match self {
            Self::Quic(connection) => Some(connection),
            Self::Tcp(_) => None,
        }
    }

    /// Waits until the peer has left, for a moment.
    pub(super) async fn left(&mut self) {
        let left = async {
            match self {
                Self::Quic(connection) => drop(connection.closed().await),
                Self::Tcp(stream) => {
                    let mut unread = [0; 1024];
                    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
                }
            }
        };
        drop(tokio::time::timeout(LEAVE_TIMEOUT, left).await); // it may be gone without a word
    }

    /// Ends the connection. TCP has no word for why.
    pub(super) fn close(self, ending: Ending, why: &str) {
        if let Self::Quic(connection) = self {
            ending.close(&connection, why);
        }
    }
}

impl Ending {
    pub(super) fn close(self, connection: &quinn::Connection, why: &str) {
        connection.close((self as u32).into(), why.as_bytes());
    }

    /// The same in an ERROR: its code, and whether to come again.
    pub(super) fn as_error(self) -> (ErrorCode, bool) {
        match self {
            Self::Denied => (ErrorCode::Denied, false),
            Self::Protocol => (ErrorCode::Protocol, false),
            Self::Busy => (ErrorCode::Busy, true),
            Self::Done | Self::Replaced | Self::Stopped => (ErrorCode::Internal, true),
        }
    }
}
