//! `rotate-keys`: new signing and TLS keys for this device.
//!
//! Invariant: what is printed is durable here. When the cloud has it is told by
//! `status` and by `tallyroll devices`; making and using the keys is [`rekeying`]'s.
//!
//! [`rekeying`]: tallyroll_edge::rekeying

use super::print;
use miette::Result;
use serde_json::Value;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;

/// Changes the keys.
pub(crate) async fn run(dir: &DataDir, json: bool) -> Result<()> {
    let way = reach(dir, "rotate-keys").await?;
    let rotated = way.ask(Ask::RotateKeys).await;
    way.close().await?;
    let rotated = rotated?;
    print(if json { rotated.to_string() } else { describe(&rotated) })
}

fn describe(rotated: &Value) -> String {
    let text = |key: &str| rotated[key].as_str().unwrap_or_default();
    let began = match rotated["under-way"].as_bool() {
        Some(true) => "keys are being changed already; they will be",
        _ => "new keys are made and said in this device's logs:",
    };
    format!(
        "{began}\n  signing key      {}\n  TLS fingerprint  {}\n\
         once the cloud has heard of them, the old ones are worth nothing; that includes those in backups made before: make a new one then, of the cloud, too",
        text("signing-key"),
        text("tls-fingerprint"),
    )
}
