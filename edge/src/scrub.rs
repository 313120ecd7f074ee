//! A store's file without what was deleted: redb leaves bytes of old rows where nothing was written since.
//!
//! Invariant: at every moment there is one whole store under its name. A fresh one is written beside it,
//! from its rows alone, and takes its name when it is durable; one that was left unfinished is removed.
//! What the file system keeps of a file that is gone is not in our reach.

use crate::anchor;
use crate::data_dir::DataDir;
use crate::keeper::{DiskDevice, open_store, store_file};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use tallyroll_engine::{Error, Result};
use tracing::info;

/// Moves a device to a fresh file, if names were deleted from the one it has.
///
/// # Errors
/// No room for a second file: the first is as it was. Storage failed.
pub(crate) fn scrub_if_needed(dir: &DataDir, device: &mut DiskDevice) -> Result<()> {
    if !device.needs_scrub() {
        return Ok(());
    }
    remove_unfinished(dir)?;
    let fresh = fresh(dir);
    let file = store_file(&fresh)?;
    let anchor = anchor::read(&file);
    let copied = open_store(file).and_then(|mut copy| {
        device.store().moment()?.copy_to(&mut copy)?;
        Ok(copy)
    });
    let copy = copied.inspect_err(|_| drop(fs::remove_file(&fresh)))?; // or it is removed next time
    device.move_to(copy, anchor, || {
        fs::rename(&fresh, dir.store())?;
        File::open(dir.root())?.sync_all()
    })?;
    info!("the store was written anew, without what was erased");
    Ok(())
}

/// Removes what a process left that ended while it wrote a fresh store.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove_unfinished(dir: &DataDir) -> Result<()> {
    match fs::remove_file(fresh(dir)) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            Err(Error::Storage { doing: "removing an unfinished store", source: why })
        }
        _ => Ok(()),
    }
}

fn fresh(dir: &DataDir) -> PathBuf {
    dir.store().with_extension("fresh")
}
