//! One connection's session: the engine's sans-IO session over QUIC streams.
//!
//! Owns the streams and the order of things. Invariant: effects go to the keeper
//! one by one and come back in that order; nothing is read while more than
//! [`WAITING_MAX`] messages wait to be written, so a slow peer bounds us.

use super::LinkState;
use crate::identity::Enrolment;
use crate::keeper::{Gone, Keeper};
use core::time::Duration;
use quinn::{Connection, RecvStream, SendStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tallyroll_engine::sync::{Opening, Output, Role, Session, SessionConfig};
use tallyroll_schema::wire::{FrameReader, Message, StreamKind, encode_frame};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

/// Bytes of the cloud's batches we buffer: rate cards and leases are small.
const WINDOW_BYTES: u32 = 256 * 1024;
/// Messages waiting to be written before we stop reading.
const WAITING_MAX: usize = 256;
/// Read from a stream at once.
const CHUNK_BYTES: usize = 16 * 1024;

type Arrived = Result<(StreamKind, Message), String>;

/// Runs a session until it ends; returns why, for people.
///
/// # Errors
/// The keeper has ended.
pub async fn run(
    keeper: &Keeper,
    enrolment: &Enrolment,
    connection: &Connection,
    state: &watch::Sender<LinkState>,
) -> Result<String, Gone> {
    let opened = keeper.query(|device| (device.opening(), device.unstored_directory())).await?;
    let (Ok(opening), Ok(directory)) = opened else {
        return Ok("the store cannot be read".into());
    };
    let mut tasks = JoinSet::new();
    let mut link = match Link::open(keeper, enrolment, connection, opening, &mut tasks).await {
        Ok(link) => link,
        Err(why) => return Ok(why),
    };
    link.session.offer_directory(directory);
    let up = || {
        info!(cloud = %enrolment.cloud, "linked");
        state.send_replace(LinkState::Up);
    };
    let ended = link.run(state, up).await;
    tasks.shutdown().await;
    // What the cloud said when it closed tells more than the stream that noticed.
    let told = connection.close_reason().and_then(|why| match why {
        quinn::ConnectionError::ApplicationClosed(close) if !close.reason.is_empty() => {
            Some(String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => None,
    });
    ended.map(|why| told.unwrap_or(why))
}

struct Link<'a> {
    keeper: &'a Keeper,
    session: Session,
    began: Instant,
    writers: Writers,
    arrived: mpsc::Receiver<Arrived>,
}

impl<'a> Link<'a> {
    async fn open(
        keeper: &'a Keeper,
        enrolment: &Enrolment,
        connection: &Connection,
        opening: Opening,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, String> {
        let (control, answers) = connection.open_bi().await.map_err(|why| why.to_string())?;
        let (sender, arrived) = mpsc::channel(8);
        tasks.spawn(read_stream(StreamKind::Control, answers, sender.clone()));
        tasks.spawn(accept_streams(connection.clone(), sender));
        let config = SessionConfig {
            role: Role::Device,
            tenant: enrolment.tenant,
            device: enrolment.device,
            window: WINDOW_BYTES,
            agent: concat!("tallyroll-edge/", env!("CARGO_PKG_VERSION")).into(),
        };
        let writers = Writers::start(connection.clone(), control, tasks);
        let session = Session::new(config, opening, Duration::ZERO);
        Ok(Self { keeper, session, began: Instant::now(), writers, arrived })
    }

    /// `up` is called once the cloud has taken the session; a connection alone may end in a refusal.
    async fn run(
        &mut self,
        state: &watch::Sender<LinkState>,
        up: impl FnOnce(),
    ) -> Result<String, Gone> {
        let mut up = Some(up);
        let mut progress = self.keeper.progress();
        let mut stops_told = 0;
        loop {
            if let Some(why) = self.carry_out().await? {
                return Ok(why);
            }
            let stops = self.session.stops();
            for stop in stops.get(stops_told..).unwrap_or_default() {
                warn!(log = ?stop.log, why = stop.text, "a log goes no further");
            }
            if stops.len() > stops_told {
                let why: Vec<&str> = stops.iter().map(|stop| stop.text.as_str()).collect();
                state.send_replace(LinkState::Stopped(why.join("; ")));
                stops_told = stops.len();
            }
            let deadline = self.session.deadline().map(|deadline| self.began + deadline);
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                arrived = self.arrived.recv(), if self.writers.waiting() < WAITING_MAX => {
                    match arrived {
                        Some(Ok((stream, message))) => {
                            // A cloud that takes the session tells what it has; one that only
                            // lets a revoked device leave what it has tells nothing.
                            if matches!(message, Message::Have(_)) && let Some(up) = up.take() {
                                up();
                            }
                            self.session.handle(stream, message);
                        }
                        Some(Err(why)) => return Ok(why),
                        None => return Ok("the cloud closed the link".into()),
                    }
                }
                () = self.writers.drained(), if self.writers.waiting() >= WAITING_MAX => {}
                changed = progress.changed() => {
                    changed.map_err(|_| Gone)?;
                    let news = self.keeper.query(|device| {
                        (device.offers(), device.unstored_directory())
                    });
                    let (offers, directory) = news.await?;
                    self.session.grew(offers.map_err(|_| Gone)?);
                    self.session.offer_directory(directory.unwrap_or_default());
                }
                () = tokio::time::sleep_until(deadline.unwrap_or(far)) => {
                    self.session.handle_timeout(self.began.elapsed());
                }
            }
        }
    }

    /// Does all that the session asks for; returns why it closed, if it did.
    async fn carry_out(&mut self) -> Result<Option<String>, Gone> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send { stream, message } => self.writers.send(stream, &message),
                Output::Perform(effect) => {
                    let reply = self.keeper.perform(effect).await?.await.map_err(|_| Gone)?;
                    self.session.complete(reply);
                }
                Output::Close(error) => return Ok(Some(error.text)),
            }
        }
        Ok(None)
    }
}

