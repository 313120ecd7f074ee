//! The bad line itself: before we blame the sync session for a lost packet, the proxy must be what it says.
//! Each test sends numbered packets from a client through a proxy to a server, and looks at what arrived.
//! Packets are sent a few at a time, so that no socket buffer of the kernel drops one of its own accord.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tallyroll_tests::proxy::fate::{Direction, Fate, Fates};
use tallyroll_tests::proxy::{Proxy, ProxyConfig};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const SEED: u64 = 0x7a11;
/// Longer than any machine needs to pass a packet over loopback.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this silence nothing more is under way.
const SILENCE: Duration = Duration::from_millis(300);

/// Sends every packet back to where it came from; ends when dropped.
struct EchoServer {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl EchoServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, sender) = socket.recv_from(&mut buffer).await.unwrap();
                socket.send_to(&buffer[..length], sender).await.unwrap();
            }
        });
        Self { addr, task }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn client_of(proxy: &Proxy) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(proxy.addr()).await.unwrap();
    socket
}

async fn send(client: &UdpSocket, number: u32) {
    client.send(&number.to_le_bytes()).await.unwrap();
}

async fn receive(client: &UdpSocket, patience: Duration) -> Option<u32> {
    let mut packet = [0; 4];
    let length = timeout(patience, client.recv(&mut packet)).await.ok()?.unwrap();
    assert_eq!(length, packet.len());
    Some(u32::from_le_bytes(packet))
}

/// Sends 0..count and returns the echoes in the order they came.
async fn echoes(client: &UdpSocket, count: u32) -> Vec<u32> {
    let send_all = async {
        for number in 0..count {
            send(client, number).await;
            if number % 16 == 15 {
                sleep(Duration::from_millis(2)).await;
            }
        }
    };
    let receive_all = async {
        let mut echoes = Vec::new();
        let mut patience = PATIENCE;
        while let Some(number) = receive(client, patience).await {
            echoes.push(number);
            patience = SILENCE;
        }
        echoes
    };
    tokio::join!(send_all, receive_all).1
}

#[tokio::test]
async fn a_clean_line_brings_everything_once_and_in_order() {
    let server = EchoServer::start().await;
    let proxy = Proxy::start(ProxyConfig::clean(server.addr, SEED)).await.unwrap();
    let client = client_of(&proxy).await;

    assert_eq!(echoes(&client, 200).await, (0..200).collect::<Vec<_>>());
    let stats = proxy.stats();
    assert_eq!((stats.up.delivered, stats.down.delivered, stats.flows), (200, 200, 1));
}

/// The whole contract in one: which packets come back is known beforehand, from the seed alone.
#[tokio::test]
async fn the_seed_decides_which_packets_arrive() {
    let server = EchoServer::start().await;
    let config = ProxyConfig { loss: 0.2, duplicate: 0.1, ..ProxyConfig::clean(server.addr, SEED) };
    let proxy = Proxy::start(config.clone()).await.unwrap();
    let client = client_of(&proxy).await;

    let survivors = |packets: Vec<u32>, direction| -> Vec<u32> {
        let fated = packets.into_iter().zip(Fates::new(&config, 0, direction));
        fated
            .flat_map(|(number, fate)| match fate {
                Fate::Lost => vec![],
                Fate::Delivered(_) => vec![number],
                Fate::Doubled(..) => vec![number, number],
            })
            .collect()
    };
    let expected = survivors(survivors((0..1000).collect(), Direction::Up), Direction::Down);
    assert_eq!(echoes(&client, 1000).await, expected);

    let stats = proxy.stats();
    assert_eq!(stats.up.received, 1000);
    assert!(
        (150..=250).contains(&stats.up.lost),
        "a fifth of 1,000 packets is lost, not {}",
        stats.up.lost
    );
    for direction in [stats.up, stats.down] {
        assert_eq!(direction.received + direction.doubled, direction.lost + direction.delivered);
    }
}

