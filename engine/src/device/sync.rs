//! The device's end of a sync session: what it offers, holds and carries out.
//!
//! Invariant: taken in are the tenant's public log, the cloud's log about this
//! device, and what the cloud holds of this device's own. A receipt is kept only
//! if the cloud signed it and it is for a head of ours; for another head at a
//! place of ours, it shows that this is a copy.

use super::imports::Imports;
use super::{Device, Now};
use crate::fetch::fetch;
use crate::keys::verify_receipt;
use crate::log::journal::JournalFile;
use crate::log::{Tip, holds};
use crate::merge::{Ahead, Burst, Refusal, admit};
use crate::planted::{Bug, planted};
use crate::store::rows::{DeviceHistory, LogRow, ReceiptRow, TipRow, split_epoch_key};
use crate::store::{Rows, Store};
use crate::sync::{Effect, Offer, OfferKind, Opening, Reply};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::wire::names_digest;
use tallyroll_schema::{EpochId, LogId, Position, Receipt, Records};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// What a session with the cloud begins with.
    ///
    /// # Errors
    /// Storage failed.
    pub fn opening(&self) -> Result<Opening> {
        let adopting = self.pending()?;
        let mut held = Vec::new();
        self.rows().scan::<TipRow>(&[], &[], &mut |key, row| {
            let theirs = |epoch: &(LogId, EpochId)| {
                self.own_class(epoch.0).is_none() || adopting.contains(epoch)
            };
            let epoch = split_epoch_key(key).filter(theirs);
            held.extend(epoch.map(|epoch| (epoch, Tip::from(row))));
            Ok(ControlFlow::Continue(()))
        })?;
        let (offers, settled) = (self.offers()?, self.is_settled()?);
        let enrolment = self.enrolment_proof()?;
        Ok(Opening { offers, held, adopting, settled, enrolment, ..Opening::default() })
    }

    /// The heads of our own logs' epochs; of those to be adopted, what is receipted.
    ///
    /// # Errors
    /// Storage failed.
    pub fn offers(&self) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        for own in [&self.ledger, &self.telemetry] {
            let log = own.epoch.0;
            self.rows().scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, row| {
                let epoch = split_epoch_key(key);
                let head = epoch.and_then(|(log, epoch)| Tip::from(row).head(log, epoch));
                let open = epoch == Some(own.epoch);
                let kind = if open { OfferKind::Open } else { OfferKind::Ended };
                let class = own.genesis.class;
                offers.extend(head.map(|head| Offer { head, class, kind }));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(offers)
    }

    /// Carries out what the session asked for.
    ///
    /// # Errors
    /// Storage failed; a peer's fault is a [`Reply`].
    pub fn perform(&mut self, now: Now, effect: Effect) -> Result<Reply> {
        self.refuse_if_closed()?;
        let reply = self.carry_out(now, effect)?;
        self.settle_counts()?;
        self.close_if_retired(now)?; // it may have been what that waited for
        Ok(reply)
    }

    /// What may have been counted twice is counted anew, from the store: once nothing waits to be sealed.
    pub(super) fn settle_counts(&mut self) -> Result<()> {
        if self.counts.is_doubtful() && self.ledger.tail_count + self.telemetry.tail_count == 0 {
            let settled = self.counts.settle(&Rows::new(self.config.tenant, &self.store));
            self.closing(settled)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, now: Now, effect: Effect) -> Result<Reply> {
        match effect {
            Effect::Persist(burst) => self.persist(burst),
            Effect::Fetch(ask) => fetch(&self.rows(), &self.signers(), ask),
            Effect::KeepReceipt(receipt) => self.keep_receipt(now, receipt),
            Effect::Diverged(log, epoch) => self.diverged(now, log, epoch),
            Effect::Surveyed => self.surveyed(),
            Effect::CaughtUp(log, epoch) => self.caught_up(now, log, epoch),
            Effect::GiveBack(epochs) => self.give_back(&epochs),
            Effect::Accounts { epoch, names } => self.heard_of_accounts(epoch, names),
            Effect::Names(names) => self.names_told(names),
            Effect::DirectoryStored(aliases) => {
                self.directory_stored(&aliases)?;
                Ok(Reply::Done)
            }
            // The cloud's; the session refuses them. What was answered is for whoever asked.
            Effect::StoreDirectory(_)
            | Effect::PrunedThere(..)
            | Effect::Act(_)
            | Effect::Acted(_) => Ok(Reply::Done),
        }
    }

    fn persist(&mut self, burst: Burst) -> Result<Reply> {
        let (epoch, bytes) = (burst.epoch(), burst.len());
        if [self.ledger.epoch, self.telemetry.epoch].contains(&epoch) {
            let refusal = Refusal::Denied("this device is writing that epoch itself".into());
            return Ok(Reply::Refused { epoch, refusal, bytes });
        }
        let mut rows = Rows::new(self.config.tenant, &self.store);
        let admitted =
            match admit(&mut rows, (burst, Ahead::default()), &|log: LogId, genesis: &LogOpened| {
                self.may_hold(log, genesis)
            }) {
                Ok(admitted) => admitted,
                Err(Error::Refused(refusal)) => {
                    return Ok(Reply::Refused { epoch, refusal, bytes });
                }
                Err(error) => return self.closing(Err(error)),
            };
        if admitted.genesis.class == LogClass::Ledger && !planted(Bug::BroughtImportsIgnored) {
            let mut imports = Imports::default();
            for checked in &admitted.new {
                let opened = checked.opened()?;
                let header = opened.batch.header();
                let (epoch, first) = (header.epoch, header.first_seq);
                for (seq, record) in (first..).zip(Records::new(&opened.records).flatten()) {
                    imports.take_in(&rows, (epoch, seq), &record)?;
                }
            }
            imports.put(&mut rows)?;
        }
        self.note_enrolment(&mut rows, &admitted)?;
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        for checked in &admitted.new {
            let (genesis, tenant) = (&admitted.genesis, self.config.tenant);
            let opened = self.closing(checked.opened())?;
            self.counts.fold_batch(tenant, genesis, &opened);
            self.decided.fold_batch(tenant, genesis, &opened);
            self.take_in_balances();
        }
        let Tip { next_seq, hash } = admitted.tip;
        Ok(Reply::Persisted { epoch, next_seq, hash, receipt: None, bytes })
    }

    /// The cloud's own logs, to a cloud that lost them.
    fn give_back(&self, epochs: &[(LogId, EpochId)]) -> Result<Reply> {
        let (rows, mut offers) = (self.rows(), Vec::new());
        for (log, epoch) in epochs.iter().filter(|_| !planted(Bug::NothingGivenBack)) {
            let (genesis, tip) = (rows.get::<LogRow>(log)?, rows.get::<TipRow>(&(*log, *epoch))?);
            let head = tip.and_then(|tip| Tip::from(tip).head(*log, *epoch));
            if let (Some(LogRow(genesis)), Some(head)) = (genesis, head) {
                let (class, kind) = (genesis.class, OfferKind::GivenBack);
                offers.push(Offer { head, class, kind });
            }
        }
        Ok(Reply::GaveBack(offers))
    }

    /// A cloud that lost what it held last may have lost names, too, whether it knows of a loss or not.
    fn heard_of_accounts(&mut self, accounts: EpochId, names: Option<u64>) -> Result<Reply> {
        let history = self.history()?;
        let known = [history.names, Some(names_digest(self.confirmed_names()?))];
        let others = names.is_some() && !known.contains(&names);
        if history.accounts == Some(accounts) && !others {
            return Ok(Reply::Done);
        }
        let another = history.accounts.is_some_and(|known| known != accounts);
        let mut rows = self.rows();
        rows.put(&(), &DeviceHistory { accounts: Some(accounts), ..history });
        if (another || others) && !planted(Bug::NamesNotSentAgain) {
            self.unstore_names(&mut rows)?;
        }
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        Ok(Reply::Directory(self.unstored_directory()?))
    }

    /// The cloud has these names, and with them ours, if none is under way: a copy of us may have brought others.
    fn names_told(&mut self, names: u64) -> Result<Reply> {
        let history = self.history()?;
        if history.names != Some(names) && self.unstored_directory()?.is_empty() {
            let mut rows = self.rows();
            rows.put(&(), &DeviceHistory { names: Some(names), ..history });
            let changes = rows.into_changes();
            self.commit_changes(changes)?;
        }
        Ok(Reply::Done)
    }

    fn may_hold(&self, log: LogId, genesis: &LogOpened) -> Result<(), Refusal> {
        let by_cloud = genesis.writer == self.config.cloud_key;
        let meant = match genesis.class {
            LogClass::Public => log == self.config.public_log,
            LogClass::Device => genesis.about == Some(self.id),
            LogClass::Ledger | LogClass::Telemetry | LogClass::Accounts => false,
        };
        // What another copy of this device wrote, or this one before it was restored.
        let own = self.own_class(log).is_some();
        if own || (by_cloud && meant) || planted(Bug::DeviceTakesAnyLog) {
            Ok(())
        } else {
            Err(Refusal::Denied("a device takes the cloud's public log and its own".into()))
        }
    }

    fn keep_receipt(&mut self, now: Now, receipt: Receipt) -> Result<Reply> {
        let Position { log, epoch, seq } = receipt.head.position;
        let key = (log, epoch);
        let rows = self.rows();
        let tip: Option<TipRow> = rows.get(&key)?;
        let ours = self.own_class(log).is_some() && tip.is_some_and(|tip| seq < tip.next_seq);
        let newer = rows
            .get::<ReceiptRow>(&key)?
            .is_none_or(|ReceiptRow(held)| held.head.position.seq < seq);
        let signed = || verify_receipt(self.config.tenant, &self.config.cloud_key, &receipt);
        // More than we have of what we are writing: another copy of this device writes it, too.
        let open = [self.ledger.epoch, self.telemetry.epoch].contains(&key);
        if open && !ours && signed() {
            return self.diverged(now, log, epoch);
        }
        let newer = newer || planted(Bug::OlderReceiptKept);
        if !ours || !newer || !(signed() || planted(Bug::ReceiptUnverified)) {
            return Ok(Reply::Done);
        }
        if !holds(&rows, &receipt.head)? && !planted(Bug::ReceiptForOtherHistory) {
            return self.diverged(now, log, epoch);
        }
        let mut rows = rows;
        let was_settled = self.is_settled()?;
        rows.put(&key, &ReceiptRow(receipt));
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        // From here on the cloud takes nothing more into our earlier epochs: ask what they hold.
        let ask_again = self.is_unconfirmed()? && !was_settled && self.is_settled()?;
        Ok(if ask_again { Reply::StartOver } else { Reply::Done })
    }

    /// Whether the cloud has our open epochs, and so has ended those before.
    fn is_settled(&self) -> Result<bool> {
        let rows = self.rows();
        let receipted = |epoch| Ok::<_, Error>(rows.get::<ReceiptRow>(&epoch)?.is_some());
        Ok(receipted(self.ledger.epoch)? && receipted(self.telemetry.epoch)?)
    }
}
