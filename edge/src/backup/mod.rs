//! Backups of a device: a directory of all it needs, made of one moment, and put back.
//!
//! Owns what is in a backup and the file that says so, [`Manifest`]. Invariant: a backup is read
//! back and compared before it is there, what it tells of itself is verified before anything is put
//! back, and neither a backup nor what it is put back from is ever changed: whoever would open one
//! as a device is refused. That a device notices what it is put back from is left to its anchor.

mod unfinished;

pub use unfinished::Kept;

use crate::data_dir::DataDir;
use crate::identity::Enrolment;
use crate::keeper::{make_journal, open_store, store_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tallyroll_engine::store::{Contents, RedbMoment};
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::{DeviceId, TenantId, Wall};
use unfinished::Unfinished;

const PROGRAM: &str = "tallyroll-edge";
const MANIFEST: &str = "backup.json";
const STORE: &str = "store.redb";
/// What is copied as it is, and whether it is always there. The journal is not among them: all that
/// is in it is sealed into the store first.
const FILES: [(&str, bool); 3] =
    [("identity/keys.json", true), ("identity/enrolment.json", true), ("page-log.rejects", false)];

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The program whose data it is.
    pub backup_of: String,
    /// That program's version.
    pub version: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The device's name.
    pub name: String,
    /// When, by the device's clock.
    pub made_at: Wall,
    /// Events, of all logs.
    pub events: u64,
    /// Bytes, of all files but this.
    pub bytes: u64,
    /// What is in the store.
    #[serde(flatten)]
    pub store: Contents,
    /// The files.
    pub files: BTreeMap<String, Kept>,
}

/// A directory that was made: a backup, or a device's that was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Made {
    /// Where.
    pub directory: String,
    /// Of what.
    #[serde(flatten)]
    pub manifest: Manifest,
}

/// Why there is no backup, or nothing was put back. A diagnostic of its own, so that a command which
/// fails with it can tell by its exit code what to do.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BackupError {
    /// Something is there.
    #[error("{} is there already and not empty; name a directory that does not exist yet", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// It would be lost with what it is made of.
    #[error("{} lies in {}, which is what is backed up; name a place outside of it", path.display(), root.display())]
    Inside {
        /// Where.
        path: PathBuf,
        /// The data directory, or the backup that is copied.
        root: PathBuf,
    },
    /// Somebody makes it, or broke off.
    #[error("{} is there: somebody is making that directory now, or broke off; if nobody is, remove it", path.display())]
    Unfinished {
        /// What is there.
        path: PathBuf,
    },
    /// No backup.
    #[error("{} is no backup of a device: {why}", path.display())]
    NoBackup {
        /// What was named.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// It is not what was backed up.
    #[error("{} does not hold what was backed up: {why}; use another backup", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// The disk is full.
    #[error("no room: cannot write {}: {source}", path.display())]
    NoRoom {
        /// What was written.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
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
    /// The store cannot be read, or the copy not be written.
    #[error(transparent)]
    Store(#[from] Error),
}

impl BackupError {
    /// Whether the same may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::Store(why) => matches!(why.kind(), Kind::Full | Kind::Retry),
            _ => false,
        }
    }

    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoRoom { path, source },
            _ => Self::Io { doing, path, source },
        }
    }
}

/// Makes a backup of the device in `dir`, as its store was at `moment`, which is `made_at`.
///
/// # Errors
/// `to` is taken, or cannot be written; the store cannot be read.
pub fn make(
    dir: &DataDir,
    enrolment: &Enrolment,
    (moment, made_at): (&RedbMoment, Wall),
    to: &Path,
) -> Result<Made, BackupError> {
    refuse_if_inside(dir, to)?;
    let made = Unfinished::begin(to)?;
    let mut files = BTreeMap::new();
    for (name, needed) in FILES {
        let path = dir.root().join(name);
        match made.copy(&path, name)? {
            Some(kept) => drop(files.insert(name.to_owned(), kept)),
            None if needed => {
                return Err(BackupError::io("read", &path, ErrorKind::NotFound.into()));
            }
            None => {}
        }
    }
    let store = made.path().join(STORE);
    let written = moment.copy_to(&mut open_store(store_file(&store)?)?)?;
    if written != contents(&store)? {
        let why = "what was read back is not what was written".into();
        return Err(BackupError::Damaged { path: store, why });
    }
    files.insert(STORE.to_owned(), made.keep(STORE)?);
    let manifest = Manifest {
        backup_of: PROGRAM.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tenant: enrolment.tenant,
        device: enrolment.device,
        name: enrolment.name.clone(),
        made_at,
        events: written.events(),
        bytes: files.values().map(|kept| kept.bytes).sum(),
        store: written,
        files,
    };
    write_manifest(&made, &manifest)?;
    finish(made, to, manifest)
}

