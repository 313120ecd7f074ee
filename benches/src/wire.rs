//! A UDP socket whose bytes are counted, for the cloud's end of a measurement.
//!
//! Invariant: what is counted is what a router between the two would carry: each datagram's payload and its
//! IPv4 and UDP headers, both ways: handshakes, acknowledgements and retransmissions included.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

/// IPv4 and UDP.
const HEADERS: u64 = 20 + 8;

/// What a socket carried.
#[derive(Debug, Default)]
pub struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
    datagrams: AtomicU64,
}

impl Wire {
    /// Bytes that came, bytes that went, datagrams both ways.
    pub fn so_far(&self) -> [u64; 3] {
        [&self.received, &self.sent, &self.datagrams].map(|count| count.load(Ordering::Relaxed))
    }

    fn count(&self, bytes: &AtomicU64, len: usize, each: usize) {
        let datagrams = len.div_ceil(each.max(1)) as u64;
        bytes.fetch_add(len as u64 + datagrams * HEADERS, Ordering::Relaxed);
        self.datagrams.fetch_add(datagrams, Ordering::Relaxed);
    }
}

/// Tokio, with sockets that count.
#[derive(Debug, Default)]
pub struct Counting(pub Arc<Wire>);

impl Runtime for Counting {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let under = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(Socket { under, wire: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Socket {
    under: Arc<dyn AsyncUdpSocket>,
    wire: Arc<Wire>,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.under.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.under.try_send(transmit)?;
        let len = transmit.contents.len();
        self.wire.count(&self.wire.sent, len, transmit.segment_size.unwrap_or(len));
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.under.poll_recv(context, buffers, metas);
        if let Poll::Ready(Ok(count)) = &polled {
            for meta in metas.iter().take(*count) {
                self.wire.count(&self.wire.received, meta.len, meta.stride);
            }
        }
        polled
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.under.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.under.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.under.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.under.may_fragment()
    }
}
