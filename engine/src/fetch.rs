//! Reading batches for a peer: of our own logs, closed by a head signed on the
//! spot, or of a peer's own, given back to it with the heads it signed; so are our
//! own of a time whose key we no longer have.
//!
//! Invariant: what is sent is what is stored, verbatim, and continues what the
//! peer says it holds; where that differs, nothing is sent. What was pruned is no other
//! history: the peer is told. A month of batches costs one signature a burst.

use crate::keys::Signer;
use crate::log::{hash_before, in_force, next_rotation};
use crate::merge::{Burst, Refusal};
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, HeadRow, LogRow, PrunedRow, epoch_key};
use crate::store::{Row, Rows, Store};
use crate::sync::{Fetch, Reply};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::limits::BURST_RECORDS_BYTES_MAX;
use tallyroll_schema::{Head, Position, SignedHead};

/// Carries out a fetch.
///
/// # Errors
/// Storage failed.
pub(crate) fn fetch<S: Store>(
    rows: &Rows<'_, S>,
    signers: &[&Signer],
    ask: Fetch,
) -> Result<Reply> {
    let Fetch { log, epoch, from, after, bytes_max } = ask;
    let pruned = rows.get::<PrunedRow>(&(log, epoch))?;
    if let Some(row) = pruned.filter(|row| row.covers(from)) {
        return Ok(Reply::NotFetched(log, epoch, Refusal::Pruned { from, end: row.next_seq }));
    }
    if hash_before(rows, log, epoch, from)? != Some(after) {
        return Ok(Reply::NotFetched(log, epoch, Refusal::Fork { seq: from }));
    }
    let Some(LogRow(genesis)) = rows.get(&log)? else {
        return Ok(Reply::NothingThere(log, epoch));
    };
    let writer = in_force(rows, &genesis, Position { log, epoch, seq: from }, None)?.key;
    let signer = signers.iter().find(|signer| signer.public_key() == writer);
    let (ours, last) = (signer.is_some(), next_rotation(rows, (log, epoch), from)?);
    let (mut batches, mut bytes, mut records, mut end) = (Vec::new(), 0, 0, None);
    let mut closed: Option<(usize, SignedHead)> = None;
    let first = BatchRow::key(&(log, epoch, from));
    rows.scan::<BatchRow>(&epoch_key(log, epoch), &first, &mut |_, row| {
        let header = row.batch.header();
        bytes += row.batch.bytes().len();
        records += u64::from(header.records_len);
        let sendable = if ours { !batches.is_empty() } else { closed.is_some() };
        if (bytes > bytes_max || records > BURST_RECORDS_BYTES_MAX / 2) && sendable {
            return Ok(ControlFlow::Break(()));
        }
        if end.is_some_and(|(next, _)| pruned.is_some_and(|row| row.covers(next))) {
            return Ok(ControlFlow::Break(())); // the first batch, which is never pruned
        }
        if header.first_seq != end.map_or(from, |(next, _)| next) {
            return Err(Error::corrupt("batch", format!("gap before seq {}", header.first_seq)));
        }
        let next = header.end_seq()?;
        end = Some((next, row.hash));
        batches.push(row.batch);
        if !ours && let Some(HeadRow(signed)) = rows.get(&(log, epoch, next - 1))? {
            closed = Some((batches.len(), signed));
        }
        // The next key signs what comes after.
        Ok(if last == Some(next - 1) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let Some(signer) = signer else {
        let Some((count, head)) = closed else { return Ok(Reply::NothingThere(log, epoch)) };
        batches.truncate(count);
        return Ok(Reply::Fetched(Burst { batches, head }));
    };
    let Some((next, hash)) = end else { return Ok(Reply::NothingThere(log, epoch)) };
    let hash = if planted(Bug::SignsBeforeChaining) { after } else { hash };
    let position = Position { log, epoch, seq: next - 1 };
    let head = signer.sign_head(rows.tenant(), Head { position, hash });
    Ok(Reply::Fetched(Burst { batches, head }))
}
