//! A branch's line to the cloud: a UDP relay that can be cut.
//!
//! Invariant: while it is cut, every packet of either direction is lost without a
//! word, as on a dead line. It knows nothing of what it carries. The cloud's
//! address may change, when the cloud starts again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No UDP packet is longer.
const PACKET_BYTES_MAX: usize = 65_535;

/// One branch's line; it ends when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where the branch sends to.
    pub(super) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    carrying: JoinHandle<()>,
}

impl Relay {
    /// Lays a line to wherever `cloud` says the cloud is.
    ///
    /// # Errors
    /// No socket.
    pub(super) async fn start(cloud: watch::Receiver<SocketAddr>) -> io::Result<Self> {
        let branch_side = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let cloud_side = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = branch_side.local_addr()?;
        let is_cut = Arc::new(AtomicBool::new(false));
        let carrying = tokio::spawn(carry(branch_side, cloud_side, cloud, is_cut.clone()));
        Ok(Self { address, is_cut, carrying })
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn heal(&self) {
        self.is_cut.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(
    branch_side: UdpSocket,
    cloud_side: UdpSocket,
    cloud: watch::Receiver<SocketAddr>,
    is_cut: Arc<AtomicBool>,
) {
    let (mut up, mut down) = (vec![0; PACKET_BYTES_MAX], vec![0; PACKET_BYTES_MAX]);
    // A branch has one link at a time; each new one comes from a new socket.
    let mut branch = None;
    // A packet that cannot be received or sent on is a lost one: QUIC sends it again.
    loop {
        tokio::select! {
            Ok((length, from)) = branch_side.recv_from(&mut up) => {
                branch = Some(from);
                if !is_cut.load(Ordering::Relaxed) {
                    let to = *cloud.borrow();
                    drop(cloud_side.send_to(&up[..length], to).await);
                }
            }
            Ok((length, _)) = cloud_side.recv_from(&mut down) => {
                if let (Some(branch), false) = (branch, is_cut.load(Ordering::Relaxed)) {
                    drop(branch_side.send_to(&down[..length], branch).await);
                }
            }
            else => tokio::task::yield_now().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use tokio::time::timeout;

    async fn socket() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    async fn hears(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut packet = [0; 16];
        let heard =
            timeout(Duration::from_millis(300), socket.recv_from(&mut packet)).await.ok()?;
        let (length, from) = heard.unwrap();
        Some((packet[..length].to_vec(), from))
    }

    #[tokio::test]
    async fn it_carries_both_ways_unless_cut_and_follows_the_cloud() {
        let (cloud, branch) = (socket().await, socket().await);
        let (moved, address) = watch::channel(cloud.local_addr().unwrap());
        let relay = Relay::start(address).await.unwrap();
        branch.send_to(b"up", relay.address).await.unwrap();
        let (packet, line) = hears(&cloud).await.unwrap();
        assert_eq!(packet, b"up");
        cloud.send_to(b"down", line).await.unwrap();
        assert_eq!(hears(&branch).await.unwrap().0, b"down");

        relay.cut();
        branch.send_to(b"up", relay.address).await.unwrap();
        cloud.send_to(b"down", line).await.unwrap();
        assert_eq!((hears(&cloud).await, hears(&branch).await), (None, None));

        relay.heal();
        let restarted = socket().await;
        moved.send_replace(restarted.local_addr().unwrap());
        branch.send_to(b"up", relay.address).await.unwrap();
        assert_eq!(hears(&restarted).await.unwrap().0, b"up");
    }
}
