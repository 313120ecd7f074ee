//! A device that is retired: it records nothing new, gives back what it was lent, and closes its
//! logs once it has written all it had. What the cloud decided about a device is folded here, so also
//! whether it is a processing server, which is lent nothing.
//!
//! Invariant: it is retired from the commit that holds the cloud's decision, restarts or
//! not. A log's closing is its last record; it waits while the device may still have to
//! record again what it had set aside. That the cloud has it all is told by receipts.

use super::rights::returning;
use super::{Device, Now};
use crate::fold::{Origin, View};
use crate::log::journal::JournalFile;
use crate::store::Store;
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use tallyroll_schema::event::leases::LeaseRefused;
use tallyroll_schema::event::log::{LogClass, LogClosed};
use tallyroll_schema::{Credits, Event, Position, Record, SubjectId, UserAlias};

/// What a device is told that asks for something new.
const RETIRED: &str = "this device is retired: it delivers what it has and records nothing new; to take part again \
    it joins anew, with a new data directory and an invitation by `tallyroll enroll`";

/// What somebody is told who wants to spend, or to know a balance, at a processing server.
const PROCESSING: &str = "this is a processing server: it is lent no credits and told no balances; it acts in other \
    devices' jobs, with `tallyroll-edge act`, and pages that users pay for are recorded at those devices";

/// How far a retired device has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retirement {
    /// It still has something the cloud has not confirmed.
    Draining,
    /// All it had is at the cloud.
    Delivered,
}

/// What the cloud decided about this device.
#[derive(Debug, Clone, Default)]
pub(super) struct Decided {
    retired: Option<Position>,
    /// Whether it was enrolled as a processing server.
    processing: bool,
    /// The newest refusal of credits to each user, and where it stands.
    refused: BTreeMap<UserAlias, (Position, LeaseRefused)>,
    /// Whose names are to be erased, and which aliases of theirs the cloud knows.
    pub(super) forgotten: BTreeMap<Position, (SubjectId, Vec<UserAlias>)>,
}

impl Decided {
    pub(super) fn refused(&self, user: UserAlias) -> Option<&LeaseRefused> {
        self.refused.get(&user).map(|(_, refused)| refused)
    }
}

impl View for Decided {
    const NAME: &'static str = "decided";
    const VERSION: u32 = 1;
    const CLASSES: &'static [LogClass] = &[LogClass::Device];

    fn fold(&mut self, origin: &Origin, record: &Record<'_>) {
        match record.event() {
            Ok(Event::DeviceRetired(_)) => {
                let first =
                    self.retired.map_or(origin.position, |known| known.min(origin.position));
                self.retired = Some(first);
            }
            Ok(Event::DeviceEnrolled(e)) => self.processing |= e.processing == Some(true),
            Ok(Event::LeaseRefused(refused)) => {
                let known = self.refused.get(&refused.user);
                if known.is_none_or(|(at, _)| *at < origin.position) {
                    self.refused.insert(refused.user, (origin.position, refused));
                }
            }
            Ok(Event::SubjectForgotten(e)) => {
                let told = (e.subject, e.aliases.unwrap_or_default());
                self.forgotten.insert(origin.position, told);
            }
            _ => {}
        }
    }

    /// Small, and folded again at each start: no snapshot.
    fn archive(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(_archive: &[u8]) -> Option<Self> {
        None
    }
}

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Refuses what is new at a device that is retired.
    ///
    /// # Errors
    /// [`Error::Rejected`], with what to do.
    pub fn refuse_if_retired(&self) -> Result<()> {
        // Also where the decision is not here any more: what a closed log says next the cloud refuses for ever.
        match self.decided.view().retired.is_some() || self.ledger.closed {
            true => Err(Error::Rejected(RETIRED.into())),
            false => Ok(()),
        }
    }

    /// Whether it is a processing server, as far as it has heard.
    pub fn is_processing(&self) -> bool {
        self.decided.view().processing
    }

    /// Refuses what a processing server is not for: nobody's credits are here.
    ///
    /// # Errors
    /// [`Error::Rejected`], with what to do.
    pub fn refuse_if_processing(&self) -> Result<()> {
        match self.is_processing() {
            true => Err(Error::Rejected(PROCESSING.into())),
            false => Ok(()),
        }
    }

    /// Closes the logs of a retired device, once it can have nothing more to write.
    pub(super) fn close_if_retired(&mut self, now: Now) -> Result<()> {
        let Some(decision) = self.decided.view().retired else { return Ok(()) };
        let own = [(LogClass::Ledger, &self.ledger), (LogClass::Telemetry, &self.telemetry)];
        let open = own.into_iter().filter(|(_, log)| !log.closed);
        let mut events: Vec<(LogClass, Event)> =
            open.map(|(class, _)| (class, LogClosed { decision }.into())).collect();
        if !self.ledger.closed {
            let leases = self.leases().into_iter();
            let left = leases.filter_map(|(user, lease)| returning(user, &lease, Credits::ZERO));
            events.splice(0..0, left.map(|closed| (LogClass::Ledger, closed.into())));
        }
        if !events.is_empty() && !self.is_unconfirmed()? && self.pending()?.is_empty() {
            match self.write(now, &events) {
                Err(error) if error.kind() == Kind::Full => {} // next time, or at the next start
                written => drop(written?),
            }
        }
        Ok(())
    }

    pub(super) fn retirement(&self) -> Result<Option<Retirement>> {
        if self.decided.view().retired.is_none() {
            return Ok(None);
        }
        for own in [&self.ledger, &self.telemetry] {
            let log = self.open_status(own)?;
            if !own.closed || log.durable_cloud < log.durable_local {
                return Ok(Some(Retirement::Draining));
            }
        }
        Ok(Some(Retirement::Delivered))
    }
}
