//! The number of the last allocation of credits, in a file outside the store.
//!
//! Invariant: the number is durable here before a device can hear of its allocation, so a store that is
//! behind it lost credits that were lent, see docs/decisions/0019. The file is in no backup. What follows
//! from it is the engine's; a damaged file is no number at all and is told.

use crate::data_dir::DataDir;
use crate::secret_file;
use std::io;
use std::io::ErrorKind::{QuotaExceeded, StorageFull};
use std::path::PathBuf;
use tallyroll_engine::Error;
use tallyroll_engine::hub::Anchor;
use tallyroll_schema::Hash;

const NAME: &str = "allocations";

/// Why the number cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AllocationsError {
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not what was written.
    #[error(
        "{} is damaged: nobody can tell whether the store has lost credits that it lent; remove the file: the cloud \
         then lends nothing until its devices have given back what they hold of its logs",
        path.display()
    )]
    Damaged {
        /// What.
        path: PathBuf,
    },
}

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct Allocations(DataDir);

impl Allocations {
    /// That of the cloud in `dir`.
    pub(crate) fn of(dir: &DataDir) -> Self {
        Self(dir.clone())
    }

    /// The number that was noted last, if one ever was.
    pub(crate) fn noted(&self) -> Result<Option<u64>, AllocationsError> {
        let path = self.0.root().join(NAME);
        match secret_file::read(&path) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => match parse(&text) {
                Some(number) => Ok(Some(number)),
                None => Err(AllocationsError::Damaged { path }),
            },
            Err(source) => Err(AllocationsError::Io { path, source }),
        }
    }

    fn make_room(&self, number: u64) -> io::Result<()> {
        let made =
            secret_file::prepare(self.0.root(), NAME, text_of(number.saturating_add(1)).len());
        made.map_err(|why| {
            let path = self.0.root().join(NAME);
            io::Error::new(why.kind(), format!("{}.prepared: {why}", path.display()))
        })
    }

    /// Notes a number, durably.
    pub(crate) fn note(&self, number: u64) -> io::Result<()> {
        secret_file::write_prepared(self.0.root(), NAME, text_of(number).as_bytes())?;
        match self.make_room(number) {
            // It is taken before the next allocation, or that waits.
            Err(why) if [StorageFull, QuotaExceeded].contains(&why.kind()) => Ok(()),
            made => made,
        }
    }
}

impl Anchor for Allocations {
    fn prepare(&mut self, number: u64) -> Result<(), Error> {
        let room = self.make_room(number);
        room.map_err(|why| Error::storage("taking room to note an allocation", why))
    }

    fn note(&mut self, number: u64) -> io::Result<()> {
        Self::note(self, number)
    }
}

fn text_of(number: u64) -> String {
    let hash = blake3::derive_key("tallyroll allocations v1", &number.to_le_bytes());
    format!("{number} {}\n", Hash(hash))
}

fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let number = text.split(' ').next()?.parse().ok()?;
    (text == text_of(number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let allocations = Allocations::of(&DataDir::new(root.path()));
        assert_eq!(allocations.noted().unwrap(), None);
        for number in [1, 41, u64::MAX] {
            allocations.note(number).unwrap();
            assert_eq!(allocations.noted().unwrap(), Some(number));
        }
        let path = root.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&b""[..], &whole[1..], &whole[..whole.len() - 1], b"7 seven\n"] {
            std::fs::write(&path, damaged).unwrap();
            let told = allocations.noted().unwrap_err().to_string();
            assert!(told.contains("remove the file"), "{told}");
        }
    }
}
