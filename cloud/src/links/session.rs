//! One device's session: the engine's sans-IO session over streams.
//!
//! Owns the order of things. Invariant: a session begins only for a device that
//! the fleet knows, and ends at once when it is revoked; one that is revoked is told
//! no more than what was taken in of it, may leave what it has to the quarantine, and ends. Whom it is denied is told
//! why. Effects go to the keeper in order and come back in that order; nothing is read
//! while too much waits to be stored or written, so a peer that does not keep up bounds
//! us. Acts of a processing server may wait, and keep nothing else waiting. By which way the device came is left to its streams.

use super::Links;
use super::acting::Acting;
use super::attention::Reason;
use super::line::{Caller, Ending, Line};
use super::live::Told;
use super::readmission;
use super::streams::Streams;
use crate::keeper::{Keeper, Replica, Unanswered};
use core::time::Duration;
use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use tallyroll_engine::Error;
use tallyroll_engine::hub::{DeviceRecord, Standing};
use tallyroll_engine::merge::Refusal;
use tallyroll_engine::sync::{Effect, Offer, Opening, Output, Reply, Role, Session, SessionConfig};
use tallyroll_schema::enrol::REVOKED;
use tallyroll_schema::limits::WINDOW_BYTES;
use tallyroll_schema::limits::links::{
    DENIAL_TIMEOUT, LEAVING_TIMEOUT, STALL_TIMEOUT, UNDER_WAY_MAX,
};
use tallyroll_schema::wire::{Message, StreamKind};
use tallyroll_schema::{DeviceId, EpochId, Fingerprint, Hash, LogId, TenantId};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{Instrument, info, info_span, warn};

/// A device that may have a session.
struct Known {
    tenant: TenantId,
    device: DeviceId,
    name: String,
    opening: Opening,
    /// Why it is not believed: it may leave what it has.
    revoked: Option<String>,
}

/// The device of a certificate; none, if it is not known and may show that it was.
fn recognise(replica: &mut Replica, fingerprint: Fingerprint) -> Result<Option<Known>, Error> {
    let now = replica.now();
    let hub = &mut replica.hub;
    let Some((device, record)) = hub.recognise(now, &Hash(fingerprint.0))? else {
        return Ok(None);
    };
    let name = record.name.clone();
    let revoked = refuse_if_revoked(record).err().map(|why| why.to_string());
    let tenant = hub.tenant();
    Ok(Some(Known { tenant, device, name, opening: hub.opening(device)?, revoked }))
}

/// Believes nothing from a revoked device; the text is for the people there.
fn refuse_if_revoked(device: &DeviceRecord) -> Result<(), Error> {
    if device.standing != Standing::Revoked {
        return Ok(());
    }
    Err(Error::Rejected(format!(
        "this device, {}, {REVOKED}, what it still has is kept apart for the cloud's administrator; to take part again \
         it joins anew, with a new data directory and an invitation by `tallyroll enroll`",
        device.name
    )))
}

/// Serves a device, if the caller is one.
pub(super) async fn serve(links: &Links, caller: Caller) {
    let Caller { from, fingerprint, line, .. } = caller;
    // Watched before the look-up, so that no revocation falls between the two.
    let decisions = links.keeper.decisions();
    let look_up = || links.keeper.run(move |replica| recognise(replica, fingerprint));
    let known = match look_up().await {
        Ok(Some(known)) => known,
        Ok(None) => {
            let by = line.name();
            let proven = readmission::prove(links, from, fingerprint, line).await;
            let Some((streams, hello)) = proven else { return };
            match look_up().await {
                Ok(Some(known)) => {
                    let came = Came { from, by, streams, said: Some(hello) };
                    return attend(links, came, known, decisions).await;
                }
                _ => return streams.close(Ending::Stopped, "come again").await,
            }
        }
        Err(Unanswered::Engine(Error::Rejected(why))) => {
            links.metrics.refused.inc();
            warn!(%from, certificate = fingerprint.short(), why, "refused a connection");
            let shown = Hash(fingerprint.0);
            let before = links.keeper.run(move |replica| Ok(replica.hub.shown_before(&shown)));
            if let Ok(Some((device, name))) = before.await {
                links.attention.note(device, name, Reason::OldKeys);
            }
            return turn_away(line, Ending::Denied, &why).await;
        }
        Err(why) => {
            warn!(%why, "cannot begin a session");
            let why = "the cloud cannot go on; come again";
            return turn_away(line, Ending::Stopped, why).await;
        }
    };
    if !links.rates.may_begin(known.device) {
        links.metrics.refused.inc();
        warn!(%from, device = known.name, "connects too often; refused it");
        let why = "this device connects too often: it is broken, or there are two of it; it is let in again after a pause";
        return turn_away(line, Ending::Busy, why).await;
    }
    let by = line.name();
    match Streams::open(line).await {
        Ok(streams) => {
            let came = Came { from, by, streams, said: None };
            attend(links, came, known, decisions).await;
        }
        Err(why) => warn!(%from, device = known.name, why, "began no session"),
    }
}

