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
use tokio_rustls::client::TlsStream;

type Connection = TlsStream<TcpStream>;

/// What waits to be written.
pub(super) struct Queues {
    pub(super) control: Frames,
    pub(super) ledger: Frames,
    pub(super) telemetry: Frames,
}

impl Queues {
    /// The next frame and its stream's tag; none when nothing will follow.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let (stream, frame) = tokio::select! {
            biased;
            Some(frame) = self.control.recv() => (StreamKind::Control, frame),
            Some(frame) = self.ledger.recv() => (StreamKind::Ledger, frame),
            Some(frame) = self.telemetry.recv() => (StreamKind::Telemetry, frame),
            else => return None,
        };
        Some(tag_frame(stream, frame))
    }
}

/// Writes what waits until the session ends; a connection that ended is noticed by its reader.
pub(super) async fn write(
    mut to: WriteHalf<Connection>,
    mut queues: Queues,
    waiting: Arc<Waiting>,
) {
    loop {
        match timeout(KEEP_ALIVE, queues.next()).await {
            Ok(Some(frame)) => {
                if write_out(&mut to, &frame).await.is_err() {
                    return waiting.broke();
                }
                waiting.written();
            }
            Ok(None) => return,
            Err(_) => {
                if write_out(&mut to, &[wire::KEEP_ALIVE]).await.is_err() {
                    return waiting.broke();
                }
            }
        }
    }
}

async fn write_out(to: &mut WriteHalf<Connection>, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Reads messages until the connection or the session ends.
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
                Ok(Ok(0)) => Err("the cloud closed the session".into()),
                Ok(Err(why)) if why.kind() == io::ErrorKind::UnexpectedEof => {
                    Err("the cloud went away".into())
                }
                Ok(Err(why)) => Err(why.to_string()),
                Err(_) => Err("the cloud has been silent for 30 s".into()),
            },
            Err(why) => Err(format!("the cloud sent what cannot be read: {why}")),
        };
        let ended = arrived.is_err();
        if sender.send(arrived).await.is_err() || ended {
            return;
        }
    }
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
        while let Some(frame) = queues.next().await {
            left.push(frame);
        }
        // The stream's tag, and what was in the frame.
        assert_eq!(left, [[0, 1], [0, 2], [1, 3], [1, 4], [2, 5]]);
    }
}
