//! What a store holds of a log, taken apart, changed, and written back with or without a cover-up.
//!
//! Invariant: whoever covers up knows everything but the writer's key: chain values, tips and batches
//! are made anew as the engine makes them, heads can only be left, dropped, or signed by another key.

use super::Deed;
use super::ledger::Ledger;
use crate::hostile::place::TENANT;
use crate::hostile::shared::Shared;
use crate::sim::entropy::Entropy;
use core::ops::ControlFlow;
use tallyroll_engine::keys::Signer;
use tallyroll_engine::log::{Tip, open, seal};
use tallyroll_engine::store::rows::{BatchRow, HeadRow, TipRow, epoch_key, split_epoch_key};
use tallyroll_engine::store::{Changes, Row, Rows, Store};
use tallyroll_schema::{EpochId, Hash, LogId, Receipt, RecordHeader, Records};

/// How a tampering is covered up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cover {
    /// Not at all: chain values, numbers and tips stay as they were.
    None,
    /// Records are numbered, chained and ended anew.
    Rehash,
    /// That, and there are no signed heads.
    DropHeads,
    /// That, and where a head no longer holds there is one of another key.
    ForgeHeads,
}

impl Cover {
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Rehash, Self::DropHeads, Self::ForgeHeads];
}

/// The epochs of the log.
pub(super) struct Stored {
    epochs: Vec<Epoch>,
    /// A byte to be changed in a row as it lies there: epoch, batch, place, mask.
    damage: Option<(usize, usize, usize, u8)>,
}

struct Epoch {
    id: (LogId, EpochId),
    batches: Vec<Unpacked>,
    heads: Vec<u64>,
}

#[derive(Clone)]
struct Unpacked {
    row: BatchRow,
    records: Vec<Vec<u8>>,
}

type Place = (LogId, EpochId, u64);

impl Stored {
    /// What lies there.
    pub(super) fn read(ledger: &Ledger) -> Self {
        let log = ledger.receipts[0].head.position.log;
        let rows = Rows::new(TENANT, &ledger.store);
        let mut epochs = Vec::new();
        rows.scan::<TipRow>(log.as_bytes(), log.as_bytes(), &mut |key, _| {
            epochs.extend(split_epoch_key(key));
            Ok(ControlFlow::Continue(()))
        })
        .expect("reads");
        let epochs = epochs.into_iter().map(|id| Epoch::read(&rows, id)).collect();
        Self { epochs, damage: None }
    }

    /// Does the deed at or before the receipt's position.
    pub(super) fn tamper(&mut self, entropy: &mut Entropy, deed: Deed, receipt: &Receipt) {
        let epoch = receipt.head.position.epoch;
        let at = self.epochs.iter().position(|held| held.id.1 == epoch).expect("is held");
        let batches = &mut self.epochs[at].batches;
        let seq = receipt.head.position.seq;
        let covered = batches.iter().take_while(|b| b.row.batch.header().first_seq <= seq).count();
        let batch = entropy.index(covered);
        let records = &mut batches[batch].records;
        let record = entropy.index(records.len());
        match deed {
            Deed::Mutate => change(entropy, &mut records[record]),
            Deed::Damage => {
                let byte = entropy.index(batches[batch].row.encode().len());
                self.damage = Some((at, batch, byte, entropy.between(1, 255) as u8));
            }
            Deed::Delete if entropy.percent(30) => drop(batches.remove(batch)),
            Deed::Delete => {
                let end = record + 1 + entropy.index(records.len() - record);
                records.drain(record..end);
            }
            Deed::Reorder if entropy.percent(50) => {
                let other = entropy.index(covered);
                batches.swap(batch, other);
            }
            Deed::Reorder => {
                let other = entropy.index(records.len());
                records.swap(record, other);
            }
            Deed::Truncate => {
                records.truncate(record);
                batches.truncate(batch + 1);
            }
            Deed::Invent => {
                let mut made_up = records[record].clone();
                change(entropy, &mut made_up);
                records.insert(record, made_up);
            }
            Deed::SwapEpochs => {
                let other = (at + 1) % self.epochs.len();
                let theirs = std::mem::take(&mut self.epochs[other].batches);
                let ours = std::mem::replace(&mut self.epochs[at].batches, theirs);
                self.epochs[other].batches = ours;
            }
        }
        self.epochs.iter_mut().for_each(|epoch| epoch.batches.retain(|b| !b.records.is_empty()));
    }

    /// Writes it back.
    pub(super) fn write(&self, ledger: &Ledger, cover: Cover) {
        let original = Self::read(ledger);
        let mut store = ledger.store.clone();
        let mut rows = Rows::new(TENANT, &ledger.store);
        for (epoch, before) in self.epochs.iter().zip(&original.epochs) {
            let (log, id) = epoch.id;
            let keys = before.batches.iter().map(|batch| batch.row.batch.header().first_seq);
            let keys: Vec<u64> = keys.collect();
            keys.iter().for_each(|seq| rows.delete::<BatchRow>(&(log, id, *seq)));
            match cover {
                Cover::None => epoch.leave(&mut rows, &keys),
                _ => epoch.cover_up(&mut rows, cover),
            }
        }
        let mut changes = rows.into_changes();
        if let Some(damage) = self.damage {
            self.damage(&mut changes, damage);
        }
        store.commit(changes).expect("commits");
    }