/// A task a stream, because a cancelled write would tear a frame.
struct Writers {
    streams: BTreeMap<StreamKind, mpsc::UnboundedSender<Vec<u8>>>,
    waiting: Arc<AtomicUsize>,
    drained: Arc<tokio::sync::Notify>,
}

impl Writers {
    fn start(connection: Connection, control: SendStream, tasks: &mut JoinSet<()>) -> Self {
        let (waiting, drained) = (Arc::default(), Arc::default());
        let mut writers = Self { streams: BTreeMap::new(), waiting, drained };
        let mut control = Some(control);
        for stream in [StreamKind::Control, StreamKind::Ledger, StreamKind::Telemetry] {
            // Bounded by WAITING_MAX and by the credit the peer gives for batches.
            let (sender, frames) = mpsc::unbounded_channel();
            writers.streams.insert(stream, sender);
            let (waiting, drained) = (writers.waiting.clone(), writers.drained.clone());
            let connection = connection.clone();
            let opened = control.take();
            tasks.spawn(async move {
                write_stream(stream, connection, opened, frames, &waiting, &drained).await;
            });
        }
        writers
    }

    fn send(&self, stream: StreamKind, message: &Message) {
        if let Some(sender) = self.streams.get(&stream) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            drop(sender.send(encode_frame(message))); // a dead writer ends the session by its reader
        }
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn drained(&self) {
        self.drained.notified().await;
    }
}

/// Writes frames to a stream, opening a batch stream at its first one.
async fn write_stream(
    kind: StreamKind,
    connection: Connection,
    opened: Option<SendStream>,
    mut frames: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: &AtomicUsize,
    drained: &tokio::sync::Notify,
) {
    let mut stream = opened;
    while let Some(frame) = frames.recv().await {
        if stream.is_none() {
            let Ok(mut new) = connection.open_uni().await else { return };
            if new.write_all(&[kind.tag()]).await.is_err() {
                return;
            }
            stream = Some(new);
        }
        let Some(stream) = &mut stream else { return };
        // Control before ledgers before telemetry; set here as streams open late.
        let _ = stream.set_priority(-i32::from(kind.tag()));
        if stream.write_all(&frame).await.is_err() {
            return;
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
        drained.notify_one();
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
