//! The fleet view: which devices there are, by which keys, in what standing.
//!
//! Invariant: folded from the accounts log alone. Retired and revoked are final
//! for a device; a machine that comes back enrols anew. A certificate is one
//! device's for ever, whether it is still accepted or not.

use crate::fold::{Origin, View};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use tallyroll_schema::event::fleet::{DeviceEnrolled, DeviceKeysRotated};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{DeviceId, Event, Hash, Position, PublicKey, Record, Wall};

/// Whether a device is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Yes.
    Active,
    /// Until it has delivered what it has.
    Retired,
    /// No further than its last receipt.
    Revoked,
}

/// A device of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceRecord {
    /// Its name.
    pub name: String,
    /// Signs its heads.
    pub signing_key: PublicKey,
    /// Of its TLS certificate.
    pub tls_fingerprint: Hash,
    /// Of those before it, accepted until it shows the newest one.
    pub older_tls_fingerprints: Vec<Hash>,
    /// Its standing.
    pub standing: Standing,
    /// Since when, by the cloud's clock.
    pub standing_since: Wall,
    /// When it was enrolled, by the cloud's clock.
    pub enrolled_at: Wall,
    /// Where its enrolment stood, if it is here on its own evidence: the accounts were lost.
    pub readmitted: Option<Position>,
    /// Whether it is a processing server: it may ask for acts in others' jobs, and has no users.
    pub processing: bool,
    /// The certificate that it proved to be its newest, until its ledger has brought the change to it.
    #[serde(skip)]
    pub proven: Option<Hash>,
}

impl DeviceRecord {
    /// That it is enrolled, by the keys that it has.
    pub(super) fn enrolled(&self, device: DeviceId) -> DeviceEnrolled {
        DeviceEnrolled {
            device,
            name: self.name.clone(),
            signing_key: self.signing_key,
            tls_fingerprint: self.tls_fingerprint,
            readmitted: self.readmitted,
            processing: self.processing.then_some(true),
            renewed: None,
        }
    }

    /// Whether the device may show this TLS certificate.
    pub fn accepts(&self, fingerprint: &Hash) -> bool {
        self.tls_fingerprint == *fingerprint || self.older_tls_fingerprints.contains(fingerprint)
    }
}

/// The devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    devices: BTreeMap<DeviceId, DeviceRecord>,
    by_tls_fingerprint: BTreeMap<Hash, DeviceId>,
}

impl Fleet {
    /// All devices ever enrolled.
    pub fn devices(&self) -> &BTreeMap<DeviceId, DeviceRecord> {
        &self.devices
    }

    /// A device.
    pub fn device(&self, device: DeviceId) -> Option<&DeviceRecord> {
        self.devices.get(&device)
    }

    /// The device whose TLS certificate this is or was.
    pub(super) fn shown_by(&self, fingerprint: &Hash) -> Option<DeviceId> {
        self.by_tls_fingerprint.get(fingerprint).copied()
    }

    /// The device of a name that is not revoked or retired, or else of that id.
    pub fn find(&self, name_or_id: &str) -> Option<DeviceId> {
        let by_name = self
            .devices
            .iter()
            .find(|(_, device)| device.name == name_or_id && device.standing == Standing::Active);
        let by_id = || name_or_id.parse().ok().filter(|id| self.devices.contains_key(id));
        by_name.map(|(id, _)| *id).or_else(by_id)
    }

    pub(super) fn active(&self, device: DeviceId) -> Result<&DeviceRecord> {
        match self.devices.get(&device) {
            Some(record) if record.standing == Standing::Active => Ok(record),
            Some(record) => {
                Err(Error::Rejected(format!("{} is retired or revoked already", record.name)))
            }
            None => Err(Error::Rejected(format!("no device {device}"))),
        }
    }

    pub(super) fn known(&self, device: DeviceId) -> Result<&DeviceRecord> {
        self.device(device).ok_or_else(|| Error::Rejected(format!("no device {device}")))
    }

    pub(super) fn not_revoked(&self, device: DeviceId) -> Result<&DeviceRecord> {
        match self.devices.get(&device) {
            Some(record) if record.standing != Standing::Revoked => Ok(record),
            Some(record) => Err(Error::Rejected(format!("{} is revoked already", record.name))),
            None => Err(Error::Rejected(format!("no device {device}"))),
        }
    }

    /// The processing server of that id.
    pub(super) fn processing(&self, device: DeviceId) -> Result<&DeviceRecord> {
        let record = self.not_revoked(device)?;
        if record.processing {
            return Ok(record);
        }
        Err(Error::Rejected(format!(
            "{} is enrolled as a device, which records what it does itself: only a processing server may ask for acts; \
             `tallyroll enroll NAME --processing` at the account server enrols one",
            record.name
        )))
    }

    /// Whether a device is a processing server.
    pub(super) fn is_processing(&self, device: DeviceId) -> bool {
        self.device(device).is_some_and(|record| record.processing)
    }

