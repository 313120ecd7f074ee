//! `backup`: a copy of everything of a cloud, of one moment, while it goes on.
//!
//! Invariant: what is printed as made was read back, compared, and is durable. A running process
//! makes it, for it alone may read the store; what is in it is left to [`backup`].

use super::{CommandError, Result, ask, print};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use tallyroll_cloud::backup;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;

/// Makes a backup in `to`, or writes the identity alone there.
pub(crate) async fn run(dir: &DataDir, to: PathBuf, identity_only: bool, json: bool) -> Result {
    let absolute = std::path::absolute(&to);
    let to = absolute.map_err(|source| CommandError::Place { path: to, source })?;
    if identity_only {
        let made = ask(dir, "backup", Ask::BackupIdentity { to }).await?;
        print(if json { made.to_string() } else { describe_identity(&made) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let made = if dir.is_backup() {
        serde_json::json!(backup::copy(dir, &to)?)
    } else {
        ask(dir, "backup", Ask::Backup { to }).await?
    };
    print(if json { made.to_string() } else { describe(&made) })?;
    Ok(ExitCode::SUCCESS)
}

fn describe(made: &Value) -> String {
    let text = |key: &str| made[key].as_str().unwrap_or_default();
    let count = |key: &str| made[key].as_u64().unwrap_or_default();
    let (events, bytes, directory) = (count("events"), count("bytes"), text("directory"));
    format!(
        "{events} events, {bytes} bytes of tenant {} are backed up in {directory}\n\
         its keys are among them: whoever has the backup can pass for the cloud\n\
         to put it back: tallyroll restore {directory} --data NEW",
        text("tenant"),
    )
}

fn describe_identity(made: &Value) -> String {
    let (path, tenant) = (made["path"].as_str(), made["tenant"].as_str());
    let (path, tenant) = (path.unwrap_or_default(), tenant.unwrap_or_default());
    format!(
        "the identity of tenant {tenant} is in {path}; it stays good for as long as the cloud lives\n\
         put it into a safe, apart from the backups: whoever has it can pass for the cloud\n\
         if all else is lost: tallyroll restore {path} --data NEW"
    )
}
