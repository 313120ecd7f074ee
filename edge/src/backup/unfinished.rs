//! A directory in the making: beside the place it is meant for, and there whole or not at all.
//!
//! Invariant: until [`Unfinished::finish`] everything lies under another name and is taken away if
//! nothing comes of it. What gets the name in the end is durable before it does, and its name is
//! before that is told. Readable by its owner alone, for there are keys in it.
//! What belongs into the directory is left to the callers.

use super::BackupError;
use crate::data_dir::DataDir;
use crate::secret_file::create_private_directory;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf, absolute};
use tallyroll_schema::Hash;
use zeroize::Zeroizing;

/// Read and written at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file as it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub hash: Hash,
}

/// A directory that is being made.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// Begins the directory that is to be a data directory, and says where; those it lies in are made.
    pub(super) fn begin_data(dir: &DataDir) -> Result<(Self, PathBuf), BackupError> {
        let to = absolute(dir.root()).map_err(|why| BackupError::io("find", dir.root(), why))?;
        if let Some(parent) = to.parent() {
            let made = create_private_directory(parent);
            made.map_err(|why| BackupError::io("make", parent, why))?;
        }
        Ok((Self::begin(&to)?, to))
    }

    /// Begins the directory that is to be `target`, an absolute path.
    pub(super) fn begin(target: &Path) -> Result<Self, BackupError> {
        refuse_if_taken(target)?;
        let unnamed = || BackupError::io("make", target, ErrorKind::InvalidInput.into());
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or_else(unnamed)?);
        name.push(".unfinished");
        let path = target.with_file_name(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path, target: target.to_owned(), finished: false }),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {
                Err(BackupError::Unfinished { path })
            }
            Err(why) => Err(BackupError::io("make", &path, why)),
        }
    }

    /// Where it lies until it is finished.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies a file into it, durably; `None` where there is no such file.
    pub(super) fn copy(&self, from: &Path, name: &str) -> Result<Option<Kept>, BackupError> {
        let source = match File::open(from) {
            Ok(source) => source,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(BackupError::io("read", from, why)),
        };
        let path = self.path.join(name);
        let failed = |why| BackupError::io("write", &path, why);
        let mut file = create(&path).map_err(failed)?;
        let kept = read(from, source, |bytes| file.write_all(bytes).map_err(failed))?;
        file.sync_all().map_err(failed)?;
        Ok(Some(kept))
    }

    /// Makes a file durable that was written into it by others.
    pub(super) fn keep(&self, name: &str) -> Result<Kept, BackupError> {
        let path = self.path.join(name);
        let failed = |why| BackupError::io("write", &path, why);
        let file = File::open(&path).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        read(&path, file, |_| Ok(()))
    }

    /// Writes a file into it, durably.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.path.join(name);
        let write = || {
            let mut file = create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|why| BackupError::io("write", &path, why))
    }

    /// Puts it in its place.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        let sync = |path: &Path| File::open(path)?.sync_all();
        let sync_all = || {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    sync(&entry.path())?;
                }
            }
            sync(&self.path)
        };
        sync_all().map_err(|why| BackupError::io("write", &self.path, why))?;
        let failed = |why| BackupError::io("make", &self.target, why);
        fs::rename(&self.path, &self.target).map_err(failed)?;
        self.finished = true;
        self.target.parent().map_or(Ok(()), sync).map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_dir_all(&self.path); // what cannot be removed is told of the next time
        }
    }
}

/// Only a directory that is not there, or is empty, can be made.
fn refuse_if_taken(target: &Path) -> Result<(), BackupError> {
    let looking = |why| BackupError::io("look into", target, why);
    let free = match fs::symlink_metadata(target) {
        Ok(there) if there.is_dir() => fs::read_dir(target).map_err(looking)?.next().is_none(),
        Ok(_) => false,
        Err(_) => true, // what keeps it from being seen keeps it from being made, and is told then
    };
    if free { Ok(()) } else { Err(BackupError::Taken { path: target.into() }) }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Reads a file to its end; `each` gets the bytes as they come.
fn read(
    path: &Path,
    mut file: File,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<Kept, BackupError> {
    let mut chunk = Zeroizing::new(vec![0; CHUNK_BYTES]); // there are keys among the files
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    loop {
        let len = file.read(&mut chunk).map_err(|why| BackupError::io("read", path, why))?;
        let Some(part @ [_, ..]) = chunk.get(..len) else { break };
        hasher.update(part);
        bytes += len as u64;
        each(part)?;
    }
    Ok(Kept { bytes, hash: Hash(*hasher.finalize().as_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_is_there_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let (source, target) = (root.path().join("key"), root.path().join("made"));
        fs::write(&source, vec![7; CHUNK_BYTES + 1]).unwrap();
        for empty_one_is_there in [false, true] {
            if empty_one_is_there {
                fs::create_dir(&target).unwrap();
            }
            let given_up = Unfinished::begin(&target).unwrap();
            given_up.write("a", b"b").unwrap();
            drop(given_up);
            let made = Unfinished::begin(&target).unwrap();
            let copied = made.copy(&source, "inner/key").unwrap().unwrap();
            assert_eq!(copied, made.keep("inner/key").unwrap());
            assert_eq!(copied.bytes, CHUNK_BYTES as u64 + 1);
            assert_eq!(made.copy(&root.path().join("nothing"), "nothing").unwrap(), None);
            assert_eq!(target.exists(), empty_one_is_there);
            made.finish().unwrap();
            assert_eq!(names(root.path()), ["key", "made"]);
            assert_eq!(names(&target), ["inner"]);
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&target), mode(&target.join("inner"))), (0o700, 0o700));
            assert_eq!(mode(&target.join("inner/key")), 0o600);
            fs::remove_dir_all(&target).unwrap();
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (file, full) = (root.path().join("file"), root.path().join("full"));
        fs::write(&file, b"kept").unwrap();
        fs::create_dir(&full).unwrap();
        fs::write(full.join("file"), b"kept").unwrap();
        for taken in [&file, &full] {
            let refused = Unfinished::begin(taken).unwrap_err();
            assert!(matches!(refused, BackupError::Taken { .. }), "{refused}");
        }
        let other = root.path().join("other");
        let _at_work = Unfinished::begin(&other).unwrap();
        let refused = Unfinished::begin(&other).unwrap_err();
        assert!(matches!(refused, BackupError::Unfinished { .. }), "{refused}");
        let refused = Unfinished::begin(&root.path().join("no/where")).unwrap_err();
        assert!(matches!(refused, BackupError::Io { .. }), "{refused}");
    }
}