    fn fold_enrolment(&mut self, at: Wall, event: DeviceEnrolled) {
        if let Some(record) = self.devices.get_mut(&event.device) {
            // It proved that the accounts had lost a change of its keys.
            if event.readmitted > record.readmitted {
                record.readmitted = event.readmitted;
                record.proven = Some(event.tls_fingerprint);
                self.fold_keys(event.device, event.signing_key, Some(event.tls_fingerprint));
            }
            return;
        }
        self.by_tls_fingerprint.insert(event.tls_fingerprint, event.device);
        let device = DeviceRecord {
            name: event.name,
            signing_key: event.signing_key,
            tls_fingerprint: event.tls_fingerprint,
            older_tls_fingerprints: Vec::new(),
            standing: Standing::Active,
            standing_since: at,
            enrolled_at: at,
            readmitted: event.readmitted,
            processing: event.processing == Some(true),
            proven: Some(event.tls_fingerprint).filter(|_| event.renewed == Some(true)),
        };
        self.devices.insert(event.device, device);
    }

    fn fold_rotation(&mut self, event: &DeviceKeysRotated) {
        let DeviceKeysRotated { device, signing_key, tls_fingerprint, .. } = *event;
        let Some(record) = self.devices.get_mut(&device) else { return };
        match record.proven {
            // On the way to the keys that it has proven: they were its, and are nobody else's.
            Some(proven) if tls_fingerprint != Some(proven) => {
                if let Some(older) = tls_fingerprint {
                    self.by_tls_fingerprint.entry(older).or_insert(device);
                }
            }
            _ => {
                record.proven = None;
                self.fold_keys(device, signing_key, tls_fingerprint);
            }
        }
    }

    fn fold_keys(&mut self, device: DeviceId, signing_key: PublicKey, tls: Option<Hash>) {
        let Some(record) = self.devices.get_mut(&device) else { return };
        record.signing_key = signing_key;
        let Some(new) = tls.filter(|new| *new != record.tls_fingerprint) else { return };
        // Two devices may name one certificate in the same commit: it is the first one's.
        if *self.by_tls_fingerprint.entry(new).or_insert(device) == device {
            record.older_tls_fingerprints.retain(|older| *older != new);
            let old = core::mem::replace(&mut record.tls_fingerprint, new);
            record.older_tls_fingerprints.push(old);
        }
    }

    fn set_standing(&mut self, device: DeviceId, standing: Standing, since: Wall) {
        if let Some(record) = self.devices.get_mut(&device)
            && record.standing != Standing::Revoked
        {
            (record.standing, record.standing_since) = (standing, since);
        }
    }
}

impl View for Fleet {
    const NAME: &'static str = "fleet";
    const VERSION: u32 = 3;
    const CLASSES: &'static [LogClass] = &[LogClass::Accounts];

    fn fold(&mut self, _origin: &Origin, record: &Record<'_>) {
        let at = record.header.time.wall;
        match record.event() {
            Ok(Event::DeviceEnrolled(event)) => self.fold_enrolment(at, event),
            Ok(Event::DeviceRetired(event)) => {
                self.set_standing(event.device, Standing::Retired, at);
            }
            Ok(Event::DeviceRevoked(event)) => {
                self.set_standing(event.device, Standing::Revoked, at);
            }
            Ok(Event::DeviceKeysRotated(event)) => self.fold_rotation(&event),
            Ok(Event::DeviceCertificateUsed(event)) => {
                if let Some(record) = self.devices.get_mut(&event.device)
                    && record.tls_fingerprint == event.tls_fingerprint
                {
                    record.older_tls_fingerprints.clear();
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that changed its keys twice without a word may still show the certificates before.
    #[test]
    fn every_older_certificate_is_accepted_until_the_newest_was_shown() {
        let device = DeviceId([1; 16]);
        let record = DeviceRecord {
            name: "branch".into(),
            signing_key: PublicKey([1; 32]),
            tls_fingerprint: Hash([1; 32]),
            older_tls_fingerprints: Vec::new(),
            standing: Standing::Active,
            standing_since: Wall(0),
            enrolled_at: Wall(0),
            readmitted: None,
            processing: false,
            proven: None,
        };
        let mut fleet = Fleet::default();
        fleet.devices.insert(device, record);
        fleet.by_tls_fingerprint.insert(Hash([1; 32]), device);
        for (next, older) in [(2, vec![1]), (3, vec![1, 2]), (1, vec![2, 3])] {
            fleet.fold_keys(device, PublicKey([next; 32]), Some(Hash([next; 32])));
            let record = fleet.device(device).expect("is known");
            assert_eq!(record.tls_fingerprint, Hash([next; 32]));
            let expected: Vec<_> = older.iter().map(|byte| Hash([*byte; 32])).collect();
            assert_eq!(record.older_tls_fingerprints, expected);
        }
    }
}
