//! The newest time in a log, from its last batch: where its writer's clock goes on.
//!
//! Invariant: within a log hybrid times only grow, so the last record has the
//! newest one. A writer that starts again reads it here before it writes: its
//! raw clock may have gone back meanwhile.

use super::open;
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, epoch_key};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use tallyroll_schema::{EpochId, HybridTime, LogId, Records};

/// The time of an epoch's last sealed record; the beginning of time without one.
pub(crate) fn newest_time<S: Store>(
    rows: &Rows<'_, S>,
    (log, epoch): (LogId, EpochId),
) -> Result<HybridTime> {
    let row = rows.last::<BatchRow>(&epoch_key(log, epoch))?;
    let Some((_, row)) = row.filter(|_| !planted(Bug::ClockForgetsSealed)) else {
        return Ok(HybridTime::default());
    };
    let opened = open(row.batch).map_err(|why| Error::corrupt("batch", why))?;
    let last = Records::new(&opened.records).flatten().last();
    Ok(last.map_or(HybridTime::default(), |record| record.header.time.hybrid))
}
