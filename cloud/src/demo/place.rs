//! Where the demo's files lie: a directory to keep, or one that goes with the demo.
//!
//! Invariant: nothing that was there before is written over or removed. A temporary
//! directory is removed only if its books were found right; else it is evidence.

use super::error::{DemoError, Doing, Result};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The demo's directory.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    temporary: bool,
}

impl Place {
    /// Makes the directory.
    pub(super) fn make(keep: Option<&Path>) -> Result<Self> {
        let temporary = keep.is_none();
        let root = match keep {
            Some(root) => std::path::absolute(root).doing("find the directory to keep")?,
            None => std::env::temp_dir().join(format!("tallyroll-demo-{}", std::process::id())),
        };
        if !temporary && root.is_dir() && is_empty(&root)? {
            return Ok(Self { root, temporary });
        }
        match DirBuilder::new().mode(0o700).recursive(false).create(&root) {
            Ok(()) => Ok(Self { root, temporary }),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => Err(DemoError::Taken(root)),
            Err(why) => Err(why).doing(format!("make {}", root.display())),
        }
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A directory in it, made if need be.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&path);
        made.doing(format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Whether it stays when the demo ends.
    pub(super) fn stays(&self) -> bool {
        !self.temporary
    }

    /// Lets it stay, whatever it was made for.
    pub(super) fn keep(&mut self) {
        self.temporary = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            drop(std::fs::remove_dir_all(&self.root)); // at worst the system tidies up
        }
    }
}

fn is_empty(path: &Path) -> Result<bool> {
    let mut entries = path.read_dir().doing(format!("read {}", path.display()))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_there_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::make(Some(root.path())).unwrap();
        place.folder("a/b").unwrap();
        drop(place);
        assert!(root.path().join("a/b").is_dir(), "what is to be kept is kept");
        let refused = Place::make(Some(root.path())).unwrap_err().to_string();
        assert!(refused.contains("is there already"), "{refused}");
    }

    #[test]
    fn a_temporary_one_goes_unless_it_is_evidence() {
        let place = Place::make(None).unwrap();
        let root = place.root().to_owned();
        drop(place);
        assert!(!root.exists());
        let mut place = Place::make(None).unwrap();
        place.keep();
        drop(place);
        assert!(root.is_dir());
        std::fs::remove_dir(root).unwrap();
    }
}
