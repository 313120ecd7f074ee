//! Reading the cloud's replica: past views, logs, names, and whether it all verifies.
//!
//! Invariant: reads change nothing. Verifying recomputes every chain from the
//! stored bytes and needs no figure that the store could have invented.

use super::{Fleet, Hub};
use crate::counts::Counts;
use crate::fold::Replay;
use crate::keys::{verify_consent, verify_head, verify_receipt};
use crate::log::{Tip, holds, in_force, open, read_genesis, read_opening, rotation};
use crate::store::rows::{
    BatchRow, DirectoryKey, DirectoryRow, HeadRow, LogRow, ReceiptRow, TipRow, epoch_key, seq_key,
    split_epoch_key,
};
use crate::store::{Row, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use serde::Serialize;
use tallyroll_schema::event::log::{EpochOpened, LogClass, LogOpened};
use tallyroll_schema::{
    CommitPosition, DeviceId, EpochId, Head, LogId, Position, PublicKey, Receipt, Record, Records,
};

/// One log's epoch as held.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogSummary {
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// Its class.
    pub class: LogClass,
    /// The device that writes it, or that a device log is about.
    pub device: Option<DeviceId>,
    /// Events held.
    pub events: u64,
    /// The newest receipt, for a device's logs.
    pub receipt: Option<Receipt>,
}

/// What verifying an epoch found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// Events the store says it holds.
    pub held: u64,
    /// Batches whose chain holds.
    pub batches: u64,
    /// Events in them.
    pub events: u64,
    /// Events up to the newest head whose signature holds.
    pub signed: u64,
    /// The first thing wrong, if any, and where.
    pub wrong: Option<(Position, String)>,
}

impl<S: Store> Hub<S> {
    /// Grows with each commit that holds something of this cloud's own logs: living sessions are to look
    /// what there is for their devices.
    pub fn decided(&self) -> u64 {
        self.decided
    }

    /// The counts at a past commit position.
    ///
    /// # Errors
    /// The position was never reached; storage failed.
    pub fn counts_at(&self, until: CommitPosition) -> Result<Counts> {
        Ok(Replay::<Counts>::at(&self.rows(), until)?.view().clone())
    }

    /// The devices at a past commit position.
    ///
    /// # Errors
    /// The position was never reached; storage failed.
    pub fn fleet_at(&self, until: CommitPosition) -> Result<Fleet> {
        Ok(Replay::<Fleet>::at(&self.rows(), until)?.view().clone())
    }

