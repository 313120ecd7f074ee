//! `enroll`: an invitation.
//!
//! Invariant: stdout holds the one command to run at the branch and nothing else,
//! so that it can be piped there.

use super::{Result, ask, print};
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_cloud::public::Public;

/// Invites a device.
pub(crate) async fn run(dir: &DataDir, name: String, public: Option<Public>, json: bool) -> Result {
    let invited = ask(dir, "enroll", Ask::Enroll { name, public }).await?;
    if json {
        print(&invited)?;
    } else {
        eprintln!("Run this at the branch. It works once, within ten minutes.");
        print(invited["command"].as_str().unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}
