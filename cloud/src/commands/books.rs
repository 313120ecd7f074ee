//! `correct`, `close`: what is done to the books.
//!
//! Invariant: what is printed as done is durable. Who corrects is the user of this machine who runs
//! the command, unless another name is given. The rules are the engine's.

use super::table::printable;
use super::{Result, ask, print};
use clap::Args;
use std::process::ExitCode;
use tallyroll_cloud::control::Ask;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_engine::counts::Month;
use tallyroll_schema::{Credits, Position};

#[derive(Args)]
pub(crate) struct CorrectArguments {
    /// The charge's event, as `view statement` and `log show` print it.
    position: Position,
    /// Credits to give back, with at most three decimals; negative takes more.
    #[arg(allow_negative_numbers = true)]
    credits: Credits,
    /// Why, for the statement.
    #[arg(long)]
    reason: String,
    /// Who corrects; the user of this machine, if not said.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Give back more than the charge took.
    #[arg(long)]
    beyond: bool,
    /// Make the same correction once more.
    #[arg(long)]
    again: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Corrects a charge.
pub(crate) async fn correct(dir: &DataDir, arguments: CorrectArguments) -> Result {
    let CorrectArguments { position: corrects, credits, reason, by, beyond, again, json } =
        arguments;
    let by = by.unwrap_or_else(os_user);
    let asked = Ask::Correct { corrects, credits, reason, by, beyond, again };
    let corrected = ask(dir, "correct", asked).await?;
    if json {
        print(&corrected)?;
    } else {
        let text = |key: &str| corrected[key].as_str().unwrap_or_default();
        let user = printable(corrected["user"].as_str().unwrap_or(text("subject")));
        let to = match corrected["group"].as_str() {
            Some(group) => format!("{}, which bears the charge of {user}", printable(group)),
            None => user,
        };
        print(format!("{} credits to {to}, for {}", text("credits"), text("corrects")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Closes a month, and those before it if that was said.
pub(crate) async fn close(dir: &DataDir, month: Month, earlier: bool, json: bool) -> Result {
    let closed = ask(dir, "close", Ask::Close { month, earlier }).await?;
    if json {
        print(&closed)?;
    } else {
        let at = closed["at"].as_str().unwrap_or_default();
        let all = match closed["from"].as_str() {
            Some(from) if from != month.to_string() => format!("{from} to {month} are"),
            _ => format!("{month} is"),
        };
        print(format!("{all} closed at commit {at}; `view totals --month {month}` shows it"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of who runs this process, or their number where they have none.
fn os_user() -> String {
    let number = rustix::process::getuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default(); // without it, the number
    let named = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {number}"))
}
