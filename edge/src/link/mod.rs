//! The link: this device's one connection to its cloud, kept up.
//!
//! Owns reconnecting (exponential, full jitter), going back to QUIC, and what is
//! known of the link's state. Invariant: losing it costs nothing but time; recording
//! never waits for it. By which way it is made is [`connect`]'s, what is said over
//! it [`session`]'s, by whom it is trusted [`tls`]'s.

pub mod connect;
pub mod join;
pub mod session;
mod streams;
pub mod tls;

use crate::data_dir::DataDir;
use crate::identity::Enrolment;
use crate::keeper::{Gone, Keeper};
use crate::rekeying::settle;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use connect::{Line, Place, Transport};
use core::time::Duration;
use serde::Serialize;
use tallyroll_schema::enrol::UNKNOWN_CERTIFICATE;
use tls::Pinned;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// The first pause after a failure is at most this.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// No pause is longer: 30 s after the line is back everything is to be at the cloud, and up to 8 s of them may go by
/// until a handshake that was begun before is given up.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A connection that lasted so long starts the pauses anew.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// After so long on TCP at most, QUIC is tried again; later less often.
const QUIC_PAUSE_MIN: Duration = Duration::from_secs(10);
/// It costs a few packets, and a network that blocks UDP seldom changes its mind.
const QUIC_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a session ends that goes on with new keys.
const REKEYED: &str = "the cloud has confirmed this device's new keys: linking again with them";

/// What is known of the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "link")]
pub enum LinkState {
    /// Being made for the first time.
    Connecting,
    /// Up: the cloud has taken the session.
    Up {
        /// By which way.
        by: Transport,
    },
    /// Up, but some log goes no further: a person must look.
    Stopped {
        /// Why.
        why: String,
        /// By which way it is up.
        by: Transport,
    },
    /// Down.
    Down {
        /// Why.
        why: String,
    },
}

/// Keeps the link up until the keeper ends.
///
/// # Errors
/// The keeper has ended.
pub async fn keep_up(
    keeper: Keeper,
    dir: DataDir,
    enrolment: Enrolment,
    state: watch::Sender<LinkState>,
) -> Result<(), Gone> {
    let place = Place { cloud: enrolment.cloud.clone(), tls_port: enrolment.tls_port };
    let mut pause = exponential(PAUSE_MIN, PAUSE_MAX);
    let mut older = 0;
    loop {
        let began = tokio::time::Instant::now();
        let attempt = async {
            let trust = trust(&dir, &keeper, &enrolment, older).await?;
            let line = place.connect(&trust).await?;
            keeper.set_linked(true);
            let ended = stay(&keeper, &enrolment, line, &place, &trust, &state).await;
            keeper.set_linked(false);
            Ok::<_, String>(ended)
        };
        let why = match attempt.await {
            Ok(ended) => ended?,
            Err(why) => why,
        };
        // A cloud that lost what it knew may still know an older one.
        older = if why.contains(UNKNOWN_CERTIFICATE) { older + 1 } else { 0 };
        if why == REKEYED {
            info!(why);
            continue;
        }
        warn!(cloud = %enrolment.cloud, %why, "not linked");
        state.send_replace(LinkState::Down { why });
        if began.elapsed() >= STABLE_AFTER {
            pause = exponential(PAUSE_MIN, PAUSE_MAX);
        }
        let longest = pause.next().unwrap_or(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(full_jitter(longest)) => {}
            () = keeper.ended() => return Err(Gone),
        }
    }
}

/// Whom to trust, and by which certificate to be known: the newest, or one before it.
async fn trust(
    dir: &DataDir,
    keeper: &Keeper,
    enrolment: &Enrolment,
    older: usize,
) -> Result<Pinned, String> {
    let certificates = settle(dir, keeper).await.map_err(|why| why.to_string())?;
    let shown = certificates.get(older % certificates.len().max(1)).ok_or("no certificate")?;
    tls::session_config(enrolment.authority, shown).map_err(|why| why.to_string())
}

/// Runs a session until it ends; returns why. From TCP it changes over to QUIC as soon as that
/// connects: the next session goes on where this one was.
async fn stay(
    keeper: &Keeper,
    enrolment: &Enrolment,
    mut line: Line,
    place: &Place,
    trust: &Pinned,
    state: &watch::Sender<LinkState>,
) -> Result<String, Gone> {
    let mut progress = keeper.progress();
    loop {
        let is_by_tcp = line.transport() == Transport::Tcp;
        let session = session::run(keeper, enrolment, line, state);
        tokio::select! {
            biased; // for the cloud ends the old session as the new one comes
            quic = quic_again(place, trust), if is_by_tcp => {
                info!("QUIC is let through again");
                line = quic;
            }
            Ok(_) = progress.wait_for(|progress| progress.rekeyed) => return Ok(REKEYED.into()),
            ended = session => return ended,
        }
    }
}

/// Tries QUIC now and then until it connects.
async fn quic_again(place: &Place, trust: &Pinned) -> Line {
    let mut pause = exponential(QUIC_PAUSE_MIN, QUIC_PAUSE_MAX);
    loop {
        let longest = pause.next().unwrap_or(QUIC_PAUSE_MAX);
        tokio::time::sleep(longest / 2 + full_jitter(longest / 2)).await;
        match place.connect_by_quic(trust).await {
            Ok(line) => return line,
            Err(why) => debug!(%why, "still by TCP"),
        }
    }
}

fn exponential(min: Duration, max: Duration) -> ExponentialBackoff {
    let exponential = ExponentialBuilder::default().with_factor(2.0).without_max_times();
    exponential.with_min_delay(min).with_max_delay(max).build()
}

/// A pause from 0 to `longest`, evenly: devices that lost one cloud come back apart.
fn full_jitter(longest: Duration) -> Duration {
    let mut random = [0; 4];
    if getrandom::fill(&mut random).is_err() {
        return longest;
    }
    longest.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}
