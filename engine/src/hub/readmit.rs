//! Devices that the accounts do not know any more, and that can prove that they did.
//!
//! Invariant: only while this cloud is frozen, which what a device shows may bring about, and
//! only on its own signature: a head of a log that only it writes, over the enrolment
//! that binds the device's two keys.
//! Nothing is unpacked, kept or told before that signature holds. What came after the
//! enrolment and stands in no log of the device's, a revocation, cannot be known.

use super::admission::old_keys;
use super::{Fleet, Hub, Standing};
use crate::device::Now;
use crate::keys::verify_head;
use crate::log::{Tip, open};
use crate::merge::Burst;
use crate::store::Store;
use crate::store::rows::{CloudRecovery, TipRow, ToldRow};
use crate::sync::Effect;
use crate::{Error, Result};
use tallyroll_schema::enrol::UNKNOWN_CERTIFICATE;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::fleet::DeviceEnrolled;
use tallyroll_schema::wire::{EnrolmentProof, EnrolmentRenewed, Hello};
use tallyroll_schema::{
    Batch, DeviceId, Event, Hash, HybridTime, Position, Records, SignedHead, Wall,
};

/// What a device proved.
struct Proven {
    newest: Enrolment,
    /// The beginning of its log.
    begun: Burst,
}

/// That a device is enrolled, by the keys that it had then.
struct Enrolment {
    enrolled: DeviceEnrolled,
    at: Position,
    time: HybridTime,
}

impl<S: Store> Hub<S> {
    /// Whether a device that is not known may prove that it was enrolled.
    pub fn may_readmit(&self) -> bool {
        self.recovery.frozen_since.is_some()
    }

    /// Whether devices that are not known may have been: something of the accounts may be lost.
    pub fn may_have_forgotten(&self) -> bool {
        // The first epoch of the accounts lasts until then.
        let first = self.logs.accounts.1.counter == 0 && self.recovery.rebuilt.is_none();
        !first || self.may_readmit()
    }

    /// The device that a HELLO proves to have been enrolled here, by whatever certificate it came,
    /// and its name and place then.
    pub fn enrolled_once(&self, hello: &Hello) -> Option<(DeviceId, String, Position)> {
        let Enrolment { enrolled, at, .. } =
            self.proven(hello.enrolment.as_ref()?, hello.device)?.newest;
        Some((enrolled.device, enrolled.name, at))
    }

    /// Since when the accounts hold all, if what was before is lost.
    pub fn accounts_since(&self) -> Option<Wall> {
        self.recovery.rebuilt
    }

    /// What to tell a device that is not known.
    pub fn unknown_device(&self) -> Error {
        let lost_before = self.may_have_forgotten() && !self.may_readmit();
        let hint = "; this cloud once lost some of its accounts: if the device was enrolled, or changed its keys, before \
            that, `tallyroll doctor --await-devices` at the cloud lets it come back";
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
        let shown = hello.enrolment.as_ref();
        let proven = shown.and_then(|proof| self.proven(proof, hello.device));
        let by_it = |proven: &Proven| proven.newest.enrolled.tls_fingerprint == tls_fingerprint;
        let Some(Proven { newest, begun }) = proven.filter(by_it) else {
            return Err(match (self.may_readmit(), shown.is_some()) {
                (false, _) => self.unknown_device(),
                (true, false) => Error::Rejected(format!(
                    "{UNKNOWN_CERTIFICATE}, and it shows nothing that proves that it was; have it enrolled anew, with a \
                     new data directory and an invitation by `tallyroll enroll`"
                )),
                (true, true) => Error::Rejected(format!(
                    "{UNKNOWN_CERTIFICATE}, and what it shows does not prove that it was; `tallyroll doctor` at the \
                     cloud says more"
                )),
            });
        };
        let device = newest.enrolled.device;
        if let Some(record) = self.fleet().device(device) {
            if record.standing == Standing::Revoked {
                return Err(Error::Rejected("this device was revoked under other keys".into()));
            }
            if self.fleet().shown_by(&tls_fingerprint).is_some()
                || Some(newest.at) <= record.readmitted
            {
                return Err(old_keys(&record.name));
            }
        }
        if !self.may_readmit() {
            if !self.lost(&newest)? {
                return Err(self.unknown_device());
            }
            self.freeze(
                now,
                "a device was enrolled here, or changed its keys, later than this cloud knows",
            )?;
        }
        let known = self.fleet().device(device);
        let is_known = known.is_some();
        let name = match known {
            Some(known) => known.name.clone(),
            None => free_name(self.fleet(), newest.enrolled.name.clone(), device),
        };
        let readmitted = Some(newest.at);
        let renewed = (DeviceId::of_key(self.config.tenant, &newest.enrolled.signing_key)
            != device)
            .then_some(true);
        let event = DeviceEnrolled { name, readmitted, renewed, ..newest.enrolled };
        self.account(now, &[event.into()])?;
        if !is_known {
            // The proof begins with its log's beginning: the rest is given back like any cloud's.
            self.perform(now, vec![(device, Effect::Persist(begun))])?;
        }
        Ok(device)
    }

