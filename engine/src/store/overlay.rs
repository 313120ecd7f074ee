//! One tenant's rows of a store, with the changes that are not committed yet.
//!
//! Invariant: every read sees the pending changes, so what one effect wrote the next one of the
//! same commit meets, whether it asks by key, in order or for the last before a place.

use super::{Changes, Row, Store, Table, Visit};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::TenantId;

/// Called with each key, without the tenant, and row of a scan.
pub type VisitRow<'a, R> = dyn FnMut(&[u8], R) -> Result<ControlFlow<()>> + 'a;

/// One tenant's rows: reads through its own pending changes to the store.
pub struct Rows<'a, S> {
    tenant: TenantId,
    store: &'a S,
    changes: Changes,
}

impl<'a, S: Store> Rows<'a, S> {
    /// The rows of a tenant.
    pub fn new(tenant: TenantId, store: &'a S) -> Self {
        Self { tenant, store, changes: Changes::new() }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// A row, pending changes included.
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    pub fn get<R: Row>(&self, key: &R::Key) -> Result<Option<R>> {
        let key = self.full_key(&R::key(key));
        match self.changes.get(&(R::TABLE, key.clone())) {
            Some(pending) => pending.as_deref().map(decode).transpose(),
            None => self.store.read(R::TABLE, &key)?.as_deref().map(decode).transpose(),
        }
    }

    /// Writes a row.
    pub fn put<R: Row>(&mut self, key: &R::Key, row: &R) {
        self.changes.insert((R::TABLE, self.full_key(&R::key(key))), Some(row.encode()));
    }

    /// Deletes a row.
    pub fn delete<R: Row>(&mut self, key: &R::Key) {
        self.changes.insert((R::TABLE, self.full_key(&R::key(key))), None);
    }

    /// Visits the rows whose key begins with `prefix`, from the key `from` on (both without the
    /// tenant), in order.
    ///
    /// # Errors
    /// Storage failed, a row is corrupt, or `visit` failed.
    pub fn scan<R: Row>(
        &self,
        prefix: &[u8],
        from: &[u8],
        visit: &mut VisitRow<'_, R>,
    ) -> Result<()> {
        let (first, end) = (self.full_key(from), after_prefix(&self.full_key(prefix)));
        self.scan_through(R::TABLE, &first, &end, &mut |key, value| {
            visit(key.get(TenantId::LEN..).unwrap_or_default(), decode(value)?)
        })
    }

    /// The last row whose key begins with `prefix`.
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    pub fn last<R: Row>(&self, prefix: &[u8]) -> Result<Option<(Vec<u8>, R)>> {
        let first = self.full_key(prefix);
        let found = self.last_through(R::TABLE, &first, after_prefix(&first))?;
        found
            .map(|(key, value)| {
                Ok((key.get(TenantId::LEN..).unwrap_or_default().to_vec(), decode(&value)?))
            })
            .transpose()
    }

    /// The last row from `prefix` on whose key is before `end` (both without the tenant).
    ///
    /// # Errors
    /// Storage failed or the row is corrupt.
    pub fn last_before<R: Row>(&self, prefix: &[u8], end: &[u8]) -> Result<Option<R>> {
        let found = self.last_through(R::TABLE, &self.full_key(prefix), self.full_key(end))?;
        found.map(|(_, value)| decode(&value)).transpose()
    }

    /// The store's rows and the pending ones, merged; a pending change hides the row it changes.
    fn scan_through(
        &self,
        table: Table,
        first: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let mut pending = self.pending(table, first, end).peekable();
        let mut flow = ControlFlow::Continue(());
        self.store.scan(table, first, end, &mut |key, value| {
            let mut hidden = false;
            while let Some((changed, change)) = pending.next_if(|(changed, _)| *changed <= key) {
                hidden |= changed == key;
                if let Some(value) = change {
                    flow = visit(changed, value)?;
                }
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            if !hidden {
                flow = visit(key, value)?;
            }
            Ok(flow)
        })?;
        for (key, change) in pending {
            if let Some(value) = change.filter(|_| flow.is_continue()) {
                flow = visit(key, value)?;
            }
        }
        Ok(())
    }

    fn last_through(
        &self,
        table: Table,
        first: &[u8],
        mut end: Vec<u8>,
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let pending = self.pending(table, first, &end).rev();
        let pending = pending.filter_map(|(key, change)| Some((key, change?))).next();
        let pending = pending.map(|(key, value)| (key.to_vec(), value.to_vec()));
        loop {
            match self.store.last(table, first, &end)? {
                Some((key, _)) if self.changes.contains_key(&(table, key.clone())) => end = key,
                stored => return Ok(stored.max(pending)), // the later key
            }
        }
    }

    fn pending(
        &self,
        table: Table,
        first: &[u8],
        end: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&[u8], Option<&[u8]>)> {
        let none = first >= end; // which a range panics at
        let range = (table, first.to_vec())..(table, end.max(first).to_vec());
        let changes = self.changes.range(range).filter(move |_| !none);
        changes.map(|((_, key), change)| (key.as_slice(), change.as_deref()))
    }

    /// The pending changes, to be committed.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    fn full_key(&self, key: &[u8]) -> Vec<u8> {
        [self.tenant.as_bytes(), key].concat()
    }
}

fn decode<R: Row>(value: &[u8]) -> Result<R> {
    R::decode(value).map_err(|why| Error::corrupt(format!("row of table {:?}", R::TABLE), why))
}

/// The first key after all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0xff; prefix.len() + 1]
}

