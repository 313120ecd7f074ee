//! The cloud's end of sync sessions: what it offers a device and takes from it.
//!
//! Invariant: from a session comes only what its device wrote, its one ledger and
//! its one telemetry log, and what this cloud wrote to it; what else it brings, and all
//! that a revoked one does, is kept apart ([`super::quarantine`]). Effects of many
//! sessions share one store commit, and each is answered after it.

use super::Hub;
use super::admission::Brought;
use super::people::names_of;
use super::quarantine::refusal_of;
use super::stage::{GivenBack, Staged};
use crate::device::Now;
use crate::fetch::fetch;
use crate::log::Tip;
use crate::merge::{Ahead, Burst, Refusal, admit};
use crate::planted::{Bug, planted};
use crate::store::rows::{
    ChildRow, CloudRecovery, LogRow, QuarantineEntry, QuarantineRow, ReceiptRow, TipRow,
    split_epoch_key,
};
use crate::store::{Changes, Rows, Store};
use crate::sync::{Effect, Offer, OfferKind, Opening, Reply};
use crate::{Error, Result};
use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::BTreeMap;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Commit, DeviceId, Head, LogId, Wall};

pub(super) type NewLogs = BTreeMap<(DeviceId, LogClass), LogId>;

const GIVEN_BACK: &str = "a device held more of this cloud's logs than the cloud did";
/// Between two foldings of everything: at least so long, and so long for each record, which takes about
/// twenty times as long as folding it.
const SETTLE_PAUSE: Duration = Duration::from_secs(10);
const PAUSE_PER_RECORD: Duration = Duration::from_micros(20);

