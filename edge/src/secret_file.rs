//! A small file that holds a secret: readable by its owner alone, and there whole or not at all.
//!
//! Invariant: `write` never replaces a file in place. The bytes go to a neighbour, are made durable, and take the
//! name by a rename whose directory is made durable too; a power cut leaves the old file or the new one.
//! What the bytes mean, and what a missing file means, is left to the callers.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// The secret at `path`, or `None` when there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A sync failed: what was written may be gone with the next power cut, or not, whatever it looks like until then.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unsynced(io::Error);

fn unsynced(why: io::Error) -> io::Error {
    io::Error::new(why.kind(), Unsynced(why))
}

/// No room for the bytes of a file is another thing: it is taken away again.
fn unsynced_or_no_room(why: io::Error) -> io::Error {
    match why.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => why,
        _ => unsynced(why),
    }
}

/// Whether it is not known if a file lasts as it is now.
pub(crate) fn is_unsynced(why: &io::Error) -> bool {
    why.get_ref().is_some_and(|why| why.is::<Unsynced>())
}

/// Writes `secret` to `directory/name`, durably and atomically; makes the directory when it is missing.
pub(crate) fn write(directory: &Path, name: &str, secret: &[u8]) -> io::Result<()> {
    create_private_directory(directory)?;
    let unfinished = directory.join(format!("{name}.unfinished"));
    // One left behind by a crash may have other permissions: a fresh one has only those asked for here.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = file.write_all(secret);
    let written = written.and_then(|()| file.sync_all().map_err(unsynced_or_no_room));
    written.and_then(|()| fs::rename(&unfinished, directory.join(name))).inspect_err(|_| {
        let _ = fs::remove_file(&unfinished); // it takes room, where there may be none
    })?;
    File::open(directory)?.sync_all().map_err(unsynced)
}

/// Takes `directory/name` away, durably; it need not be there.
pub(crate) fn remove(directory: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(directory.join(name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::open(directory)?.sync_all().map_err(unsynced),
    }
}

/// Makes a directory that only its owner may enter, and those above it that are missing; durable when it returns.
pub(crate) fn create_private_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    create_private_directory(parent)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(why) if !directory.is_dir() => return Err(why),
        _ => {} // perhaps made by another meanwhile
    }
    File::open(parent).and_then(|parent| parent.sync_all()).inspect_err(|_| {
        drop(fs::remove_dir(directory)); // the next try makes and syncs it again
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_only_its_owner_may() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("authority");
        assert!(read(&directory.join("key")).unwrap().is_none());
        write(&directory, "key", b"first").unwrap();
        write(&directory, "key", b"second").unwrap();
        assert_eq!(**read(&directory.join("key")).unwrap().unwrap(), *b"second");
        assert_eq!(
            fs::metadata(directory.join("key")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_unfinished_file_of_a_crash_is_no_secret_and_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("key.unfinished"), b"to").unwrap();
        assert!(read(&root.path().join("key")).unwrap().is_none());
        write(root.path(), "key", b"torn no more").unwrap();
        assert_eq!(**read(&root.path().join("key")).unwrap().unwrap(), *b"torn no more");
        assert!(!root.path().join("key.unfinished").exists());
    }
}