#[cfg(test)]
mod tests {
    use super::super::rows::TipRow;
    use super::*;
    use crate::store::MemoryStore;
    use tallyroll_schema::{EpochId, Hash, LogId};

    /// Two devices that give back the same range in one commit met rows that `get` saw and
    /// `last_before` did not: the second was told of a fork.
    #[test]
    fn every_read_goes_through_the_pending_changes() {
        let tenant = TenantId([7; 16]);
        let log = |number: u8| LogId([number; 32]);
        let row = |seq: u64| TipRow { next_seq: seq, hash: Hash([1; 32]), closed: None };
        let key = |number: u8| (log(number), EpochId { counter: 0, nonce: [0; 16] });
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(tenant, &store);
        for number in [1, 3, 5, 7] {
            rows.put(&key(number), &row(1));
        }
        let changes = rows.into_changes();
        store.commit(changes).unwrap();

        let mut rows = Rows::new(tenant, &store);
        for number in [0, 3, 4, 8] {
            rows.put(&key(number), &row(2));
        }
        for number in [5, 7, 9] {
            rows.delete::<TipRow>(&key(number));
        }
        let read = |rows: &Rows<'_, MemoryStore>, most: usize| {
            let mut read = Vec::new();
            let visited = rows.scan::<TipRow>(&[], &[], &mut |key, row| {
                read.push((key[0], row.next_seq));
                let full = read.len() == most;
                Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            visited.unwrap();
            read
        };
        let last_before = |rows: &Rows<'_, MemoryStore>, number: u8| {
            let end = log(number);
            rows.last_before::<TipRow>(&[], end.as_bytes()).unwrap().map(|row| row.next_seq)
        };
        let all = [(0, 2), (1, 1), (3, 2), (4, 2), (8, 2)];
        for most in 1..=6 {
            assert_eq!(read(&rows, most), all[..most.min(5)]);
        }
        assert_eq!(rows.last::<TipRow>(&[]).unwrap().map(|(key, _)| key[0]), Some(8));
        let befores: Vec<_> = (0..10).map(|number| last_before(&rows, number)).collect();
        let mut expected = [Some(2); 10];
        (expected[0], expected[2], expected[3]) = (None, Some(1), Some(1));
        assert_eq!(befores, expected);

        let changes = rows.into_changes();
        store.commit(changes).unwrap();
        let rows = Rows::new(tenant, &store);
        assert_eq!(read(&rows, 9), all, "as it is once they are committed");
        let after: Vec<_> = (0..10).map(|number| last_before(&rows, number)).collect();
        assert_eq!(after, befores);
    }

    #[test]
    fn a_prefix_ends_where_its_rows_do() {
        assert_eq!(after_prefix(&[1, 2]), [1, 3]);
        assert_eq!(after_prefix(&[1, 0xff]), [2]);
        assert!(after_prefix(&[0xff]) > vec![0xff]);
    }
}