    /// Whether what we signed shows that we lost something since, and not what was accepted to be lost.
    fn lost(&self, newest: &Enrolment) -> Result<bool> {
        let Some((log, epoch)) = self.device_logs.get(&newest.enrolled.device) else {
            return Ok(!self.may_have_forgotten());
        };
        let Position { epoch: shown, seq, .. } = newest.at;
        let held: Option<TipRow> = self.rows().get(&(*log, shown))?;
        let beyond = held.is_none_or(|tip| seq >= tip.next_seq);
        // Before the first loss nothing was ever given up.
        let given_up =
            self.may_have_forgotten() && shown != *epoch && shown.counter <= epoch.counter;
        Ok(newest.at.log == *log && beyond && !given_up)
    }

    /// The newest enrolment of this device that we signed, in a log of its.
    fn proven(&self, proof: &EnrolmentProof, device: DeviceId) -> Option<Proven> {
        let (mut enrolments, begun) = self.signed(Tip::START, &proof.batches, &proof.head)?;
        if let Some(EnrolmentRenewed { after, batches, head }) = proof.renewed.as_deref() {
            let next_seq = Batch::decode(batches.first()?.0.clone()).ok()?.header().first_seq;
            enrolments.extend(self.signed(Tip { next_seq, hash: *after }, batches, head)?.0);
        }
        let of_its = |one: &Enrolment| {
            one.enrolled.device == device && one.at.log == begun.head.head.position.log
        };
        let all_its = enrolments.iter().all(of_its);
        let newest = enrolments.into_iter().max_by_key(|one| one.time)?;
        all_its.then_some(Proven { newest, begun })
    }

    /// The enrolments in a stretch of a log that we signed, from a tip on.
    fn signed(
        &self,
        mut tip: Tip,
        batches: &[Bytes],
        head: &SignedHead,
    ) -> Option<(Vec<Enrolment>, Burst)> {
        let tenant = self.config.tenant;
        if !verify_head(tenant, &self.public_key(), head) {
            return None;
        }
        let Position { log, epoch, .. } = head.head.position;
        let (mut enrolments, mut opened) = (Vec::new(), Vec::new());
        for bytes in batches {
            let next = open(Batch::decode(bytes.0.clone()).ok()?).ok()?;
            let header = *next.batch.header();
            if (header.log, header.epoch) != (log, epoch) {
                return None;
            }
            tip = tip.advance(tenant, &next.batch, &next.records)?;
            for (seq, record) in (header.first_seq..).zip(Records::new(&next.records).flatten()) {
                if let Ok(Event::DeviceEnrolled(enrolled)) = record.event() {
                    let (at, time) = (Position { log, epoch, seq }, record.header.time.hybrid);
                    enrolments.push(Enrolment { enrolled, at, time });
                }
            }
            opened.push(next.batch);
        }
        let chained = tip.head(log, epoch) == Some(head.head);
        chained.then_some((enrolments, Burst { batches: opened, head: *head }))
    }

    /// Writes into the log of each device that it is enrolled and by which certificate, where that is not
    /// there yet: what was enrolled by an earlier version, or changed its keys, can prove it from then on.
    pub(super) fn tell_all_enrolled(&mut self, now: Now) -> Result<()> {
        let devices: Vec<_> = self.fleet().devices().keys().copied().collect();
        self.tell_enrolled(now, &devices)
    }

    /// The same, of some.
    pub(super) fn tell_enrolled(&mut self, now: Now, devices: &[DeviceId]) -> Result<()> {
        if self.recovery.frozen_since.is_some() {
            return Ok(()); // by the thaw
        }
        let (mut rows, mut staged) = (self.rows(), self.stage());
        for device in devices {
            let Some(place) = self.device_logs.get(device) else { continue };
            let Ok(record) = self.fleet().not_revoked(*device) else { continue };
            let keys = (record.signing_key, record.tls_fingerprint);
            let told = match rows.get::<ToldRow>(&place.0)? {
                Some(told) => (told.signing_key, told.tls_fingerprint) == keys,
                // By a version that kept no such row.
                None => self.tells(place.0, |event| match event {
                    Event::DeviceEnrolled(told) => (told.signing_key, told.tls_fingerprint) == keys,
                    _ => false,
                })?,
            };
            if !told {
                let event = record.enrolled(*device);
                self.stage_events(&mut rows, &mut staged, now, *place, &[event.into()])?;
            }
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