/// A device that has opened its streams.
struct Came {
    from: SocketAddr,
    by: &'static str,
    streams: Streams,
    /// What it has said already.
    said: Option<Message>,
}

async fn attend(links: &Links, came: Came, known: Known, decisions: watch::Receiver<u64>) {
    let span = info_span!("session", device = known.name);
    let Came { from, by, .. } = came;
    let session = async {
        let (_place, told, took) = links.live.enter(known.device);
        links.attention.let_in(known.device);
        if took {
            links.attention.note(known.device, known.name.clone(), Reason::Twice);
        }
        if known.revoked.is_some() {
            links.metrics.refused.inc();
            warn!(%from, by, "a revoked device has connected; what it brings goes into quarantine");
        } else {
            info!(%from, by, "connected");
        }
        let why = run(links, came, known, decisions, told).await;
        info!(why, "disconnected");
    };
    session.instrument(span).await;
}

/// Runs a session until it ends; returns why.
async fn run(
    links: &Links,
    Came { streams, said, .. }: Came,
    known: Known,
    decisions: watch::Receiver<u64>,
    told: oneshot::Receiver<Told>,
) -> String {
    let config = SessionConfig {
        role: Role::Cloud,
        tenant: known.tenant,
        device: known.device,
        window: WINDOW_BYTES,
        agent: concat!("tallyroll/", env!("CARGO_PKG_VERSION")).into(),
    };
    let (keeper, live, rates) = (&links.keeper, links.live.clone(), links.rates.clone());
    let mut driver = Driver {
        keeper,
        acting: Acting::new(keeper.clone(), live, rates, known.device),
        device: known.device,
        revoked: known.revoked,
        held_up: known.opening.held_up.clone(),
        session: Session::new(config, known.opening, Duration::ZERO),
        began: Instant::now(),
        streams,
        under_way: VecDeque::new(),
        decisions,
        told,
        stops_told: 0,
    };
    if let Some(said) = said {
        driver.session.handle(StreamKind::Control, said);
    }
    let (ending, why) = loop {
        match driver.step().await {
            Ok(()) => {}
            Err(ended) => break ended,
        }
    };
    driver.streams.close(ending, &why).await;
    why
}

/// Begins no session, and says why.
async fn turn_away(line: Line, ending: Ending, why: &str) {
    let quic = line.quic().cloned();
    let told = async {
        if let Ok(streams) = Streams::open(line).await {
            streams.close(ending, why).await;
        }
    };
    drop(tokio::time::timeout(DENIAL_TIMEOUT, told).await);
    if let Some(connection) = quic {
        ending.close(&connection, why); // whatever it has heard
    }
}

struct Driver<'a> {
    keeper: &'a Keeper,
    device: DeviceId,
    revoked: Option<String>,
    /// What is in quarantine, as of the last log that was stopped.
    held_up: HeldUp,
    session: Session,
    began: Instant,
    streams: Streams,
    under_way: VecDeque<oneshot::Receiver<Reply>>,
    acting: Acting,
    decisions: watch::Receiver<u64>,
    told: oneshot::Receiver<Told>,
    stops_told: usize,
}

type HeldUp = Vec<((LogId, EpochId), Refusal)>;

type Step<T = ()> = Result<T, (Ending, String)>;

fn stopped(why: impl ToString) -> (Ending, String) {
    (Ending::Stopped, why.to_string())
}