    fn damage(&self, changes: &mut Changes, (epoch, batch, byte, mask): (usize, usize, usize, u8)) {
        let (log, id) = self.epochs[epoch].id;
        let first_seq = self.epochs[epoch].batches[batch].row.batch.header().first_seq;
        let key = [TENANT.as_bytes(), &BatchRow::key(&(log, id, first_seq))[..]].concat();
        let row = changes.get_mut(&(BatchRow::TABLE, key)).and_then(Option::as_mut);
        row.expect("was written")[byte] ^= mask;
    }

    /// Where the first batch begins, or began, that does not say what it said, if that is at or
    /// before the receipt's position.
    pub(super) fn first_difference(ledger: &Ledger, receipt: &Receipt) -> Option<u64> {
        let position = receipt.head.position;
        let id = (position.log, position.epoch);
        let before = said(&Rows::new(TENANT, &ledger.original), id);
        let after = said(&Rows::new(TENANT, &ledger.store), id);
        let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        (same as u64 <= position.seq).then(|| {
            let batches = Epoch::read(&Rows::new(TENANT, &ledger.original), id).batches;
            let begin = batches.iter().map(|batch| batch.row.batch.header().first_seq);
            begin.take_while(|first| *first <= same as u64).last().unwrap_or(0)
        })
    }
}

impl Epoch {
    fn read<S: Store>(rows: &Rows<'_, S>, id: (LogId, EpochId)) -> Self {
        let prefix = epoch_key(id.0, id.1);
        let (mut batches, mut heads) = (Vec::new(), Vec::new());
        rows.scan::<BatchRow>(&prefix, &prefix, &mut |_, row| {
            let opened = open(row.batch.clone()).expect("opens");
            let records = Records::new(&opened.records).flatten();
            let records = records.map(|record| record.bytes.to_vec()).collect();
            batches.push(Unpacked { row, records });
            Ok(ControlFlow::Continue(()))
        })
        .expect("reads");
        rows.scan::<HeadRow>(&prefix, &prefix, &mut |_, HeadRow(signed)| {
            heads.push(signed.head.position.seq);
            Ok(ControlFlow::Continue(()))
        })
        .expect("reads");
        Self { id, batches, heads }
    }

    /// Puts the batches into the places there are, in order.
    fn leave(&self, rows: &mut Rows<'_, Shared>, places: &[u64]) {
        let (log, id) = self.id;
        let whole = self.batches.len() == places.len();
        for (number, batch) in self.batches.iter().enumerate() {
            let header = batch.row.batch.header();
            let (hash, place) = (batch.row.hash, header.first_seq);
            let batch = match batch.is_as_it_was() {
                true => batch.row.batch.clone(),
                false => batch.seal((header.log, header.epoch, header.first_seq)),
            };
            let place = if whole { places[number] } else { place };
            rows.put(&(log, id, place), &BatchRow { hash, batch });
        }
    }

    /// Numbers, chains and ends them anew.
    fn cover_up(&self, rows: &mut Rows<'_, Shared>, cover: Cover) {
        let (log, id) = self.id;
        let (mut tip, stranger) = (Tip::START, Signer::from_seed(&[66; 32]));
        if cover == Cover::DropHeads {
            self.heads.iter().for_each(|seq| rows.delete::<HeadRow>(&(log, id, *seq)));
        }
        for unpacked in &self.batches {
            let first_seq = tip.next_seq;
            let batch = unpacked.seal((log, id, first_seq));
            let next = tip.advance(TENANT, &batch, &unpacked.records.concat());
            tip = next.expect("begins there");
            rows.put(&(log, id, first_seq), &BatchRow { hash: tip.hash, batch });
            let head = tip.head(log, id).filter(|_| tip.hash != unpacked.row.hash);
            if let (Cover::ForgeHeads, Some(head)) = (cover, head) {
                let forged = stranger.sign_head(TENANT, head);
                rows.put(&(log, id, head.position.seq), &HeadRow(forged));
            }
        }
        rows.put(&(log, id), &TipRow::from(tip));
    }
}

impl Unpacked {
    fn is_as_it_was(&self) -> bool {
        open(self.row.batch.clone()).is_ok_and(|opened| opened.records == self.records.concat())
    }

    fn seal(&self, (log, epoch, first_seq): Place) -> tallyroll_schema::Batch {
        let count = u32::try_from(self.records.len()).expect("a few");
        seal(log, epoch, first_seq, count, &self.records.concat()).expect("seals")
    }
}

/// Changes a record, but not its length.
fn change(entropy: &mut Entropy, record: &mut [u8]) {
    let length = size_of::<u32>(); // the header begins with the body's
    let body = record.len() > RecordHeader::LEN && entropy.percent(80);
    let from = if body { RecordHeader::LEN } else { length };
    let at = from + entropy.index(record.len() - from);
    record[at] ^= entropy.between(1, 255) as u8;
}

/// What an epoch's rows say, in their order, up to the first that says nothing.
fn said<S: Store>(rows: &Rows<'_, S>, (log, epoch): (LogId, EpochId)) -> Vec<(Place, Hash)> {
    let (mut said, prefix) = (Vec::new(), epoch_key(log, epoch));
    // An error ends it: so far it was understood.
    let _ = rows.scan::<BatchRow>(&prefix, &prefix, &mut |_, row| {
        let Ok(opened) = open(row.batch) else { return Ok(ControlFlow::Break(())) };
        let header = *opened.batch.header();
        for (seq, record) in (header.first_seq..).zip(Records::new(&opened.records).flatten()) {
            let hash = Hash(*blake3::hash(record.bytes).as_bytes());
            said.push(((header.log, header.epoch, seq), hash));
        }
        Ok(ControlFlow::Continue(()))
    });
    said
}
