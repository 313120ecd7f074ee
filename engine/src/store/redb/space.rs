//! How much room the database takes, and giving back what it does not use.
//!
//! Invariant: what is committed is the same before and after. Freed pages are used again by later
//! commits; only [`RedbStore::compact`] makes the file shorter. It takes a few commits, and at most
//! writes each page once.

use super::{RedbStore, storage_error, transaction_error, unknown};
use crate::{Error, Result};
use ::redb::{CompactionError, StorageBackend};

impl RedbStore {
    pub(super) fn file_len(&self) -> Result<u64> {
        self.backend.len().map_err(|why| Error::storage("looking at the database", why))
    }

    pub(super) fn allocated(&self) -> Result<u64> {
        let write = self.database()?.begin_write().map_err(transaction_error)?;
        let stats = write.stats().map_err(storage_error)?;
        write.abort().map_err(storage_error)?;
        Ok(stats.allocated_pages().saturating_mul(stats.page_size() as u64))
    }

    /// Not while somebody reads a moment: what that holds cannot be moved.
    pub(super) fn compact(&mut self) -> Result<()> {
        let database = self.database.as_mut().ok_or(Error::Closed)?;
        let failed = match database.compact() {
            Ok(_) => return Ok(()),
            Err(CompactionError::Storage(why)) => storage_error(why),
            Err(CompactionError::TransactionInProgress) => return Ok(()),
            Err(other) => return Err(Error::corrupt("database", other)),
        };
        match failed {
            Error::Full(why) if self.backend.sync_failed() => {
                Err(unknown("syncing the database", why))
            }
            Error::Full(why) => match self.open_again() {
                Ok(()) => Err(Error::Full(why)),
                Err(Error::Full(why)) => Err(unknown("opening the database again", why)),
                Err(other) => Err(other),
            },
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Changes, Store, Table};

    /// Rows are deleted: the file stays as long as it is, is filled again, and is cut when asked.
    #[test]
    fn freed_pages_are_used_again_and_given_back_when_asked() {
        let backend = ::redb::backends::InMemoryBackend::new();
        let mut store = RedbStore::open(backend, 1 << 20).expect("opens");
        let row = |number: u32| (Table::Batch, number.to_be_bytes().to_vec());
        let fill = |store: &mut RedbStore, rows: std::ops::Range<u32>| {
            for number in rows {
                let value = Some(vec![number as u8; 60_000]);
                store.commit(Changes::from([(row(number), value)])).expect("commits");
            }
        };
        fill(&mut store, 0..100);
        let (file, used) = (store.file_bytes().expect("asks"), store.used_bytes().expect("asks"));
        assert!(used > 6_000_000 && file >= used, "{used} of {file}");
        let gone = (0..80).map(|number| (row(number), None)).collect();
        store.commit(gone).expect("commits");
        fill(&mut store, 100..160);
        assert!(store.file_bytes().expect("asks") <= file, "what was freed is used again");
        let moment = store.moment().expect("reads");
        store.shrink().expect("leaves it to later");
        drop(moment);
        store.commit((100..160).map(|number| (row(number), None)).collect()).expect("commits");
        store.shrink().expect("shrinks");
        let after = store.file_bytes().expect("asks");
        assert!(after < file / 3, "{after} of {file}");
        assert_eq!(store.read(Table::Batch, &row(90).1).expect("reads"), Some(vec![90; 60_000]));
        assert_eq!(store.read(Table::Batch, &row(110).1).expect("reads"), None);
        fill(&mut store, 200..210);
    }
}