impl Driver<'_> {
    /// Does what the session asks for, then waits for the next thing to happen.
    async fn step(&mut self) -> Step {
        self.carry_out().await?;
        if let Some(why) = &self.revoked
            && self.under_way.is_empty()
            && self.session.has_all()
        {
            return Err((Ending::Denied, why.clone()));
        }
        let leaving = self.revoked.is_some() && self.under_way.is_empty();
        let has_room = self.streams.has_room();
        let written = self.streams.written();
        let deadline = self.session.deadline().map(|deadline| self.began + deadline);
        tokio::select! {
            arrived = self.streams.arrived.recv(),
                if has_room && self.under_way.len() < UNDER_WAY_MAX =>
            {
                let ended = || (Ending::Done, "the link ended".to_owned());
                let (stream, message) =
                    arrived.ok_or_else(ended)?.map_err(|why| (Ending::Done, why))?;
                self.session.handle(stream, message);
            }
            reply = oldest(&mut self.under_way), if has_room => {
                self.under_way.pop_front();
                let unanswered = |_| stopped(self.keeper.why_unanswered());
                self.session.complete(reply.map_err(unanswered)?);
            }
            acted = self.acting.next() => self.session.complete(acted.map_err(stopped)?),
            changed = self.decisions.changed() => {
                changed.map_err(|_| stopped(Unanswered::Gone))?;
                if self.revoked.is_none() {
                    let offers = self.offers().await?;
                    self.session.grew(offers);
                }
            }
            () = tokio::time::sleep(LEAVING_TIMEOUT), if leaving => {
                return Err((Ending::Denied, self.revoked.clone().unwrap_or_default()));
            }
            told = &mut self.told => {
                let (ending, why) = told.map_err(|_| stopped("the cloud stops; come again"))?;
                return Err((ending, why.into()));
            }
            () = written, if !has_room => {}
            () = tokio::time::sleep(STALL_TIMEOUT), if !has_room => {
                return Err((Ending::Protocol, "the device takes nothing any more".into()));
            }
            () = sleep_until(deadline) => self.session.handle_timeout(self.began.elapsed()),
        }
        Ok(())
    }

    async fn carry_out(&mut self) -> Step {
        let stops = self.session.stops().get(self.stops_told..).unwrap_or_default();
        for stop in stops {
            warn!(log = ?stop.log, why = stop.text, "a log goes no further");
        }
        if !stops.is_empty() {
            self.stops_told = self.session.stops().len();
            let device = self.device;
            let held_up = self.keeper.run(move |replica| replica.hub.held_up(device));
            self.held_up = held_up.await.map_err(stopped)?;
        }
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send { stream, message } => self.streams.send(stream, &message),
                Output::Perform(Effect::Act(asked)) => self.acting.begin(asked),
                Output::Perform(effect) => {
                    let reply = self.keeper.perform(self.device, effect).await;
                    self.under_way.push_back(reply.map_err(stopped)?);
                }
                Output::Close(error) => return Err((Ending::Protocol, error.text)),
            }
        }
        Ok(())
    }

    /// What there is for the device now, if it is still believed.
    async fn offers(&self) -> Step<Vec<Offer>> {
        let device = self.device;
        let held_up = self.keeper.run(move |replica| replica.hub.held_up(device));
        let held_up = held_up.await.map_err(stopped)?;
        if self.held_up.iter().any(|stop| !held_up.contains(stop)) {
            let why = "what stopped a log was released or discarded; connect again";
            return Err((Ending::Done, why.into()));
        }
        let offers = self.keeper.run(move |replica| {
            if let Some(known) = replica.hub.fleet().device(device) {
                refuse_if_revoked(known)?;
            }
            replica.hub.offers(device)
        });
        offers.await.map_err(|why| match why {
            Unanswered::Engine(Error::Rejected(why)) => (Ending::Denied, why),
            why => stopped(why),
        })
    }
}

/// The reply to the oldest effect under way, when it comes.
async fn oldest(
    under_way: &mut VecDeque<oneshot::Receiver<Reply>>,
) -> Result<Reply, oneshot::error::RecvError> {
    match under_way.front_mut() {
        Some(reply) => reply.await,
        None => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}
