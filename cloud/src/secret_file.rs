//! A small file that holds a secret: readable by its owner alone, and there whole or not at all.
//!
//! Invariant: `write` never replaces a file in place. The bytes go to a neighbour, are made durable, and take the
//! name by a rename whose directory is made durable too; a power cut leaves the old file or the new one.
//! What the bytes mean, and what a missing file means, is left to the callers.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
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
    let written = file.write_all(secret).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&unfinished, directory.join(name))).inspect_err(|_| {
        let _ = fs::remove_file(&unfinished); // it takes room, where there may be none
    })?;
    File::open(directory)?.sync_all()
}

/// Takes room for `directory/name`, `len` bytes of it, so that [`write_prepared`] needs none.
pub(crate) fn prepare(directory: &Path, name: &str, len: usize) -> io::Result<()> {
    let prepared = directory.join(format!("{name}.prepared"));
    if fs::metadata(&prepared).is_ok_and(|file| file.len() == len as u64) {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&prepared)?;
    // No zeros, which some file systems do not store.
    file.write_all(&vec![b'.'; len]).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(&prepared); // half of it is none
    })
}

/// The same as [`write`], into the room that was taken before, if it was.
pub(crate) fn write_prepared(directory: &Path, name: &str, secret: &[u8]) -> io::Result<()> {
    let prepared = directory.join(format!("{name}.prepared"));
    let file = match OpenOptions::new().write(true).open(&prepared) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return write(directory, name, secret),
        Err(error) => return Err(error),
    };
    file.write_all_at(secret, 0)?;
    if file.metadata()?.len() != secret.len() as u64 {
        file.set_len(secret.len() as u64)?;
    }
    file.sync_all()?;
    fs::rename(&prepared, directory.join(name))?;
    File::open(directory)?.sync_all()
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
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

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
    fn room_that_was_taken_is_used_once_and_may_be_of_another_length() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("number");
        for (len, secret) in [(2, &b"41"[..]), (2, b"100"), (9, b"7")] {
            prepare(root.path(), "number", len).unwrap();
            let inode = fs::metadata(root.path().join("number.prepared")).unwrap().ino();
            write_prepared(root.path(), "number", secret).unwrap();
            assert_eq!(**read(&path).unwrap().unwrap(), *secret);
            let there = fs::metadata(&path).unwrap();
            assert_eq!((there.ino(), there.permissions().mode() & 0o777), (inode, 0o600));
        }
        write_prepared(root.path(), "number", b"none was taken").unwrap();
        assert_eq!(**read(&path).unwrap().unwrap(), *b"none was taken");
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
