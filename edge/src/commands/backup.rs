//! `backup`: a copy of everything of a device, of one moment, while it goes on.
//!
//! Invariant: what is printed as made was read back, compared, and is durable. A running agent makes
//! it, for it alone may read the store; what is in it is left to [`backup`].

use super::print;
use miette::{IntoDiagnostic, Result};
use serde_json::Value;
use std::path::Path;
use tallyroll_edge::backup;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;

/// Makes a backup in `to`.
pub(crate) async fn run(dir: &DataDir, to: &Path, json: bool) -> Result<()> {
    let to = std::path::absolute(to).into_diagnostic()?;
    let made = if dir.is_backup() {
        serde_json::to_value(backup::copy(dir, &to)?).into_diagnostic()?
    } else {
        let way = reach(dir, "backup").await?;
        let made = way.ask(Ask::Backup { to }).await;
        way.close().await?;
        made?
    };
    print(if json { made.to_string() } else { describe(&made) })
}

fn describe(made: &Value) -> String {
    let text = |key: &str| made[key].as_str().unwrap_or_default();
    let count = |key: &str| made[key].as_u64().unwrap_or_default();
    let (events, bytes) = (count("events"), count("bytes"));
    format!(
        "{events} events, {bytes} bytes of {} ({}) are backed up in {}\n\
         its keys are among them: whoever has the backup can pass for the device\n\
         to put it back: tallyroll-edge restore {} --data NEW",
        text("name"),
        text("device"),
        text("directory"),
        text("directory"),
    )
}
