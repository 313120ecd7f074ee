//! `balance`: what this device knows of a user's balance, asked for first if wanted.
//!
//! Invariant: the figures are the engine's; this only waits a little for the cloud's answer. Without one,
//! what is known is shown, and that it is not the answer is said.

use super::{print, printable};
use core::time::Duration;
use miette::Result;
use serde_json::Value;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;

/// How long an answer is waited for, looks and the pause between them: somebody stands at the panel.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Shows a user's balance.
pub(crate) async fn show(dir: &DataDir, user: String, ask: bool, json: bool) -> Result<()> {
    let way = reach(dir, "balance").await?;
    let mut answer = way.ask(Ask::Balance { user: user.clone(), ask }).await?;
    for _ in 0..LOOKS {
        if !ask || answer["asked"] == false {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        answer = way.ask(Ask::Balance { user: user.clone(), ask: false }).await?;
    }
    way.close().await?;
    if json {
        return print(answer);
    }
    if answer["asked"] == true {
        eprintln!("the cloud was asked and has not answered yet; what is known here:");
    }
    let figure = |key: &str| printable(answer["balance"][key].as_str().unwrap_or("-"));
    if answer["waits"] == true {
        eprintln!(
            "the cloud told a newer balance; a job of the user runs here, and it is taken in once that has ended; \
             until then:"
        );
    }
    match &answer["balance"] {
        Value::Null if answer["waits"] == true => Ok(()),
        Value::Null => print("no balance was told yet; ask the cloud with --ask"),
        known => {
            let (balance, held) = (figure("balance"), figure("held"));
            print(format!("balance {balance}, held {held}, available {}", figure("available")))?;
            match known["flag"] == true && answer["waits"] == false {
                true => print("the cloud has a newer one; it is asked for after the user's job"),
                false => Ok(()),
            }
        }
    }
}
