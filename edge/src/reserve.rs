//! Room kept aside beside the store, given back to it when the disk is full.
//!
//! Invariant: while the reserve is whole its bytes lie on the disk, so giving them
//! back makes room for them: for sealing what runs, for receipts, for pruning. It
//! is made again as soon as there is room for it; until then new work is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use tallyroll_engine::{Error, Kind};

/// What it takes, bytes: a journal's worth of tail, sealed.
pub(crate) const RESERVE_BYTES: u64 = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    whole: bool,
}

impl Reserve {
    /// The reserve at `path`, as the last run left it.
    pub(crate) fn find(path: PathBuf) -> Self {
        let len = std::fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, whole: len == RESERVE_BYTES }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Gives it back to the disk. Returns whether there was anything to give.
    pub(crate) fn spend(&mut self) -> bool {
        core::mem::take(&mut self.whole) && std::fs::remove_file(&self.path).is_ok()
    }

    /// Makes it, if there is room.
    ///
    /// # Errors
    /// The disk fails otherwise than by being full.
    pub(crate) fn restore(&mut self) -> Result<(), Error> {
        if self.whole || !self.has_room() {
            return Ok(());
        }
        let filled = self.fill().map_err(|why| Error::storage("making the reserve", why));
        self.whole = filled.is_ok();
        if !self.whole {
            drop(std::fs::remove_file(&self.path)); // half of it is in the way of the rest
        }
        match filled {
            Err(error) if error.kind() == Kind::Full => Ok(()),
            filled => filled,
        }
    }

    /// For the reserve and as much again, or the work that it lets in would use it up at once.
    fn has_room(&self) -> bool {
        let disk = self.path.parent().and_then(|dir| rustix::fs::statvfs(dir).ok());
        disk.is_some_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= 2 * RESERVE_BYTES)
    }

    /// No zeros, which some file systems do not store.
    fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file: File = options.open(&self.path)?;
        let chunk = [b'.'; 64 * 1024];
        for _ in 0..RESERVE_BYTES / chunk.len() as u64 {
            file.write_all(&chunk)?;
        }
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_is_made_again_and_half_of_it_is_none() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("reserve");
        let len = || std::fs::metadata(&path).map(|file| file.len()).ok();
        let open = |path| {
            let mut reserve = Reserve::find(path);
            reserve.restore().map(|()| reserve)
        };
        let mut reserve = open(path.clone()).expect("makes it");
        assert_eq!((reserve.is_whole(), len()), (true, Some(RESERVE_BYTES)));
        assert!(reserve.spend() && !reserve.is_whole() && !reserve.spend());
        assert_eq!(len(), None);
        std::fs::write(&path, "cut short").expect("writes");
        assert!(open(path.clone()).expect("makes it").is_whole());
        reserve.restore().expect("makes it");
        assert_eq!((reserve.is_whole(), len()), (true, Some(RESERVE_BYTES)));
        let in_the_way = dir.path().join("directory");
        std::fs::create_dir(&in_the_way).expect("makes a directory");
        let error = open(in_the_way).expect_err("a disk that fails is told");
        assert_eq!(error.kind(), Kind::Closed);
    }
}
