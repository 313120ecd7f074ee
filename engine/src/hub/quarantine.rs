//! Quarantine: what devices brought that is not taken in, until an administrator decides.
//!
//! Invariant: nothing of it is in any log or view; a device's epoch has one entry, named
//! in the accounts log by the commit that keeps its bytes, and goes no further while it is
//! open. What is kept of a device is bounded, beyond that it is only counted. Released
//! bursts go the way of all others ([`super::sync`]), up to the head that was named.

use super::decide::check_text;
use super::discarded::{discarded_end, remember};
use super::stage::Staged;
use super::sync::NewLogs;
use super::{Hub, Standing};
use crate::device::Now;
use crate::log::{Tip, holds};
use crate::merge::{Ahead, Burst, Refusal};
use crate::store::rows::{QuarantineBurstRow, QuarantineEntry, QuarantineRow, TipRow};
use crate::store::{Row, Rows, Store};
use crate::sync::Reply;
use crate::{Error, Result};
use core::ops::ControlFlow;
use serde::Serialize;
use tallyroll_schema::event::quarantine::{
    QuarantineDiscarded, QuarantineOpened, QuarantineReleased,
};
use tallyroll_schema::limits::{QUARANTINE_BYTES_MAX, QUARANTINE_ENTRIES_MAX, TEXT_BYTES_MAX};
use tallyroll_schema::{DeviceId, EpochId, Hash, LogId, Position, QuarantineId};

/// Why a revoked device's events are not taken in.
const REVOKED: &str = "it came after its device was revoked";

/// An open entry, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quarantined {
    /// The device that brought it.
    pub device: DeviceId,
    /// What is kept.
    #[serde(flatten)]
    pub entry: QuarantineEntry,
}

