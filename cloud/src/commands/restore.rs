//! `restore`: a cloud's directory, made of a backup.
//!
//! Invariant: nothing is there before all of the backup was verified and opens, and then all of it
//! is. The cloud knows from then on that it may have written more since; what that means for it is
//! the engine's, and `doctor` tells it.

use super::{Result, print};
use std::path::PathBuf;
use std::process::ExitCode;
use tallyroll_cloud::backup::{self, Made};
use tallyroll_cloud::data_dir::DataDir;

/// Makes the directory `dir` of the backup `from`.
pub(crate) async fn run(dir: &DataDir, from: PathBuf, json: bool) -> Result {
    let restored = backup::restore(&from, dir)?;
    if json {
        print(serde_json::json!(restored))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Made { directory, manifest } = restored;
    let data = dir.root().display();
    print(format!(
        "{} events, {} bytes of tenant {} are restored in {directory}\n\
         what devices sent since comes back from them; until each gave back what it holds of this cloud's own\n\
         logs, these are frozen: `tallyroll doctor --data {data}` tells who is waited for\n\
         let the directory that was backed up not be served again\n\
         next: tallyroll serve --data {data}",
        manifest.events, manifest.bytes, manifest.tenant,
    ))?;
    Ok(ExitCode::SUCCESS)
}
