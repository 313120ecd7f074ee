//! The link: this device's one connection to its cloud, kept up.
//!
//! Owns reconnecting (exponential, full jitter), going back to QUIC, and what is
//! known of the link's state. Invariant: losing it costs nothing but time; recording
//! never waits for it. By which way it is made is [`connect`]'s, what is said over
//! it [`session`]'s, by whom it is trusted [`tls`]'s.

mod asking;
pub mod connect;
pub mod join;
pub mod session;
mod streams;
pub mod tls;

pub use asking::{Acts, Heard, LinkEnd, ends};

use crate::data_dir::DataDir;
use crate::identity::{Enrolment, Keys};
use crate::keeper::{Gone, Keeper, Progress};
use crate::rekeying::{or_end, settle};
use crate::revocation;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use connect::{Line, Place, Transport};
use core::time::Duration;
use serde::Serialize;
use session::Ended;
use tallyroll_schema::Hash;
use tallyroll_schema::enrol::{REVOKED, UNKNOWN_CERTIFICATE};
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
/// How long new keys wait for the cloud's word about them, which follows its receipt.
const PROOF_WAIT: Duration = Duration::from_secs(5);
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
        /// Whether the cloud does not believe this device: a person must look.
        refused: bool,
    },
}

impl LinkState {
    /// The cloud's words, if it revoked this device, so that it never answers it again.
    pub fn revoked(&self) -> Option<&str> {
        match self {
            Self::Down { why, refused: true } if why.contains(REVOKED) => Some(why),
            _ => None,
        }
    }
}

/// Keeps the link up until the keeper ends.
///
/// # Errors
/// The keeper has ended.
pub async fn keep_up(
    keeper: Keeper,
    dir: DataDir,
    enrolment: Enrolment,
    end: LinkEnd,
) -> Result<(), Gone> {
    let place = Place { cloud: enrolment.cloud.clone(), tls_port: enrolment.tls_port };
    let mut pause = exponential(PAUSE_MIN, PAUSE_MAX);
    loop {
        let began = tokio::time::Instant::now();
        let ended = attempt(&keeper, &dir, &enrolment, &place, &end).await?;
        let Ended { why, refused } = ended;
        if why == REKEYED {
            info!(why);
            continue;
        }
        warn!(cloud = %enrolment.cloud, %why, "not linked");
        let down = LinkState::Down { why: why.clone(), refused };
        if let Some(why) = down.revoked()
            && let Err(error) = revocation::note(&dir, why)
        {
            warn!(%error, "it is not noted that this device is revoked");
        }
        end.state.send_replace(down);
        end.turn_away(&why).await; // once it is known why
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

/// Links once, and stays so; returns why it ended, or did not come about. A cloud that was put back from a backup may
/// have lost the newest certificate: then those before it are shown, at once, until it knows one.
async fn attempt(
    keeper: &Keeper,
    dir: &DataDir,
    enrolment: &Enrolment,
    place: &Place,
    end: &LinkEnd,
) -> Result<Ended, Gone> {
    let certificates = match settle(dir, keeper).await {
        Ok(certificates) => certificates,
        Err(why) => return Ok(why.to_string().into()),
    };
    let provable = keeper.query(|device| device.provable_keys()).await?;
    let provable = provable.inspect_err(|why| warn!(%why, "older keys are kept"));
    let provable = provable.ok().flatten().map(|(_, tls)| tls);
    let mut ended = Ended::from("this device has no certificate");
    for shown in &certificates {
        let trust = match tls::session_config(enrolment.authority, shown) {
            Ok(trust) => trust,
            Err(why) => return Ok(why.to_string().into()),
        };
        let line = match place.connect(&trust).await {
            Ok(line) => line,
            Err(why) => return Ok(why.into()),
        };
        let fingerprint = shown.fingerprint();
        let is_provable = provable == Some(Hash(fingerprint.0));
        let taken = || {
            if let Err(why) = revocation::clear(dir) {
                warn!(%why, "it stays noted that this device was revoked");
            }
            // Should the cloud lose that it knows this one, those before it are what else it may know.
            if !is_provable {
                return;
            }
            // While they change, the next session does it.
            let Some(_alone) = keeper.at_the_keys_now() else { return };
            if let Err(why) = or_end(keeper, Keys::drop_before(dir, fingerprint)) {
                warn!(%why, "older TLS keys stay until the next session");
            }
        };
        keeper.set_linked(true); // also where only to be turned away: who is linked seals what it offers
        let stayed = stay(keeper, enrolment, line, place, &trust, end, &taken).await;
        keeper.set_linked(false);
        ended = stayed?;
        if !ended.why.contains(UNKNOWN_CERTIFICATE) {
            break;
        }
    }
    Ok(ended)
}

/// Runs a session until it ends; returns why. From TCP it changes over to QUIC as soon as that
/// connects: the next session goes on where this one was.
async fn stay(
    keeper: &Keeper,
    enrolment: &Enrolment,
    mut line: Line,
    place: &Place,
    trust: &Pinned,
    end: &LinkEnd,
    taken: &impl Fn(),
) -> Result<Ended, Gone> {
    let mut progress = keeper.progress();
    loop {
        let is_by_tcp = line.transport() == Transport::Tcp;
        let session = session::run(keeper, enrolment, line, end, taken);
        tokio::select! {
            biased; // for the cloud ends the old session as the new one comes
            quic = quic_again(place, trust), if is_by_tcp => {
                info!("QUIC is let through again");
                line = quic;
            }
            true = rekeyed(&mut progress) => return Ok(REKEYED.into()),
            ended = session => return ended,
        }
    }
}

/// Waits until new keys are confirmed, and then a little for the cloud's word that proves them: with the next session
/// those before them go. Not for ever: a cloud that is frozen gives none. False once the keeper has ended.
async fn rekeyed(progress: &mut watch::Receiver<Progress>) -> bool {
    if progress.wait_for(|progress| progress.rekeyed).await.is_err() {
        return false;
    }
    let provable = progress.wait_for(|progress| progress.provable);
    !matches!(tokio::time::timeout(PROOF_WAIT, provable).await, Ok(Err(_)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clouds_own_word_says_that_a_device_is_revoked() {
        for (why, refused, revoked) in [
            ("this device, office, is revoked: nothing more is taken from it", true, true),
            ("somebody else is revoked: nothing more is taken from it", false, false),
            ("no device with this certificate is enrolled here", true, false),
        ] {
            let down = LinkState::Down { why: why.into(), refused };
            assert_eq!(down.revoked(), revoked.then_some(why));
        }
    }
}
