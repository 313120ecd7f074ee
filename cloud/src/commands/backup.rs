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

/// Makes a backup in `to`.
pub(crate) async fn run(dir: &DataDir, to: PathBuf, json: bool) -> Result {
    let absolute = std::path::absolute(&to);
    let to = absolute.map_err(|source| CommandError::Place { path: to, source })?;
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
