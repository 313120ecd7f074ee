//! Copying a store: every row of one moment into another store, and what tells the two are alike.
//!
//! Invariant: a copy holds the rows of one moment, all of them and nothing else; its
//! [`Contents`] equal the moment's, and those of no other set of rows. Rows are
//! copied as they are, known or not. Where the copy lies is left to the rims.

use super::rows::{TipRow, split_epoch_key};
use super::{Changes, RedbMoment, Row, Store, Table};
use crate::{Error, Result};
use core::ops::ControlFlow;
use serde::{Deserialize, Serialize};
use tallyroll_schema::{EpochId, Hash, LogId, TenantId};

/// Rows in one commit of a copy, bytes: few flushes, and little memory at a printer.
const COMMIT_BYTES: usize = 1024 * 1024;

/// Called with each table, key and value.
type VisitAny<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<()> + 'a;

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contents {
    /// Rows, of all tables.
    pub rows: u64,
    /// BLAKE3 over all rows, in order.
    pub digest: Hash,
    /// How many events each epoch of each log has.
    pub logs: Vec<LogEvents>,
}

/// How many events an epoch of a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogEvents {
    /// The log.
    pub log: LogId,
    /// The epoch.
    pub epoch: EpochId,
    /// Its sealed events.
    pub events: u64,
}

impl Contents {
    /// Events of all logs.
    pub fn events(&self) -> u64 {
        self.logs.iter().map(|log| log.events).sum()
    }
}

impl RedbMoment {
    /// What it holds; so every row is read, and its checksum verified.
    ///
    /// # Errors
    /// Storage failed or a row is corrupt.
    pub fn contents(&self) -> Result<Contents> {
        self.visit_all(&mut |_, _, _| Ok(()))
    }

    /// Writes all rows into an empty store; returns what it then holds.
    ///
    /// # Errors
    /// Storage failed, or a row is corrupt; what is in `to` is then no copy.
    pub fn copy_to<S: Store>(&self, to: &mut S) -> Result<Contents> {
        let (mut changes, mut bytes) = (Changes::new(), 0);
        let contents = self.visit_all(&mut |table, key, value| {
            changes.insert((table, key.to_vec()), Some(value.to_vec()));
            bytes += key.len() + value.len();
            if bytes >= COMMIT_BYTES {
                to.commit(core::mem::take(&mut changes))?;
                bytes = 0;
            }
            Ok(())
        })?;
        to.commit(changes)?;
        Ok(contents)
    }

    fn visit_all(&self, visit: &mut VisitAny<'_>) -> Result<Contents> {
        let mut hasher = blake3::Hasher::new_derive_key("tallyroll store contents v1");
        let (mut rows, mut logs) = (0, Vec::new());
        for table in Table::ALL {
            self.scan(table, &mut |key, value| {
                hasher.update(&[table as u8]);
                for part in [key, value] {
                    hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
                }
                rows += 1;
                if table == Table::Tip {
                    logs.push(log_events(key, value)?);
                }
                visit(table, key, value)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(Contents { rows, digest: Hash(*hasher.finalize().as_bytes()), logs })
    }
}

fn log_events(key: &[u8], value: &[u8]) -> Result<LogEvents> {
    let place = key.get(TenantId::LEN..).and_then(split_epoch_key);
    let (log, epoch) = place.ok_or_else(|| Error::corrupt("tip row", "its key is too short"))?;
    let tip = TipRow::decode(value).map_err(|why| Error::corrupt("tip row", why))?;
    Ok(LogEvents { log, epoch, events: tip.next_seq })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{RedbStore, Rows};
    use ::redb::backends::InMemoryBackend;

    const TENANT: TenantId = TenantId([7; 16]);
    const EPOCH: (LogId, EpochId) = (LogId([1; 32]), EpochId { counter: 3, nonce: [2; 16] });

    fn store() -> RedbStore {
        RedbStore::open(InMemoryBackend::new(), 1 << 20).expect("opens")
    }

    fn put(store: &mut RedbStore, table: Table, key: &[u8], value: Vec<u8>) {
        store.commit(Changes::from([((table, key.to_vec()), Some(value))])).expect("commits");
    }

    /// A store with a tip of 40 events and more rows than one commit of a copy takes.
    fn filled() -> RedbStore {
        let mut store = store();
        let mut rows = Rows::new(TENANT, &store);
        rows.put(&EPOCH, &TipRow { next_seq: 40, hash: Hash([3; 32]), closed: None });
        let changes = rows.into_changes();
        store.commit(changes).expect("commits");
        for number in 0..6 {
            put(&mut store, Table::Batch, &[number; 20], vec![number; COMMIT_BYTES / 4]);
        }
        store
    }

    #[test]
    fn a_copy_holds_one_moment_and_nothing_that_was_written_since() {
        let mut original = filled();
        let moment = original.moment().expect("is one");
        put(&mut original, Table::Meta, b"later", vec![1]);
        let mut copy = store();
        let written = moment.copy_to(&mut copy).expect("copies");
        assert_eq!((written.rows, written.events()), (7, 40));
        assert_eq!(written.logs, [LogEvents { log: EPOCH.0, epoch: EPOCH.1, events: 40 }]);
        assert_eq!(copy.moment().and_then(|copy| copy.contents()).expect("reads"), written);
        assert_eq!(copy.read(Table::Meta, b"later").expect("reads"), None);
        assert_eq!(moment.contents().expect("reads"), written, "a moment stays what it is");
        let now = original.moment().and_then(|now| now.contents()).expect("reads");
        assert_eq!(now.rows, 8);
        assert_ne!(now.digest, written.digest);
    }

    #[test]
    fn no_two_sets_of_rows_are_alike() {
        type Set<'a> = &'a [(Table, &'a [u8], &'a [u8])];
        let of = |rows: Set<'_>| {
            let mut store = store();
            for (table, key, value) in rows {
                put(&mut store, *table, key, value.to_vec());
            }
            store.moment().and_then(|moment| moment.contents()).expect("reads").digest
        };
        let sets: [Set<'_>; 6] = [
            &[],
            &[(Table::Meta, b"ab", b"c")],
            &[(Table::Meta, b"a", b"bc")],
            &[(Table::Log, b"ab", b"c")],
            &[(Table::Meta, b"ab", b"c"), (Table::Meta, b"d", b"")],
            &[(Table::Meta, b"ab", b""), (Table::Meta, b"d", b"c")],
        ];
        let digests: std::collections::BTreeSet<Hash> = sets.map(of).into();
        assert_eq!(digests.len(), sets.len());
    }
}
