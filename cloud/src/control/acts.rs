//! Answers to the processing server: whether it may do what it asks for, and where that is recorded.
//!
//! Invariant: a position is answered only once the act is durable; then it may be done. An act that waits for
//! a device is looked at again with each commit, so nobody else waits for it. What it costs, and what is
//! there, is the engine's.

use super::Failure;
use super::desk::Desk;
use super::fleet::find;
use crate::keeper::Replica;
use crate::links::Live;
use core::time::Duration;
use serde::Serialize;
use tallyroll_engine::hub::Acted;
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{DeviceId, Position, ServerAct};

/// Looked at again without a commit, so that a wait ends.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// It may be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Permitted {
    position: Position,
}

impl Desk {
    pub(super) async fn act(&self, act: ServerAct) -> Result<Permitted, Failure> {
        let (mut commits, mut since) = (self.keeper.commits(), None);
        loop {
            commits.borrow_and_update();
            let (live, act) = (self.live.clone(), act.clone());
            let acted = self.keeper.run(move |replica| try_act(replica, live, act, since));
            match acted.await? {
                Acted::At(position) => return Ok(Permitted { position }),
                Acted::Waits { since: first } => since = Some(first),
            }
            drop(tokio::time::timeout(LOOK_AGAIN, commits.changed()).await); // which, does not matter
        }
    }
}

fn try_act(
    replica: &mut Replica,
    live: Option<Live>,
    ServerAct { device, request, act }: ServerAct,
    since: Option<Duration>,
) -> Result<Acted> {
    let (device, name) = find(replica, &device)?;
    let payer = act.job().and_then(|job| replica.hub.counts().payer(device, job));
    if let (Some(user), Some(payer)) = (act.user(), payer) {
        let shown = replica.people.shown(replica.hub.counts(), device, payer);
        match replica.people.name(device, payer) {
            Some(known) if known == user || shown == Some(user) => {}
            Some(_) => {
                let why = format!("{user} did not begin this job at {name}; say who did");
                return Err(Error::Rejected(why));
            }
            None => {
                let why = format!("{name} has not told yet who began this job; try again");
                return Err(Error::NotYet(why));
            }
        }
    }
    let connected = |device: &&DeviceId| live.as_ref().is_some_and(|live| live.has(**device));
    let reached = replica.hub.fleet().devices().keys().filter(connected).copied().collect();
    replica.hub.act(replica.now(), device, act, request, &reached, since)
}
