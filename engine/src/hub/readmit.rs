//! Devices that the accounts do not know any more, and that can prove that they did.
//!
//! Invariant: only while this cloud is frozen, and only on its own signature: a head
//! of a log that only it writes, over the enrolment that binds the device's two keys.
//! Nothing is unpacked, kept or told before that signature holds. What came after the
//! enrolment and stands in no log of the device's, a revocation, cannot be known.

use super::{Fleet, Hub, Standing};
use crate::device::Now;
use crate::keys::verify_head;
use crate::log::{Tip, open};
use crate::merge::Burst;
use crate::store::Store;
use crate::store::rows::CloudRecovery;
use crate::sync::Effect;
use crate::{Error, Result};
use tallyroll_schema::enrol::UNKNOWN_CERTIFICATE;
use tallyroll_schema::event::fleet::DeviceEnrolled;
use tallyroll_schema::wire::{EnrolmentProof, Hello};
use tallyroll_schema::{Batch, DeviceId, Event, Hash, Position, Records, Wall};

impl<S: Store> Hub<S> {
    /// Whether a device that is not known may prove that it was enrolled.
    pub fn may_readmit(&self) -> bool {
        self.recovery.frozen_since.is_some()
    }

    /// Whether devices that are not known may have been: something of the accounts may be lost.
    pub fn may_have_forgotten(&self) -> bool {
        // The first commit epoch lasts until then.
        self.logs.commit_epoch > 1 || self.may_readmit()
    }

    /// The device that a HELLO proves to have been enrolled here, by whatever certificate it came,
    /// and its name then.
    pub fn enrolled_once(&self, hello: &Hello) -> Option<(DeviceId, String)> {
        let (enrolled, ..) = self.proven(hello.enrolment.as_ref()?, hello.device)?;
        Some((enrolled.device, enrolled.name))
    }

    /// Since when the accounts hold all, if what was before is lost.
    pub fn accounts_since(&self) -> Option<Wall> {
        self.recovery.rebuilt
    }

    /// What to tell a device that is not known.
    pub fn unknown_device(&self) -> Error {
        let lost_before = self.may_have_forgotten() && !self.may_readmit();
        let hint = "; this cloud once lost some of its accounts: if the device was enrolled before that, \
            `tallyroll doctor --await-devices` at the cloud lets it come back";
        Error::Rejected(format!("{UNKNOWN_CERTIFICATE}{}", if lost_before { hint } else { "" }))
    }

    /// Freezes, and waits for devices that are not known until an administrator accepts that no
    /// more come.
    ///
    /// # Errors
    /// Storage failed.
    pub fn await_devices(&mut self, now: Now) -> Result<()> {
        self.refuse_if_closed()?;
        if self.recovery.frozen_since.is_none() {
            self.freeze(now, "an administrator awaits devices that the accounts do not know")?;
        }
        let recovery = CloudRecovery { awaiting: Some(true), ..self.recovery.clone() };
        let mut rows = self.rows();
        rows.put(&(), &recovery);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.recovery = recovery;
        Ok(())
    }

    /// Enters a device in the accounts again that is not known, and whose HELLO proves that it was
    /// enrolled with the certificate of this connection.
    ///
    /// # Errors
    /// [`Error::Rejected`] with what to tell it; storage failed.
    pub fn readmit(&mut self, now: Now, hello: &Hello, tls_fingerprint: Hash) -> Result<DeviceId> {
        self.refuse_if_closed()?;
        if !self.may_readmit() {
            return Err(self.unknown_device());
        }
        let proof = hello.enrolment.as_ref().ok_or_else(|| {
            Error::Rejected(format!(
                "{UNKNOWN_CERTIFICATE}, and it shows nothing that proves that it was; have it enrolled anew, with a new data \
                 directory and an invitation by `tallyroll enroll`"
            ))
        })?;
        let (enrolled, position, burst) = self
            .proven(proof, hello.device)
            .filter(|(enrolled, ..)| enrolled.tls_fingerprint == tls_fingerprint)
            .ok_or_else(|| {
                Error::Rejected(format!(
                    "{UNKNOWN_CERTIFICATE}, and what it shows does not prove that it was; `tallyroll doctor` at the \
                     cloud says more"
                ))
            })?;
        let device = enrolled.device;
        if self.fleet().device(device).is_some() {
            let why = "this device is enrolled with another certificate";
            return Err(Error::Rejected(why.into()));
        }
        let name = free_name(self.fleet(), enrolled.name, device);
        let readmitted = DeviceEnrolled { name, readmitted: Some(position), ..enrolled };
        self.account(now, &[readmitted.into()])?;
        // The proof is the beginning of its log: the rest is given back like any cloud's.
        self.perform(now, vec![(device, Effect::Persist(burst))])?;
        Ok(device)
    }