impl<S: Store> Hub<S> {
    /// What a session with a device begins with. One that is revoked is told nothing but what was
    /// taken in of it; what it has beyond that is asked for, and kept apart.
    ///
    /// # Errors
    /// An unknown device; storage failed.
    pub fn opening(&self, device: DeviceId) -> Result<Opening> {
        self.fleet().known(device)?;
        let rows = self.rows();
        let (mut held, mut receipts) = (Vec::new(), Vec::new());
        for class in [LogClass::Ledger, LogClass::Telemetry] {
            let Some(log) = self.written_by.get(&(device, class)) else { continue };
            rows.scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, row| {
                held.extend(split_epoch_key(key).map(|epoch| (epoch, Tip::from(row))));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        for (epoch, _) in &held {
            if !planted(Bug::ReceiptsSaidOnce) {
                receipts.extend(rows.get::<ReceiptRow>(epoch)?.map(|ReceiptRow(receipt)| receipt));
            }
        }
        let held_up = self.held_up(device)?;
        if self.is_revoked(device) {
            held.extend(self.kept_of(device)?); // after what was taken in: the later place holds
            return Ok(Opening { held, receipts, held_up, settled: true, ..Opening::default() });
        }
        let mut offers = self.offers(device)?;
        let ours: Vec<_> = offers.iter().map(|offer| offer.head).collect();
        // Its own logs are given back to a device that was restored or copied.
        for (epoch, tip) in &held {
            let LogRow(genesis) = rows
                .get(&epoch.0)?
                .ok_or_else(|| Error::corrupt("log", "its genesis row is missing"))?;
            let head = tip.head(epoch.0, epoch.1);
            let (class, kind) = (genesis.class, OfferKind::GivenBack);
            offers.extend(head.map(|head| Offer { head, class, kind }));
        }
        // And it gives ours back to us, if we lost them.
        held.extend(ours.into_iter().map(|Head { position, hash }| {
            let next_seq = position.seq.saturating_add(1);
            ((position.log, position.epoch), Tip { next_seq, hash })
        }));
        let accounts = Some(self.logs.accounts.1);
        let settled = true;
        let names = Some(names_of(&rows, device)?);
        Ok(Opening {
            offers,
            held,
            receipts,
            settled,
            accounts,
            names,
            held_up,
            ..Opening::default()
        })
    }

    /// The heads of the logs a device may have: the public one and its own.
    ///
    /// # Errors
    /// Storage failed.
    pub fn offers(&self, device: DeviceId) -> Result<Vec<Offer>> {
        let public = (self.logs.public, LogClass::Public);
        let own = self.device_logs.get(&device).map(|epoch| (*epoch, LogClass::Device));
        let mut offers = Vec::new();
        for (open, class) in [Some(public), own].into_iter().flatten() {
            let log = open.0;
            self.rows().scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, row| {
                let epoch = split_epoch_key(key);
                let head = epoch.and_then(|(log, epoch)| Tip::from(row).head(log, epoch));
                let kind = if epoch == Some(open) { OfferKind::Open } else { OfferKind::Ended };
                offers.extend(head.map(|head| Offer { head, class, kind }));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(offers)
    }

    /// Carries out what sessions asked for, with one commit, and counts it; replies in order.
    ///
    /// # Errors
    /// [`Error::Full`] or storage failed; nothing may be acknowledged then. A peer's fault is a [`Reply`].
    pub fn perform(&mut self, now: Now, effects: Vec<(DeviceId, Effect)>) -> Result<Vec<Reply>> {
        let effects =
            effects.into_iter().map(|(device, effect)| (device, effect, Ahead::default()));
        let replies = self.take(now, effects.collect())?;
        self.catch_up()?;
        self.settle_counts(now)?;
        Ok(replies)
    }

    /// Carries out what sessions asked for, with one commit; replies in order. What devices brought, as far as it is
    /// unpacked already, is counted by [`Self::catch_up`], and nothing but more of this may come before that.
    ///
    /// # Errors
    /// As of [`Self::perform`].
    pub fn take(
        &mut self,
        now: Now,
        effects: Vec<(DeviceId, Effect, Ahead)>,
    ) -> Result<Vec<Reply>> {
        self.refuse_if_closed()?;
        if effects
            .iter()
            .any(|(_, effect, _)| !matches!(effect, Effect::Persist(_) | Effect::Fetch(_)))
        {
            self.catch_up()?; // the others may decide by figures
        }
        let mut rows = self.rows();
        let (mut staged, mut new_logs) = (self.stage(), NewLogs::new());
        let mut reported = Vec::new();
        let mut replies = Vec::with_capacity(effects.len());
        for (device, effect, ahead) in effects {
            if self.is_revoked(device) && !matches!(effect, Effect::Persist(_)) {
                replies.push(Reply::Done);
                continue;
            }
            replies.push(match effect {
                Effect::Persist(burst) => {
                    let brought = (burst, ahead);
                    self.persist(&mut rows, &mut staged, &mut new_logs, now, device, brought)?
                }
                Effect::Fetch(ask) => fetch(&rows, &[&self.config.signer], ask)?,
                Effect::StoreDirectory(entries) => self.store_names(&mut rows, device, entries)?,
                Effect::Surveyed => {
                    reported.push(device);
                    Reply::Done
                }
                Effect::PrunedThere(log, epoch) => {
                    self.note_gap(&mut rows, now, device, (log, epoch))?;
                    Reply::Done
                }
                Effect::Act(_) => Reply::Done, // it may wait: its driver asks `Hub::act` beside these
                // The device's; the session refuses them.
                Effect::KeepReceipt(_)
                | Effect::DirectoryStored(_)
                | Effect::Names(_)
                | Effect::Diverged(..)
                | Effect::CaughtUp(..)
                | Effect::GiveBack(_)
                | Effect::Acted(_)
                | Effect::Accounts { .. } => Reply::Done,
            });
        }
        if !staged.given_back.is_empty() && self.recovery.frozen_since.is_none() {
            // Should this process end before it froze, the next one does.
            let (frozen_since, why) = (Some(Wall(0)), GIVEN_BACK.to_owned());
            rows.put(&(), &CloudRecovery { frozen_since, why, ..self.recovery.clone() });
        }
        let changes = rows.into_changes();
        for GivenBack { by, .. } in &staged.given_back {
            self.giving.insert(*by); // it tells when that was all
            self.surveyed.remove(by);
        }
        self.finish_taking_in(now, changes, staged, new_logs)?;
        for device in reported {
            self.reported(now, device)?;
        }
        Ok(replies)
    }

    /// Folds figures anew that may count something twice, but not so often that a hostile copy could keep
    /// this cloud busy with it.
    ///
    /// # Errors
    /// Storage failed.
    pub fn settle_counts(&mut self, now: Now) -> Result<()> {
        if self.settle_due().is_none_or(|due| now.monotonic < due) {
            return Ok(());
        }
        let settled = self.counts.settle(&Rows::new(self.config.tenant, &self.store));
        self.closing(settled)?;
        let records = self.counts.cut().values().sum::<u64>();
        let pause = SETTLE_PAUSE
            .max(PAUSE_PER_RECORD.saturating_mul(u32::try_from(records).unwrap_or(u32::MAX)));
        self.settle_after = now.monotonic.saturating_add(pause);
        Ok(())
    }

    /// When [`Self::settle_counts`] has something to do, by the monotonic clock.
    pub fn settle_due(&self) -> Option<Duration> {
        self.counts.is_doubtful().then_some(self.settle_after)
    }

    /// Commits what devices brought; notices if it was ours, and lost.
    pub(super) fn finish_taking_in(
        &mut self,
        now: Now,
        changes: Changes,
        staged: Staged,
        new_logs: NewLogs,
    ) -> Result<()> {
        self.quarantine_overflow += staged.overflow;
        if changes.is_empty() {
            return Ok(());
        }
        let (given_back, rekeyed) = (staged.given_back.clone(), staged.rekeyed.clone());
        self.finish(changes, staged)?;
        self.written_by.extend(new_logs);
        if !rekeyed.is_empty() {
            self.catch_up()?; // it is told of, which is a decision
        }
        let lost = !given_back.is_empty() && self.recovery.frozen_since.is_none();
        given_back.iter().for_each(|given| self.take_over(given));
        for GivenBack { about, place, .. } in given_back {
            about.map_or(Ok(()), |device| self.retire_if_told(now, device, place.0))?;
        }
        if lost {
            // Unfrozen, nothing may be written: also without room only a start helps.
            self.freeze(now, GIVEN_BACK).inspect_err(|_| self.closed = true)?;
            self.thaw_if_all_reported(now)?;
        }
        match self.tell_enrolled(now, &rekeyed) {
            Err(Error::Full(_)) => Ok(()), // at the next start
            told => told,
        }
    }

    /// An epoch of our own that was given back: if it is the newest of its log, we go on from it.
    fn take_over(&mut self, GivenBack { about, place, .. }: &GivenBack) {
        let place = *place;
        let open = match about {
            Some(device) => self.device_logs.entry(*device).or_insert(place),
            None => &mut self.logs.public,
        };
        if open.0 == place.0 && open.1.counter < place.1.counter {
            *open = place;
        }
    }

    fn persist(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        new_logs: &mut NewLogs,
        now: Now,
        device: DeviceId,
        (burst, ahead): (Burst, Ahead),
    ) -> Result<Reply> {
        let (epoch, bytes) = (burst.epoch(), burst.len());
        let revoked = self.is_revoked(device) && !planted(Bug::RevokedBelieved);
        let QuarantineRow(kept) = rows.get(&device)?.unwrap_or_default();
        let entry = kept.iter().find(|entry| entry.place() == epoch);
        if let Some(entry) = entry.filter(|entry| !(revoked && entry.revoked)) {
            return Ok(Reply::Refused { epoch, refusal: refusal_of(entry), bytes });
        }
        if revoked {
            return self.keep_of_revoked(rows, staged, now, device, burst);
        }
        match self.take_in(rows, staged, new_logs, now, device, (burst.clone(), ahead))? {
            Reply::Refused { refusal: why @ (Refusal::Poison(_) | Refusal::Denied(_)), .. } => {
                let refusal = self.set_apart(rows, staged, now, device, burst, &why)?;
                Ok(Reply::Refused { epoch, refusal, bytes })
            }
            Reply::Refused { refusal: why @ Refusal::Orphan { .. }, .. } => {
                // It may hang on what is kept apart, and waits for the same decision.
                let (log, id) = epoch;
                let before =
                    |kept: &&QuarantineEntry| kept.log == log && kept.epoch.counter < id.counter;
                let refusal = kept.iter().find(before).map_or(why, refusal_of);
                Ok(Reply::Refused { epoch, refusal, bytes })
            }
            reply => Ok(reply),
        }
    }

    /// Admits a burst, numbers it and signs its receipt; whose word this is, is the caller's.
    pub(super) fn take_in(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        new_logs: &mut NewLogs,
        now: Now,
        device: DeviceId,
        (burst, ahead): (Burst, Ahead),
    ) -> Result<Reply> {
        let (epoch, bytes) = (burst.epoch(), burst.len());
        let tip = rows.get::<TipRow>(&epoch)?.map_or(Tip::START, Tip::from);
        let ended = rows.get::<ChildRow>(&epoch)?.is_some() && !planted(Bug::EndedEpochGrows);
        let genesis = rows.get::<LogRow>(&epoch.0)?;
        let ours = genesis.is_some_and(|LogRow(genesis)| genesis.writer == self.public_key());
        // An epoch of ours ends where somebody may hold more of it: that is taken in.
        if ended && !ours && burst.head.head.position.seq >= tip.next_seq {
            let refusal = Refusal::Ended { seq: tip.next_seq };
            return Ok(Reply::Refused { epoch, refusal, bytes });
        }
        let allowed = Brought { hub: self, device, new_logs };
        let admitted = match admit(rows, (burst, ahead), &allowed) {
            Ok(admitted) => admitted,
            Err(Error::Refused(refusal)) => return Ok(Reply::Refused { epoch, refusal, bytes }),
            Err(error) => return Err(error),
        };
        if admitted.genesis.writer != self.public_key() {
            let writer = DeviceId::of_key(self.config.tenant, &admitted.genesis.writer);
            new_logs.insert((writer, admitted.genesis.class), epoch.0);
        }
        let any_new = !admitted.new.is_empty();
        if any_new && admitted.genesis.writer == self.public_key() {
            let about = admitted.genesis.about;
            staged.given_back.push(GivenBack { by: device, about, place: epoch });
        }
        for opened in admitted.new {
            staged.accept(rows, now, &admitted.genesis, opened)?;
        }
        let commit_of_burst = staged.commit;
        if let Some(event) = admitted.rotated {
            self.note_rotation(rows, staged, now, device, (epoch, admitted.tip), event)?;
        }
        let Tip { next_seq, hash } = admitted.tip;
        let held = rows.get::<ReceiptRow>(&epoch)?.map(|ReceiptRow(receipt)| receipt);
        let receipt = match admitted.tip.head(epoch.0, epoch.1) {
            _ if admitted.genesis.writer == self.public_key() => None,
            Some(head) if any_new || held.is_none() => {
                let commit = Commit { position: commit_of_burst, received_at: now.wall };
                let receipt = self.sign(head, commit);
                rows.put(&epoch, &ReceiptRow(receipt));
                Some(receipt)
            }
            _ => held,
        };
        Ok(Reply::Persisted { epoch, next_seq, hash, receipt, bytes })
    }

    fn sign(&self, head: Head, commit: Commit) -> tallyroll_schema::Receipt {
        self.config.signer.sign_receipt(self.config.tenant, head, commit)
    }
}
