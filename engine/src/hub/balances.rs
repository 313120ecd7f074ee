//! Balances told: the cloud's words to devices about what their users have left.
//!
//! Invariant: a device that asked is answered; one where the user was served of late is told when the cloud
//! charged or voided something, but not while a job of that user runs there, unless it has stopped for want
//! of credits: then the cloud waits for its end, or sets the sync request flag and is done, as the tenant
//! laid down. What is told is what the books
//! say at that moment. Whom the cloud owes a word follows from the logs, so a restart forgets none.

use super::Hub;
use crate::Result;
use crate::counts::{Acquaintance, CreditSum};
use crate::device::Now;
use crate::store::Store;
use std::collections::BTreeMap;
use tallyroll_schema::event::balances::{
    BalanceSyncRequested, BalanceTold, SyncMode, SyncModePublished,
};
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::limits::BALANCE_TOLD_HOURS;
use tallyroll_schema::{Credits, DeviceId, Event, Position, SubjectId, UserAlias};

/// A user's figures, thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Figures {
    balance: i128,
    held: i128,
}

impl<S: Store> Hub<S> {
    /// Lays down how devices that are busy come by new balances; `None` if they do so already.
    ///
    /// # Errors
    /// Not now, while the public log is frozen; storage failed.
    pub fn publish_sync_mode(&mut self, now: Now, mode: SyncMode) -> Result<Option<Position>> {
        if self.counts().balances().mode() == mode {
            return Ok(None);
        }
        self.decide(now, self.logs.public, &[SyncModePublished { mode }.into()]).map(Some)
    }

    /// Tells devices what changed for their users since they were told; to be called after each commit.
    ///
    /// # Errors
    /// Storage failed; without room what is untold is told after the next commit.
    pub fn tell_balances(&mut self, now: Now) -> Result<()> {
        if self.recovery.frozen_since.is_some() || !core::mem::take(&mut self.untold) {
            return Ok(());
        }
        let users = self.counts().balances().users().iter();
        let owed = users.filter(|((device, _), known)| {
            self.is_surveyed(*device) && (known.is_asked() || is_served(now, known))
        });
        let owed: Vec<_> = owed.map(|(user, known)| (*user, *known)).collect();
        if owed.is_empty() {
            return Ok(()); // most clouds, most of the time: the sums cost a walk over all users
        }
        let funds = self.funds().into_iter().map(|(account, funds)| {
            (account, Figures { balance: funds.balance(), held: funds.held })
        });
        let funds: BTreeMap<SubjectId, Figures> = funds.collect();
        let mut words: BTreeMap<DeviceId, Vec<Event>> = BTreeMap::new();
        for (user, known) in &owed {
            if let Some(word) = self.word(*user, known, &funds) {
                words.entry(user.0).or_default().push(word);
            }
        }
        for (device, words) in words {
            let told = self.log_about(device).and_then(|log| self.decide(now, log, &words));
            self.untold |= told.is_err();
            told?;
        }
        Ok(())
    }

    /// Notes what may have changed a balance that a device was told.
    pub(super) fn note_untold(&mut self, genesis: &LogOpened) {
        let device = || DeviceId::of_key(self.config.tenant, &genesis.writer);
        self.untold |= match genesis.class {
            LogClass::Accounts => true,
            LogClass::Ledger => self.counts.view().balances().is_acquainted(device()),
            LogClass::Telemetry | LogClass::Public | LogClass::Device => false,
        };
    }

    fn word(
        &self,
        (device, user): (DeviceId, UserAlias),
        known: &Acquaintance,
        funds: &BTreeMap<SubjectId, Figures>,
    ) -> Option<Event> {
        self.fleet().active(device).ok().filter(|device| !device.processing)?;
        let account = self.counts().account(device, user)?;
        let figures = funds.get(&account).copied().unwrap_or_default();
        let up_to = self.taken_in(device)?;
        let (balance, held) = (credits(figures.balance), credits(figures.held));
        let available = credits(figures.balance - figures.held);
        let told = BalanceTold { device, user, balance, held, available, up_to };
        if known.is_asked() {
            return Some(told.into());
        }
        let same =
            known.told.is_some_and(|before| before.balance == balance && held >= before.held);
        // A stop acts on a running job at once, and so does its end.
        let busy =
            self.counts().is_running(device, user) && !self.counts().is_stopped(device, user);
        // What a job that runs charged provisionally is no news to its own device, but what became of it is.
        if same && !(known.is_overtaken() && (!busy || known.is_acted_for())) {
            return None;
        }
        match (busy, self.counts().balances().mode()) {
            (false, _) => Some(told.into()),
            (true, SyncMode::Flag) if !known.is_flagged() => {
                Some(BalanceSyncRequested { device, user, up_to }.into())
            }
            (true, _) => None,
        }
    }

    /// The last event of a device's ledger that is taken in.
    fn taken_in(&self, device: DeviceId) -> Option<Position> {
        let log = *self.written_by.get(&(device, LogClass::Ledger))?;
        let epoch = *self.counts().rights().newest(device)?;
        let next = *self.counts.cut().get(&(log, epoch))?;
        Some(Position { log, epoch, seq: next.checked_sub(1)? })
    }
}

/// [`BALANCE_TOLD_HOURS`] in milliseconds.
const SERVED: u64 = BALANCE_TOLD_HOURS * 3_600_000;

/// Whether the user was at the device of late.
fn is_served(now: Now, known: &Acquaintance) -> bool {
    now.wall.0.saturating_sub(known.served_at.0) <= SERVED
}

fn credits(thousandths: i128) -> Credits {
    CreditSum::from_thousandths(thousandths).nearest()
}