#[tokio::test]
async fn the_delay_is_paid_each_way() {
    let server = EchoServer::start().await;
    let delay = Duration::from_millis(100);
    let proxy =
        Proxy::start(ProxyConfig { delay, ..ProxyConfig::clean(server.addr, SEED) }).await.unwrap();
    let client = client_of(&proxy).await;

    let sent = Instant::now();
    send(&client, 1).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(1));
    let round_trip = sent.elapsed();
    assert!(round_trip >= 2 * delay, "it came back after {round_trip:?}");
    assert!(round_trip < 2 * delay + PATIENCE / 10, "it came back only after {round_trip:?}");
}

#[tokio::test]
async fn reordering_changes_the_order_and_nothing_else() {
    let server = EchoServer::start().await;
    let config = ProxyConfig { reorder: 0.1, ..ProxyConfig::clean(server.addr, SEED) };
    let proxy = Proxy::start(config).await.unwrap();
    let client = client_of(&proxy).await;

    let mut arrived = echoes(&client, 400).await;
    assert!(!arrived.is_sorted(), "no packet was overtaken");
    arrived.sort_unstable();
    assert_eq!(arrived, (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cut_line_drops_everything_also_what_is_under_way() {
    let server = EchoServer::start().await;
    let delay = Duration::from_millis(100);
    let proxy =
        Proxy::start(ProxyConfig { delay, ..ProxyConfig::clean(server.addr, SEED) }).await.unwrap();
    let client = client_of(&proxy).await;

    send(&client, 1).await;
    while proxy.stats().up.received == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    proxy.set_cut(true);
    send(&client, 2).await;
    assert_eq!(receive(&client, 2 * delay + SILENCE).await, None);
    assert_eq!(proxy.stats().up.cut, 2);

    proxy.set_cut(false);
    send(&client, 3).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(3));
}

#[tokio::test]
async fn each_client_has_a_socket_of_its_own_at_the_server() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = ProxyConfig::clean(server.local_addr().unwrap(), SEED);
    let proxy = Proxy::start(config).await.unwrap();
    let (first, second) = (client_of(&proxy).await, client_of(&proxy).await);

    let mut packet = [0; 4];
    send(&first, 1).await;
    let (_, first_seen) = server.recv_from(&mut packet).await.unwrap();
    send(&second, 2).await;
    let (_, second_seen) = server.recv_from(&mut packet).await.unwrap();
    assert_ne!(first_seen, second_seen);

    server.send_to(&7_u32.to_le_bytes(), first_seen).await.unwrap();
    assert_eq!(receive(&first, PATIENCE).await, Some(7));
    assert_eq!(receive(&second, SILENCE).await, None);
}

#[tokio::test]
async fn clients_stay_when_the_server_comes_back_on_another_port() {
    let before = EchoServer::start().await;
    let proxy = Proxy::start(ProxyConfig::clean(before.addr, SEED)).await.unwrap();
    let client = client_of(&proxy).await;
    send(&client, 1).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(1));

    drop(before);
    let after = EchoServer::start().await;
    proxy.set_upstream(after.addr);
    send(&client, 2).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(2));
    assert_eq!(proxy.stats().flows, 1);
}

#[tokio::test]
async fn an_idle_flow_is_forgotten_and_the_client_may_return() {
    let server = EchoServer::start().await;
    let idle_max = Duration::from_millis(100);
    let proxy = Proxy::start(ProxyConfig { idle_max, ..ProxyConfig::clean(server.addr, SEED) })
        .await
        .unwrap();
    let client = client_of(&proxy).await;
    send(&client, 1).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(1));

    let forgotten = async {
        while proxy.stats().flows > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("the idle flow is still there");
    send(&client, 2).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(2));
}

#[tokio::test]
async fn a_dropped_proxy_frees_its_port() {
    let server = EchoServer::start().await;
    let proxy = Proxy::start(ProxyConfig::clean(server.addr, SEED)).await.unwrap();
    let addr = proxy.addr();
    let client = client_of(&proxy).await;
    send(&client, 1).await;
    assert_eq!(receive(&client, PATIENCE).await, Some(1));

    drop(proxy);
    let freed = async {
        while UdpSocket::bind(addr).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("the port is still taken");
}
