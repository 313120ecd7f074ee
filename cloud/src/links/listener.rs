//! The TCP side: who connects where UDP is blocked, until their handshake is done.
//!
//! Invariant: who says nothing, or half of a handshake, has few places and a short
//! time, the longest silent gives way to the next, and none of them has a place that
//! a device with a finished handshake needs. Each connection holds a descriptor, so
//! there are never more than half of what the system allows us.

use super::HANDSHAKE_TIMEOUT;
use super::line::Caller;
use crate::places::{ACCEPT_PAUSE, Places, Turn};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Handshakes at once: more than a fleet begins in a round trip, few enough for a system that allows a thousand
/// descriptors.
const HANDSHAKES_MAX: usize = 256;
/// What we have sent and nobody takes for so long ends the connection, in milliseconds: as long as
/// a session waits for a device that takes nothing.
const STALL_MAX: u32 = 60_000;

/// The socket and what it presents.
pub struct Listener {
    socket: TcpListener,
    tls: TlsAcceptor,
}

impl Listener {
    /// Listens on `socket` with `tls`.
    pub fn new(socket: TcpListener, tls: Arc<rustls::ServerConfig>) -> Self {
        Self { socket, tls: TlsAcceptor::from(tls) }
    }

    /// Hands over who has finished a handshake, until dropped.
    pub(super) async fn run(self, callers: mpsc::Sender<Caller>) {
        let mut places = Places::new(HANDSHAKES_MAX).with_silence(HANDSHAKE_TIMEOUT);
        loop {
            let Ok((stream, from)) = self.socket.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (tls, callers) = (self.tls.clone(), callers.clone());
            places.seat(move |turn| greet(stream, from, tls, turn, callers)).await;
        }
    }
}

async fn greet(
    stream: TcpStream,
    from: SocketAddr,
    tls: TlsAcceptor,
    turn: Turn,
    callers: mpsc::Sender<Caller>,
) {
    let options = stream.set_nodelay(true).is_ok();
    if !options || set_tcp_user_timeout(&stream, STALL_MAX).is_err() {
        return debug!(%from, "a connection ended as it began");
    }
    match tls.accept(stream).await {
        // The handshake guarantees a certificate, but not that any protocol was asked for.
        Ok(stream) if turn.take() => match Caller::by_tcp(stream, from) {
            Some(caller) => drop(callers.send(caller).await), // nobody listens any more: we stop
            None => debug!(%from, "asked for no protocol"),
        },
        Ok(_) => {} // too late
        Err(why) => debug!(%from, %why, "a handshake failed"),
    }
}

/// How many connections there may be: half of the descriptors, of which we take all that we may.
pub(super) fn connections_max() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let descriptors = if raised.is_ok() { maximum } else { current };
    descriptors.map_or(usize::MAX, |count| usize::try_from(count / 2).unwrap_or(usize::MAX))
}
