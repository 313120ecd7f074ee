//! Devices that a cloud which lost some of its accounts does not know: each may show, in its HELLO,
//! that it was enrolled.
//!
//! Invariant: few at once, one message of each and no more, within the time for a HELLO; nothing
//! is told to one that proves nothing but that. What proves it is the engine's; while the cloud is
//! frozen the device is one of the fleet with it, and its session is like any other's; later an
//! administrator is told that it came.

use super::Links;
use super::attention::Reason;
use super::line::{Ending, Line};
use super::streams::Streams;
use crate::keeper::Unanswered;
use std::net::SocketAddr;
use tallyroll_engine::Error;
use tallyroll_engine::hub::Standing;
use tallyroll_schema::limits::links::{DENIAL_TIMEOUT, HELLO_TIMEOUT};
use tallyroll_schema::wire::{Hello, Message};
use tallyroll_schema::{Fingerprint, Hash};
use tracing::warn;

/// Hears a device's HELLO and takes it into the accounts again, if that proves that it was there;
/// its streams and its HELLO then.
pub(super) async fn prove(
    links: &Links,
    from: SocketAddr,
    fingerprint: Fingerprint,
    line: Line,
) -> Option<(Streams, Message)> {
    let Ok(_place) = links.readmissions.try_acquire() else {
        links.metrics.refused.inc();
        line.close(Ending::Busy, "too many devices come back at once; try again");
        return None;
    };
    let mut streams = Streams::open(line).await.ok()?; // it has been told why
    let (ending, why) = match hear(&mut streams).await {
        Ok(hello) => {
            let shown = hello.clone();
            let readmitted = links.keeper.run(move |replica| {
                replica.hub.readmit(replica.now(), &shown, Hash(fingerprint.0))
            });
            match readmitted.await {
                Ok(device) => {
                    warn!(%from, %device, "readmitted on its own evidence; `tallyroll doctor` lists such devices");
                    return Some((streams, Message::Hello(hello)));
                }
                Err(Unanswered::Engine(Error::Rejected(why))) => {
                    note_if_once_ours(links, hello).await;
                    (Ending::Denied, why)
                }
                Err(Unanswered::Engine(Error::Full(_))) => {
                    (Ending::Stopped, Unanswered::Full.to_string())
                }
                Err(why) => {
                    warn!(%why, "cannot readmit a device");
                    (Ending::Stopped, "the cloud cannot go on; come again".into())
                }
            }
        }
        Err(why) => (Ending::Protocol, why),
    };
    links.metrics.refused.inc();
    warn!(%from, certificate = fingerprint.short(), why, "refused a connection");
    drop(tokio::time::timeout(DENIAL_TIMEOUT, streams.close(ending, &why)).await);
    None
}

/// A device that this cloud enrolled is turned away: an administrator is to know.
async fn note_if_once_ours(links: &Links, hello: Hello) {
    let once = links.keeper.run(move |replica| {
        let once = replica.hub.enrolled_once(&hello);
        Ok(once.map(|(device, name, at)| {
            let known = replica.hub.fleet().device(device);
            let known = known.map(|record| (record.standing, record.readmitted >= Some(at)));
            (known, device, name)
        }))
    });
    let Ok(Some((known, device, name))) = once.await else { return };
    let reason = match known {
        Some((Standing::Revoked, _)) => return,
        Some((_, older)) => {
            if older {
                Reason::OldKeys
            } else {
                Reason::KeysLost
            }
        }
        None => Reason::Unknown,
    };
    links.attention.note(device, name, reason);
}

async fn hear(streams: &mut Streams) -> Result<Hello, String> {
    match tokio::time::timeout(HELLO_TIMEOUT, streams.arrived.recv()).await {
        Ok(Some(Ok((_, Message::Hello(hello))))) => Ok(hello),
        Ok(Some(Ok(_))) => Err("HELLO comes first".into()),
        Ok(Some(Err(why))) => Err(why),
        Ok(None) => Err("the link ended".into()),
        Err(_) => Err("no HELLO within 10 s".into()),
    }
}
