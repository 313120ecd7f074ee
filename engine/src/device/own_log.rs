//! One of the device's own logs: its sealed tip and its tail.
//!
//! Invariant: tip and tail are contiguous; what is in the tail is durable in the
//! journal and not yet in the store.

use crate::log::journal::Section;
use crate::log::{Tip, is_closed};
use crate::store::rows::{LogRow, TipRow};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::time::Duration;
use tallyroll_schema::event::log::{LogClass, LogClosed, LogOpened};
use tallyroll_schema::{EpochId, LogId, Position, Record, Records};

#[derive(Debug)]
pub(super) struct OwnLog {
    pub(super) epoch: (LogId, EpochId),
    pub(super) genesis: LogOpened,
    /// Where the store's batches end.
    pub(super) tip: Tip,
    /// Records after the tip, end to end.
    pub(super) tail: Vec<u8>,
    pub(super) tail_count: u64,
    /// When the tail's first record came, by the monotonic clock.
    pub(super) tail_since: Option<Duration>,
    /// Whether its last record closes it.
    pub(super) closed: bool,
}

impl OwnLog {
    pub(super) fn load<S: Store>(
        rows: &Rows<'_, S>,
        class: LogClass,
        epoch: (LogId, EpochId),
    ) -> Result<Self> {
        let missing = |what: &str| Error::corrupt(format!("own {class:?} log"), what);
        let LogRow(genesis) = rows.get(&epoch.0)?.ok_or_else(|| missing("no genesis row"))?;
        let tip: TipRow = rows.get(&epoch)?.ok_or_else(|| missing("no tip row"))?;
        let closed = is_closed(rows, epoch)?;
        Ok(Self { closed, ..Self::at(genesis, epoch, tip.into()) })
    }

    /// A log that goes on from a tip.
    pub(super) fn at(genesis: LogOpened, epoch: (LogId, EpochId), tip: Tip) -> Self {
        Self {
            epoch,
            genesis,
            tip,
            tail: Vec::new(),
            tail_count: 0,
            tail_since: None,
            closed: false,
        }
    }

    /// The seq of the next event.
    pub(super) fn next_seq(&self) -> u64 {
        self.tip.next_seq + self.tail_count
    }

    pub(super) fn position(&self, seq: u64) -> Position {
        Position { log: self.epoch.0, epoch: self.epoch.1, seq }
    }

    /// Adds a durable section to the tail; returns its records with their seqs,
    /// or `None` when they are sealed already.
    pub(super) fn append<'s>(
        &mut self,
        section: &'s Section,
        now: Duration,
    ) -> Result<Option<Vec<(u64, Record<'s>)>>> {
        let mut records = Vec::new();
        if section.first_seq.checked_add(section.records.len() as u64).is_none() {
            let why = format!("seq {} is beyond all numbers", section.first_seq);
            return Err(Error::corrupt("journal", why));
        }
        for (seq, record) in (section.first_seq..).zip(Records::new(&section.records)) {
            records.push((seq, record.map_err(|why| Error::corrupt("journal", why))?));
        }
        let end = section.first_seq + records.len() as u64;
        if end <= self.tip.next_seq && self.tail_count == 0 {
            return Ok(None);
        }
        if section.first_seq != self.next_seq() {
            let why = format!("seq {} follows {}", section.first_seq, self.next_seq());
            return Err(Error::corrupt("journal", why));
        }
        self.tail.extend_from_slice(&section.records);
        self.tail_count += records.len() as u64;
        self.tail_since.get_or_insert(now);
        self.closed |= records.iter().any(|(_, record)| record.header.kind == LogClosed::KIND);
        Ok(Some(records))
    }

    /// The tail went into the store; the log goes on from `tip`.
    pub(super) fn sealed(&mut self, tip: Tip) {
        (self.tip, self.tail, self.tail_count, self.tail_since) = (tip, Vec::new(), 0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::{Event, PublicKey, TenantId};

    /// A journal whose checksums were right and whose seq was near 2⁶⁴ made the replay overflow.
    #[test]
    fn a_seq_beyond_all_numbers_is_corrupt() {
        let epoch = EpochId { counter: 0, nonce: [1; 16] };
        let genesis = LogOpened {
            tenant: TenantId([2; 16]),
            class: LogClass::Ledger,
            writer: PublicKey([3; 32]),
            about: None,
            epoch,
        };
        let record = Record::encode(&Event::LogOpened(genesis.clone()), Default::default());
        let (class, records) = (LogClass::Ledger, record.expect("encodes"));
        let mut log = OwnLog::at(genesis, (LogId([4; 32]), epoch), Tip::START);
        for first_seq in [u64::MAX, u64::MAX - 1, 1 << 40] {
            let section = Section { class, first_seq, records: records.clone() };
            let refused = log.append(&section, Duration::ZERO).map(|_| ()).expect_err("is refused");
            assert_eq!(refused.kind(), crate::Kind::Corrupt);
        }
    }

    /// The power went after a seal's commit: what the journal has is in the store already.
    #[test]
    fn what_is_sealed_is_not_replayed() {
        let epoch = EpochId { counter: 0, nonce: [1; 16] };
        let (tenant, class) = (TenantId([2; 16]), LogClass::Ledger);
        let genesis = LogOpened { tenant, class, writer: PublicKey([3; 32]), about: None, epoch };
        let record = Record::encode(&Event::LogOpened(genesis.clone()), Default::default());
        let records = record.expect("encodes");
        let mut log = OwnLog::at(genesis, (LogId([4; 32]), epoch), Tip::START);
        log.sealed(Tip { next_seq: 2, ..Tip::START });
        let mut append = |first_seq| {
            let section = Section { class, first_seq, records: records.clone() };
            log.append(&section, Duration::ZERO).map(|added| added.map(|added| added.len()))
        };
        assert_eq!([0, 1, 2].map(|seq| append(seq).expect("fits")), [None, None, Some(1)]);
        append(1).expect_err("in the middle of a tail it is damage");
    }
}
