//! The journal's file on a real disk.
//!
//! Invariant: `sync` is fdatasync; the file is preallocated by the journal, so a
//! commit changes no metadata and costs one flush. What a process finds at its start
//! is what the disk holds.

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use tallyroll_engine::log::journal::JournalFile;

#[derive(Debug)]
pub struct DiskFile(File);

impl DiskFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open_anew(path)?))
    }
}

/// Opens a file, or makes an empty one, and has the system forget what it has of it, so that what is read is what the
/// disk holds. After a sync that failed the system believes clean what never came there; who goes on with that loses it
/// much later, with the power. Of a kernel that takes no such advice nothing more can be had.
pub(crate) fn open_anew(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    match fadvise(&file, 0, None, Advice::DontNeed) {
        Ok(()) | Err(Errno::NOSYS) => Ok(file),
        Err(why) => Err(why.into()),
    }
}

impl JournalFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
