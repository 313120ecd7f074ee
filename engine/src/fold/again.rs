//! What was recorded again: it counts where it was, and no more at the place that it had.
//!
//! Owns how such an event is known again: by that place and its record's hash. Invariant: it counts
//! once, in whatever order the two are found. Usually something else stands at its old place; a cloud that
//! lost its tail may take the old history in all the same, from yet another copy of the device.

use crate::log::open;
use crate::store::rows::{BatchRow, epoch_key, seq_key};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use std::collections::BTreeSet;
use tallyroll_schema::event::log::EventResubmitted;
use tallyroll_schema::{Event, Hash, Position, Record, Records};

/// An event that was recorded again: the place that it had, and its record's hash.
pub type Again = (Position, Hash);

/// What an event in a log says that it records again; nothing, if that is not the log's: a device speaks for
/// its own events alone.
pub fn recorded_again(at: Position, event: &EventResubmitted) -> Option<Again> {
    let from = event.resubmitted_from;
    (from.log == at.log).then(|| (from, hash(&event.record.0)))
}

/// That of a record, if it is one of these.
pub(super) fn source(at: Position, record: &Record<'_>) -> Option<Again> {
    if record.header.kind != EventResubmitted::KIND {
        return None;
    }
    match record.event() {
        Ok(Event::EventResubmitted(event)) => recorded_again(at, &event),
        _ => None,
    }
}

/// Whether a record is one of those that were recorded again.
pub(super) fn counts_elsewhere(
    known: &BTreeSet<Again>,
    position: Position,
    record: &Record<'_>,
) -> bool {
    let there = (position, Hash::ZERO)..=(position, Hash([0xff; 32]));
    known.range(there).next().is_some() && known.contains(&(position, hash(record.bytes)))
}

/// Whether a record stands at the place that it had, too.
pub(super) fn is_held<S: Store>(rows: &Rows<'_, S>, (position, known): &Again) -> Result<bool> {
    let Position { log, epoch, seq } = *position;
    let end = seq_key(log, epoch, seq.saturating_add(1));
    let Some(row) = rows.last_before::<BatchRow>(&epoch_key(log, epoch), &end)? else {
        return Ok(false);
    };
    let first_seq = row.batch.header().first_seq;
    let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
    let mut records = (first_seq..).zip(Records::new(&opened.records).flatten());
    let found = records.find(|(at, _)| *at == seq);
    Ok(found.is_some_and(|(_, record)| hash(record.bytes) == *known))
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}
