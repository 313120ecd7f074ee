//! What a device shows a cloud that lost its accounts: that this cloud enrolled it.
//!
//! Invariant: it is the beginning of an epoch of the cloud's log about this device, as
//! it came, closed by a head that the cloud signed; and of one that changed its keys a
//! later stretch, too, in which the cloud names those of today. It is shown at the
//! beginning of each session, for a device cannot know what the cloud lost. Whether it
//! proves anything is for the cloud to say.

use super::Device;
use crate::Result;
use crate::fetch::fetch;
use crate::keys::Signer;
use crate::log::journal::JournalFile;
use crate::log::{Checked, hash_before, open};
use crate::merge::{Admitted, Burst};
use crate::store::rows::{DeviceHistory, HeadRow, LogRow, TipRow, split_epoch_key};
use crate::store::{Rows, Store};
use crate::sync::{Fetch, Reply};
use core::ops::ControlFlow;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::ENROLMENT_PROOF_BYTES_MAX;
use tallyroll_schema::wire::{EnrolmentProof, EnrolmentRenewed};
use tallyroll_schema::{Batch, Event, Hash, Position, PublicKey, Records};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// That the cloud enrolled this device; none until the cloud has told it, in its own log.
    pub(super) fn enrolment_proof(&self) -> Result<Option<EnrolmentProof>> {
        let Some(Burst { batches, head }) = self.enrolment_begun()? else { return Ok(None) };
        let begun = EnrolmentProof { batches: verbatim(&batches), head, renewed: None };
        let end = head.head.position;
        let later = |place: &Position| place.epoch != end.epoch || place.seq > end.seq;
        let renewed = match self.history()?.enrolled.filter(later) {
            Some(place) => self.enrolment_renewed(place)?,
            None => None,
        };
        let whole = EnrolmentProof { renewed, ..begun.clone() };
        Ok(Some(if whole.len() <= ENROLMENT_PROOF_BYTES_MAX { whole } else { begun }))
    }

    /// The keys by which this device can prove that it is enrolled: its signing key and its TLS certificate's
    /// fingerprint, as the cloud told them last.
    ///
    /// # Errors
    /// Storage failed.
    pub fn provable_keys(&self) -> Result<Option<(PublicKey, Hash)>> {
        let Some(proof) = self.enrolment_proof()? else { return Ok(None) };
        let batches = proof.renewed.map_or(proof.batches, |renewed| renewed.batches);
        let mut keys = None;
        for bytes in batches {
            let opened = open(Batch::decode(bytes.0)?)?;
            for record in Records::new(&opened.records) {
                if let Ok(Event::DeviceEnrolled(told)) = record?.event() {
                    keys = Some((told.signing_key, told.tls_fingerprint));
                }
            }
        }
        Ok(keys)
    }

    /// Whether that is so of the next keys.
    ///
    /// # Errors
    /// Storage failed.
    pub fn can_prove_next_keys(&self) -> Result<bool> {
        let next = self.config.next_signer.as_ref().map(Signer::public_key);
        Ok(next.is_some() && self.provable_keys()?.map(|(signing_key, _)| signing_key) == next)
    }

    fn enrolment_begun(&self) -> Result<Option<Burst>> {
        let rows = self.rows();
        let mut epochs = Vec::new();
        rows.scan::<TipRow>(&[], &[], &mut |key, _| {
            epochs.extend(split_epoch_key(key));
            Ok(ControlFlow::Continue(()))
        })?;
        for (log, epoch) in epochs {
            let about_us = rows.get::<LogRow>(&log)?.is_some_and(|LogRow(genesis)| {
                genesis.class == LogClass::Device && genesis.about == Some(self.id)
            });
            if !about_us {
                continue;
            }
            let (from, after, bytes_max) = (0, Hash::ZERO, ENROLMENT_PROOF_BYTES_MAX);
            let ask = Fetch { log, epoch, from, after, bytes_max };
            let Reply::Fetched(Burst { mut batches, .. }) = fetch(&rows, &[], ask)? else {
                continue;
            };
            let (mut told, mut bytes) = (false, 0);
            for at in 0..batches.len() {
                let Some(batch) = batches.get(at) else { break };
                bytes += batch.bytes().len();
                told |= tells(batch);
                let seq = batch.header().end_seq()?.saturating_sub(1);
                if told && let Some(HeadRow(head)) = rows.get(&(log, epoch, seq))? {
                    batches.truncate(at + 1); // as few as a head closes
                    let burst = Burst { batches, head };
                    if bytes <= ENROLMENT_PROOF_BYTES_MAX {
                        return Ok(Some(burst));
                    }
                    break;
                }
            }
        }
        Ok(None)
    }

    fn enrolment_renewed(&self, place: Position) -> Result<Option<Box<EnrolmentRenewed>>> {
        let (rows, Position { log, epoch, seq: from }) = (self.rows(), place);
        let Some(after) = hash_before(&rows, log, epoch, from)? else { return Ok(None) };
        let bytes_max = 0; // as few as a head closes
        let Reply::Fetched(Burst { batches, head }) =
            fetch(&rows, &[], Fetch { log, epoch, from, after, bytes_max })?
        else {
            return Ok(None);
        };
        Ok(Some(Box::new(EnrolmentRenewed { after, batches: verbatim(&batches), head })))
    }

    /// Notes where the cloud wrote, in what was taken in, that this device is enrolled.
    pub(super) fn note_enrolment(&self, rows: &mut Rows<'_, S>, admitted: &Admitted) -> Result<()> {
        if admitted.genesis.class != LogClass::Device {
            return Ok(());
        }
        let tells =
            |checked: &&Checked| checked.opened().is_ok_and(|opened| enrols(&opened.records));
        let Some(told) = admitted.new.iter().rfind(tells) else { return Ok(()) };
        let header = told.batch().header();
        let place = Position { log: header.log, epoch: header.epoch, seq: header.first_seq };
        let history = self.history()?;
        let later = |known: &Position| match known.epoch == place.epoch {
            true => known.seq > place.seq,
            false => known.epoch.counter > place.epoch.counter,
        };
        if !history.enrolled.as_ref().is_some_and(later) {
            rows.put(&(), &DeviceHistory { enrolled: Some(place), ..history });
        }
        Ok(())
    }
}

fn verbatim(batches: &[Batch]) -> Vec<Bytes> {
    batches.iter().map(|batch| Bytes(batch.bytes().to_vec())).collect()
}

fn tells(batch: &Batch) -> bool {
    open(batch.clone()).is_ok_and(|opened| enrols(&opened.records))
}

fn enrols(records: &[u8]) -> bool {
    let mut records = Records::new(records).flatten();
    records.any(|record| matches!(record.event(), Ok(Event::DeviceEnrolled(_))))
}
