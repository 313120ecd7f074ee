//! `restore`: a cloud's directory, made of a backup or of its identity alone.
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
    if from.is_file() {
        return of_identity(dir, from, json);
    }
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
         what only the cloud held since is gone: revocations, enrolments, grants, acts of the\n\
         processing server; revoke again who was revoked, grant again what was granted, and have what it sent and\n\
         saved since recorded again; a device enrolled since proves it, and `doctor` tells of each that is not let in\n\
         who was forgotten since is forgotten again if any device had heard of it, which `tallyroll users forget\n\
         --status` tells once all gave back; forget again who is missing there\n\
         let the directory that was backed up not be served again\n\
         next: tallyroll serve --data {data}",
        manifest.events, manifest.bytes, manifest.tenant,
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn of_identity(dir: &DataDir, from: PathBuf, json: bool) -> Result {
    let made = backup::restore_identity(&from, dir)?;
    if json {
        print(serde_json::json!(made))?;
        return Ok(ExitCode::SUCCESS);
    }
    let data = dir.root().display();
    print(format!(
        "tenant {} is made anew in {} of its identity alone: it holds no event yet\n\
         its devices come back by themselves and bring what they hold; its own logs are frozen until you say that\n\
         all are back: `tallyroll doctor --data {data}`\n\
         lost for good is what only the cloud held: grants, revocations, users, groups and links made by hand\n\
         serve it where devices know it; next: tallyroll serve --data {data}",
        made.tenant, made.path,
    ))?;
    Ok(ExitCode::SUCCESS)
}
