//! The links to devices: one QUIC endpoint, one TCP socket, and what comes in.
//!
//! Owns accepting, by either way alike. Invariant: who a peer is, is looked up on
//! every connection; an unknown or revoked one is told so and hears nothing else.
//! What enrolled devices say is [`session`]'s, what others may ask [`enrolment`]'s,
//! by which certificates [`tls`]'s.

mod acting;
mod attention;
pub mod endpoint;
mod enrolment;
mod line;
mod listener;
mod live;
mod rates;
mod readmission;
mod session;
mod streams;
pub mod tls;

pub use attention::{Attention, Entry, Reason};
pub use listener::Listener;
pub use live::Live;

use crate::keeper::Keeper;
use crate::metrics::Metrics;
use line::{Caller, Ending};
use quinn::{Endpoint, Incoming};
use rates::Rates;
use std::net::SocketAddr;
use std::sync::Arc;
use tallyroll_schema::limits::links::{
    CONNECTIONS_MAX, CONNECTIONS_TRUSTED, ENROLMENTS_MAX, HANDSHAKE_TIMEOUT, READMISSIONS_MAX,
};
use tls::Purpose;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

/// What every link needs.
#[derive(Debug, Clone)]
pub struct Links {
    keeper: Keeper,
    live: Live,
    attention: Attention,
    metrics: Arc<Metrics>,
    enrolments: Arc<Semaphore>,
    readmissions: Arc<Semaphore>,
    rates: Arc<Rates>,
}

impl Links {
    /// Links whose events go to `keeper`; who is connected and who is turned away is told to the others.
    pub fn new(keeper: Keeper, live: Live, attention: Attention, metrics: Arc<Metrics>) -> Self {
        let enrolments = Arc::new(Semaphore::new(ENROLMENTS_MAX));
        let readmissions = Arc::new(Semaphore::new(READMISSIONS_MAX));
        let rates = Arc::new(Rates::new());
        Self { keeper, live, attention, metrics, enrolments, readmissions, rates }
    }

    /// Serves all who connect, until the endpoint is closed and everybody has heard it.
    pub async fn serve(self, endpoint: Endpoint, listener: Listener) {
        let tcp_max = listener::connections_max().min(CONNECTIONS_MAX);
        let tcp_places = Arc::new(Semaphore::new(tcp_max));
        let (callers, mut by_tcp) = mpsc::channel(1);
        let mut listening = JoinSet::new(); // ends with this
        listening.spawn(listener.run(self.clone(), callers));
        let mut connections = JoinSet::new();
        loop {
            let open = connections.len();
            tokio::select! {
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    if let Some(incoming) = self.admit(incoming, open) {
                        connections.spawn(self.clone().shake_hands(incoming));
                    }
                }
                Some(caller) = by_tcp.recv() => {
                    let place = tcp_places.clone().try_acquire_owned();
                    match place.ok().filter(|_| open < CONNECTIONS_MAX) {
                        Some(place) => drop(connections.spawn(self.clone().serve_tcp(caller, place))),
                        None => self.refuse(caller.from, open), // which drops it
                    }
                }
                Some(ended) = connections.join_next() => {
                    if let Err(why) = ended {
                        error!(%why, "a link's task ended badly");
                    }
                }
            }
        }
        self.live.stop(); // QUIC's heard it as the endpoint was closed
        while connections.join_next().await.is_some() {}
    }

    fn admit(&self, incoming: Incoming, open: usize) -> Option<Incoming> {
        if open >= CONNECTIONS_MAX {
            self.refuse(incoming.remote_address(), open);
            incoming.refuse();
            return None;
        }
        let (from, shown) = (incoming.remote_address(), incoming.remote_address_validated());
        let allowed = self.rates.may_shake_hands(from.ip(), shown);
        if !shown && (!allowed || open >= CONNECTIONS_TRUSTED) {
            // It comes back with a token; if not, the address was forged.
            drop(incoming.retry());
            return None;
        }
        if !allowed {
            self.refuse_hasty(from);
            incoming.refuse();
            return None;
        }
        Some(incoming)
    }

    /// Whether a handshake over TCP may begin, where an address cannot be forged.
    fn admit_tcp(&self, from: SocketAddr) -> bool {
        let allowed = self.rates.may_shake_hands(from.ip(), true);
        if !allowed {
            self.refuse_hasty(from);
        }
        allowed
    }

    fn refuse_hasty(&self, from: SocketAddr) {
        self.metrics.refused.inc();
        debug!(%from, "its address connects too often; refused it");
    }

    fn refuse(&self, from: SocketAddr, open: usize) {
        self.metrics.refused.inc();
        warn!(%from, open, "too many connections; refused one");
    }

    async fn shake_hands(self, incoming: Incoming) {
        let from = incoming.remote_address();
        let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return debug!(%from, %why, "a handshake failed"),
            Err(_) => return debug!(%from, "a handshake took too long"),
        };
        match Caller::by_quic(connection.clone()) {
            Some(caller) => self.serve_caller(caller).await,
            // The handshake guarantees both; a peer for whom it did not is none of ours.
            None => Ending::Denied.close(&connection, "no certificate or no protocol"),
        }
    }

    async fn serve_tcp(self, caller: Caller, _place: OwnedSemaphorePermit) {
        self.serve_caller(caller).await;
    }

    async fn serve_caller(&self, caller: Caller) {
        match caller.purpose {
            Purpose::Session => session::serve(self, caller).await,
            Purpose::Enrolment => enrolment::serve(self, caller).await,
        }
    }
}
