//! Acts that a processing server asks for in its session: each is answered by a task of its own.
//!
//! Invariant: what is answered as refused or later was not done; where nobody knows, the session ends
//! without an answer. How many are under way is bounded by the session itself, how fast they come by
//! [`Rates`]: what comes faster waits here, and no further act is taken in its place.

use super::live::Live;
use super::rates::Rates;
use crate::acts::act;
use crate::keeper::{Keeper, Replica, Unanswered};
use core::future::pending;
use std::sync::Arc;
use tallyroll_engine::hub::{Acted, Standing};
use tallyroll_engine::sync::Reply;
use tallyroll_schema::DeviceId;
use tallyroll_schema::wire::{ActAnswer, ActOutcome, ActRequest};
use tokio::task::JoinSet;

/// The acts of one session that are not answered yet; they end with it.
pub(super) struct Acting {
    keeper: Keeper,
    live: Live,
    rates: Arc<Rates>,
    device: DeviceId,
    tasks: JoinSet<Result<ActAnswer, Unanswered>>,
}

impl Acting {
    pub(super) fn new(keeper: Keeper, live: Live, rates: Arc<Rates>, device: DeviceId) -> Self {
        Self { keeper, live, rates, device, tasks: JoinSet::new() }
    }

    pub(super) fn begin(&mut self, asked: ActRequest) {
        let (keeper, live, rates) = (self.keeper.clone(), self.live.clone(), self.rates.clone());
        let device = self.device;
        self.tasks.spawn(async move {
            rates.may_act(device).await;
            let request = asked.request;
            Ok(ActAnswer { request, outcome: answer(&keeper, live, device, asked).await? })
        });
    }

    /// The next answer.
    ///
    /// # Errors
    /// Nobody knows what became of an act.
    pub(super) async fn next(&mut self) -> Result<Reply, Unanswered> {
        match self.tasks.join_next().await {
            Some(Ok(answer)) => answer.map(Reply::Acted),
            Some(Err(_)) => Err(Unanswered::Gone), // it panicked
            None => pending().await,
        }
    }
}

async fn answer(
    keeper: &Keeper,
    live: Live,
    device: DeviceId,
    asked: ActRequest,
) -> Result<ActOutcome, Unanswered> {
    let line = match asked.read() {
        Ok(line) => line,
        Err(why) => return Ok(ActOutcome::Refused(why)),
    };
    match act(keeper, Some(live), line, Some((device, asked.charge))).await {
        Ok(position) => Ok(ActOutcome::At(position)),
        Err(Unanswered::Engine(why)) => match Acted::outcome(Err(why))? {
            // Who is revoked hears nothing more: what it asked for before may have been done.
            Some(_) if is_revoked(keeper, device).await? => Err(Unanswered::Gone),
            Some(outcome) => Ok(outcome),
            None => Err(Unanswered::Gone), // an error is no wait
        },
        Err(Unanswered::Full) => Ok(ActOutcome::Later(Unanswered::Full.to_string())),
        Err(Unanswered::Gone) => Err(Unanswered::Gone),
    }
}

async fn is_revoked(keeper: &Keeper, device: DeviceId) -> Result<bool, Unanswered> {
    let standing = move |replica: &mut Replica| {
        Ok(replica.hub.fleet().device(device).map(|record| record.standing))
    };
    Ok(keeper.run(standing).await? == Some(Standing::Revoked))
}
