//! Whether the processing server may do what it asks for, and where that is recorded.
//!
//! Invariant: a position is answered only once the act is durable; then it may be done. An act that waits for
//! a device is looked at again with each commit, so nobody else waits for it. By which way it was asked for,
//! here or over a session, makes no other difference than who may; what it costs, and what is there, is the engine's.

use crate::control::find;
use crate::keeper::{Keeper, Replica, Unanswered};
use crate::links::Live;
use core::time::Duration;
use tallyroll_engine::hub::{ANOTHER_ACTS, Acted, AskedAct};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::event::counts::Charge;
use tallyroll_schema::{DeviceId, Position, ServerAct};

/// Looked at again without a commit, so that a wait ends.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The processing server that asks by its session, and what it says that the act costs.
pub(crate) type By = Option<(DeviceId, Option<Charge>)>;

/// Records an act once it may be done.
///
/// # Errors
/// It may not, or not now; or the keeper has ended: then nobody knows.
pub(crate) async fn act(
    keeper: &Keeper,
    live: Option<Live>,
    act: ServerAct,
    by: By,
) -> Result<Position, Unanswered> {
    let (mut commits, mut since) = (keeper.commits(), None);
    loop {
        commits.borrow_and_update();
        let (live, act, by) = (live.clone(), act.clone(), by.clone());
        match keeper.run(move |replica| try_act(replica, live, act, by, since)).await? {
            Acted::At(position) => return Ok(position),
            Acted::Waits { since: first } => since = Some(first),
        }
        drop(tokio::time::timeout(LOOK_AGAIN, commits.changed()).await); // which, does not matter
    }
}

fn try_act(
    replica: &mut Replica,
    live: Option<Live>,
    ServerAct { device, request, act }: ServerAct,
    by: By,
    since: Option<Duration>,
) -> Result<Acted> {
    if let Some((asker, _)) = &by {
        replica.hub.may_act(Some(*asker))?; // others hear nothing of names
    }
    let (device, name) = find(replica, &device)?;
    let counts = replica.hub.counts();
    let asked_again = request.is_some_and(|request| counts.requested(device, request).is_some());
    let payer = act.job().and_then(|job| counts.payer(device, job));
    if let (Some(user), Some(payer)) = (act.user(), payer) {
        let shown = replica.people.shown(replica.hub.counts(), device, payer);
        match replica.people.name(device, payer) {
            Some(known) if known == user || shown == Some(user) => {}
            Some(_) if asked_again => return Err(Error::Rejected(ANOTHER_ACTS.into())),
            None if asked_again => {} // nobody knows any more; the rest of the act is compared
            Some(_) => {
                let why = format!("{user} did not begin this job at {name}; say who did");
                return Err(Error::Rejected(why));
            }
            None if replica.hub.is_forgotten(device, payer) => {
                let why = format!(
                    "who began this job at {name} is forgotten: nothing more is done in it, end it there"
                );
                return Err(Error::Rejected(why));
            }
            None => {
                let why = format!("{name} has not told yet who began this job; try again");
                return Err(Error::NotYet(why));
            }
        }
    }
    let reached = live.map(|live| live.devices()).unwrap_or_default();
    replica.hub.act(replica.now(), AskedAct { device, act, request, by }, &reached, since)
}
