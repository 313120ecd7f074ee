//! Whose signature counts at a place of a log: the one rule about keys.
//!
//! Invariant: heads are signed by the key that the log's genesis names, and after a
//! `key.rotated` by the one that names, along the way from the genesis through the
//! parents of epochs. The change is the last record of its burst, so that the old key
//! signs it and nothing after it; the new key consents; no key comes back. Who must
//! have heard of a change that lies elsewhere is the caller's affair.

use super::epoch::read_opening;
use super::open;
use crate::merge::Refusal;
use crate::store::rows::{BatchRow, Rotation, RotationsRow};
use crate::store::{Rows, Store};
use crate::{Error, Result, keys};
use tallyroll_schema::event::log::{EpochOpened, KeyRotated, LogOpened};
use tallyroll_schema::limits::ROTATIONS_MAX;
use tallyroll_schema::{DecodeError, EpochId, Event, LogId, Position, PublicKey, Records};

/// Who signs at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The key of heads there.
    pub(crate) key: PublicKey,
    /// Whether the log's keys were changed elsewhere, and the place does not descend from that.
    pub(crate) superseded: bool,
}

/// Who signs the head of a place. `opening` is the epoch's, where that is not stored yet.
pub(crate) fn in_force<S: Store>(
    rows: &Rows<'_, S>,
    genesis: &LogOpened,
    place: Position,
    mut opening: Option<EpochOpened>,
) -> Result<InForce> {
    let RotationsRow(rotations) = rows.get(&place.log)?.unwrap_or_default();
    let (mut key, mut passed) = (None, 0);
    let (mut epoch, mut end) = (place.epoch, place.seq);
    while passed < rotations.len() {
        let here = rotations.iter().filter(|change| change.epoch == epoch && change.seq < end);
        passed += here.clone().count();
        key = key.or(here.max_by_key(|change| change.seq).map(|change| change.writer));
        if epoch == genesis.epoch {
            break;
        }
        let known = match opening.take() {
            Some(opening) => Some(opening),
            None => stored_opening(rows, place.log, epoch)?,
        };
        let Some(opened) = known.filter(|opened| opened.parent.counter < epoch.counter) else {
            let parent = Position { epoch, ..place };
            return Err(Refusal::Orphan { parent }.into());
        };
        (epoch, end) = (opened.parent, opened.parent_seq.saturating_add(1));
    }
    let superseded = passed < rotations.len();
    Ok(InForce { key: key.unwrap_or(genesis.writer), superseded })
}

/// The change of keys in these records, if there is one; nothing may follow it.
pub(crate) fn rotation(records: &[u8]) -> Result<Option<KeyRotated>, DecodeError> {
    let mut rotated = None;
    for record in Records::new(records) {
        let record = record?;
        if rotated.is_some() {
            return Err(AFTER_ROTATION);
        }
        if record.header.kind == KeyRotated::KIND
            && let Event::KeyRotated(event) = record.event()?
        {
            rotated = Some(event);
        }
    }
    Ok(rotated)
}

/// What follows a change of keys in its burst has no signature of its own.
pub(crate) const AFTER_ROTATION: DecodeError =
    DecodeError::Malformed("log: events after a change of keys, which ends its burst");

/// Checks a change of keys at a place where `old` is in force; returns the log's changes with it.
pub(crate) fn check_rotation<S: Store>(
    rows: &Rows<'_, S>,
    genesis: &LogOpened,
    (place, old): (Position, &PublicKey),
    event: &KeyRotated,
) -> Result<RotationsRow> {
    let RotationsRow(mut rotations) = rows.get(&place.log)?.unwrap_or_default();
    let had = |change: &Rotation| change.writer == event.writer;
    let poison = |why: &str| Err(Refusal::Poison(why.into()).into());
    if event.writer == genesis.writer || rotations.iter().any(had) {
        return poison("its keys are changed to one that the log has had");
    }
    if !keys::verify_consent(rows.tenant(), place.log, old, event) {
        return poison("its keys are changed to one that does not consent");
    }
    if rotations.len() >= ROTATIONS_MAX {
        return poison("its keys were changed too often; the device joins anew");
    }
    rotations.push(Rotation { epoch: place.epoch, seq: place.seq, writer: event.writer });
    Ok(RotationsRow(rotations))
}

/// Where the keys are next changed in an epoch, from a seq on.
pub(crate) fn next_rotation<S: Store>(
    rows: &Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
    from: u64,
) -> Result<Option<u64>> {
    let RotationsRow(rotations) = rows.get(&log)?.unwrap_or_default();
    let later = rotations.iter().filter(|change| change.epoch == epoch && change.seq >= from);
    Ok(later.map(|change| change.seq).min())
}

/// An epoch's batches from a seq on are set aside, and with them the changes of keys in them.
pub(crate) fn forget_rotations<S: Store>(
    rows: &mut Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
    from: u64,
) -> Result<()> {
    let Some(RotationsRow(mut rotations)) = rows.get(&log)? else { return Ok(()) };
    rotations.retain(|change| change.epoch != epoch || change.seq < from);
    rows.put(&log, &RotationsRow(rotations));
    Ok(())
}

fn stored_opening<S: Store>(
    rows: &Rows<'_, S>,
    log: LogId,
    epoch: EpochId,
) -> Result<Option<EpochOpened>> {
    let Some(row) = rows.get::<BatchRow>(&(log, epoch, 0))? else { return Ok(None) };
    let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
    Ok(read_opening(epoch, &opened.records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use tallyroll_schema::TenantId;

    #[test]
    fn a_change_is_forgotten_from_the_very_place_on_that_is_set_aside() {
        let store = MemoryStore::default();
        let mut rows = Rows::new(TenantId([1; 16]), &store);
        let log = LogId([2; 32]);
        let [here, other] = [3, 4].map(|nonce| EpochId { counter: 0, nonce: [nonce; 16] });
        let change = |epoch, seq| Rotation { epoch, seq, writer: PublicKey([5; 32]) };
        let changes = [change(here, 8), change(other, 9), change(here, 9), change(here, 10)];
        rows.put(&log, &RotationsRow(changes.to_vec()));
        forget_rotations(&mut rows, (log, here), 9).expect("writes");
        let left: RotationsRow = rows.get(&log).expect("reads").expect("is there");
        assert_eq!(left.0, changes[..2]);
    }
}
