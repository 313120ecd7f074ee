//! `panel`: how to open the panel.
//!
//! Invariant: the token is shown to whoever may read its file, on stdout and nowhere else.
//! Where the panel is, the running agent knows.

use super::print;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::json;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::panel::address_with_token;

/// Prints the address of the panel, with its token.
pub(crate) async fn show(dir: &DataDir, json: bool) -> Result<()> {
    let way = reach(dir, "panel").await?;
    let status = way.ask(Ask::Status).await?;
    way.close().await?;
    let Some(socket) = status["panel"]["socket"].as_str() else {
        return Err(miette!(
            "no agent is running; `tallyroll-edge run --panel 127.0.0.1:PORT` starts it"
        ));
    };
    let Some(url) = status["panel"]["url"].as_str() else {
        return Err(miette!(
            "the panel is on its socket only, {socket}; for a browser start the agent with `run --panel 127.0.0.1:PORT`"
        ));
    };
    let address =
        address_with_token(dir, url).into_diagnostic().wrap_err("cannot read the panel's token")?;
    match json {
        true => print(json!({ "socket": socket, "url": url, "address": address })),
        false => print(address),
    }
}
