//! The links to devices: one QUIC endpoint, and what comes in over it.
//!
//! Owns accepting, and whom a connection turns out to be. Invariant: who a peer
//! is, is looked up on every connection; an unknown or revoked one is told so and
//! hears nothing else. What enrolled devices say is [`session`]'s,
//! what others may ask [`enrolment`]'s, by which certificates [`tls`]'s.

pub mod endpoint;
mod enrolment;
mod live;
mod session;
mod streams;
pub mod tls;

pub use live::Live;

use crate::keeper::Keeper;
use crate::metrics::Metrics;
use core::time::Duration;
use quinn::{Connection, Endpoint, Incoming};
use std::sync::Arc;
use tls::Purpose;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

/// Connections at once: a fleet, with room for those that reconnect.
const CONNECTIONS_MAX: usize = 4096;
/// From here on, a peer must first show that it receives at its address.
const CONNECTIONS_TRUSTED: usize = CONNECTIONS_MAX / 2;
/// A peer may take so long to finish its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a connection was ended, as the code its peer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Ending {
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

impl Ending {
    fn close(self, connection: &Connection, why: &str) {
        connection.close((self as u32).into(), why.as_bytes());
    }
}

/// What every link needs.
#[derive(Debug, Clone)]
pub struct Links {
    keeper: Keeper,
    live: Live,
    metrics: Arc<Metrics>,
    enrolments: Arc<Semaphore>,
}

impl Links {
    /// Links whose events go to `keeper`.
    pub fn new(keeper: Keeper, live: Live, metrics: Arc<Metrics>) -> Self {
        let enrolments = Arc::new(Semaphore::new(enrolment::AT_ONCE));
        Self { keeper, live, metrics, enrolments }
    }

    /// Serves all who connect, until the endpoint is closed.
    pub async fn serve(self, endpoint: Endpoint) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    if let Some(incoming) = self.admit(incoming, endpoint.open_connections()) {
                        connections.spawn(self.clone().serve_connection(incoming));
                    }
                }
                Some(ended) = connections.join_next() => {
                    if let Err(why) = ended {
                        error!(%why, "a link's task ended badly");
                    }
                }
            }
        }
        connections.shutdown().await;
    }

    fn admit(&self, incoming: Incoming, open: usize) -> Option<Incoming> {
        if open >= CONNECTIONS_MAX {
            self.metrics.refused.inc();
            warn!(from = %incoming.remote_address(), open, "too many connections; refused one");
            incoming.refuse();
            return None;
        }
        if open >= CONNECTIONS_TRUSTED && !incoming.remote_address_validated() {
            // It comes back with a token; if not, the address was forged.
            drop(incoming.retry());
            return None;
        }
        Some(incoming)
    }

    async fn serve_connection(self, incoming: Incoming) {
        let from = incoming.remote_address();
        let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return debug!(%from, %why, "a handshake failed"),
            Err(_) => return debug!(%from, "a handshake took too long"),
        };
        match (tls::purpose(&connection), tls::peer_fingerprint(&connection)) {
            (Some(Purpose::Session), Some(fingerprint)) => {
                session::serve(&self, &connection, fingerprint).await;
            }
            (Some(Purpose::Enrolment), Some(fingerprint)) => {
                enrolment::serve(&self, &connection, fingerprint).await;
            }
            // The handshake guarantees both; a peer for whom it did not is none of ours.
            _ => Ending::Denied.close(&connection, "no certificate or no protocol"),
        }
    }
}
