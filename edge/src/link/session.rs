//! One connection's session: the engine's sans-IO session over streams.
//!
//! Owns the order of things. Invariant: effects go to the keeper in order and
//! come back in that order, while the session goes on; nothing is read while too much waits to be stored or
//! written, so a slow peer bounds us, and one that takes nothing is left; nor while our logs may be set right, for what
//! comes then is meant for what they will be. By which way the streams
//! reach the cloud is theirs ([`Streams`]) to know.

use super::asking::{Asking, Heard};
use super::connect::{Line, Transport};
use super::streams::Streams;
use super::{LinkEnd, LinkState};
use crate::identity::Enrolment;
use crate::keeper::{Gone, Keeper};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use tallyroll_engine::sync::{Effect, Output, Reply, Role, Session, SessionConfig};
use tallyroll_schema::RequestId;
use tallyroll_schema::limits::links::{ACTS_UNDER_WAY_MAX, STALL_TIMEOUT, UNDER_WAY_MAX};
use tallyroll_schema::wire::{ErrorCode, Message};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

/// Bytes of the cloud's batches we buffer: rate cards and leases are small.
const WINDOW_BYTES: u32 = 256 * 1024;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why, for people.
    pub why: String,
    /// Whether the cloud does not believe this device: a person must look.
    pub refused: bool,
}

impl<T: Into<String>> From<T> for Ended {
    fn from(why: T) -> Self {
        Self { why: why.into(), refused: false }
    }
}

/// Runs a session until it ends; returns why. `taken` is called once the cloud has taken
/// it. Who drops it leaves the cloud without a word.
///
/// # Errors
/// The keeper has ended.
pub async fn run(
    keeper: &Keeper,
    enrolment: &Enrolment,
    line: Line,
    end: &LinkEnd,
    taken: &impl Fn(),
) -> Result<Ended, Gone> {
    let opened = keeper.query(|device| (device.opening(), device.unstored_directory())).await?;
    let (Ok(opening), Ok(directory)) = opened else {
        return Ok("the store cannot be read".into());
    };
    let config = SessionConfig {
        role: Role::Device,
        tenant: enrolment.tenant,
        device: enrolment.device,
        window: WINDOW_BYTES,
        agent: concat!("tallyroll-edge/", env!("CARGO_PKG_VERSION")).into(),
    };
    let by = line.transport();
    let streams = match Streams::open(line).await {
        Ok(streams) => streams,
        Err(why) => return Ok(why.into()),
    };
    let session = Session::new(config, opening, Duration::ZERO);
    let mut link = Link {
        keeper,
        session,
        began: Instant::now(),
        streams,
        by,
        under_way: VecDeque::new(),
        waiting: BTreeMap::new(),
        unanswered: BTreeSet::new(),
    };
    link.session.offer_directory(directory);
    let up = || {
        info!(cloud = %enrolment.cloud, ?by, "linked");
        taken();
        end.state.send_replace(LinkState::Up { by });
    };
    let ended = link.run(end, up).await;
    let told = link.streams.close().await;
    ended.map(|ended| told.unwrap_or(ended))
}

struct Link<'a> {
    keeper: &'a Keeper,
    session: Session,
    began: Instant,
    streams: Streams,
    by: Transport,
    /// What the keeper has yet to answer, oldest first; and whether it may set our logs right.
    under_way: VecDeque<(oneshot::Receiver<Reply>, bool)>,
    /// Who waits for an answer of the account server.
    waiting: BTreeMap<RequestId, oneshot::Sender<Heard>>,
    /// Acts that were asked for in this session, whether anybody waits still or not.
    unanswered: BTreeSet<RequestId>,
}

