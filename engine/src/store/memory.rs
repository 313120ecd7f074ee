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
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        Ok(())
    }
}
