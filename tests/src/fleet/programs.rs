//! Which build the processes of a fleet are of.
//! Owns finding a program. Invariant: without another word it is the one that was built with the running program; a
//! fleet of several versions names the folder of each. Building them is left to those who do.

use std::path::PathBuf;

/// Where `tallyroll` and `tallyroll-edge` of one version lie.
#[derive(Clone, Debug, Default)]
pub struct Programs(Option<PathBuf>);

impl Programs {
    /// Those in a folder.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    /// The program of this name.
    ///
    /// # Panics
    /// When it was not built.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.0 {
            Some(folder) => folder.join(name),
            None => program(name),
        }
    }
}

/// The program of this name that was built with the running one, beside it.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let beside = own.ancestors().skip(1).find(|dir| !dir.ends_with("deps"));
    let path = beside.map(|dir| dir.join(name)).unwrap_or_default();
    let built = path.is_file();
    assert!(built, "{} is missing: cargo build --release --workspace", path.display());
    path
}
