//! Walking what was committed, in the order of the commits.
//!
//! Owns the way from commit rows to records. Invariant: each batch is visited once, up to and with
//! the commit asked for, and a commit that was never reached is an error and no shorter walk. What is
//! made of the records is left to who visits: a view at a past moment, a statement.

use super::{Again, Origin, again, genesis, writer_device};
use crate::log::open;
use crate::store::rows::{BatchRow, CommitRow};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use std::collections::BTreeSet;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{CommitPosition, Position, Record, Records, Wall};

/// A commit: its position, and when the cloud made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its position.
    pub position: CommitPosition,
    /// By the cloud's clock.
    pub received_at: Wall,
}

/// Visits each commit's row up to one.
pub(super) fn commits<S: Store>(
    rows: &Rows<'_, S>,
    until: CommitPosition,
    visit: &mut dyn FnMut(CommitPosition, CommitRow) -> Result<()>,
) -> Result<()> {
    let mut reached = CommitPosition { epoch: until.epoch, index: 0 };
    rows.scan::<CommitRow>(&[], &[], &mut |key, row| {
        let position = CommitRow::position(key).unwrap_or_default();
        if position > until {
            return Ok(ControlFlow::Break(()));
        }
        reached = position;
        visit(position, row)?;
        Ok(ControlFlow::Continue(()))
    })?;
    if reached != until {
        return Err(Error::Rejected(never_reached(rows, until)?));
    }
    Ok(())
}

/// Why there is no such commit: it was none yet, or is none any more.
fn never_reached<S: Store>(rows: &Rows<'_, S>, until: CommitPosition) -> Result<String> {
    let last = rows.last::<CommitRow>(&[])?.and_then(|(key, _)| CommitRow::position(&key));
    let last = last.unwrap_or_default();
    let (mut before, mut after) = (None, None);
    rows.scan::<CommitRow>(&[], &[], &mut |key, _| {
        let position = CommitRow::position(key).unwrap_or_default();
        if position > until {
            after = Some(position);
            return Ok(ControlFlow::Break(()));
        }
        before = Some(position);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(match (before, after) {
        (Some(before), Some(after)) => format!(
            "commit position {until} is not here: after {before} comes {after}. If it was told once, this cloud lost it with \
             the end of its logs; what devices brought again stands in {after} and later; the last is {last}"
        ),
        _ => format!("commit position {until} does not exist; the last is {last}"),
    })
}

/// Visits each record of some classes of logs, up to a commit; of two places of one event, that where it
/// was recorded again. `known` are those, as far as anybody knows by now.
///
/// # Errors
/// Storage failed, a batch is corrupt, or the position was never reached.
pub fn walk<S: Store>(
    rows: &Rows<'_, S>,
    until: CommitPosition,
    classes: &[LogClass],
    known: &BTreeSet<Again>,
    visit: &mut dyn FnMut(Committed, &Origin, &Record<'_>),
) -> Result<()> {
    let mut by_then = BTreeSet::new();
    if !known.is_empty() {
        through(rows, until, classes, &mut |_, origin, record| {
            by_then.extend(again::source(origin.position, record));
        })?;
    }
    through(rows, until, classes, &mut |committed, origin, record| {
        if !again::counts_elsewhere(&by_then, origin.position, record) {
            visit(committed, origin, record);
        }
    })
}

fn through<S: Store>(
    rows: &Rows<'_, S>,
    until: CommitPosition,
    classes: &[LogClass],
    visit: &mut dyn FnMut(Committed, &Origin, &Record<'_>),
) -> Result<()> {
    commits(rows, until, &mut |position, row| {
        let genesis = genesis(rows, row.log)?;
        if !classes.contains(&genesis.class) {
            return Ok(());
        }
        let (log, epoch, first_seq) = (row.log, row.epoch, row.first_seq);
        let batch: BatchRow = rows
            .get(&(log, epoch, first_seq))?
            .ok_or_else(|| Error::corrupt("batch", "a committed batch is missing"))?;
        let opened = open(batch.batch).map_err(|why| Error::corrupt("batch", why))?;
        let device = writer_device(rows.tenant(), &genesis);
        let committed = Committed { position, received_at: row.received_at };
        for (seq, record) in (first_seq..).zip(Records::new(&opened.records).flatten()) {
            let position = Position { log, epoch, seq };
            visit(committed, &Origin { device, class: genesis.class, position }, &record);
        }
        Ok(())
    })
}
