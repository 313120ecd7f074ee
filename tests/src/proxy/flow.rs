//! One client's packets on their way: an upstream socket, and a queue ordered by time of arrival.
//! Both directions share one task, so that a packet's fate is drawn, and the packet queued, in one place.
//! Invariant: equal times leave in the order they came, so without jitter and reordering the line keeps order;
//! and every packet and copy ends in exactly one of the counts.
//! A flow ends when nothing came or waited for the configured time; its socket goes with it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use super::fate::{Direction, Fate, Fates};
use super::{DATAGRAM_BYTES_MAX, DirectionStats, ProxyConfig, ProxyStats};

/// Packets one flow holds until their time comes; at 250 ms that is more than 16,000 a second.
const HELD_PACKETS_MAX: usize = 4096;

/// One datagram's bytes.
pub(super) type Packet = Vec<u8>;

/// What all flows of a proxy share.
#[derive(Debug)]
pub(super) struct Line {
    config: ProxyConfig,
    /// The socket that clients send to and are answered from.
    pub(super) front: UdpSocket,
    state: Mutex<LineState>,
}

#[derive(Debug)]
struct LineState {
    upstream: SocketAddr,
    cut: bool,
    stats: ProxyStats,
}

impl Line {
    pub(super) fn new(config: ProxyConfig, front: UdpSocket) -> Self {
        let state =
            LineState { upstream: config.upstream, cut: false, stats: ProxyStats::default() };
        Self { config, front, state: Mutex::new(state) }
    }

    pub(super) fn stats(&self) -> ProxyStats {
        self.state().stats
    }

    pub(super) fn set_flows(&self, flows: usize) {
        self.state().stats.flows = flows;
    }

    pub(super) fn set_cut(&self, cut: bool) {
        self.state().cut = cut;
    }

    pub(super) fn set_upstream(&self, upstream: SocketAddr) {
        self.state().upstream = upstream;
    }

    /// Counts a packet that came in where no queue had room for it.
    pub(super) fn overflow(&self, direction: Direction) {
        self.count(direction, |stats| {
            stats.received += 1;
            stats.overflowed += 1;
        });
    }

    fn count(&self, direction: Direction, change: impl FnOnce(&mut DirectionStats)) {
        let mut state = self.state();
        change(match direction {
            Direction::Up => &mut state.stats.up,
            Direction::Down => &mut state.stats.down,
        });
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().expect("proxy: no one panics while counting")
    }
}

/// One client's way through the line.
pub(super) struct Flow {
    line: Arc<Line>,
    client: SocketAddr,
    upstream: UdpSocket,
    up: Fates,
    down: Fates,
    /// Ordered by when they arrive, then by when they were queued.
    held: BTreeMap<(Instant, u64), (Direction, Packet)>,
    /// How many were ever queued.
    queued: u64,
}

impl Flow {
    /// Opens the way of `client`, the `number`-th of this line.
    pub(super) async fn open(line: Arc<Line>, client: SocketAddr, number: u64) -> Self {
        // Not connected: a connected socket would report the server's absence as an error of ours.
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("proxy: a port for another flow");
        let up = Fates::new(&line.config, number, Direction::Up);
        let down = Fates::new(&line.config, number, Direction::Down);
        Self { line, client, upstream, up, down, held: BTreeMap::new(), queued: 0 }
    }

    /// Carries packets both ways until the flow is idle.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Packet>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut heard = Instant::now();
        loop {
            self.deliver_due().await;
            let wake =
                self.held.keys().next().map_or(heard + self.line.config.idle_max, |(due, _)| *due);
            tokio::select! {
                Some(packet) = inbox.recv() => {
                    heard = Instant::now();
                    self.admit(Direction::Up, heard, packet);
                }
                received = self.upstream.recv_from(&mut buffer) => {
                    let (length, server) = received.expect("proxy: a flow's port receives");
                    if server == self.line.state().upstream {
                        heard = Instant::now();
                        self.admit(Direction::Down, heard, buffer.iter().take(length).copied().collect());
                    }
                }
                () = time::sleep_until(wake) => {
                    if self.held.is_empty() && heard.elapsed() >= self.line.config.idle_max {
                        return;
                    }
                }
            }
        }
    }

    /// Draws the packet's fate. It is drawn also while the line is cut, so that the n-th packet has the n-th.
    fn admit(&mut self, direction: Direction, now: Instant, packet: Packet) {
        self.line.count(direction, |stats| stats.received += 1);
        let fates = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        let fate = fates.next().expect("fates have no end");
        let cut = self.line.state().cut;
        match fate {
            _ if cut => self.line.count(direction, |stats| stats.cut += 1),
            Fate::Lost => self.line.count(direction, |stats| stats.lost += 1),
            Fate::Delivered(after) => self.hold(direction, now + after, packet),
            Fate::Doubled(after, again) => {
                self.line.count(direction, |stats| stats.doubled += 1);
                self.hold(direction, now + after, packet.clone());
                self.hold(direction, now + again, packet);
            }
        }
    }

    fn hold(&mut self, direction: Direction, due: Instant, packet: Packet) {
        if self.held.len() >= HELD_PACKETS_MAX {
            self.line.count(direction, |stats| stats.overflowed += 1);
            return;
        }
        self.held.insert((due, self.queued), (direction, packet));
        self.queued += 1;
    }

    async fn deliver_due(&mut self) {
        while let Some(entry) = self.held.first_entry() {
            if entry.key().0 > Instant::now() {
                return;
            }
            let (direction, packet) = entry.remove();
            let (cut, server) = {
                let state = self.line.state();
                (state.cut, state.upstream)
            };
            if cut {
                self.line.count(direction, |stats| stats.cut += 1);
                continue;
            }
            let sent = match direction {
                Direction::Up => self.upstream.send_to(&packet, server).await,
                Direction::Down => self.line.front.send_to(&packet, self.client).await,
            };
            self.line.count(direction, |stats| match sent {
                Ok(_) => stats.delivered += 1,
                Err(_) => stats.refused += 1,
            });
        }
    }
}