/// Makes another copy of the backup in `dir`; it stays the backup that it is.
///
/// # Errors
/// It does not verify; `to` is taken, or cannot be written.
pub fn copy(dir: &DataDir, to: &Path) -> Result<Made, BackupError> {
    refuse_if_inside(dir, to)?;
    let made = Unfinished::begin(to)?;
    let manifest = copy_verified(dir.root(), &made)?;
    write_manifest(&made, &manifest)?;
    finish(made, to, manifest)
}

/// Makes `dir` of the backup `from`.
///
/// # Errors
/// The backup does not verify; `dir` is taken, or cannot be written.
pub fn restore(from: &Path, dir: &DataDir) -> Result<Made, BackupError> {
    let (made, to) = Unfinished::begin_data(dir)?;
    let manifest = copy_verified(from, &made)?;
    if contents(&made.path().join(STORE))? != manifest.store {
        let why = format!("the rows of {STORE} are others than {MANIFEST} tells of");
        return Err(BackupError::Damaged { path: from.into(), why });
    }
    let journal = made.path().join(DataDir::JOURNAL);
    make_journal(&journal).map_err(|why| BackupError::io("write", &journal, why))?;
    finish(made, &to, manifest)
}

/// A backup in what it is made of would be lost with it.
fn refuse_if_inside(dir: &DataDir, to: &Path) -> Result<(), BackupError> {
    let there = |path: &Path| path.ancestors().find_map(|path| path.canonicalize().ok());
    let root = dir.root();
    match (there(root), there(to)) {
        (Some(real), Some(at)) if at.starts_with(&real) => {
            Err(BackupError::Inside { path: to.into(), root: root.into() })
        }
        _ => Ok(()),
    }
}

fn finish(made: Unfinished, to: &Path, manifest: Manifest) -> Result<Made, BackupError> {
    made.finish()?;
    Ok(Made { directory: to.display().to_string(), manifest })
}

/// What the store at `path` holds, every row verified.
fn contents(path: &Path) -> Result<Contents, BackupError> {
    Ok(open_store(store_file(path)?)?.moment()?.contents()?)
}

fn write_manifest(made: &Unfinished, manifest: &Manifest) -> Result<(), BackupError> {
    let failed = |why: serde_json::Error| BackupError::io("write", made.path(), why.into());
    made.write(MANIFEST, &serde_json::to_vec_pretty(manifest).map_err(failed)?)
}

/// Copies a backup's files, each only if it is what the backup's manifest tells of.
fn copy_verified(from: &Path, made: &Unfinished) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(from)?;
    let damaged = |why| BackupError::Damaged { path: from.into(), why };
    let names = FILES.map(|(name, _)| name).into_iter().chain([STORE]);
    if let Some(name) = manifest.files.keys().find(|name| !names.clone().any(|own| own == **name)) {
        return Err(damaged(format!("{name} is a file that only a newer version knows")));
    }
    for name in names {
        let kept = made.copy(&from.join(name), name)?;
        if kept != manifest.files.get(name).copied() {
            return Err(damaged(format!("{name} is another file than {MANIFEST} tells of")));
        }
    }
    Ok(manifest)
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let bytes = match std::fs::read(&path) {
        Err(why) if why.kind() == ErrorKind::NotADirectory => {
            let why = "it is no directory".into();
            return Err(BackupError::NoBackup { path: from.into(), why });
        }
        Err(why) if why.kind() == ErrorKind::NotFound => {
            let why = format!("there is no {MANIFEST} in it");
            return Err(BackupError::NoBackup { path: from.into(), why });
        }
        read => read.map_err(|why| BackupError::io("read", &path, why))?,
    };
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Whose {
        backup_of: String,
    }
    let damaged =
        |why: serde_json::Error| BackupError::Damaged { path: path.clone(), why: why.to_string() };
    let Whose { backup_of } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if backup_of != PROGRAM {
        let why = format!("it is one of `{backup_of}`, whose `restore` takes it");
        return Err(BackupError::NoBackup { path: from.into(), why });
    }
    serde_json::from_slice(&bytes).map_err(damaged)
}
