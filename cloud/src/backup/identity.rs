//! A cloud's identity in one small file, for a safe; and a cloud made anew of nothing else.
//!
//! Invariant: the file is made once, readable by its owner alone, never over another one, and
//! tells nothing that was counted; whoever has it can pass for the cloud. What is made of it is
//! there whole or not at all, and knows that all else is lost: what comes back, and from whom,
//! is the engine's.

use super::unfinished::Unfinished;
use super::{BackupError, FILES, PROGRAM, refuse_if_inside};
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::identity::Identity;
use crate::opening::{open, open_store, store_file};
use crate::secret_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tallyroll_engine::hub::{Root, rebuild};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::limits::files::IDENTITY_FILE_BYTES_MAX;
use tallyroll_schema::{Batch, Hash, TenantId, Wall};
use zeroize::{Zeroize, Zeroizing};

/// A file that was made, or a cloud's directory that was made of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MadeOfIdentity {
    /// Where.
    pub path: String,
    /// The tenant.
    pub tenant: TenantId,
    /// When the file was made, by the cloud's clock.
    pub made_at: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct IdentityFile {
    identity_of: String,
    version: String,
    tenant: TenantId,
    made_at: Wall,
    commit_epoch: u32,
    /// The batch of its genesis.
    public_log: Bytes,
    files: BTreeMap<String, Bytes>,
    /// BLAKE3 of all this with zeros here.
    hash: Hash,
}

impl Drop for IdentityFile {
    fn drop(&mut self) {
        self.files.values_mut().for_each(|file| file.0.zeroize());
    }
}

/// Writes the identity of the cloud in `dir` to the file `to`.
///
/// # Errors
/// `to` is there or cannot be written; the identity cannot be read.
pub fn keep_identity(
    dir: &DataDir,
    (root, made_at): (Root, Wall),
    to: &Path,
) -> Result<MadeOfIdentity, BackupError> {
    refuse_if_inside(dir, to)?;
    let tenant = Identity::open_or_create(dir)?.tenant;
    let mut kept = IdentityFile {
        identity_of: PROGRAM.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        tenant,
        made_at,
        commit_epoch: root.commit_epoch,
        public_log: Bytes(root.public.bytes().to_vec()),
        files: BTreeMap::new(),
        hash: Hash::ZERO,
    };
    for (name, needed) in FILES {
        let path = dir.root().join(name);
        let read = secret_file::read(&path).map_err(|why| BackupError::io("read", &path, why))?;
        match read {
            Some(bytes) => drop(kept.files.insert(name.to_owned(), Bytes(bytes.to_vec()))),
            None if needed => {
                return Err(BackupError::io("read", &path, ErrorKind::NotFound.into()));
            }
            None => {}
        }
    }
    let failed = |why: serde_json::Error| BackupError::io("write", to, why.into());
    kept.hash = hash_of(&mut kept).map_err(failed)?;
    let mut text = Zeroizing::new(serde_json::to_vec_pretty(&kept).map_err(failed)?);
    text.push(b'\n');
    write(to, &text)?;
    Ok(MadeOfIdentity { path: to.display().to_string(), tenant, made_at })
}

/// Makes `dir` of the file `from` alone.
///
/// # Errors
/// The file is damaged or none; `dir` is taken, or cannot be written.
pub fn restore_identity(from: &Path, dir: &DataDir) -> Result<MadeOfIdentity, BackupError> {
    let kept = read(from)?;
    let damaged = |why: &str| BackupError::Damaged { path: from.into(), why: why.into() };
    let (made, to) = Unfinished::begin_data(dir)?;
    for (name, needed) in FILES {
        match kept.files.get(name) {
            Some(bytes) => made.write(name, &bytes.0)?,
            None if needed => return Err(damaged(&format!("{name} is missing"))),
            None => {}
        }
    }
    let restored = DataDir::new(made.path());
    let Identity { tenant, signer, .. } = Identity::open_or_create(&restored)?;
    let public =
        Batch::decode(kept.public_log.0.clone()).map_err(|why| damaged(&why.to_string()))?;
    let root = Root { public, commit_epoch: kept.commit_epoch };
    let mut nonces = [0; 32];
    let no_entropy = |why: getrandom::Error| BackupError::io("make", &to, why.into());
    getrandom::fill(&mut nonces).map_err(no_entropy)?;
    let mut store = open_store(store_file(&restored.store())?)?;
    rebuild((tenant, &signer), &mut store, root, Clock::start().now(), nonces)?;
    drop(store);
    drop(open(&restored)?); // whatever cannot be opened is told now, and nothing is there
    made.finish()?;
    Ok(MadeOfIdentity { path: to.display().to_string(), tenant, made_at: kept.made_at })
}

