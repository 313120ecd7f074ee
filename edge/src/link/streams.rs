//! A session's streams over one connection: frames in, frames out, by QUIC or TCP.
//!
//! Invariant: what is written is written by a task of its own, because a cancelled
//! write would tear a frame; what was read waits in a channel of a few messages,
//! and then the cloud waits. The tasks end with this. QUIC has a stream for each
//! kind; over TCP they share one, see [`tcp`].

mod tcp;

use super::connect::Line;
use super::session::Ended;
use core::time::Duration;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tallyroll_schema::wire::{FrameReader, Message, StreamKind, encode_frame};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// Messages that wait to be written; beyond, nothing is read.
const WAITING_MAX: usize = 256;
/// Messages read ahead of the session.
const READ_AHEAD: usize = 8;
/// Read from a stream at once, bytes.
const CHUNK_BYTES: usize = 16 * 1024;
/// The close frame may take so long to leave; the peer may be gone.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// The cloud's close code for a device that it does not believe.
const DENIED: u32 = 1;

/// A message, or why there are no more.
pub(super) type Arrived = Result<(StreamKind, Message), String>;
type Frames = mpsc::UnboundedReceiver<Vec<u8>>;

/// Both directions of a session.
pub(super) struct Streams {
    /// What the cloud sends.
    pub(super) arrived: mpsc::Receiver<Arrived>,
    frames: BTreeMap<StreamKind, mpsc::UnboundedSender<Vec<u8>>>,
    waiting: Arc<Waiting>,
    quic: Option<(Endpoint, Connection)>,
    tasks: JoinSet<()>,
}

/// Messages that wait to be written.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    fewer: Notify,
    /// Nothing is written any more; why, is there to be read.
    broken: AtomicBool,
}

impl Waiting {
    fn written(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.fewer.notify_one();
    }

    fn broke(&self) {
        self.broken.store(true, Ordering::Relaxed);
        self.fewer.notify_one();
    }
}

impl Streams {
    /// Opens a session's streams on a connection.
    ///
    /// # Errors
    /// The connection ended, and why.
    pub(super) async fn open(line: Line) -> Result<Self, String> {
        let (sender, arrived) = mpsc::channel(READ_AHEAD);
        let mut streams = Self {
            arrived,
            frames: BTreeMap::new(),
            waiting: Arc::default(),
            quic: None,
            tasks: JoinSet::new(),
        };
        match line {
            Line::Quic(endpoint, connection) => {
                streams.quic = Some((endpoint, connection.clone()));
                streams.open_quic(connection, sender).await?;
            }
            Line::Tcp(stream) => {
                let (from, to) = tokio::io::split(*stream);
                let [control, ledger, telemetry] = StreamKind::ALL.map(|kind| streams.queue(kind));
                let queues = tcp::Queues { control, ledger, telemetry };
                streams.tasks.spawn(tcp::read(from, sender));
                streams.tasks.spawn(tcp::write(to, queues, streams.waiting.clone()));
            }
        }
        Ok(streams)
    }

    async fn open_quic(
        &mut self,
        connection: Connection,
        sender: mpsc::Sender<Arrived>,
    ) -> Result<(), String> {
        let (control, answers) = connection.open_bi().await.map_err(|why| why.to_string())?;
        self.tasks.spawn(read_stream(StreamKind::Control, answers, sender.clone()));
        self.tasks.spawn(accept_streams(connection.clone(), sender));
        let mut control = Some(control);
        for kind in StreamKind::ALL {
            let frames = self.queue(kind);
            let (connection, waiting) = (connection.clone(), self.waiting.clone());
            self.tasks.spawn(write_stream(kind, connection, control.take(), frames, waiting));
        }
        Ok(())
    }

    /// Bounded by the session, which stops reading, and by the credit the cloud gives for batches.
    fn queue(&mut self, kind: StreamKind) -> Frames {
        let (sender, frames) = mpsc::unbounded_channel();
        self.frames.insert(kind, sender);
        frames
    }

    /// Queues a message.
    pub(super) fn send(&self, stream: StreamKind, message: &Message) {
        if let Some(frames) = self.frames.get(&stream) {
            self.waiting.count.fetch_add(1, Ordering::Relaxed);
            drop(frames.send(encode_frame(message))); // a dead writer ends the session by its reader
        }
    }

    /// Whether so little waits to be written that more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.count.load(Ordering::Relaxed) < WAITING_MAX
            || self.waiting.broken.load(Ordering::Relaxed)
    }

    /// Returns when something was written.
    pub(super) fn written(&self) -> impl Future<Output = ()> + use<> {
        let waiting = self.waiting.clone();
        async move { waiting.fewer.notified().await }
    }

    /// Ends the connection; returns what the cloud said when it did, which tells more than the
    /// stream that noticed.
    pub(super) async fn close(mut self) -> Option<Ended> {
        self.tasks.shutdown().await;
        let (endpoint, connection) = self.quic?;
        let told = match connection.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) if !close.reason.is_empty() => {
                let why = String::from_utf8_lossy(&close.reason).into_owned();
                Some(Ended { why, refused: close.error_code == DENIED.into() })
            }
            _ => None,
        };
        connection.close(0u32.into(), b"");
        drop(tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await);
        told
    }
}

/// Writes frames to a stream, opening a batch stream at its first one.
async fn write_stream(
    kind: StreamKind,
    connection: Connection,
    mut stream: Option<SendStream>,
    mut frames: Frames,
    waiting: Arc<Waiting>,
) {
    while let Some(frame) = frames.recv().await {
        if stream.is_none() {
            let Ok(mut new) = connection.open_uni().await else { return waiting.broke() };
            if new.write_all(&[kind.tag()]).await.is_err() {
                return waiting.broke();
            }
            stream = Some(new);
        }
        let Some(stream) = &mut stream else { return };
        // Control before ledgers before telemetry; set here as streams open late.
        let _ = stream.set_priority(-i32::from(kind.tag()));
        if stream.write_all(&frame).await.is_err() {
            return waiting.broke();
        }
        waiting.written();
    }
}

async fn accept_streams(connection: Connection, sender: mpsc::Sender<Arrived>) {
    let mut readers = JoinSet::new();
    while let Ok(mut stream) = connection.accept_uni().await {
        let sender = sender.clone();
        readers.spawn(async move {
            let mut tag = [0];
            match stream.read_exact(&mut tag).await.ok().and_then(|()| StreamKind::from_tag(tag[0]))
            {
                Some(kind) => read_stream(kind, stream, sender).await,
                None => drop(sender.send(Err("a stream of an unknown kind".into())).await),
            }
        });
    }
    let why = connection.close_reason().map_or("the link ended".into(), |why| why.to_string());
    drop(sender.send(Err(why)).await); // the session may have ended first
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
                Ok(None) => Err("the cloud closed the session".into()),
                Err(why) => Err(why.to_string()),
            },
            Err(why) => Err(format!("the cloud sent what cannot be read: {why}")),
        };
        let ended = arrived.is_err();
        if sender.send(arrived).await.is_err() || ended {
            return;
        }
    }
}
