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

/// What an event in a log says that it records again; nothing, if that is none of the log's own events of
/// another epoch, or says how the log itself stands: a device speaks for its own events alone, and what was
/// recorded again is recorded once more by its first place.
pub fn recorded_again(at: Position, event: &EventResubmitted) -> Option<Again> {
    let from = event.resubmitted_from;
    if from.log != at.log || from.epoch == at.epoch {
        return None;
    }
    let (record, rest) = Record::split(&event.record.0).ok()?;
    let of_the_log = matches!(
        record.event(),
        Ok(Event::EventResubmitted(_)
            | Event::LogOpened(_)
            | Event::EpochOpened(_)
            | Event::LogClosed(_)
            | Event::KeyRotated(_))
    );
    (rest.is_empty() && !of_the_log).then(|| (from, hash(&event.record.0)))
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

/// Whether one of these stands at the place that it had, too. Each batch is read once.
pub(super) fn any_is_held<S: Store>(
    rows: &Rows<'_, S>,
    doubtful: &BTreeSet<Again>,
) -> Result<bool> {
    let mut read = None;
    for (position, _) in doubtful {
        let Position { log, epoch, seq } = *position;
        if read.is_some_and(|(of, end)| of == (log, epoch) && seq < end) {
            continue;
        }
        let end = seq_key(log, epoch, seq.saturating_add(1));
        let Some(row) = rows.last_before::<BatchRow>(&epoch_key(log, epoch), &end)? else {
            continue;
        };
        let header = *row.batch.header();
        let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
        for (seq, record) in (header.first_seq..).zip(Records::new(&opened.records).flatten()) {
            if counts_elsewhere(doubtful, Position { log, epoch, seq }, &record) {
                return Ok(true);
            }
        }
        read = Some(((log, epoch), header.end_seq()?));
    }
    Ok(false)
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}