fn read(from: &Path) -> Result<IdentityFile, BackupError> {
    let none = || {
        let why =
            "it is neither a backup's directory nor a file of `tallyroll backup --identity-only`";
        BackupError::NoBackup { path: from.into(), why: why.into() }
    };
    if std::fs::metadata(from).is_ok_and(|file| file.len() > IDENTITY_FILE_BYTES_MAX) {
        return Err(none());
    }
    let bytes = secret_file::read(from).map_err(|why| BackupError::io("read", from, why))?;
    let bytes = bytes.ok_or_else(|| BackupError::io("read", from, ErrorKind::NotFound.into()))?;
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Whose {
        identity_of: String,
    }
    let is_ours =
        serde_json::from_slice(&bytes).is_ok_and(|Whose { identity_of }| identity_of == PROGRAM);
    if !is_ours {
        return Err(none());
    }
    let damaged = |why: String| BackupError::Damaged { path: from.into(), why };
    // serde's text may quote the file, which holds keys: only the place is told.
    let mut kept: IdentityFile = serde_json::from_slice(&bytes)
        .map_err(|why| damaged(format!("line {}, column {}", why.line(), why.column())))?;
    let told = kept.hash;
    let found = hash_of(&mut kept).map_err(|why| BackupError::io("read", from, why.into()))?;
    if found != told {
        return Err(damaged("its bytes are others than those that were written".into()));
    }
    Ok(kept)
}

fn hash_of(kept: &mut IdentityFile) -> Result<Hash, serde_json::Error> {
    kept.hash = Hash::ZERO;
    let text = Zeroizing::new(serde_json::to_vec(kept)?);
    Ok(Hash(*blake3::hash(&text).as_bytes()))
}

/// A new file, there whole and durable or not at all.
fn write(to: &Path, text: &[u8]) -> Result<(), BackupError> {
    let failed = |why| BackupError::io("write", to, why);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut file = opened.map_err(|why| match why.kind() {
        ErrorKind::AlreadyExists => BackupError::Exists { path: to.into() },
        _ => failed(why),
    })?;
    let written = file
        .write_all(text)
        .and_then(|()| file.sync_all())
        .and_then(|()| to.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()));
    written.map_err(|why| {
        let _ = std::fs::remove_file(to); // half a file would be found damaged, too
        failed(why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_identity_is_private_never_overwritten_and_any_change_of_it_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path().join("cloud"));
        dir.create().unwrap();
        let hub = open(&dir).unwrap().replica.hub;
        let (to, new) = (root.path().join("identity"), DataDir::new(root.path().join("new")));
        let made = keep_identity(&dir, (hub.root().unwrap(), Wall(7)), &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = keep_identity(&dir, (hub.root().unwrap(), Wall(8)), &to).unwrap_err();
        assert!(matches!(refused, BackupError::Exists { .. }), "{refused}");

        let whole = fs::read(&to).unwrap();
        assert!(whole.len() < 4096, "{} bytes are no small file", whole.len());
        for at in (0..whole.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&to, &changed).unwrap();
            match restore_identity(&to, &new) {
                Err(BackupError::NoBackup { .. } | BackupError::Damaged { .. }) => {
                    assert!(!new.root().exists());
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
        fs::write(&to, &whole).unwrap();
        let put_back = restore_identity(&to, &new).unwrap();
        assert_eq!((put_back.tenant, put_back.made_at), (made.tenant, Wall(7)));
        let again = open(&new).unwrap().replica.hub;
        assert_eq!((again.public_log(), again.public_key()), (hub.public_log(), hub.public_key()));
        assert!(again.recovery().unwrap().awaiting);
        let refused = restore_identity(&to, &new).unwrap_err();
        assert!(matches!(refused, BackupError::Taken { .. }), "{refused}");
    }
}