    /// The enrolment of this device that we signed, and where it stands.
    fn proven(
        &self,
        proof: &EnrolmentProof,
        device: DeviceId,
    ) -> Option<(DeviceEnrolled, Position, Burst)> {
        let tenant = self.config.tenant;
        if !verify_head(tenant, &self.public_key(), &proof.head) {
            return None;
        }
        let Position { log, epoch, .. } = proof.head.head.position;
        let (mut tip, mut found, mut batches) = (Tip::START, None, Vec::new());
        for bytes in &proof.batches {
            let opened = open(Batch::decode(bytes.0.clone()).ok()?).ok()?;
            let header = *opened.batch.header();
            if (header.log, header.epoch) != (log, epoch) {
                return None;
            }
            tip = tip.advance(tenant, &opened.batch, &opened.records)?;
            for (seq, record) in (header.first_seq..).zip(Records::new(&opened.records).flatten()) {
                if let Ok(Event::DeviceEnrolled(event)) = record.event() {
                    found = Some((event, Position { log, epoch, seq }));
                }
            }
            batches.push(opened.batch);
        }
        let (enrolled, position) = found?;
        let chained = tip.head(log, epoch) == Some(proof.head.head);
        let its_own = enrolled.device == device;
        let by_its_key = DeviceId::of_key(tenant, &enrolled.signing_key) == device;
        let burst = Burst { batches, head: proof.head };
        (chained && its_own && by_its_key).then_some((enrolled, position, burst))
    }

    /// Writes into the log of each device that it is enrolled, where that is not there yet: what
    /// was enrolled by an earlier version, too, can prove it from then on.
    pub(super) fn tell_enrolled(&mut self, now: Now) -> Result<()> {
        if self.recovery.frozen_since.is_some() {
            return Ok(());
        }
        let (mut rows, mut staged) = (self.rows(), self.stage());
        for (device, record) in self.fleet().devices() {
            let Some(place) = self.device_logs.get(device) else { continue };
            let is_enrolment = |event: &Event| matches!(event, Event::DeviceEnrolled(_));
            if record.standing != Standing::Active || self.tells(place.0, is_enrolment)? {
                continue;
            }
            let event = DeviceEnrolled {
                device: *device,
                name: record.name.clone(),
                signing_key: record.signing_key,
                tls_fingerprint: record.tls_fingerprint,
                readmitted: record.readmitted,
                processing: record.processing.then_some(true),
            };
            self.stage_events(&mut rows, &mut staged, now, *place, &[event.into()])?;
        }
        let changes = rows.into_changes();
        if changes.is_empty() { Ok(()) } else { self.finish(changes, staged) }
    }
}

/// A name that no active device has: a revoked one of the same name may come back, too.
fn free_name(fleet: &Fleet, name: String, device: DeviceId) -> String {
    const KEPT: usize = 54;
    if fleet.find(&name).is_none() {
        return name;
    }
    let kept: String = name.chars().take(KEPT).collect();
    let id = device.to_string();
    format!("{kept}.{}", id.get(..8).unwrap_or(&id))
}
