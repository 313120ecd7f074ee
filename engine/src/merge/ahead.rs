//! Opening a burst's batches before its turn to be admitted comes, where somebody has time for it.
//!
//! Invariant: it changes nothing that is admitted or refused. A batch that does not open, or for which there is no
//! room, is opened in its turn, and says then what is wrong with it.

use super::Burst;
use crate::log::{Opened, open};
use tallyroll_schema::{Batch, DecodeError};

/// The records of a burst's batches, by their order, as far as they are unpacked.
#[derive(Debug, Default)]
pub struct Ahead(Vec<Option<Vec<u8>>>);

impl Ahead {
    /// What the batches of a burst say that their records take, bytes.
    pub fn stated(burst: &Burst) -> usize {
        burst.batches.iter().map(|batch| batch.header().records_len as usize).sum()
    }

    /// Unpacks a burst.
    pub fn of(burst: &Burst) -> Self {
        let records = |batch: &Batch| open(batch.clone()).ok().map(|opened| opened.records);
        Self(burst.batches.iter().map(records).collect())
    }

    /// The batch of that place in the burst, opened.
    pub(super) fn open(&mut self, at: usize, batch: Batch) -> Result<Opened, DecodeError> {
        match self.0.get_mut(at).and_then(Option::take) {
            Some(records) => Ok(Opened { batch, records }),
            None => open(batch),
        }
    }
}
