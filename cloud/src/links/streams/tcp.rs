//! A session's streams over TLS on TCP: frames of all streams on one connection.
//!
//! Invariant: of the frames that wait, control leaves before ledgers before
//! telemetry, each whole. A side that has nothing to write says so in time, and one
//! that is silent for too long is gone, as on QUIC. The form of it is the schema's.

use super::{Arrived, CHUNK_BYTES, Frames, Waiting};
use std::io;
use std::sync::Arc;
use tallyroll_schema::limits::links::{IDLE_TIMEOUT, KEEP_ALIVE};
use tallyroll_schema::wire::{self, StreamKind, TaggedReader, tag_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

type Connection = TlsStream<TcpStream>;

/// What waits to be written.
pub(super) struct Queues {
    pub(super) control: Frames,
    pub(super) ledger: Frames,
    pub(super) telemetry: Frames,
}

impl Queues {
    /// The next frame and its stream; none when nothing will follow.
    async fn next(&mut self) -> Option<(StreamKind, Vec<u8>)> {
        tokio::select! {
            biased;
            Some(frame) = self.control.recv() => Some((StreamKind::Control, frame)),
            Some(frame) = self.ledger.recv() => Some((StreamKind::Ledger, frame)),
            Some(frame) = self.telemetry.recv() => Some((StreamKind::Telemetry, frame)),
            else => None,
        }
    }
}

/// Writes what waits until nothing will follow, and then the end; a connection that ended is
/// noticed by its reader.
pub(super) async fn write(
    mut to: WriteHalf<Connection>,
    mut queues: Queues,
    waiting: Arc<Waiting>,
) {
    loop {
        let (frame, bytes) = match timeout(KEEP_ALIVE, queues.next()).await {
            Ok(Some((stream, frame))) => {
                let bytes = frame.len();
                (tag_frame(stream, frame), bytes)
            }
            Ok(None) => return drop(to.shutdown().await), // it may be gone already
            Err(_) => (vec![wire::KEEP_ALIVE], 0),
        };
        if to.write_all(&frame).await.is_err() || to.flush().await.is_err() {
            return;
        }
        waiting.written(bytes);
    }
}

/// Reads messages until the connection or the session ends; when it is the session, the rest of
/// the connection, unheard: closing on what is unread would take back what we have written.
pub(super) async fn read(mut from: ReadHalf<Connection>, sender: mpsc::Sender<Arrived>) {
    let mut frames = TaggedReader::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let arrived = match frames.next_message() {
            Ok(Some(message)) => Ok(message),
            Ok(None) => match timeout(IDLE_TIMEOUT, from.read(&mut chunk)).await {
                Ok(Ok(bytes @ 1..)) => {
                    frames.push(&chunk[..bytes]);
                    continue;
                }
                Ok(Ok(0)) => Err("the device ended the session".into()),
                Ok(Err(why)) if why.kind() == io::ErrorKind::UnexpectedEof => {
                    Err("the device went away".into())
                }
                Ok(Err(why)) => Err(why.to_string()),
                Err(_) => Err("the device has been silent for 30 s".into()),
            },
            Err(why) => Err(format!("the device sent what cannot be read: {why}")),
        };
        let ended = arrived.is_err();
        if sender.send(arrived).await.is_err() {
            break;
        }
        if ended {
            return;
        }
    }
    while matches!(from.read(&mut chunk).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_leaves_by_its_stream_and_in_its_order() {
        let [(control, a), (ledger, b), (telemetry, c)] =
            [(); 3].map(|()| mpsc::unbounded_channel::<Vec<u8>>());
        let mut queues = Queues { control: a, ledger: b, telemetry: c };
        for (queue, frame) in
            [(&telemetry, 5), (&ledger, 3), (&control, 1), (&ledger, 4), (&control, 2)]
        {
            queue.send(vec![frame]).unwrap();
        }
        drop((control, ledger, telemetry));
        let mut left = Vec::new();
        while let Some((stream, frame)) = queues.next().await {
            left.push((stream, frame[0]));
        }
        let [control, ledger, telemetry] = StreamKind::ALL;
        let order = [(control, 1), (control, 2), (ledger, 3), (ledger, 4), (telemetry, 5)];
        assert_eq!(left, order);
    }
}