impl<S: Store> Hub<S> {
    /// What is in quarantine, by device.
    ///
    /// # Errors
    /// Storage failed.
    pub fn quarantine(&self) -> Result<Vec<Quarantined>> {
        let mut open = Vec::new();
        self.rows().scan::<QuarantineRow>(&[], &[], &mut |key, QuarantineRow(entries)| {
            let device = QuarantineRow::device(key)
                .ok_or_else(|| Error::corrupt("quarantine", "a key that is no device"))?;
            open.extend(entries.into_iter().map(|entry| Quarantined { device, entry }));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(open)
    }

    /// Bursts that found their device's quarantine full, since the start.
    pub fn quarantine_overflow(&self) -> u64 {
        self.quarantine_overflow
    }

    /// The bursts of an entry, as they came.
    ///
    /// # Errors
    /// Storage failed.
    pub fn quarantined_bursts(&self, of: &Quarantined) -> Result<Vec<Burst>> {
        let (rows, (log, epoch)) = (self.rows(), of.entry.place());
        let burst = |number| {
            let row: Option<QuarantineBurstRow> = rows.get(&(of.device, log, epoch, number))?;
            let row = row.ok_or_else(|| Error::corrupt("quarantine", "a burst is missing"))?;
            Ok(Burst { batches: row.batches, head: row.head })
        };
        (0..of.entry.bursts).map(burst).collect()
    }

    /// Takes in what is in quarantine, if it can be.
    ///
    /// # Errors
    /// [`Error::Refused`] with what is still wrong, and all stays as it was; no such
    /// entry, an over-long reason; storage failed.
    pub fn release(&mut self, now: Now, id: QuarantineId, reason: String) -> Result<Position> {
        let found = self.to_decide(id, &reason)?;
        let Quarantined { device, entry } = &found;
        let (mut rows, mut staged) = (self.rows(), self.stage());
        let mut new_logs = NewLogs::new();
        let released = QuarantineReleased {
            id,
            device: *device,
            head: entry.head,
            count: entry.count,
            hash: entry.hash,
            reason,
        };
        let accounts = self.logs.accounts;
        let position =
            self.stage_events(&mut rows, &mut staged, now, accounts, &[released.into()])?;
        for burst in self.quarantined_bursts(&found)? {
            let reply = self.take_in(
                &mut rows,
                &mut staged,
                &mut new_logs,
                now,
                *device,
                (burst, Ahead::default()),
            )?;
            if let Reply::Refused { refusal, .. } = reply {
                return Err(refusal.into());
            }
        }
        if !holds(&rows, &entry.head)? {
            let why = "its batches do not end at the head that they were released up to";
            return Err(Refusal::Poison(why.into()).into());
        }
        remove(&mut rows, &found)?;
        let changes = rows.into_changes();
        self.finish_taking_in(now, changes, staged, new_logs)?;
        Ok(position)
    }

    /// Deletes what is in quarantine. Its log may go on; of a revoked device it is not asked for again.
    ///
    /// # Errors
    /// No such entry, an over-long reason; storage failed.
    pub fn discard(&mut self, now: Now, id: QuarantineId, reason: String) -> Result<Position> {
        let found = self.to_decide(id, &reason)?;
        let (mut rows, mut staged) = (self.rows(), self.stage());
        let Quarantined { device, entry } = &found;
        let discarded = QuarantineDiscarded {
            id,
            device: *device,
            log: entry.log,
            epoch: entry.epoch,
            first_seq: entry.first_seq,
            count: entry.count,
            hash: entry.hash,
            reason,
        };
        if entry.revoked {
            remember(&mut rows, now, &found, &discarded.reason)?;
        }
        let accounts = self.logs.accounts;
        let position =
            self.stage_events(&mut rows, &mut staged, now, accounts, &[discarded.into()])?;
        remove(&mut rows, &found)?;
        let changes = rows.into_changes();
        self.finish(changes, staged)?;
        Ok(position)
    }

    fn to_decide(&self, id: QuarantineId, reason: &str) -> Result<Quarantined> {
        self.refuse_if_closed()?;
        check_text("reason", reason)?;
        let found = self.quarantine()?.into_iter().find(|open| open.entry.id == id);
        found.ok_or_else(|| {
            let why = format!("nothing is in quarantine as {id}; `tallyroll quarantine` lists it");
            Error::Rejected(why)
        })
    }

    /// What stands in the way of each epoch of a device that goes no further.
    ///
    /// # Errors
    /// Storage failed.
    pub fn held_up(&self, device: DeviceId) -> Result<Vec<((LogId, EpochId), Refusal)>> {
        let QuarantineRow(entries) = self.rows().get(&device)?.unwrap_or_default();
        let revoked = self.is_revoked(device);
        let stopping = entries.iter().filter(|entry| !(revoked && entry.revoked));
        Ok(stopping.map(|entry| (entry.place(), refusal_of(entry))).collect())
    }

    /// How far a revoked device's epochs are kept, or were until they were discarded.
    pub(super) fn kept_of(&self, device: DeviceId) -> Result<Vec<((LogId, EpochId), Tip)>> {
        let QuarantineRow(entries) = self.rows().get(&device)?.unwrap_or_default();
        let mut kept = self.discarded_of(device)?;
        kept.extend(entries.iter().map(|entry| (entry.place(), end(entry))));
        Ok(kept)
    }

    pub(super) fn is_revoked(&self, device: DeviceId) -> bool {
        let record = self.fleet().device(device);
        record.is_none_or(|record| record.standing == Standing::Revoked)
    }

    /// Keeps a burst apart that may not be taken in; says so.
    pub(super) fn set_apart(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        device: DeviceId,
        burst: Burst,
        why: &Refusal,
    ) -> Result<Refusal> {
        let reason = shortened(why.to_string());
        Ok(match self.keep(rows, staged, now, device, burst, (reason, false))? {
            Ok(entry) => refusal_of(&entry),
            Err(full) => full,
        })
    }

    /// Keeps what a revoked device still brings. It gets no receipt for it.
    pub(super) fn keep_of_revoked(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        device: DeviceId,
        burst: Burst,
    ) -> Result<Reply> {
        let (epoch, bytes) = (burst.epoch(), burst.len());
        let QuarantineRow(entries) = rows.get(&device)?.unwrap_or_default();
        let kept = match entries.iter().find(|entry| entry.place() == epoch) {
            Some(entry) => Some(end(entry)),
            None => discarded_end(rows, device, epoch)?,
        };
        let held = rows.get::<TipRow>(&epoch)?.map_or(Tip::START, Tip::from);
        let Tip { next_seq: expected, hash } = kept.unwrap_or(held);
        let found = burst.batches.first().map_or(0, |batch| batch.header().first_seq);
        let here = |Tip { next_seq, hash }| Reply::Persisted {
            epoch,
            next_seq,
            hash,
            receipt: None,
            bytes,
        };
        if burst.head.head.position.seq < expected {
            return Ok(here(Tip { next_seq: expected, hash }));
        }
        if found != expected {
            let refusal = Refusal::Gap { expected, found };
            return Ok(Reply::Refused { epoch, refusal, bytes });
        }
        Ok(match self.keep(rows, staged, now, device, burst, (REVOKED.into(), true))? {
            Ok(entry) => here(end(&entry)),
            Err(refusal) => Reply::Refused { epoch, refusal, bytes },
        })
    }

    /// Puts a burst into its entry, opening it if there is none.
    fn keep(
        &self,
        rows: &mut Rows<'_, S>,
        staged: &mut Staged,
        now: Now,
        device: DeviceId,
        burst: Burst,
        (reason, revoked): (String, bool),
    ) -> Result<Result<QuarantineEntry, Refusal>> {
        let QuarantineRow(mut entries) = rows.get(&device)?.unwrap_or_default();
        let (log, epoch) = burst.epoch();
        let bytes = burst.len() as u64;
        let known = entries.iter().position(|entry| entry.place() == (log, epoch));
        let kept: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let crowded = known.is_none() && entries.len() >= QUARANTINE_ENTRIES_MAX;
        if crowded || kept + bytes > QUARANTINE_BYTES_MAX {
            staged.overflow += 1;
            return Ok(Err(Refusal::QuarantineFull(reason)));
        }
        let mut entry = match known {
            Some(at) => entries.remove(at),
            None => QuarantineEntry {
                id: QuarantineId([0; 8]),
                log,
                epoch,
                first_seq: burst.batches.first().map_or(0, |batch| batch.header().first_seq),
                count: 0,
                head: burst.head.head,
                bursts: 0,
                bytes: 0,
                hash: Hash::ZERO,
                since: now.wall,
                reason,
                revoked,
            },
        };
        let counts = burst.batches.iter().map(|batch| u64::from(batch.header().count));
        let count: u64 = counts.sum();
        let row = QuarantineBurstRow { batches: burst.batches, head: burst.head };
        let number = entry.bursts;
        entry = QuarantineEntry {
            count: entry.count.saturating_add(count),
            head: burst.head.head,
            bursts: number + 1,
            bytes: entry.bytes + bytes,
            hash: hash_after(&entry.hash, &row),
            ..entry
        };
        if known.is_none() {
            entry.id = id_of(device, &entry);
            let opened = QuarantineOpened {
                id: entry.id,
                device,
                log,
                epoch,
                first_seq: entry.first_seq,
                count: entry.count,
                hash: entry.hash,
                reason: entry.reason.clone(),
            };
            self.stage_events(rows, staged, now, self.logs.accounts, &[opened.into()])?;
        }
        rows.put(&(device, log, epoch, number), &row);
        entries.push(entry.clone());
        rows.put(&device, &QuarantineRow(entries));
        Ok(Ok(entry))
    }
}

fn remove<S: Store>(rows: &mut Rows<'_, S>, found: &Quarantined) -> Result<()> {
    let Quarantined { device, entry } = found;
    let QuarantineRow(mut entries) = rows.get(device)?.unwrap_or_default();
    entries.retain(|other| other.id != entry.id);
    if entries.is_empty() {
        rows.delete::<QuarantineRow>(device);
    } else {
        rows.put(device, &QuarantineRow(entries));
    }
    for number in 0..entry.bursts {
        rows.delete::<QuarantineBurstRow>(&(*device, entry.log, entry.epoch, number));
    }
    Ok(())
}

/// What a device is told of one.
pub(super) fn refusal_of(entry: &QuarantineEntry) -> Refusal {
    Refusal::Quarantined { id: entry.id, reason: entry.reason.clone() }
}

fn end(entry: &QuarantineEntry) -> Tip {
    Tip { next_seq: entry.head.position.seq.saturating_add(1), hash: entry.head.hash }
}

fn hash_after(before: &Hash, row: &QuarantineBurstRow) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("tallyroll quarantine v1");
    hasher.update(before.as_bytes()).update(&row.encode());
    Hash(*hasher.finalize().as_bytes())
}

/// One that the same bytes get anew each time they are put into quarantine.
fn id_of(device: DeviceId, entry: &QuarantineEntry) -> QuarantineId {
    let mut hasher = blake3::Hasher::new_derive_key("tallyroll quarantine id v1");
    hasher.update(device.as_bytes()).update(entry.hash.as_bytes());
    hasher.update(&entry.since.0.to_le_bytes());
    let mut id = [0; QuarantineId::LEN];
    hasher.finalize_xof().fill(&mut id);
    QuarantineId(id)
}

/// At most as long as a text of an event may be.
fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}
