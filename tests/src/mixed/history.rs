//! The programs of the first version, built from what git remembers of it.
//! Owns finding its source and building it. Invariant: the repository is read and never changed: the source is unpacked
//! beside it, in the folder that was given, where a later run finds it built. What cannot be done is said with what
//! would help; nothing else is built instead.

use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fleet::Programs;

/// The first version that landed, whose binaries also made `tests/fixtures/stores/v0.1.0.tar.gz`.
pub const FIRST_LANDED: &str = "0c29e91797e9229ed80877b6184b92c3b620a7aa";

/// Builds the programs of a commit in `folder`, or finds them built there.
///
/// # Errors
/// There is no such commit here, or it does not build; what to do.
pub fn build(commit: &str, folder: &Path) -> Result<Programs, String> {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let known = Command::new("git")
        .args(["-C", repository, "rev-parse", "--quiet", "--verify"])
        .arg(format!("{commit}^{{commit}}"))
        .output()
        .map_err(|why| format!("git is needed to get at the first version: {why}"))?;
    if !known.status.success() {
        return Err(format!(
            "the first version, commit {commit}, is not in the git history here: this is no clone, or a shallow one; \
             run this in a whole clone (`git fetch --unshallow` makes a shallow one whole)"
        ));
    }
    let folder =
        std::path::absolute(folder).map_err(|why| format!("no folder to build in: {why}"))?;
    let source = folder.join("source");
    if !source.join("Cargo.toml").is_file() {
        unpack(repository, commit, &source)?;
    }
    let target = folder.join("target");
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "--bins"])
        .args(["-p", "tallyroll-cloud", "-p", "tallyroll-edge"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .map_err(|why| format!("cargo does not start: {why}"))?;
    if !built.success() {
        return Err(format!(
            "the first version does not build, see above; its source is in {}",
            source.display()
        ));
    }
    Ok(Programs::in_folder(target.join("release")))
}

fn unpack(repository: &str, commit: &str, source: &Path) -> Result<(), String> {
    let failed = |why: &dyn Display| {
        format!("the first version cannot be unpacked into {}: {why}", source.display())
    };
    let whole = source.with_extension("part"); // until it is
    drop(std::fs::remove_dir_all(&whole)); // of a run that was ended
    std::fs::create_dir_all(&whole).map_err(|why| failed(&why))?;
    let mut archive = Command::new("git");
    archive.args(["-C", repository, "archive", "--format=tar", commit]);
    let mut archive = archive.stdout(Stdio::piped()).spawn().map_err(|why| failed(&why))?;
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-C").arg(&whole).stdin(archive.stdout.take().expect("it is piped"));
    let unpacked = tar.status().map_err(|why| failed(&why))?;
    let archived = archive.wait().map_err(|why| failed(&why))?;
    if !unpacked.success() || !archived.success() {
        return Err(failed(&"git or tar failed, see above"));
    }
    std::fs::rename(&whole, source).map_err(|why| failed(&why))
}