impl Link<'_> {
    /// `up` is called once the cloud has taken the session; a connection alone may end in a refusal.
    async fn run(&mut self, end: &LinkEnd, up: impl FnOnce()) -> Result<Ended, Gone> {
        let mut up = Some(up);
        let mut progress = self.keeper.progress();
        let (mut stops_told, mut stalled_since) = (0, None);
        loop {
            if let Some(ended) = self.carry_out().await? {
                return Ok(ended);
            }
            let stops = self.session.stops();
            for stop in stops.get(stops_told..).unwrap_or_default() {
                warn!(log = ?stop.log, why = stop.text, "a log goes no further");
            }
            if stops.len() > stops_told {
                let why: Vec<&str> = stops.iter().map(|stop| stop.text.as_str()).collect();
                end.state.send_replace(LinkState::Stopped { why: why.join("; "), by: self.by });
                stops_told = stops.len();
            }
            let deadline = self.session.deadline().map(|deadline| self.began + deadline);
            let far = Instant::now() + Duration::from_secs(3600);
            let has_room = self.streams.has_room();
            let stalled = *stalled_since.get_or_insert_with(Instant::now) + STALL_TIMEOUT;
            if has_room {
                stalled_since = None;
            }
            let written = self.streams.written();
            self.waiting.retain(|_, answer| !answer.is_closed());
            let turning = self.under_way.iter().any(|(_, turns)| *turns);
            let may_ask = up.is_none() && has_room && self.waiting.len() < ACTS_UNDER_WAY_MAX;
            tokio::select! {
                arrived = self.streams.arrived.recv(),
                    if has_room && !turning && self.under_way.len() < UNDER_WAY_MAX =>
                {
                    match arrived {
                        Some(Ok((stream, message))) => {
                            // A cloud that takes the session tells what it has; one that only
                            // lets a revoked device leave what it has tells nothing.
                            if matches!(message, Message::Have(_)) && let Some(up) = up.take() {
                                up();
                            }
                            self.session.handle(stream, message);
                        }
                        Some(Err(why)) => return Ok(why.into()),
                        None => return Ok("the cloud closed the link".into()),
                    }
                }
                reply = oldest(&mut self.under_way), if has_room => {
                    self.under_way.pop_front();
                    match reply {
                        Ok(reply) => self.session.complete(reply),
                        Err(_) if progress.has_changed().is_err() => return Err(Gone),
                        Err(_) => return Ok("this device's disk is full".into()),
                    }
                }
                asking = end.next(), if may_ask => self.ask(asking),
                () = written, if !has_room => stalled_since = None,
                () = tokio::time::sleep_until(stalled), if !has_room => {
                    return Ok("the cloud takes nothing any more".into());
                }
                changed = progress.changed() => {
                    changed.map_err(|_| Gone)?;
                    let news = self.keeper.query(|device| {
                        (device.offers(), device.unstored_directory())
                    });
                    let (offers, directory) = news.await?;
                    let Ok(offers) = offers else {
                        return Ok("the store cannot be read".into());
                    };
                    self.session.grew(offers);
                    self.session.offer_directory(directory.unwrap_or_default());
                }
                () = tokio::time::sleep_until(deadline.unwrap_or(far)) => {
                    self.session.handle_timeout(self.began.elapsed());
                }
            }
        }
    }

    /// Asks, unless it was asked in this session already and has no answer yet: that one is meant for who
    /// waits now, and a second asking could be done after the first was refused.
    fn ask(&mut self, Asking { request, answer }: Asking) {
        self.waiting.insert(request.request, answer);
        if self.unanswered.insert(request.request) {
            self.session.ask_to_act(request);
        }
    }

    /// Whether the cloud tells what it holds of this device; it says of its accounts, too, then.
    fn is_told(&self) -> bool {
        self.session.peer().is_some_and(|peer| peer.accounts.is_some())
    }

    /// Does all that the session asks for; returns why it closed, if it did.
    async fn carry_out(&mut self) -> Result<Option<Ended>, Gone> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send { stream, message } => self.streams.send(stream, &message),
                Output::Perform(Effect::Acted(answer)) => {
                    self.unanswered.remove(&answer.request);
                    if let Some(waits) = self.waiting.remove(&answer.request) {
                        drop(waits.send(Heard::Answer(answer.outcome))); // it may have left
                    }
                }
                // One of the first version never tells what it holds of this device: it is not known to be all here,
                // and page logs go on waiting for that.
                Output::Perform(Effect::Surveyed | Effect::CaughtUp(..)) if !self.is_told() => {
                    self.session.complete(Reply::Done);
                }
                Output::Perform(effect) => {
                    let turns = !matches!(
                        effect,
                        Effect::Fetch(_)
                            | Effect::Persist(_)
                            | Effect::DirectoryStored(_)
                            | Effect::Names(_)
                    );
                    self.under_way.push_back((self.keeper.perform(effect).await?, turns));
                }
                Output::Close(error) => {
                    let refused = error.code == ErrorCode::Denied && !error.retryable;
                    return Ok(Some(Ended { why: error.text, refused }));
                }
            }
        }
        Ok(None)
    }
}

/// The reply to the oldest effect under way, when it comes.
async fn oldest(
    under_way: &mut VecDeque<(oneshot::Receiver<Reply>, bool)>,
) -> Result<Reply, oneshot::error::RecvError> {
    match under_way.front_mut() {
        Some((reply, _)) => reply.await,
        None => pending().await,
    }
}
