//! Answers about copies: which devices were restored or cloned, and what came of it.
//!
//! Invariant: told from the logs; a device's name is put beside it. What a person
//! is to do about it is said by the command.

use super::Failure;
use super::desk::Desk;
use crate::keeper::Replica;
use serde::Serialize;
use tallyroll_engine::Result;
use tallyroll_engine::hub::Fork;

/// An epoch that a device opened because it was restored or copied.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ForkRow {
    #[serde(flatten)]
    fork: Fork,
    device_name: Option<String>,
    /// Whether another epoch of the log hangs on the same place or an earlier one: two
    /// copies wrote, or write, side by side.
    side_by_side: bool,
}

impl Desk {
    pub(super) async fn forks(&self) -> Result<Vec<ForkRow>, Failure> {
        Ok(self.keeper.run(|replica| fork_rows(replica)).await?)
    }
}

fn fork_rows(replica: &Replica) -> Result<Vec<ForkRow>> {
    let forks = replica.hub.forks()?;
    let row = |fork: &Fork| {
        let beside = |other: &Fork| {
            other.log == fork.log
                && other.opened.epoch != fork.opened.epoch
                && other.opened.parent == fork.opened.parent
        };
        ForkRow {
            device_name: replica.hub.fleet().device(fork.device).map(|device| device.name.clone()),
            side_by_side: fork.opened.divergent.is_some() || forks.iter().any(beside),
            fork: fork.clone(),
        }
    };
    Ok(forks.iter().map(row).collect())
}
