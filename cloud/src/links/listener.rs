//! The TCP side: who connects where UDP is blocked, until their handshake is done.
//!
//! Invariant: who says nothing, or half of a handshake, has few places and a short
//! time, the longest silent gives way to the next, and none of them has a place that
//! a device with a finished handshake needs. Each connection holds a descriptor, so
//! there are never more than half of what the system allows us.

use super::Links;
use super::line::Caller;
use crate::places::{ACCEPT_PAUSE, Places, Turn};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use tallyroll_schema::limits::links::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, STALL_TIMEOUT};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

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
    pub(super) async fn run(self, links: Links, callers: mpsc::Sender<Caller>) {
        let mut places = Places::new(HANDSHAKES_MAX).with_silence(HANDSHAKE_TIMEOUT);
        loop {
            let Ok((stream, from)) = self.socket.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if !links.admit_tcp(from) {
                continue;
            }
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
    if !options || set_tcp_user_timeout(&stream, STALL_TIMEOUT.as_millis() as u32).is_err() {
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
