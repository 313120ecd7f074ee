//! The data directory: where everything of a device lies, and who may write it.
//!
//! Invariant: one process writes a directory at a time: it holds the lock file's
//! flock, and the file says who it is. The lock goes with the process, however
//! it ends.

use crate::secret_file::create_private_directory;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Paths below a device's data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Of a Unix socket, bytes: `sun_path` without its NUL, unix(7).
const SOCKET_PATH_MAX: usize = 107;

/// Why a directory cannot be used. A diagnostic of its own, so that a command which
/// fails with it can tell by its exit code that another process is at work.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{} is held by {holder}; stop that process, or let it do the work", root.display())]
    Held {
        /// The directory.
        root: PathBuf,
        /// Process id and command, as the holder wrote them.
        holder: String,
    },
    /// It is a backup, which is not to change.
    #[error("{} is a backup; `tallyroll-edge restore {} --data NEW` makes a directory of it that can be used", root.display(), root.display())]
    Backup {
        /// The directory.
        root: PathBuf,
    },
    /// No socket can be made in it.
    #[error(
        "{} is {over} bytes too long a path: a socket lies in it, whose path has at most {SOCKET_PATH_MAX} bytes; name a \
         shorter --data, or the same by a relative path",
        root.display()
    )]
    TooLong {
        /// The directory.
        root: PathBuf,
        /// By how much, bytes.
        over: usize,
    },
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Held while a process may write the directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// The journal's name.
    pub(crate) const JOURNAL: &str = "journal";

    /// The directory at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where keys and enrolment lie.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join(Self::JOURNAL)
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Room kept aside for when the disk is full.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// The running agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The running agent's panel.
    pub fn panel_socket(&self) -> PathBuf {
        self.root.join("panel.sock")
    }

    /// Page-log lines that did not parse.
    pub fn rejects(&self) -> PathBuf {
        self.root.join("page-log.rejects")
    }

    /// Whether it is a backup, made by `backup`.
    pub fn is_backup(&self) -> bool {
        self.root.join("backup.json").exists()
    }

    /// Refuses a backup: who would open it as a device would change it.
    ///
    /// # Errors
    /// It is one.
    pub fn refuse_if_backup(&self) -> Result<(), DataDirError> {
        match self.is_backup() {
            true => Err(DataDirError::Backup { root: self.root.clone() }),
            false => Ok(()),
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Takes the directory away again, if nothing but the lock is in it; for whoever
    /// made it and holds the lock. What cannot be removed is in nobody's way.
    pub(crate) fn remove_if_empty(&self, _lock: &Lock) {
        let mut entries = std::fs::read_dir(&self.root).into_iter().flatten();
        if entries.all(|entry| entry.is_ok_and(|entry| entry.path() == self.lock_file())) {
            let _ = std::fs::remove_file(self.lock_file());
            let _ = std::fs::remove_dir(&self.root);
        }
    }

    /// Refuses a path in which no socket can be made.
    ///
    /// # Errors
    /// It is too long.
    pub fn refuse_if_too_long(&self) -> Result<(), DataDirError> {
        let bytes = self.socket().as_os_str().len();
        match bytes > SOCKET_PATH_MAX {
            true => Err(DataDirError::TooLong {
                root: self.root.clone(),
                over: bytes - SOCKET_PATH_MAX,
            }),
            false => Ok(()),
        }
    }

    /// Makes the directory, for its owner alone.
    ///
    /// # Errors
    /// The system's.
    pub fn create(&self) -> Result<(), DataDirError> {
        self.refuse_if_too_long()?;
        create_private_directory(&self.root).map_err(|source| io_error("make", &self.root, source))
    }

    /// Takes the directory for this process, whose command is `purpose`.
    ///
    /// # Errors
    /// Another process has it, or the system's.
    pub fn lock(&self, purpose: &str) -> Result<Lock, DataDirError> {
        let path = self.lock_file();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = loop {
            let file = options.open(&path).map_err(|source| io_error("open", &path, source))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => break file,
                Ok(()) => {} // its holder took it away with the directory, and this is what was left
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    let _ = file.take(256).read_to_string(&mut holder); // for the message only
                    let holder = holder.trim().to_owned();
                    return Err(DataDirError::Held { root: self.root.clone(), holder });
                }
                Err(error) => return Err(io_error("lock", &path, error.into())),
            }
        };
        let holder = format!("process {} ({purpose})\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(|source| io_error("write", &path, source))?;
        Ok(Lock { _file: file })
    }
}

/// Is the open file still the one at `path`?
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { doing, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_before_anything_is_made() {
        let root = tempfile::tempdir().unwrap();
        let short = root.path().join("x");
        let most = SOCKET_PATH_MAX - short.join("control.sock").as_os_str().len();
        let of = |more: usize| DataDir::new(root.path().join("x".repeat(1 + more)));
        let refused = of(most + 2).create().unwrap_err().to_string();
        assert!(refused.contains("is 2 bytes too long a path"), "{refused}");
        assert!(!of(most + 2).root().exists());
        of(most).create().unwrap();
        drop(std::os::unix::net::UnixListener::bind(of(most).socket()).unwrap());
    }

    #[test]
    fn a_second_holder_is_told_who_has_it() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = DataDir::new(root.path().join("data"));
        dir.create().expect("is made");
        let lock = dir.lock("run").expect("is free");
        let refused = dir.lock("record").expect_err("is held").to_string();
        assert!(refused.contains(&format!("process {} (run)", std::process::id())), "{refused}");
        drop(lock);
        dir.lock("record").expect("is free again");
    }

    #[test]
    fn only_a_directory_without_anything_else_is_taken_away() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = DataDir::new(root.path().join("data"));
        dir.create().expect("is made");
        let lock = dir.lock("join").expect("is free");
        std::fs::write(dir.journal(), b"").expect("is written");
        dir.remove_if_empty(&lock);
        dir.lock("record").expect_err("is there, and held");
        std::fs::remove_file(dir.journal()).expect("is removed");
        let opened_before = File::open(dir.lock_file()).expect("is there");
        dir.remove_if_empty(&lock);
        assert!(!dir.root().exists());
        dir.create().expect("is made again");
        let _lock = dir.lock("join").expect("is another file, and free");
        assert!(!is_at(&opened_before, &dir.lock_file()), "to lock that one would hold nothing");
    }
}
