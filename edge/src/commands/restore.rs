//! `restore`: a device's directory, made of a backup.
//!
//! Invariant: nothing is there before all of the backup was verified, and then all of it is. Nobody
//! has to be told that it is a copy: the device notices at its start, and the cloud gives back what
//! it wrote since.

use super::print;
use miette::{IntoDiagnostic, Result};
use std::path::PathBuf;
use tallyroll_edge::backup::{self, Made};
use tallyroll_edge::data_dir::DataDir;

/// Makes the directory `dir` of the backup `from`.
pub(crate) async fn run(dir: &DataDir, from: PathBuf, json: bool) -> Result<()> {
    let into = dir.clone();
    let restored = tokio::task::spawn_blocking(move || backup::restore(&from, &into));
    let restored = restored.await.into_diagnostic()??;
    if json {
        return print(serde_json::to_string(&restored).into_diagnostic()?);
    }
    let Made { directory, manifest } = restored;
    print(format!(
        "{} events, {} bytes of {} ({}) are restored in {directory}\n\
         what it wrote since comes back from the cloud, page logs wait until then\n\
         let the directory that was backed up not run again beside this one\n\
         next: tallyroll-edge run --data {}",
        manifest.events,
        manifest.bytes,
        manifest.name,
        manifest.device,
        dir.root().display(),
    ))
}
