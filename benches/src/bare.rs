//! The limits that ours is held against: the same bytes, and nothing else done with them.
//!
//! Owns a bare write and fdatasync, and a bare quinn loop. Invariant: the same durability as ours (nothing is
//! acknowledged before the sync), the same disk, the same run; no format, no check but one hash of the bytes.

use crate::Outcome;
use crate::disk::open;
use crate::wire::{Counting, Wire};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TransportConfig};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Bytes that the sender hands over at a time, and the receiver at most.
const CHUNK_BYTES: usize = 256 * 1024;
/// As wide as a loopback needs.
const WINDOW_BYTES: u32 = 16 << 20;

/// Writes to a preallocated file as it was written before, with a sync after each; returns the seconds.
///
/// # Errors
/// The system's.
pub fn write_and_sync(path: &Path, writes: &[(u64, usize)]) -> Outcome<f64> {
    let file = open(path)?;
    let end = writes.iter().map(|(offset, len)| offset + *len as u64).max().unwrap_or(0);
    file.write_all_at(&vec![0; end as usize], 0)?;
    file.sync_all()?;
    let longest = writes.iter().map(|(_, len)| *len).max().unwrap_or(0);
    let bytes = vec![7; longest];
    let began = Instant::now();
    for (offset, len) in writes {
        file.write_all_at(bytes.get(..*len).unwrap_or_default(), *offset)?;
        file.sync_data()?;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Moves so many bytes over QUIC into a file: sent as fast as it goes, hashed, appended, synced, and only then
/// acknowledged. Returns the seconds from connecting to the last acknowledgement, and bytes on the wire.
///
/// # Errors
/// Sockets and files.
pub fn quinn_loop(path: &Path, bytes: u64) -> Outcome<(f64, u64)> {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let chain = vec![key.cert.der().clone()];
    let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain.clone(), secret.into())?;
    let server = quinn::crypto::rustls::QuicServerConfig::try_from(server)?;
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(Arc::new(wide()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in chain {
        roots.add(certificate)?;
    }
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = quinn::crypto::rustls::QuicClientConfig::try_from(client)?;
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(Arc::new(wide()));

    let path = path.to_owned();
    let wire = Arc::new(Wire::default());
    let receiving = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let endpoint = receiving.block_on(async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let runtime = Arc::new(Counting(wire.clone()));
        Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)
    })?;
    let at = endpoint.local_addr()?;
    let received = receiving.spawn(receive(endpoint, path));
    // A runtime of its own, as the other end of a line has.
    let sending = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seconds = sending.block_on(send(client, at, bytes))?;
    receiving.block_on(received)??;
    let [came, went, _] = wire.so_far();
    Ok((seconds, came + went))
}

fn wide() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WINDOW_BYTES.into())
        .receive_window(WINDOW_BYTES.into())
        .send_window(WINDOW_BYTES.into());
    transport
}

async fn send(client: ClientConfig, to: SocketAddr, bytes: u64) -> Outcome<f64> {
    let began = Instant::now();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let connection = endpoint.connect_with(client, to, "localhost")?.await?;
    let (mut stream, mut acknowledged) = connection.open_bi().await?;
    let sending = tokio::spawn(async move {
        let chunk: Vec<u8> = (0..CHUNK_BYTES).map(|at| at as u8).collect();
        let mut left = bytes;
        while left > 0 {
            let len = left.min(CHUNK_BYTES as u64) as usize;
            stream.write_all(chunk.get(..len).unwrap_or_default()).await?;
            left -= len as u64;
        }
        stream.finish()?;
        Outcome::Ok(())
    });
    let mut so_far = [0; 8];
    while u64::from_le_bytes(so_far) < bytes {
        acknowledged.read_exact(&mut so_far).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    sending.await??;
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(seconds)
}

async fn receive(endpoint: Endpoint, path: std::path::PathBuf) -> Outcome {
    let connection = endpoint.accept().await.ok_or("nobody came")?.await?;
    let (mut acknowledge, mut stream) = connection.accept_bi().await?;
    let (chunks, mut waiting) = mpsc::channel::<quinn::Chunk>(256);
    let (synced, mut done) = mpsc::channel::<u64>(256);
    // The disk has a thread of its own; what waits for it shares a sync.
    let writing = tokio::task::spawn_blocking(move || {
        let mut file = open(&path)?;
        let (mut hasher, mut so_far) = (blake3::Hasher::new(), 0);
        while let Some(first) = waiting.blocking_recv() {
            let mut bytes = first.bytes.to_vec();
            while let Ok(more) = waiting.try_recv() {
                bytes.extend_from_slice(&more.bytes);
            }
            hasher.update(&bytes);
            file.write_all(&bytes)?;
            file.sync_data()?;
            so_far += bytes.len() as u64;
            synced.blocking_send(so_far)?;
        }
        std::hint::black_box(hasher.finalize());
        Outcome::Ok(())
    });
    let acknowledging = tokio::spawn(async move {
        while let Some(so_far) = done.recv().await {
            acknowledge.write_all(&so_far.to_le_bytes()).await?;
        }
        Outcome::Ok(acknowledge)
    });
    while let Some(chunk) = stream.read_chunk(CHUNK_BYTES, true).await? {
        chunks.send(chunk).await?;
    }
    drop(chunks);
    writing.await??;
    let _open = acknowledging.await??;
    connection.closed().await;
    Ok(())
}
