//! A file in memory whose bytes the test holds too: a journal's, or a database's.
//!
//! Invariant: a clone is the same file, a copy is another one with the same bytes. Every write is
//! kept and nothing is ever lost; what a power cut does to a file is the simulator's.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_engine::log::journal::JournalFile;

/// A file in memory.
#[derive(Debug, Clone, Default)]
pub struct Image(Arc<Mutex<Vec<u8>>>);

impl Image {
    /// A file with these bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    /// Its bytes now.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// The bytes stay readable after a panic of whoever wrote them: that is what is looked at then.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn length(&self) -> u64 {
        self.lock().len() as u64
    }

    fn read_into(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let bytes = self.lock();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let held = bytes.get(from..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(held.ok_or(Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_from(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut bytes = self.lock();
        let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(data.len());
        if end > BYTES_MAX {
            return Err(Error::from(ErrorKind::FileTooLarge));
        }
        let len = bytes.len().max(end);
        bytes.resize(len, 0);
        bytes[end - data.len()..end].copy_from_slice(data);
        Ok(())
    }
}

/// A damaged length shall not take the machine's memory: a file is no larger than this.
const BYTES_MAX: usize = 1 << 30;

impl JournalFile for Image {
    fn len(&self) -> Result<u64> {
        Ok(self.length())
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.read_into(offset, bytes)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write_from(offset, bytes)
    }
    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

impl redb::StorageBackend for Image {
    fn len(&self) -> Result<u64> {
        Ok(self.length())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.read_into(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > BYTES_MAX {
            return Err(Error::from(ErrorKind::FileTooLarge));
        }
        self.lock().resize(len, 0);
        Ok(())
    }
    fn sync_data(&self) -> Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_from(offset, data)
    }
}
