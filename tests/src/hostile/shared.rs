//! A store in memory that two hold: the replica, and who writes beneath it or opens it again.
//!
//! Invariant: a clone is the same store. One thread, so that a borrow never outlives a call; the
//! contract is [`MemoryStore`]'s.

use std::cell::RefCell;
use std::rc::Rc;
use tallyroll_engine::Result;
use tallyroll_engine::store::{Changes, MemoryStore, Store, Table, Visit};

/// A store that two hold.
#[derive(Debug, Clone, Default)]
pub struct Shared(Rc<RefCell<MemoryStore>>);

impl Shared {
    /// What lies there now.
    pub fn copy(&self) -> MemoryStore {
        self.0.borrow().clone()
    }

    /// Puts something else there.
    pub fn replace(&self, with: MemoryStore) {
        *self.0.borrow_mut() = with;
    }
}

impl Store for Shared {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.borrow().read(table, key)
    }
    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.0.borrow().scan(table, from, to, visit)
    }
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.0.borrow().last(table, from, to)
    }
    fn commit(&mut self, changes: Changes) -> Result<()> {
        self.0.borrow_mut().commit(changes)
    }
    fn file_bytes(&self) -> Result<u64> {
        self.0.borrow().file_bytes()
    }
    fn used_bytes(&self) -> Result<u64> {
        self.0.borrow().used_bytes()
    }
    fn shrink(&mut self) -> Result<()> {
        self.0.borrow_mut().shrink()
    }
}
