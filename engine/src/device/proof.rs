//! What a device shows a cloud that lost its accounts: that this cloud enrolled it.
//!
//! Invariant: it is the beginning of an epoch of the cloud's log about this device, as
//! it came, closed by a head that the cloud signed. It is shown at the beginning of
//! each session, for a device cannot know what the cloud lost. Whether it proves
//! anything is for the cloud to say.

use super::Device;
use crate::Result;
use crate::fetch::fetch;
use crate::log::journal::JournalFile;
use crate::log::open;
use crate::store::Store;
use crate::store::rows::{LogRow, TipRow, split_epoch_key};
use crate::sync::{Fetch, Reply};
use core::ops::ControlFlow;
use tallyroll_schema::event::Bytes;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::ENROLMENT_PROOF_BYTES_MAX;
use tallyroll_schema::wire::EnrolmentProof;
use tallyroll_schema::{Batch, Event, Hash, Records};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// That the cloud enrolled this device; none until the cloud has told it, in its own log.
    pub(super) fn enrolment_proof(&self) -> Result<Option<EnrolmentProof>> {
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
            let Reply::Fetched(burst) = fetch(&rows, &[], ask)? else { continue };
            if burst.len() <= ENROLMENT_PROOF_BYTES_MAX && burst.batches.iter().any(tells) {
                let batches = burst.batches.iter().map(|batch| Bytes(batch.bytes().to_vec()));
                let (batches, head) = (batches.collect(), burst.head);
                return Ok(Some(EnrolmentProof { batches, head }));
            }
        }
        Ok(None)
    }
}

fn tells(batch: &Batch) -> bool {
    open(batch.clone()).is_ok_and(|opened| {
        let mut records = Records::new(&opened.records).flatten();
        records.any(|record| matches!(record.event(), Ok(Event::DeviceEnrolled(_))))
    })
}
