//! The journal's file in memory: for quick simulations and for tests.
//!
//! Invariant: the same contract as a file's on a disk that never fails. Nothing survives the value, and
//! a clone is a copy of the disk.

use super::journal::JournalFile;
use std::io::{ErrorKind, Result};

/// A file in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFile(pub Vec<u8>);

impl JournalFile for MemoryFile {
    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let held = self.0.get(begin(offset)?..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(held.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let begin = begin(offset)?;
        let end = begin.checked_add(bytes.len()).ok_or(ErrorKind::FileTooLarge)?;
        self.0.resize(self.0.len().max(end), 0);
        if let Some(place) = self.0.get_mut(begin..end) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

fn begin(offset: u64) -> Result<usize> {
    usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge.into())
}
