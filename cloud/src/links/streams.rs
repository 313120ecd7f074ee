//! A session's streams: frames in, frames out, by QUIC or TCP.
//!
//! Invariant: what is written is written by a task of its own, because a cancelled
//! write would tear a frame. What waits to be written is counted in bytes, so that
//! the session can stop reading; what was read waits in a channel of a few messages,
//! and then the peer waits. QUIC has a stream for each kind; over TCP they share one,
//! see [`tcp`]. What the messages mean is left to the session.

mod tcp;

use super::line::{Ending, Line};
use quinn::{Connection, RecvStream, SendStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tallyroll_schema::limits::links::{FINISH_TIMEOUT, OPEN_TIMEOUT, WAITING_BYTES_MAX};
use tallyroll_schema::wire::{ErrorMessage, FrameReader, Message, StreamKind, encode_frame};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::debug;

/// Messages read ahead of the session; a batch has up to half a megabyte.
const READ_AHEAD: usize = 2;
/// Read from a stream at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A message, or why there are no more.
pub(super) type Arrived = Result<(StreamKind, Message), String>;

/// Both directions of a session.
pub(super) struct Streams {
    /// What the peer sends.
    pub(super) arrived: mpsc::Receiver<Arrived>,
    frames: BTreeMap<StreamKind, mpsc::UnboundedSender<Vec<u8>>>,
    waiting: Arc<Waiting>,
    quic: Option<Connection>,
    /// Those that end when the last frame has arrived.
    writers: JoinSet<()>,
    readers: JoinSet<()>,
}

type Frames = mpsc::UnboundedReceiver<Vec<u8>>;

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    fewer: Notify,
}

impl Waiting {
    fn written(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.fewer.notify_one();
    }
}

impl Streams {
    /// The streams of a device's session.
    ///
    /// # Errors
    /// The device opened none, and why the connection was ended.
    pub(super) async fn open(line: Line) -> Result<Self, String> {
        let (sender, arrived) = mpsc::channel(READ_AHEAD);
        let mut streams = Self {
            arrived,
            frames: BTreeMap::new(),
            waiting: Arc::default(),
            quic: None,
            writers: JoinSet::new(),
            readers: JoinSet::new(),
        };
        match line {
            Line::Quic(connection) => {
                let opened = tokio::time::timeout(OPEN_TIMEOUT, connection.accept_bi()).await;
                let Ok(opened) = opened else {
                    let why = "no control stream within 10 s";
                    Ending::Protocol.close(&connection, why);
                    return Err(why.into());
                };
                let control = opened.map_err(|why| why.to_string())?;
                streams.start_quic(connection, control, sender);
            }
            Line::Tcp(stream) => {
                let (from, to) = tokio::io::split(*stream);
                let [control, ledger, telemetry] = StreamKind::ALL.map(|kind| streams.queue(kind));
                let queues = tcp::Queues { control, ledger, telemetry };
                // Both: the last frame has arrived when the device has closed, too.
                streams.writers.spawn(tcp::read(from, sender));
                streams.writers.spawn(tcp::write(to, queues, streams.waiting.clone()));
            }
        }
        Ok(streams)
    }

    fn start_quic(
        &mut self,
        connection: Connection,
        (control, from_control): (SendStream, RecvStream),
        sender: mpsc::Sender<Arrived>,
    ) {
        self.readers.spawn(read_stream(StreamKind::Control, from_control, sender.clone()));
        self.readers.spawn(accept_streams(connection.clone(), sender));
        let mut control = Some(control);
        for kind in StreamKind::ALL {
            let frames = self.queue(kind);
            let (connection, waiting) = (connection.clone(), self.waiting.clone());
            self.writers.spawn(write_stream(kind, connection, control.take(), frames, waiting));
        }
        self.quic = Some(connection);
    }

    /// Bounded in bytes by `has_room`, which a bounded channel cannot be.
    fn queue(&mut self, kind: StreamKind) -> Frames {
        let (sender, frames) = mpsc::unbounded_channel();
        self.frames.insert(kind, sender);
        frames
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

    /// Ends the connection, and says why: by QUIC as it closes, by TCP in an ERROR. Who is denied
    /// hears it in an ERROR by either way, and who broke the protocol has had one.
    pub(super) async fn close(mut self, ending: Ending, why: &str) {
        let is_tcp = self.quic.is_none();
        let has_one = [Ending::Done, Ending::Protocol].contains(&ending);
        if ending == Ending::Denied || (is_tcp && !has_one) {
            let ((code, retryable), text) = (ending.as_error(), why.to_owned());
            let error = ErrorMessage { code, retryable, log: None, text, epoch: None };
            self.send(StreamKind::Control, &Message::Error(error));
        }
        if is_tcp || [Ending::Denied, Ending::Protocol].contains(&ending) {
            self.frames.clear();
            if is_tcp {
                self.arrived.close(); // what is unheard is read all the same
            }
            let finish = async { while self.writers.join_next().await.is_some() {} };
            drop(tokio::time::timeout(FINISH_TIMEOUT, finish).await); // the peer may be gone
        }
        if let Some(connection) = self.quic {
            ending.close(&connection, why);
        }
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
        waiting.written(frame.len());
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
