//! What this device knows of its users' balances, and when it asks.
//!
//! Invariant: a balance is as the cloud told it, less what this device charged after the events that are in
//! it; what was provisional there comes free by the cloud's word only. A word that comes while a job of its
//! user runs is taken in when the job ends; at once, if the job has stopped for want of credits. What a device may spend is not in here, see [`super::rights`].

use super::{Device, Now};
use crate::Result;
use crate::counts::{Counts, CreditSum, Told};
use crate::fold::{Origin, View};
use crate::log::journal::JournalFile;
use crate::log::open;
use crate::store::rows::{BatchRow, epoch_key, split_epoch_key};
use crate::store::{Row, Store};
use core::ops::ControlFlow;
use serde::Serialize;
use std::collections::BTreeMap;
use tallyroll_schema::event::balances::BalanceAsked;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Credits, EpochId, Event, Position, Record, Records, UserAlias, Wall};

/// A user's balance as far as this device knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KnownBalance {
    /// Granted less settled, as told.
    pub balance: CreditSum,
    /// Provisionally charged, as told.
    pub held: CreditSum,
    /// What is left of it, less what this device charged since.
    pub available: CreditSum,
    /// When it was told, by the cloud's clock.
    pub told_at: Wall,
    /// Whether the sync request flag is set: there is a newer one, to be asked for after the job.
    pub flag: bool,
}

/// What was known when the jobs that run now began, by their users.
pub(super) type KnownBefore = BTreeMap<UserAlias, Option<Told>>;

impl<F: JournalFile, S: Store> Device<F, S> {
    /// A user's balance, if the cloud told it.
    ///
    /// # Errors
    /// Storage failed.
    pub fn known_balance(&self, user: UserAlias) -> Result<Option<KnownBalance>> {
        let known = self.counts().balances().of(self.id, user);
        let told = self.known_before.get(&user).copied().unwrap_or(known.told);
        let Some(told) = told else { return Ok(None) };
        let sum = |credits: Credits| i128::from(credits.thousandths());
        let since = self.charged_after(told.up_to, user)?;
        Ok(Some(KnownBalance {
            balance: CreditSum::from_thousandths(sum(told.balance)),
            held: CreditSum::from_thousandths(sum(told.held)),
            available: CreditSum::from_thousandths(sum(told.available) - since),
            told_at: told.at,
            flag: known.is_flagged(),
        }))
    }

    /// Whether one was told that holds here only once the user's last job has ended.
    pub fn balance_waits(&self, user: UserAlias) -> bool {
        let newest = self.counts().balances().of(self.id, user).told;
        self.known_before.get(&user).is_some_and(|known| *known != newest)
    }

    /// Asks the cloud for a user's balance, as at login; unless it was asked and has not answered yet.
    ///
    /// # Errors
    /// As [`Device::commit`].
    pub fn ask_balance(&mut self, now: Now, user: UserAlias) -> Result<()> {
        if !self.counts().balances().of(self.id, user).is_asked() {
            self.commit(now, &[(LogClass::Ledger, BalanceAsked { user }.into())])?;
        }
        Ok(())
    }

    /// Users whose sync request flag is set and whose last job has ended: they are to be asked for.
    pub fn balances_to_ask(&self) -> Vec<UserAlias> {
        let users = self.counts().balances().users().iter();
        let flagged = users.filter(|((device, _), known)| *device == self.id && known.is_flagged());
        let idle = flagged.filter(|((_, user), _)| !self.counts().is_running(self.id, *user));
        idle.map(|((_, user), _)| *user).collect()
    }

    /// After a commit: what is known when a job begins holds until the user's last job has ended.
    pub(super) fn hold_balances(&mut self, known: KnownBefore) {
        for (user, told) in known {
            self.known_before.entry(user).or_insert(told);
        }
        let counts = self.counts.view();
        self.known_before.retain(|user, _| counts.is_running(self.id, *user));
    }

    /// After words of the cloud: of users whose jobs have stopped, they hold at once.
    pub(super) fn take_in_balances(&mut self) {
        let counts = self.counts.view();
        for (user, known) in &mut self.known_before {
            if counts.is_stopped(self.id, *user) {
                *known = counts.balances().of(self.id, *user).told;
            }
        }
    }

    /// What is known of the users whose jobs begin with these events.
    pub(super) fn known_now(&self, events: &[(LogClass, Event)]) -> KnownBefore {
        let begins = events.iter().filter_map(|(_, event)| match event {
            Event::JobBegun(begun) => Some(begun.user),
            _ => None,
        });
        begins.map(|user| (user, self.counts().balances().of(self.id, user).told)).collect()
    }

    /// What a user was charged by this device, provisionally, too, after an event of its ledger. The end of
    /// a job voids nothing here: the server may have sent of it.
    fn charged_after(&self, up_to: Position, user: UserAlias) -> Result<i128> {
        let mut apart = Counts::default();
        self.own_after(up_to, &mut |position, record| {
            if !matches!(record.event(), Ok(Event::JobEnded(_))) {
                let (device, class) = (Some(self.id), LogClass::Ledger);
                apart.fold(&Origin { device, class, position }, record);
            }
        })?;
        let theirs = apart.usage().iter().filter(|(key, _)| key.user == user);
        Ok(theirs.map(|(_, usage)| usage.charged + usage.held).sum())
    }

    /// Visits the ledger's records after a position, those of later epochs and of the tail, too.
    fn own_after(
        &self,
        up_to: Position,
        visit: &mut dyn FnMut(Position, &Record<'_>),
    ) -> Result<()> {
        let (log, rows) = (self.ledger.epoch.0, self.rows());
        let mut epochs: Vec<EpochId> = Vec::new();
        rows.scan::<crate::store::rows::TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, _| {
            epochs.extend(split_epoch_key(key).map(|(_, epoch)| epoch));
            Ok(ControlFlow::Continue(()))
        })?;
        for epoch in epochs.into_iter().filter(|epoch| *epoch >= up_to.epoch) {
            let from = if epoch == up_to.epoch { up_to.seq.saturating_add(1) } else { 0 };
            let prefix = epoch_key(log, epoch);
            let holding = BatchRow::key(&(log, epoch, from.saturating_add(1)));
            let holding = rows.last_before::<BatchRow>(&prefix, &holding)?;
            let first = holding.map_or(0, |row| row.batch.header().first_seq);
            rows.scan::<BatchRow>(&prefix, &BatchRow::key(&(log, epoch, first)), &mut |_, row| {
                let first_seq = row.batch.header().first_seq;
                let opened = open(row.batch).map_err(|why| crate::Error::corrupt("batch", why))?;
                for (seq, record) in (first_seq..).zip(Records::new(&opened.records).flatten()) {
                    if seq >= from {
                        visit(Position { log, epoch, seq }, &record);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if epoch == self.ledger.epoch.1 {
                let tail = Records::new(&self.ledger.tail).flatten();
                for (seq, record) in (self.ledger.tip.next_seq..).zip(tail) {
                    if seq >= from {
                        visit(Position { log, epoch, seq }, &record);
                    }
                }
            }
        }
        Ok(())
    }
}
