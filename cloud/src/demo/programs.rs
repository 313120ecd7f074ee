//! The two binaries: this one, and the edge's beside it.
//!
//! The one place where the cloud knows of the edge, and it knows a file name only.
//! Invariant: started by cargo, the demo runs an edge that is as new as itself, for
//! `cargo run` builds one package alone. Elsewhere it takes what is installed.

use super::error::{DemoError, Doing, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::process::Command;

/// The edge's file name.
const EDGE: &str = "tallyroll-edge";

/// What the demo starts.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// This program.
    pub(super) cloud: PathBuf,
    /// The edge's.
    pub(super) edge: PathBuf,
}

impl Programs {
    /// Finds both; builds the edge's if cargo started this and it is missing or old.
    pub(super) async fn find() -> Result<Self> {
        let cloud = std::env::current_exe().doing("find this program")?;
        let edge = cloud.with_file_name(EDGE);
        let fresh = modified(&edge).is_some_and(|edge| Some(edge) >= modified(&cloud));
        match std::env::var_os("CARGO") {
            Some(cargo) if !fresh => build(cargo, &cloud).await?,
            _ => {}
        }
        if edge.is_file() { Ok(Self { cloud, edge }) } else { Err(DemoError::NoEdge(edge)) }
    }
}

async fn build(cargo: OsString, cloud: &Path) -> Result<()> {
    println!("building {EDGE} beside this program (once, some minutes on a fresh machine)");
    let mut command = Command::new(cargo);
    command.args(["build", "--package", EDGE]);
    // cargo sets it for what it runs; from elsewhere the workspace would not be found.
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        command.arg("--manifest-path").arg(Path::new(&package).join("Cargo.toml"));
    }
    let folder = cloud.parent().unwrap_or(Path::new("."));
    command.args(profile(folder));
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    let status = command.kill_on_drop(true).status().await;
    match status.doing("start cargo")? {
        status if status.success() => Ok(()),
        status => Err(DemoError::EdgeNotBuilt(status)),
    }
}

/// Cargo names the folder after the profile, but for `dev`.
fn profile(folder: &Path) -> Vec<String> {
    match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => vec![],
        Some(name) => vec!["--profile".into(), name.into()],
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_built_as_this_was() {
        assert_eq!(profile(Path::new("target/release")), ["--profile", "release"]);
        assert!(profile(Path::new("target/debug")).is_empty());
    }
}
