//! The link: this device's one connection to its cloud, kept up.
//!
//! Owns connecting, reconnecting (exponential, full jitter) and what is known of
//! the link's state. Invariant: losing it costs nothing but time; recording never
//! waits for it. What is said over it is [`session`]'s, by whom it is trusted [`tls`]'s.

pub mod join;
pub mod session;
pub mod tls;

use crate::identity::Enrolment;
use crate::keeper::{Gone, Keeper};
use backon::{BackoffBuilder, ExponentialBuilder};
use core::time::Duration;
use quinn::{Connection, Endpoint};
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tallyroll_schema::enrol::SERVER_NAME;
use tls::Pinned;
use tokio::sync::watch;
use tracing::warn;

/// The first pause after a failure is at most this.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// No pause is longer: a branch must not wait for its figures once the line is back.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// A connection that lasted so long starts the pauses anew.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// QUIC retransmits the handshake that long before it is a failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// What is known of the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "link", content = "why")]
pub enum LinkState {
    /// Being made for the first time.
    Connecting,
    /// Up: the cloud has taken the session.
    Up,
    /// Up, but some log goes no further, and why: a person must look.
    Stopped(String),
    /// Down, and why.
    Down(String),
}

/// Keeps the link up until the keeper ends.
///
/// # Errors
/// The keeper has ended.
pub async fn keep_up(
    keeper: Keeper,
    enrolment: Enrolment,
    trust: Pinned,
    state: watch::Sender<LinkState>,
) -> Result<(), Gone> {
    let pauses = || {
        let exponential = ExponentialBuilder::default().with_factor(2.0).without_max_times();
        exponential.with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX).build()
    };
    let mut pause = pauses();
    loop {
        let began = tokio::time::Instant::now();
        let why = match connect(&enrolment.cloud, &trust).await {
            Ok((endpoint, connection)) => {
                keeper.set_linked(true);
                let ended = session::run(&keeper, &enrolment, &connection, &state).await;
                keeper.set_linked(false);
                connection.close(0u32.into(), b"");
                let why = ended?;
                // Lets the close frame out; bounded, for the peer may be gone.
                let _ =
                    tokio::time::timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
                why
            }
            Err(why) => why,
        };
        warn!(cloud = %enrolment.cloud, %why, "not linked");
        state.send_replace(LinkState::Down(why));
        if began.elapsed() >= STABLE_AFTER {
            pause = pauses();
        }
        let longest = pause.next().unwrap_or(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(full_jitter(longest)) => {}
            () = keeper.ended() => return Err(Gone),
        }
    }
}

/// Connects to `HOST:PORT`, trying each of its addresses.
///
/// # Errors
/// Why it did not come about, for people.
pub async fn connect(cloud: &str, trust: &Pinned) -> Result<(Endpoint, Connection), String> {
    let addresses = tokio::net::lookup_host(cloud)
        .await
        .map_err(|why| format!("{cloud} is not found: {why}; check the name and the network"))?;
    let mut last = format!("{cloud} has no address");
    for address in addresses {
        match connect_to(address, trust).await {
            Ok(connected) => return Ok(connected),
            Err(why) => last = why,
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, trust: &Pinned) -> Result<(Endpoint, Connection), String> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = Endpoint::client(any).map_err(|why| format!("no UDP socket: {why}"))?;
    let connecting = endpoint
        .connect_with(trust.config.clone(), address, SERVER_NAME)
        .map_err(|why| format!("cannot connect to {address}: {why}"))?;
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok((endpoint, connection)),
        Ok(Err(why)) => Err(match trust.take_stranger() {
            Some(stranger) => format!("{address}: {stranger}"),
            None => format!("{address}: {why}"),
        }),
        Err(_) => Err(format!("{address} does not answer; is the cloud up and UDP let through?")),
    }
}

/// A pause from 0 to `longest`, evenly: devices that lost one cloud come back apart.
fn full_jitter(longest: Duration) -> Duration {
    let mut random = [0; 4];
    if getrandom::fill(&mut random).is_err() {
        return longest;
    }
    longest.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}
