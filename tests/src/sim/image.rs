//! What lies on a device's disk, read without the device's own code paths.
//!
//! Invariant: reading changes nothing on the machine: it works on a copy of the disk. Only rows,
//! batches and journal entries are believed, no tip and no view.

use super::disk::{Disk, JournalOn, SimStore};
use super::machine::TENANT;
use core::ops::ControlFlow;
use std::collections::BTreeMap;
use tallyroll_engine::log::journal::Journal;
use tallyroll_engine::log::open;
use tallyroll_engine::store::Rows;
use tallyroll_engine::store::rows::{
    BatchRow, DeviceLogs, EvidenceRow, JournalState, PrunedRow, split_epoch_key,
};
use tallyroll_engine::{Error, Result};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Batch, BatchHeader, EpochId, LogId, Position, Records};

/// A device's own logs as they lie on a disk.
#[derive(Debug, Default)]
pub struct Image {
    /// Every record, sealed or not, as written.
    pub records: BTreeMap<Position, Vec<u8>>,
    /// The sealed batches by their first position.
    pub batches: BTreeMap<Position, Batch>,
    /// Records of histories that were set aside; several may have stood at a position.
    pub evidence: BTreeMap<Position, Vec<Vec<u8>>>,
    /// How far each epoch was pruned.
    pub pruned: BTreeMap<(LogId, EpochId), PrunedRow>,
}

impl Image {
    /// Reads a copy of a device's disk.
    ///
    /// # Errors
    /// When the bytes do not read; a disk never written to is an empty image.
    pub fn read(disk: &Disk, redb: bool) -> Result<Self> {
        let mut image = Self::default();
        let store = SimStore::open(disk, redb)?;
        let rows = Rows::new(TENANT, &store);
        let Some(logs) = rows.get::<DeviceLogs>(&())? else { return Ok(image) };
        for (log, _) in [logs.ledger, logs.telemetry] {
            image.read_sealed(&rows, log)?;
        }
        let Some(journal) = rows.get::<JournalState>(&())? else { return Ok(image) };
        let file = JournalOn(disk.clone());
        let (_, sections) = Journal::open(file, journal.key.0, journal.generation)?;
        for section in sections {
            let telemetry = section.class == LogClass::Telemetry;
            let epoch = if telemetry { logs.telemetry } else { logs.ledger };
            image.add(epoch, section.first_seq, &section.records)?;
        }
        Ok(image)
    }

    fn read_sealed(&mut self, rows: &Rows<'_, SimStore>, log: LogId) -> Result<()> {
        rows.scan::<BatchRow>(log.as_bytes(), log.as_bytes(), &mut |_, row| {
            let BatchHeader { epoch, first_seq: seq, .. } = *row.batch.header();
            self.batches.insert(Position { log, epoch, seq }, row.batch.clone());
            self.add((log, epoch), seq, &open(row.batch)?.records)?;
            Ok(ControlFlow::Continue(()))
        })?;
        rows.scan::<PrunedRow>(log.as_bytes(), log.as_bytes(), &mut |key, row| {
            self.pruned.extend(split_epoch_key(key).map(|epoch| (epoch, row)));
            Ok(ControlFlow::Continue(()))
        })?;
        rows.scan::<EvidenceRow>(log.as_bytes(), log.as_bytes(), &mut |_, EvidenceRow(row)| {
            let BatchHeader { epoch, first_seq, .. } = *row.batch.header();
            for (seq, record) in (first_seq..).zip(Records::new(&open(row.batch)?.records)) {
                let stood = self.evidence.entry(Position { log, epoch, seq }).or_default();
                stood.push(record?.bytes.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn add(&mut self, (log, epoch): (LogId, EpochId), first: u64, records: &[u8]) -> Result<()> {
        for (seq, record) in (first..).zip(Records::new(records)) {
            let earlier = self.records.insert(Position { log, epoch, seq }, record?.bytes.to_vec());
            if earlier.is_some() {
                let (what, why) = ("log".into(), format!("seq {seq} is there twice"));
                return Err(Error::Corrupt { what, why });
            }
        }
        Ok(())
    }
}
