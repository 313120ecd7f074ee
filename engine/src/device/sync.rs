//! The device's end of a sync session: what it offers, holds and carries out.
//!
//! Invariant: only the cloud's logs are taken in, and of those only the tenant's
//! public log and the one about this device. A receipt is kept only if the
//! cloud signed it and it is for a head of ours.

use super::own_log::OwnLog;
use super::{Device, Now};
use crate::fetch::fetch;
use crate::keys::verify_receipt;
use crate::log::Tip;
use crate::log::journal::JournalFile;
use crate::merge::{Burst, Refusal, admit};
use crate::store::rows::{ReceiptRow, TipRow, split_epoch_key};
use crate::store::{Rows, Store};
use crate::sync::{Effect, Offer, Opening, Reply};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::{LogId, Receipt};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// What a session with the cloud begins with.
    ///
    /// # Errors
    /// Storage failed.
    pub fn opening(&self) -> Result<Opening> {
        let mut held = Vec::new();
        let own = [self.ledger.epoch, self.telemetry.epoch];
        self.rows().scan::<TipRow>(&[], &[], &mut |key, row| {
            let epoch = split_epoch_key(key).filter(|epoch| !own.contains(epoch));
            held.extend(epoch.map(|epoch| (epoch, Tip::from(row))));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Opening { offers: self.offers(), held, receipts: Vec::new() })
    }

    /// The heads of our own sealed logs.
    pub fn offers(&self) -> Vec<Offer> {
        let offer = |own: &OwnLog| {
            let head = own.tip.head(own.epoch.0, own.epoch.1)?;
            Some(Offer { head, class: own.genesis.class })
        };
        [&self.ledger, &self.telemetry].into_iter().filter_map(offer).collect()
    }

    /// Carries out what the session asked for.
    ///
    /// # Errors
    /// Storage failed; a peer's fault is a [`Reply`].
    pub fn perform(&mut self, _now: Now, effect: Effect) -> Result<Reply> {
        self.refuse_if_closed()?;
        match effect {
            Effect::Persist(burst) => self.persist(burst),
            Effect::Fetch(ask) => fetch(&self.rows(), &self.config.signer, ask),
            Effect::KeepReceipt(receipt) => self.keep_receipt(receipt),
            Effect::DirectoryStored(aliases) => {
                self.directory_stored(&aliases)?;
                Ok(Reply::Done)
            }
            Effect::StoreDirectory(_) => Ok(Reply::Done), // the cloud's; the session refuses it
        }
    }

    fn persist(&mut self, burst: Burst) -> Result<Reply> {
        let (epoch, bytes) = (burst.epoch(), burst.len());
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let admitted = match admit(&mut rows, burst, &|log, genesis| self.may_hold(log, genesis)) {
            Ok(admitted) => admitted,
            Err(Error::Refused(refusal)) => return Ok(Reply::Refused { epoch, refusal, bytes }),
            Err(error) => return self.closing(Err(error)),
        };
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        for opened in &admitted.new {
            self.counts.fold_batch(self.config.tenant, &admitted.genesis, opened);
        }
        let Tip { next_seq, hash } = admitted.tip;
        Ok(Reply::Persisted { epoch, next_seq, hash, receipt: None, bytes })
    }

    fn may_hold(&self, log: LogId, genesis: &LogOpened) -> Result<(), Refusal> {
        let by_cloud = genesis.writer == self.config.cloud_key;
        let meant = match genesis.class {
            LogClass::Public => log == self.config.public_log,
            LogClass::Device => genesis.about == Some(self.id),
            LogClass::Ledger | LogClass::Telemetry | LogClass::Accounts => false,
        };
        if by_cloud && meant {
            Ok(())
        } else {
            Err(Refusal::Denied("a device takes the cloud's public log and its own".into()))
        }
    }

    fn keep_receipt(&mut self, receipt: Receipt) -> Result<Reply> {
        let position = receipt.head.position;
        let epoch = (position.log, position.epoch);
        let own = [&self.ledger, &self.telemetry].into_iter().find(|own| own.epoch == epoch);
        let ours = own.is_some_and(|own| position.seq < own.tip.next_seq);
        let rows = self.rows();
        let newer = rows
            .get::<ReceiptRow>(&epoch)?
            .is_none_or(|ReceiptRow(held)| held.head.position.seq < position.seq);
        let signed = || verify_receipt(self.config.tenant, &self.config.cloud_key, &receipt);
        if ours && newer && signed() {
            let mut rows = rows;
            rows.put(&epoch, &ReceiptRow(receipt));
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
        }
        Ok(Reply::Done)
    }
}
