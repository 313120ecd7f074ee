//! The desk: where every question is answered.
//!
//! Invariant: an answer comes from the replica and from nothing else; the desk
//! holds no state of its own. The answers' parts are JSON values in the form that
//! `--json` prints. Devices are in `fleet`, figures in `views`, prices in
//! `rates`, leases in `leases`, statements and corrections in `books`, events in `logs`, people in `people`, what
//! they may spend in `accounts`.

use super::people::Whose;
use super::{Ask, Failure, Line};
use crate::data_dir::DataDir;
use crate::keeper::Keeper;
use crate::links::{Attention, Live};
use crate::public::Public;
use serde::Serialize;
use serde_json::json;
use tallyroll_engine::hub::Correction;
use tallyroll_schema::Fingerprint;
use tokio::sync::mpsc;

/// Everything needed to answer.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The cloud's files.
    pub dir: DataDir,
    /// The replica.
    pub keeper: Keeper,
    /// What devices pin.
    pub authority: Fingerprint,
    /// Where devices reach this cloud, if it is known.
    pub public: Option<Public>,
    /// The port it is served on.
    pub port: u16,
    /// The TCP port, where it is another.
    pub tls_port: Option<u16>,
    /// Who is connected; absent when no process serves.
    pub live: Option<Live>,
    /// Who was turned away of late; nobody when no process serves.
    pub attention: Attention,
}

/// Where the parts of an answer go.
#[derive(Debug, Clone)]
pub(super) struct Items(mpsc::Sender<Line>);

impl Items {
    pub(super) fn new(lines: mpsc::Sender<Line>) -> Self {
        Self(lines)
    }

    /// Hands over a part; waits while the client is slow.
    pub(super) async fn give(&self, item: &impl Serialize) -> Result<(), Failure> {
        let value = serde_json::to_value(item).map_err(Failure::lasting)?;
        let gone = |_| Failure::lasting("the client is gone");
        self.0.send(Line::Item(value)).await.map_err(gone)
    }
}

impl Desk {
    pub(super) async fn answer(&self, ask: Ask, items: &Items) -> Result<(), Failure> {
        match ask {
            Ask::Ping => items.give(&json!({ "version": env!("CARGO_PKG_VERSION") })).await,
            Ask::Enroll { name, public, processing } => {
                items.give(&self.enroll(name, public, processing).await?).await
            }
            Ask::Doctor { accept_loss, await_devices } => {
                items.give(&self.doctor(accept_loss, await_devices).await?).await
            }
            Ask::BackupIdentity { to } => items.give(&self.backup_identity(to).await?).await,
            Ask::Forks => items.give(&self.forks().await?).await,
            Ask::Quarantine => items.give(&self.quarantine().await?).await,
            Ask::QuarantineShow { id } => self.quarantine_show(id, items).await,
            Ask::QuarantineRelease { id, reason } => {
                items.give(&self.release(id, reason).await?).await
            }
            Ask::QuarantineDiscard { id, reason } => {
                items.give(&self.discard(id, reason).await?).await
            }
            Ask::Devices => items.give(&self.devices().await?).await,
            Ask::Retire { device, reason } => items.give(&self.retire(device, reason).await?).await,
            Ask::Revoke { device, reason } => items.give(&self.revoke(device, reason).await?).await,
            Ask::Grant { user, group, credits, reason } => {
                let whose = Whose { name: user, group };
                items.give(&self.grant(whose, credits, reason).await?).await
            }
            Ask::Act { act } => items.give(&self.act(act).await?).await,
            Ask::People(asked) => items.give(&self.people(asked).await?).await,
            Ask::Allot { whose, monthly } => items.give(&self.allot(whose, monthly).await?).await,
            Ask::Balance { whose, at } => items.give(&self.balance(whose, at).await?).await,
            Ask::PublishRates { card } => items.give(&self.publish_rates(card).await?).await,
            Ask::Rates { version } => items.give(&self.rates(version).await?).await,
            Ask::Settlement { policy } => items.give(&self.settlement(policy).await?).await,
            Ask::Leases => items.give(&self.leases().await?).await,
            Ask::WriteOff { device, user, reason, in_use } => {
                items.give(&self.write_off(device, user, reason, in_use).await?).await
            }
            Ask::Offline { policy } => items.give(&self.offline(policy).await?).await,
            Ask::SyncMode { mode } => items.give(&self.sync_mode(mode).await?).await,
            Ask::View { figures, at, month } => {
                items.give(&self.view(figures, at, month).await?).await
            }
            Ask::Statement { whose, period } => {
                items.give(&self.statement(whose, period).await?).await
            }
            Ask::Correct { corrects, credits, reason, by, beyond, again } => {
                let asked = Correction { corrects, credits, reason, by, beyond, again };
                items.give(&self.correct(asked).await?).await
            }
            Ask::Reconcile { month, device } => {
                items.give(&self.reconcile(month, device).await?).await
            }
            Ask::Close { month, earlier } => items.give(&self.close(month, earlier).await?).await,
            Ask::Logs => items.give(&self.logs().await?).await,
            Ask::Show { log, from, limit } => self.show(log, from, limit, items).await,
            Ask::Backup { to } => items.give(&self.backup(to).await?).await,
            Ask::Verify { log, receipts } => self.verify(log, receipts, items).await,
        }
    }
}
