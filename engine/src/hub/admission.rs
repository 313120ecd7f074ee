//! What the cloud takes from a device: which logs, and under which keys.
//!
//! Invariant: a device brings its own ledger and telemetry, one of each, and gives
//! back what this cloud wrote to it. Once a change of its keys was taken in, nothing
//! is that does not descend from it: who has an old key can say nothing more. That a
//! device changed its keys is in the accounts, by the commit that took it in.

use super::stage::Staged;
use super::sync::NewLogs;
use super::{DeviceRecord, Hub};
use crate::device::Now;
use crate::log::Tip;
use crate::merge::{Admission, Refusal};
use crate::planted::{Bug, planted};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use tallyroll_schema::event::fleet::{DeviceCertificateUsed, DeviceKeysRotated};
use tallyroll_schema::event::log::{KeyRotated, LogClass, LogOpened};
use tallyroll_schema::{DeviceId, EpochId, Hash, LogId, Position};

/// What is told to who has a device's old keys.
const OLD_KEYS: &str = "it is written with keys from before this device's were changed: this is a copy of it, or one put back from \
    a backup made before; put back a backup made since, or join anew with a new data directory and an invitation by \
    `tallyroll enroll`";

/// What is told to who shows a certificate that is the device's no more.
pub(super) fn old_keys(name: &str) -> Error {
    Error::Rejected(format!(
        "the keys of this device, {name}, were changed, and this one shows others: it is a copy, or was put back from a \
         backup made before, or its keys were changed at a copy of it; put back a backup made since, or join anew with \
         a new data directory and an invitation by `tallyroll enroll`"
    ))
}

/// What a device brings, beside what others bring in the same commit.
pub(super) struct Brought<'a, S> {
    pub(super) hub: &'a Hub<S>,
    pub(super) device: DeviceId,
    pub(super) new_logs: &'a NewLogs,
}

impl<S: Store> Admission for Brought<'_, S> {
    fn may_bring(&self, log: LogId, genesis: &LogOpened) -> Result<(), Refusal> {
        let (hub, device) = (self.hub, self.device);
        let denied = |why: &str| Err(Refusal::Denied(why.into()));
        if hub.fleet().device(device).is_none() {
            return denied("this device is not enrolled");
        }
        let ours = match genesis.class {
            LogClass::Public => log == hub.logs.public.0,
            LogClass::Device => genesis.about == Some(device),
            LogClass::Accounts | LogClass::Ledger | LogClass::Telemetry => false,
        };
        let by_us = genesis.writer == hub.public_key() || planted(Bug::DeviceAuthorsDecisions);
        if ours && by_us {
            return Ok(()); // given back
        }
        let own = matches!(genesis.class, LogClass::Ledger | LogClass::Telemetry);
        let writer = DeviceId::of_key(hub.tenant(), &genesis.writer);
        let by_it = writer == device || planted(Bug::OthersLogsBrought);
        if !own || !by_it {
            return denied("a device brings its own ledger and telemetry");
        }
        let place = (writer, genesis.class);
        match hub.written_by.get(&place).or_else(|| self.new_logs.get(&place)) {
            Some(first) if *first != log && !planted(Bug::SecondLedger) => {
                denied("this device has a log of this class already")
            }
            _ => Ok(()),
        }
    }

    fn may_ignore_rotation(&self) -> Result<(), Refusal> {
        Err(Refusal::Poison(OLD_KEYS.into()))
    }

    fn may_rotate(&self, event: &KeyRotated) -> Result<(), Refusal> {
        let shown = event.tls_fingerprint.and_then(|shown| self.hub.fleet().shown_by(&shown));
        match shown {
            Some(device) if device != self.device => {
                Err(Refusal::Poison("its new TLS certificate is another device's".into()))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Store> Hub<S> {
    /// Puts into the accounts that a device changed its keys.
    pub(super) fn note_rotation(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        device: DeviceId,
        ((log, epoch), tip): ((LogId, EpochId), Tip),
        event: KeyRotated,
    ) -> Result<()> {
        let Some(tls_fingerprint) = event.tls_fingerprint else { return Ok(()) }; // its telemetry
        let noted = DeviceKeysRotated {
            device,
            signing_key: event.writer,
            tls_fingerprint: Some(tls_fingerprint),
            rotation: Position { log, epoch, seq: tip.next_seq.saturating_sub(1) },
        };
        self.stage_events(rows, staged, now, self.logs.accounts, &[noted.into()])?;
        staged.rekeyed.push(device);
        Ok(())
    }

    /// The device that had a TLS certificate which is nobody's any more, and its name.
    pub fn shown_before(&self, fingerprint: &Hash) -> Option<(DeviceId, String)> {
        let device = self.fleet().shown_by(fingerprint)?;
        let record = self.fleet().device(device).filter(|record| !record.accepts(fingerprint))?;
        Some((device, record.name.clone()))
    }

    /// The device that shows a TLS certificate, if one is known by it; from the first time that it shows its newest
    /// one, those before are nobody's.
    ///
    /// # Errors
    /// [`Error::Rejected`] with what to tell who shows it; storage failed.
    pub fn recognise(
        &mut self,
        now: Now,
        fingerprint: &Hash,
    ) -> Result<Option<(DeviceId, &DeviceRecord)>> {
        let Some(device) = self.fleet().shown_by(fingerprint) else { return Ok(None) };
        let record = self.fleet().known(device)?;
        if !record.accepts(fingerprint) {
            return Err(old_keys(&record.name));
        }
        if record.tls_fingerprint == *fingerprint && !record.older_tls_fingerprints.is_empty() {
            let tls_fingerprint = *fingerprint;
            match self.account(now, &[DeviceCertificateUsed { device, tls_fingerprint }.into()]) {
                Err(Error::Full(_)) => {} // at the next connection
                noted => drop(noted?),
            }
        }
        Ok(Some((device, self.fleet().known(device)?)))
    }
}
