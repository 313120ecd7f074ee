//! A bad line: a UDP proxy on loopback that loses, delays, doubles, reorders and cuts, by a seed.
//! It stands between a QUIC client and its server and looks into no packet. Every client address is a flow
//! with an upstream socket of its own, so that the server tells clients apart as it would without us.
//! Invariant: the fate of a flow's n-th packet in a direction depends on the seed alone (see [`fate`]), and
//! nothing grows without limit: flows, packets waiting for one, packets held by one. What does not fit is
//! dropped and counted. The ECN bits and the sender's packet pacing are not carried over.

pub mod fate;
mod flow;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use fate::Direction;
use flow::{Flow, Line, Packet};

/// No UDP datagram is longer.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// More clients at a time are not served.
const FLOWS_MAX: usize = 1024;
/// Packets of one client that its flow has not looked at yet.
const INBOX_PACKETS_MAX: usize = 1024;

/// How bad the line is. Chances are of one packet, in each direction, between 0 and 1.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where the server listens, on loopback.
    pub upstream: SocketAddr,
    /// What every fate is drawn from.
    pub seed: u64,
    /// The chance that a packet is lost.
    pub loss: f64,
    /// How long every packet takes, one way: half a round trip.
    pub delay: Duration,
    /// How much longer it may take; evenly spread, so packets closer together than this may swap.
    pub jitter: Duration,
    /// The chance that a packet arrives twice.
    pub duplicate: f64,
    /// The chance that a packet is held back by [`fate::HELD_BACK`], so that later ones overtake it.
    pub reorder: f64,
    /// A flow without a packet for this long is forgotten, as a NAT would.
    pub idle_max: Duration,
}

impl ProxyConfig {
    /// A line that does nothing to a packet; set the fields that shall be bad.
    #[must_use]
    pub fn clean(upstream: SocketAddr, seed: u64) -> Self {
        Self {
            upstream,
            seed,
            loss: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            duplicate: 0.0,
            reorder: 0.0,
            idle_max: Duration::from_secs(60),
        }
    }
}

/// What became of the packets, both directions of all flows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Flows that are open now.
    pub flows: usize,
    /// Packets from clients.
    pub up: DirectionStats,
    /// Packets from the server.
    pub down: DirectionStats,
}

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionStats {
    /// Packets that came in.
    pub received: u64,
    /// Packets that went out, second copies included.
    pub delivered: u64,
    /// Packets lost by their fate.
    pub lost: u64,
    /// Packets sent twice by their fate.
    pub doubled: u64,
    /// Packets and copies dropped because the line was cut.
    pub cut: u64,
    /// Packets and copies dropped because a queue was full.
    pub overflowed: u64,
    /// Packets and copies that the socket refused.
    pub refused: u64,
}

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    line: Arc<Line>,
    front: JoinHandle<()>,
}

impl Proxy {
    /// Opens a port on loopback and forwards what comes in, on the current tokio runtime.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start(config: ProxyConfig) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = socket.local_addr()?;
        let line = Arc::new(Line::new(config, socket));
        let front = tokio::spawn(accept(Arc::clone(&line)));
        Ok(Self { addr, line, front })
    }

    /// Where clients send to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn stats(&self) -> ProxyStats {
        self.line.stats()
    }

    /// While `cut`, every packet is dropped: the new ones, and those under way when they would arrive.
    pub fn set_cut(&self, cut: bool) {
        self.line.set_cut(cut);
    }

    /// Sends to another server from now on, as when it came back on another port.
    /// Clients keep their flows; what the old one still sends is dropped.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.line.set_upstream(upstream);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The flows belong to the front and are aborted with it.
        self.front.abort();
    }
}

/// Takes packets from clients and hands each to its flow; reaps the flows that ended.
async fn accept(line: Arc<Line>) {
    let mut inboxes: HashMap<SocketAddr, mpsc::Sender<Packet>> = HashMap::new();
    let mut flows = JoinSet::new();
    let mut flows_opened: u64 = 0;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, client) = tokio::select! {
            Some(ended) = flows.join_next() => {
                ended.expect("proxy: a flow ends by being idle");
                inboxes.retain(|_, inbox| !inbox.is_closed());
                line.set_flows(flows.len());
                continue;
            }
            received = line.front.recv_from(&mut buffer) => received.expect("proxy: its own port receives"),
        };
        let packet: Packet = buffer.iter().take(length).copied().collect();
        if inboxes.get(&client).is_none_or(mpsc::Sender::is_closed) {
            if flows.len() >= FLOWS_MAX {
                line.overflow(Direction::Up);
                continue;
            }
            let (inbox, packets) = mpsc::channel(INBOX_PACKETS_MAX);
            let flow = Flow::open(Arc::clone(&line), client, flows_opened).await;
            flows.spawn(flow.run(packets));
            flows_opened += 1;
            inboxes.insert(client, inbox);
            line.set_flows(flows.len());
        }
        if inboxes.get(&client).is_some_and(|inbox| inbox.try_send(packet).is_err()) {
            line.overflow(Direction::Up);
        }
    }
}
