//! The store in memory: for the simulator's quick runs and for tests.
//!
//! Invariant: the same contract as redb's, so that a test on one says something
//! about the other. Nothing survives the value.

use super::{Changes, Store, Table, Visit};
use crate::Result;
use core::ops::ControlFlow;
use std::collections::BTreeMap;

/// Tables in memory. A clone is a copy of the disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// Bytes of keys and values.
    used: u64,
    /// The most of them since it was shrunk, as a file grows and stays.
    file: u64,
}

impl Store for MemoryStore {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        for ((_, key), value) in self.rows.range((table, from.to_vec())..(table, to.to_vec())) {
            if visit(key, value)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut rows = self.rows.range((table, from.to_vec())..(table, to.to_vec()));
        Ok(rows.next_back().map(|((_, key), value)| (key.clone(), value.clone())))
    }

    fn commit(&mut self, changes: Changes) -> Result<()> {
        for (key, value) in changes {
            let key_bytes = key.1.len();
            let bytes = |value: &Vec<u8>| (key_bytes + value.len()) as u64;
            let more = value.as_ref().map_or(0, bytes);
            let before = match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
            self.used = self.used + more - before.as_ref().map_or(0, bytes);
        }
        self.file = self.file.max(self.used);
        Ok(())
    }

    fn file_bytes(&self) -> Result<u64> {
        Ok(self.file)
    }

    fn used_bytes(&self) -> Result<u64> {
        Ok(self.used)
    }

    fn shrink(&mut self) -> Result<()> {
        self.file = self.used;
        Ok(())
    }
}
