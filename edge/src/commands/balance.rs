//! `balance`: what this device knows of a user's balance, asked for first if wanted.
//!
//! Invariant: the figures are the engine's; this only waits a little for the cloud's answer. Without one,
//! what is known is shown, and that it is not the answer is said, by the exit code, too.

use super::{Outcome, print, printable};
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
pub(crate) async fn show(dir: &DataDir, user: String, ask: bool, json: bool) -> Result<Outcome> {
    let way = reach(dir, "balance").await?;
    let mut answer = way.ask(Ask::Balance { user: user.clone(), ask }).await?;
    let new = answer["new"].clone();
    for _ in 0..LOOKS {
        if !ask || answer["asked"] == false || answer["revoked"] == true {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        answer = way.ask(Ask::Balance { user: user.clone(), ask: false }).await?;
    }
    answer["new"] = new;
    way.close().await?;
    let answered = answer["asked"] == false || answer["waits"] == true || answer["revoked"] == true;
    let outcome = if ask && !answered { Outcome::Later } else { Outcome::Taken };
    if json {
        print(answer)?;
        return Ok(outcome);
    }
    if answer["new"] == true {
        let user = printable(&user);
        eprintln!(
            "{user} is new at this device, and known from now on; if it is mistyped, nothing was charged to it"
        );
    }
    describe(&answer)?;
    Ok(outcome)
}

fn describe(answer: &Value) -> Result<()> {
    let (revoked, waits) = (answer["revoked-why"].as_str(), answer["waits"] == true);
    let asked = answer["asked"] == true && revoked.is_none();
    let Some(known) = answer["balance"].as_object() else {
        return print(match (revoked, waits, asked) {
            (Some(why), ..) => format!("no balance was told, and none will be: {}", printable(why)),
            (None, true, _) => "nothing is known yet: the cloud told a balance while a job of the user runs here; it is \
                taken in once that has ended"
                .into(),
            (None, false, true) => "nothing is known yet: the cloud was asked and has not answered".into(),
            (None, false, false) => "no balance was told yet; ask the cloud with --ask".into(),
        });
    };
    if let Some(why) = revoked {
        eprintln!(
            "the cloud tells no balances here any more: {}; what is known here:",
            printable(why)
        );
    }
    if asked {
        eprintln!("the cloud was asked and has not answered yet; what is known here:");
    }
    if waits {
        eprintln!(
            "the cloud told a newer balance; a job of the user runs here, and it is taken in once that has ended; \
             until then:"
        );
    }
    let figure = |key: &str| printable(known[key].as_str().unwrap_or("-"));
    let (balance, held) = (figure("balance"), figure("held"));
    print(format!("balance {balance}, held {held}, available {}", figure("available")))?;
    match known["flag"] == true && !waits && revoked.is_none() {
        true => print("the cloud has a newer one; it is asked for after the user's job"),
        false => Ok(()),
    }
}
