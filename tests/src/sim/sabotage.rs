//! What planted bugs do to a disk behind the engine's back.
//!
//! Invariant: each change is one that a buggy store could have made by itself: rows stay well
//! formed, and no more than one promise is broken.

use super::disk::Disk;
use super::machine::TENANT;
use core::ops::ControlFlow;
use tallyroll_engine::counts::Counts;
use tallyroll_engine::fold::View;
use tallyroll_engine::log::{open, seal};
use tallyroll_engine::store::rows::{BatchRow, LogRow, SnapshotRow, split_epoch_key};
use tallyroll_engine::store::{Rows, Store};
use tallyroll_schema::event::log::LogClass;

/// Where a record keeps its clock's quality, bytes from its start; no view reads it.
const QUALITY_AT: usize = 7;

/// A stored view stands at its cut no more.
pub(super) fn stale_snapshot(disk: &Disk) {
    disk.tamper(|store| {
        let mut rows = Rows::new(TENANT, store);
        let key = Counts::NAME.to_owned();
        if let Ok(Some(row)) = rows.get::<SnapshotRow>(&key) {
            let archive = Counts::default().archive();
            rows.put(&key, &SnapshotRow { archive, ..row });
        }
        let changes = rows.into_changes();
        let committed = store.commit(changes);
        debug_assert!(committed.is_ok(), "memory takes every commit");
    });
}

/// A bit of a device's first record after the genesis is not what it was.
pub(super) fn alter_record(disk: &Disk) {
    disk.tamper(|store| {
        let mut rows = Rows::new(TENANT, store);
        let mut altered = Vec::new();
        let scanned = rows.scan::<BatchRow>(&[], &[], &mut |key, row| {
            let place = split_epoch_key(key).zip(Some(*row.batch.header()));
            let Some(((log, epoch), header)) = place else { return Ok(ControlFlow::Continue(())) };
            let genesis: Option<LogRow> = rows.get(&log)?;
            let ledger = genesis.is_some_and(|LogRow(opened)| opened.class == LogClass::Ledger);
            if !ledger || header.first_seq == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            let mut opened = open(row.batch)?;
            opened.records[QUALITY_AT] ^= 1;
            let first = header.first_seq;
            let batch = seal(log, epoch, first, header.count, &opened.records)?;
            altered.push(((log, epoch, first), BatchRow { hash: row.hash, batch }));
            Ok(ControlFlow::Break(()))
        });
        debug_assert!(scanned.is_ok(), "memory is read without error");
        for (key, row) in &altered {
            rows.put(key, row);
        }
        let changes = rows.into_changes();
        let committed = store.commit(changes);
        debug_assert!(committed.is_ok(), "memory takes every commit");
    });
}