    /// Every epoch of every log held.
    ///
    /// # Errors
    /// Storage failed.
    pub fn logs(&self) -> Result<Vec<LogSummary>> {
        let rows = self.rows();
        let mut logs = Vec::new();
        rows.scan::<TipRow>(&[], &[], &mut |key, tip| {
            let Some((log, epoch)) = split_epoch_key(key) else {
                return Err(Error::corrupt("tip row", "its key is too short"));
            };
            let genesis = self.genesis(log)?;
            let own = matches!(genesis.class, LogClass::Ledger | LogClass::Telemetry);
            let writer = own.then(|| DeviceId::of_key(self.config.tenant, &genesis.writer));
            let receipt = rows.get::<ReceiptRow>(&(log, epoch))?.map(|ReceiptRow(row)| row);
            logs.push(LogSummary {
                log,
                epoch,
                class: genesis.class,
                device: writer.or(genesis.about),
                events: tip.next_seq,
                receipt,
            });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(logs)
    }

    /// Visits an epoch's records from a seq on.
    ///
    /// # Errors
    /// Storage failed or a batch is corrupt.
    pub fn read_log(
        &self,
        log: LogId,
        epoch: EpochId,
        from: u64,
        visit: &mut dyn FnMut(Position, &Record<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let prefix = epoch_key(log, epoch);
        let rows = self.rows();
        let holding = rows.last_before::<BatchRow>(&prefix, &seq_key(log, epoch, from + 1))?;
        let first = holding.map_or(0, |row| row.batch.header().first_seq);
        rows.scan::<BatchRow>(&prefix, &BatchRow::key(&(log, epoch, first)), &mut |_, row| {
            let first_seq = row.batch.header().first_seq;
            let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
            for (seq, record) in (first_seq..).zip(Records::new(&opened.records).flatten()) {
                let position = Position { log, epoch, seq };
                if seq >= from && visit(position, &record) == ControlFlow::Break(()) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Recomputes an epoch's chain and checks it against its signed heads, its
    /// tip and, where given, an old receipt for it.
    ///
    /// # Errors
    /// Storage failed. What does not verify is in the result.
    pub fn verify_log(
        &self,
        log: LogId,
        epoch: EpochId,
        old_receipt: Option<&Receipt>,
    ) -> Result<Verified> {
        let genesis = self.genesis(log)?;
        let (held, batches, events, signed) = (0, 0, 0, 0);
        let mut found = Verified { log, epoch, held, batches, events, signed, wrong: None };
        let (mut tip, mut borne_out) = (Tip::START, false);
        let at = |seq| Position { log, epoch, seq };
        let rows = self.rows();
        let mut key = in_force(&rows, &genesis, at(0), None)?.key;
        let prefix = epoch_key(log, epoch);
        let walked = rows.scan::<BatchRow>(&prefix, &prefix, &mut |_, row| {
            let seq = tip.next_seq;
            match self.verify_batch(&genesis, &mut key, (log, epoch), tip, row) {
                Ok((next, signed)) => {
                    (tip, found.batches) = (next, found.batches + 1);
                    found.signed = if signed { next.next_seq } else { found.signed };
                    if let (Some(receipt), Some(head)) = (old_receipt, next.head(log, epoch))
                        && receipt.head.position == head.position
                    {
                        if receipt.head != head {
                            let why = "another history than the receipt's";
                            found.wrong = Some((at(seq), why.into()));
                            return Ok(ControlFlow::Break(()));
                        }
                        borne_out = true;
                    }
                    Ok(ControlFlow::Continue(()))
                }
                Err(why) => {
                    found.wrong = Some((at(seq), why));
                    Ok(ControlFlow::Break(()))
                }
            }
        });
        if let Err(error) = walked {
            found.wrong = Some((at(tip.next_seq), error.to_string()));
        }
        found.events = tip.next_seq;
        let stored = rows.get::<TipRow>(&(log, epoch))?.map(Tip::from);
        found.held = stored.map_or(0, |stored| stored.next_seq);
        if found.wrong.is_none() && stored != Some(tip) {
            found.wrong = Some((at(tip.next_seq), "the log ends elsewhere than its tip".into()));
        }
        if let (Some(receipt), None) = (old_receipt, &found.wrong) {
            if !self.has_signed(receipt) {
                found.wrong = Some((receipt.head.position, "the receipt's signature".into()));
            } else if receipt.head.position.seq >= tip.next_seq {
                let why = "the log ends before the receipt's position";
                found.wrong = Some((at(tip.next_seq), why.into()));
            } else if !borne_out {
                // What was receipted was a batch's end, and batches are never cut anew.
                let why = "another history than the receipt's: no batch ends there";
                found.wrong = Some((receipt.head.position, why.into()));
            }
        }
        Ok(found)
    }

    /// Whether this cloud signed a receipt.
    pub fn has_signed(&self, receipt: &Receipt) -> bool {
        verify_receipt(self.config.tenant, &self.public_key(), receipt)
    }

    /// Every sealed name and whose alias it is.
    ///
    /// # Errors
    /// Storage failed.
    pub fn directory(&self) -> Result<Vec<(DirectoryKey, DirectoryRow)>> {
        let mut entries = Vec::new();
        self.rows().scan::<DirectoryRow>(&[], &[], &mut |key, row| {
            entries.extend(DirectoryRow::split_key(key).map(|key| (key, row)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    pub(super) fn genesis(&self, log: LogId) -> Result<LogOpened> {
        let row: Option<LogRow> = self.rows().get(&log)?;
        row.map(|LogRow(genesis)| genesis).ok_or_else(|| {
            Error::Rejected(format!("no log {log} here; `tallyroll log list` shows them"))
        })
    }

    /// The tip after a stored batch and whether a signed head closes it. `key` is the one in
    /// force there; where the batch changes it, the next one afterwards.
    fn verify_batch(
        &self,
        genesis: &LogOpened,
        key: &mut PublicKey,
        (log, epoch): (LogId, EpochId),
        tip: Tip,
        row: BatchRow,
    ) -> Result<(Tip, bool), String> {
        let opened = open(row.batch).map_err(|why| why.to_string())?;
        let header = opened.batch.header();
        if (header.log, header.epoch) != (log, epoch) {
            return Err("a batch of another epoch lies here".into());
        }
        if tip.next_seq == 0
            && epoch.counter == 0
            && read_genesis(log, epoch, &opened.records).as_ref() != Some(genesis)
        {
            return Err("the first record does not make the log's id".into());
        }
        if tip.next_seq == 0 && epoch.counter > 0 {
            let opened = read_opening(epoch, &opened.records);
            let EpochOpened { parent, parent_seq: seq, parent_hash: hash, .. } =
                opened.ok_or("the first record does not open the epoch")?;
            let head = Head { position: Position { log, epoch: parent, seq }, hash };
            if !holds(&self.rows(), &head).map_err(|why| why.to_string())? {
                return Err(format!("the epoch hangs on {}, which is not here", head.position));
            }
        }
        let next = tip
            .advance(self.config.tenant, &opened.batch, &opened.records)
            .ok_or("a batch is missing before the next one")?;
        if next.hash != row.hash {
            return Err("the chain differs from what was stored".into());
        }
        if genesis.writer == self.public_key() {
            return Ok((next, true)); // our own; signed when sent
        }
        let place = (log, epoch, next.next_seq - 1);
        let head: Option<HeadRow> = self.rows().get(&place).map_err(|why| why.to_string())?;
        let rotated = rotation(&opened.records).map_err(|why| why.to_string())?;
        if let Some(HeadRow(head)) = &head {
            let holds = verify_head(self.config.tenant, key, head)
                && Some(head.head) == next.head(log, epoch);
            if !holds {
                return Err("a head's signature or hash".into());
            }
        }
        if let Some(event) = rotated {
            if head.is_none() || !verify_consent(self.config.tenant, log, key, &event) {
                return Err("its keys are changed without the old or the new one's word".into());
            }
            *key = event.writer;
        }
        Ok((next, head.is_some()))
    }
}
