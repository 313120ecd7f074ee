//! A log's newest record, from its last batch: where its writer's clock goes on, if it does.
//!
//! Invariant: within a log hybrid times only grow, so the last record has the
//! newest one. A writer that starts again reads it here before it writes: its
//! raw clock may have gone back meanwhile.

use super::open;
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, epoch_key};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use tallyroll_schema::event::log::LogClosed;
use tallyroll_schema::{EpochId, HybridTime, LogId, RecordHeader, Records};

/// The time of an epoch's last sealed record; the beginning of time without one.
pub(crate) fn newest_time<S: Store>(
    rows: &Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
) -> Result<HybridTime> {
    let newest = newest_header(rows, (log, epoch))?.filter(|_| !planted(Bug::ClockForgetsSealed));
    Ok(newest.map_or(HybridTime::default(), |header| header.time.hybrid))
}

/// Whether an epoch's last sealed record closes its log.
pub(crate) fn is_closed<S: Store>(rows: &Rows<'_, S>, epoch: (LogId, EpochId)) -> Result<bool> {
    Ok(newest_header(rows, epoch)?.is_some_and(|header| header.kind == LogClosed::KIND))
}

fn newest_header<S: Store>(
    rows: &Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
) -> Result<Option<RecordHeader>> {
    let Some((_, row)) = rows.last::<BatchRow>(&epoch_key(log, epoch))? else { return Ok(None) };
    let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
    Ok(Records::new(&opened.records).flatten().last().map(|record| record.header))
}
