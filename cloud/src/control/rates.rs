//! Answers about rate cards, how jobs settle and how balances are told.
//!
//! Invariant: what is published is whole and checked, or nothing is; what is in
//! force already is not published again.

use super::Failure;
use super::desk::Desk;
use serde::Serialize;
use tallyroll_engine::Error;
use tallyroll_schema::Position;
use tallyroll_schema::event::balances::SyncMode;
use tallyroll_schema::event::counts::{RateCard, SettlementPolicy};

/// What came of publishing a card.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Published {
    /// The version in force.
    version: u32,
    /// Where it was published; `null` if it was in force already.
    position: Option<Position>,
}

/// How jobs settle that begin now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Settlement {
    policy: SettlementPolicy,
    /// Where it was laid down now; `null` if it was in force already.
    position: Option<Position>,
}

/// How devices that are busy come by new balances.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Syncing {
    policy: SyncMode,
    /// Where it was laid down now; `null` if it was in force already.
    position: Option<Position>,
}

impl Desk {
    pub(super) async fn publish_rates(&self, card: RateCard) -> Result<Published, Failure> {
        let published = self.keeper.run(move |replica| {
            let (version, position) = replica.hub.publish_next(replica.now(), card)?;
            Ok(Published { version, position })
        });
        Ok(published.await?)
    }

    pub(super) async fn rates(&self, version: Option<u32>) -> Result<RateCard, Failure> {
        let card = self.keeper.run(move |replica| {
            let newest = replica.hub.card();
            let Some(version) = version.filter(|version| *version != newest.version) else {
                return Ok(newest);
            };
            replica.hub.counts().card(version).cloned().ok_or_else(|| {
                let why = format!(
                    "no rate card {version} was published; the newest is {}",
                    newest.version
                );
                Error::Rejected(why)
            })
        });
        Ok(card.await?)
    }

    pub(super) async fn settlement(
        &self,
        policy: Option<SettlementPolicy>,
    ) -> Result<Settlement, Failure> {
        let laid_down = self.keeper.run(move |replica| {
            let position = match policy {
                Some(policy) => replica.hub.publish_settlement(replica.now(), policy)?,
                None => None,
            };
            Ok(Settlement { policy: replica.hub.counts().settlement_policy(), position })
        });
        Ok(laid_down.await?)
    }

    pub(super) async fn sync_mode(&self, mode: Option<SyncMode>) -> Result<Syncing, Failure> {
        let laid_down = self.keeper.run(move |replica| {
            let position = match mode {
                Some(mode) => replica.hub.publish_sync_mode(replica.now(), mode)?,
                None => None,
            };
            Ok(Syncing { policy: replica.hub.counts().balances().mode(), position })
        });
        Ok(laid_down.await?)
    }
}
