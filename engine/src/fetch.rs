//! Reading batches of our own logs for a peer, closed by a head signed on the spot.
//!
//! Invariant: what is sent is what is stored, verbatim, and continues what the
//! peer says it holds; where that differs, nothing is sent. A month of batches
//! costs one signature a burst.

use crate::keys::Signer;
use crate::merge::{Burst, Refusal};
use crate::store::rows::{BatchRow, epoch_key};
use crate::store::{Row, Rows, Store};
use crate::sync::{Fetch, Reply};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::{EpochId, Hash, Head, LogId, Position};

/// Carries out a fetch.
///
/// # Errors
/// Storage failed.
pub(crate) fn fetch<S: Store>(rows: &Rows<'_, S>, signer: &Signer, ask: Fetch) -> Result<Reply> {
    let Fetch { log, epoch, from, after, bytes_max } = ask;
    if hash_before(rows, log, epoch, from)? != Some(after) {
        return Ok(Reply::NotFetched(log, epoch, Refusal::Fork { seq: from }));
    }
    let (mut batches, mut bytes, mut end) = (Vec::new(), 0, None);
    let first = BatchRow::key(&(log, epoch, from));
    rows.scan::<BatchRow>(&epoch_key(log, epoch), &first, &mut |_, row| {
        bytes += row.batch.bytes().len();
        if bytes > bytes_max && !batches.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let header = row.batch.header();
        if header.first_seq != end.map_or(from, |(next, _)| next) {
            return Err(Error::corrupt("batch", format!("gap before seq {}", header.first_seq)));
        }
        end = Some((header.end_seq()?, row.hash));
        batches.push(row.batch);
        Ok(ControlFlow::Continue(()))
    })?;
    let Some((next, hash)) = end else { return Ok(Reply::NothingThere(log, epoch)) };
    let position = Position { log, epoch, seq: next - 1 };
    let head = signer.sign_head(rows.tenant(), Head { position, hash });
    Ok(Reply::Fetched(Burst { batches, head }))
}

/// The chain's value before `seq`, if a batch ends there.
fn hash_before<S: Store>(
    rows: &Rows<'_, S>,
    log: LogId,
    epoch: EpochId,
    seq: u64,
) -> Result<Option<Hash>> {
    if seq == 0 {
        return Ok(Some(Hash::ZERO));
    }
    let before =
        rows.last_before::<BatchRow>(&epoch_key(log, epoch), &BatchRow::key(&(log, epoch, seq)))?;
    Ok(before.filter(|row| row.batch.header().end_seq() == Ok(seq)).map(|row| row.hash))
}
