//! A session's streams: frames in, frames out.
//!
//! Invariant: a task a stream, because a cancelled write would tear a frame. What
//! waits to be written is counted in bytes, so that the session can stop reading;
//! what was read waits in a channel of a few messages, and then the peer waits.
//! What the messages mean is left to the session.

use core::time::Duration;
use quinn::{Connection, RecvStream, SendStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tallyroll_schema::wire::{FrameReader, Message, StreamKind, encode_frame};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::debug;

/// Messages read ahead of the session; a batch has up to half a megabyte.
const READ_AHEAD: usize = 2;
/// Read from a stream at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that may wait to be written before the session stops reading: a burst, and replies.
const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The last messages may take so long to arrive.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A message, or why there are no more.
pub(super) type Arrived = Result<(StreamKind, Message), String>;

/// Both directions of a session.
pub(super) struct Streams {
    /// What the peer sends.
    pub(super) arrived: mpsc::Receiver<Arrived>,
    frames: BTreeMap<StreamKind, mpsc::UnboundedSender<Vec<u8>>>,
    waiting: Arc<Waiting>,
    writers: JoinSet<()>,
    _readers: JoinSet<()>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    fewer: Notify,
}

impl Streams {
    /// Streams of a connection whose control stream was accepted.
    pub(super) fn start(
        connection: &Connection,
        (control, from_control): (SendStream, RecvStream),
    ) -> Self {
        let (sender, arrived) = mpsc::channel(READ_AHEAD);
        let (mut readers, mut writers) = (JoinSet::new(), JoinSet::new());
        readers.spawn(read_stream(StreamKind::Control, from_control, sender.clone()));
        readers.spawn(accept_streams(connection.clone(), sender));
        let waiting = Arc::<Waiting>::default();
        let mut frames = BTreeMap::new();
        let mut control = Some(control);
        for kind in [StreamKind::Control, StreamKind::Ledger, StreamKind::Telemetry] {
            // Bounded in bytes by `has_room`, which a bounded channel cannot be.
            let (sender, to_write) = mpsc::unbounded_channel();
            frames.insert(kind, sender);
            let (connection, waiting) = (connection.clone(), waiting.clone());
            writers.spawn(write_stream(kind, connection, control.take(), to_write, waiting));
        }
        Self { arrived, frames, waiting, writers, _readers: readers }
    }

    /// Queues a message.
    pub(super) fn send(&self, stream: StreamKind, message: &Message) {
        let Some(frames) = self.frames.get(&stream) else { return };
        let frame = encode_frame(message);
        self.waiting.bytes.fetch_add(frame.len(), Ordering::Relaxed);
        drop(frames.send(frame)); // without a writer nothing drains, and the session stalls
    }

    /// Whether so little waits to be written that more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.bytes.load(Ordering::Relaxed) < WAITING_BYTES_MAX
    }

    /// Returns when something was written.
    pub(super) fn written(&self) -> impl Future<Output = ()> + use<> {
        let waiting = self.waiting.clone();
        async move { waiting.fewer.notified().await }
    }

    /// Lets what is queued arrive, for a moment.
    pub(super) async fn finish(mut self) {
        self.frames.clear();
        let writers = async { while self.writers.join_next().await.is_some() {} };
        drop(tokio::time::timeout(FINISH_TIMEOUT, writers).await); // the peer may be gone
    }
}

/// Writes frames to a stream, opening a batch stream at its first one.
async fn write_stream(
    kind: StreamKind,
    connection: Connection,
    mut stream: Option<SendStream>,
    mut frames: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<Waiting>,
) {
    while let Some(frame) = frames.recv().await {
        let opened = match stream.take() {
            Some(opened) => Ok(opened),
            None => open_stream(kind, &connection).await,
        };
        let Ok(mut opened) = opened else { return };
        // Control before ledgers before telemetry.
        if opened.set_priority(-i32::from(kind.tag())).is_err()
            || opened.write_all(&frame).await.is_err()
        {
            return;
        }
        stream = Some(opened);
        waiting.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        waiting.fewer.notify_one();
    }
    if let Some(mut stream) = stream
        && stream.finish().is_ok()
    {
        drop(stream.stopped().await); // all of it has arrived, or never will
    }
}

async fn open_stream(
    kind: StreamKind,
    connection: &Connection,
) -> Result<SendStream, quinn::WriteError> {
    let mut stream = connection.open_uni().await?;
    stream.write_all(&[kind.tag()]).await?;
    Ok(stream)
}

/// Reads all batch streams the peer opens; the transport limits how many at once.
async fn accept_streams(connection: Connection, sender: mpsc::Sender<Arrived>) {
    let mut readers = JoinSet::new();
    let why = loop {
        tokio::select! {
            accepted = connection.accept_uni() => match accepted {
                Ok(stream) => drop(readers.spawn(read_batch_stream(stream, sender.clone()))),
                Err(why) => break why,
            },
            Some(_) = readers.join_next() => {}
        }
    };
    drop(sender.send(Err(why.to_string())).await); // the session may have ended first
}

async fn read_batch_stream(mut stream: RecvStream, sender: mpsc::Sender<Arrived>) {
    let mut tag = [0];
    if stream.read_exact(&mut tag).await.is_err() {
        return;
    }
    match StreamKind::from_tag(tag[0]) {
        Some(kind) => read_stream(kind, stream, sender).await,
        None => {
            debug!(tag = tag[0], "a stream of a kind this build does not know; not read");
            drop(stream.stop(0u32.into()));
        }
    }
}

/// Reads a stream's messages until it or the session ends.
async fn read_stream(kind: StreamKind, mut stream: RecvStream, sender: mpsc::Sender<Arrived>) {
    let mut frames = FrameReader::new(kind);
    loop {
        let arrived = match frames.next_message() {
            Ok(Some(message)) => Ok((kind, message)),
            Ok(None) => match stream.read_chunk(CHUNK_BYTES, true).await {
                Ok(Some(chunk)) => {
                    frames.push(&chunk.bytes);
                    continue;
                }
                Ok(None) if kind != StreamKind::Control => return,
                Ok(None) => Err("the device ended the session".into()),
                Err(why) => Err(why.to_string()),
            },
            Err(why) => Err(format!("the device sent what cannot be read: {why}")),
        };
        let ended = arrived.is_err();
        if sender.send(arrived).await.is_err() || ended {
            return;
        }
    }
}
