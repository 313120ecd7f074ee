//! A log's later epochs: how one begins, and what it hangs on.
//!
//! Invariant: an epoch after 0 begins with `epoch.opened`, alone in its first
//! batch, and hangs on a batch's end of an epoch that is held. When one is opened
//! is the device's affair; whether its parent takes more is the hub's.

use super::{Tip, seal};
use crate::Result;
use crate::merge::Refusal;
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, ChildRow, HeadRow, PrunedRow, TipRow, epoch_key, seq_key};
use crate::store::{Rows, Store};
use tallyroll_schema::event::log::EpochOpened;
use tallyroll_schema::{EpochId, Event, Hash, Head, LogId, Position, Record, Records, Timestamp};

/// Writes a new epoch's first batch; returns where it ends.
pub(crate) fn open_epoch<S: Store>(
    rows: &mut Rows<'_, S>,
    log: LogId,
    opened: EpochOpened,
    time: Timestamp,
) -> Result<Tip> {
    let epoch = opened.epoch;
    let record = Record::encode(&Event::EpochOpened(opened), time)?;
    let batch = seal(log, epoch, 0, 1, &record)?;
    let tip = Tip::START
        .advance(rows.tenant(), &batch, &record)
        .unwrap_or_else(|| unreachable!("a first batch begins at the start"));
    rows.put(&(log, epoch, 0), &BatchRow { hash: tip.hash, batch });
    rows.put(&(log, epoch), &TipRow::from(tip));
    Ok(tip)
}

/// The nonce of a log's epoch, from entropy that no other process has.
pub(crate) fn epoch_nonce(entropy: &[u8; 32], log: LogId, counter: u32) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("tallyroll epoch nonce v1");
    let entropy = if planted(Bug::NonceWithoutEntropy) { &[0; 32] } else { entropy };
    hasher.update(entropy).update(log.as_bytes()).update(&counter.to_le_bytes());
    let mut nonce = [0; 16];
    hasher.finalize_xof().fill(&mut nonce);
    nonce
}

/// What an epoch's first record says of it, if it opens this epoch.
pub(crate) fn read_opening(epoch: EpochId, records: &[u8]) -> Option<EpochOpened> {
    match Records::new(records).next()?.ok()?.event() {
        Ok(Event::EpochOpened(opened)) if opened.epoch == epoch => Some(opened),
        _ => None,
    }
}

/// Takes in that an epoch begins, if it hangs on what is held here.
pub(crate) fn admit_opening<S: Store>(
    rows: &mut Rows<'_, S>,
    log: LogId,
    epoch: EpochId,
    records: &[u8],
) -> Result<()> {
    let opening = read_opening(epoch, records).filter(|_| epoch.counter > 0);
    let Some(EpochOpened { parent, parent_seq: seq, parent_hash: hash, .. }) = opening else {
        let why = "the first record does not open the epoch";
        return Err(Refusal::Poison(why.into()).into());
    };
    let position = Position { log, epoch: parent, seq };
    let held = holds(rows, &Head { position, hash })? || planted(Bug::OrphanAdmitted);
    if parent.counter >= epoch.counter || !held {
        return Err(Refusal::Orphan { parent: position }.into());
    }
    let closed = rows.get::<TipRow>(&(log, parent))?.filter(|tip| tip.closed == Some(true));
    if let Some(tip) = closed.filter(|tip| seq.saturating_add(1) >= tip.next_seq) {
        return Err(Refusal::Closed { seq: tip.next_seq }.into());
    }
    if rows.get::<ChildRow>(&(log, parent))?.is_none() {
        rows.put(&(log, parent), &ChildRow { epoch });
    }
    Ok(())
}

/// Whether a batch that is held ends at this head. What was pruned was receipted, so it is believed.
pub(crate) fn holds<S: Store>(rows: &Rows<'_, S>, head: &Head) -> Result<bool> {
    let Position { log, epoch, seq } = head.position;
    // The first two see what the commit under way holds, the third what lies in the store.
    let signed = rows.get::<HeadRow>(&(log, epoch, seq))?.map(|HeadRow(signed)| signed.head);
    let alone = rows.get::<BatchRow>(&(log, epoch, seq))?;
    let alone = alone.filter(|row| row.batch.header().count == 1).map(|row| row.hash);
    let pruned = rows.get::<PrunedRow>(&(log, epoch))?.is_some_and(|row| row.covers(seq));
    Ok(signed == Some(*head)
        || pruned
        || alone == Some(head.hash)
        || hash_before(rows, log, epoch, seq.saturating_add(1))? == Some(head.hash))
}

/// The chain's value before `seq`, if a stored batch ends there, or what was pruned does.
pub(crate) fn hash_before<S: Store>(
    rows: &Rows<'_, S>,
    log: LogId,
    epoch: EpochId,
    seq: u64,
) -> Result<Option<Hash>> {
    if seq == 0 {
        return Ok(Some(Hash::ZERO));
    }
    let pruned = rows.get::<PrunedRow>(&(log, epoch))?.filter(|row| row.next_seq == seq);
    if let Some(row) = pruned {
        return Ok(Some(row.hash));
    }
    let before = rows.last_before::<BatchRow>(&epoch_key(log, epoch), &seq_key(log, epoch, seq))?;
    Ok(before.filter(|row| row.batch.header().end_seq() == Ok(seq)).map(|row| row.hash))
}
