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
pub(crate) async fn run(
    dir: &DataDir,
    (name, processing): (String, bool),
    public: Option<Public>,
    json: bool,
) -> Result {
    let invited = ask(dir, "enroll", Ask::Enroll { name, public, processing }).await?;
    if json {
        print(&invited)?;
    } else {
        let place = if processing { "on the processing server" } else { "at the branch" };
        eprintln!("Run this {place}. It works once, within ten minutes.");
        print(invited["command"].as_str().unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}
