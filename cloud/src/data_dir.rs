//! The data directory: where everything of a cloud lies, and who may write it.
//!
//! Invariant: one process writes a directory at a time: it holds the lock file's
//! flock, and the file says who it is. The lock goes with the process, however it
//! ends. What is in the files is left to their owners.

use crate::secret_file::create_private_directory;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Paths below a cloud's data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Of a Unix socket, bytes: `sun_path` without its NUL, unix(7).
const SOCKET_PATH_MAX: usize = 107;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{} is held by {holder}; stop that process, or let it do the work", root.display())]
    Held {
        /// The directory.
        root: PathBuf,
        /// Process id, command and since when, as the holder wrote them.
        holder: String,
    },
    /// Nothing was ever served from it.
    #[error("{} holds no cloud; `tallyroll serve --data {}` makes one", root.display(), root.display())]
    Empty {
        /// The directory.
        root: PathBuf,
    },
    /// It is a backup, which is not to change.
    #[error("{} is a backup; `tallyroll restore {} --data NEW` makes a directory of it that can be used", root.display(), root.display())]
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

impl DataDirError {
    /// Whether the same may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// Held while a process may write the directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// The directory at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself. The directory key lies in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tenant and signing key.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity.json")
    }

    /// Where the authority lies.
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Where devices reach this cloud, as the last `serve` knew it.
    pub fn public(&self) -> PathBuf {
        self.root.join("public")
    }

    /// The running process's socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
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

    /// Refuses a directory that no cloud was ever served from.
    ///
    /// # Errors
    /// It has no identity, or nobody can know: the system's.
    pub fn refuse_if_empty(&self) -> Result<(), DataDirError> {
        for path in [self.identity(), self.store()] {
            match path.try_exists() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(source) => return Err(io_error("look for", &path, source)),
            }
        }
        Err(DataDirError::Empty { root: self.root.clone() })
    }

    /// Whether it is a backup, made by `backup`.
    pub fn is_backup(&self) -> bool {
        self.root.join("backup.json").exists()
    }

    /// Refuses a backup: who would open it as a cloud would change it.
    ///
    /// # Errors
    /// It is one.
    pub fn refuse_if_backup(&self) -> Result<(), DataDirError> {
        match self.is_backup() {
            true => Err(DataDirError::Backup { root: self.root.clone() }),
            false => Ok(()),
        }
    }

    /// Whether some process has the directory now.
    pub fn is_held(&self) -> bool {
        let lock = File::open(self.root.join("lock"));
        let tried = lock.map(|lock| flock(&lock, FlockOperation::NonBlockingLockShared));
        tried.is_ok_and(|tried| tried == Err(rustix::io::Errno::WOULDBLOCK))
    }

    /// Takes the directory for this process, whose command is `purpose`.
    ///
    /// # Errors
    /// Another process has it, or the system's.
    pub fn lock(&self, purpose: &str) -> Result<Lock, DataDirError> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|source| io_error("open", &path, source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.take(256).read_to_string(&mut holder); // for the message only
                let holder = holder.trim().to_owned();
                return Err(DataDirError::Held { root: self.root.clone(), holder });
            }
            Err(error) => return Err(io_error("lock", &path, error.into())),
        }
        let (pid, since) = (std::process::id(), Timestamp::now());
        let holder = format!("pid {pid} (tallyroll {purpose}), since {since:.0}\n");
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(|source| io_error("write", &path, source))?;
        Ok(Lock { _file: file })
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
    fn a_second_holder_is_told_who_has_it_and_since_when() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path().join("data"));
        dir.create().unwrap();
        let lock = dir.lock("serve").unwrap();
        let refused = dir.lock("serve").unwrap_err().to_string();
        let holder = format!("held by pid {} (tallyroll serve), since 2", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        assert!(dir.is_held());
        drop(lock);
        assert!(!dir.is_held());
        dir.lock("devices").unwrap();
    }

    #[test]
    fn a_directory_without_a_cloud_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        assert!(matches!(dir.refuse_if_empty(), Err(DataDirError::Empty { .. })));
        assert!(!dir.is_held());
        std::fs::write(dir.identity(), b"{}").unwrap();
        dir.refuse_if_empty().unwrap();
        // Root may look everywhere, but into no file.
        let unseen = DataDir::new(dir.identity()).refuse_if_empty().unwrap_err().to_string();
        assert!(
            unseen.starts_with("cannot look for ") && !unseen.contains("holds no cloud"),
            "{unseen}"
        );
    }
}
