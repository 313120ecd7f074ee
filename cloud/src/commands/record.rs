//! `record`: what the processing server is about to do, from stdin; a position out for each act.
//!
//! Invariant: a position is printed only once its act is durable, and is the permission to act. Lines that
//! are refused, for good or for now, are told on stderr with their number in the input; the others go in.
//! Acts go in one after the other, as they are read.

use super::{CommandError, Outcome, Result, print};
use serde_json::{Value, json};
use std::io::{self, BufRead, Read};
use tallyroll_cloud::control::reach::{Reach, reach};
use tallyroll_cloud::control::{Ask, Failure};
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_schema::limits::local::LINE_BYTES_MAX;
use tallyroll_schema::{ServerAct, read_json_line};

/// Records stdin; the exit code is that of the worst line.
pub(crate) async fn run(dir: &DataDir, json: bool) -> Result {
    let way = reach(dir, "record").await?;
    let mut input = io::stdin().lock();
    let (mut number, mut outcome) = (0, Outcome::Taken);
    while let Some(line) = read_line(&mut input, &mut number)? {
        let answered = match line.and_then(|line| read_json_line(&line)) {
            Ok(act) => act_on(&way, act).await,
            Err(why) => Err(Failure::lasting(why)),
        };
        match answered {
            Ok(position) if json => print(json!({ "position": position }))?,
            Ok(position) => print(position.as_str().unwrap_or_default())?,
            Err(Failure { text, temporary }) => {
                outcome = outcome.max(if temporary { Outcome::Later } else { Outcome::Refused });
                tell(json, number, if temporary { "busy" } else { "error" }, &text)?;
            }
        }
    }
    way.close().await?;
    Ok(outcome.into())
}

fn tell(json: bool, number: u64, kind: &str, text: &str) -> Result<()> {
    if json {
        return print(json!({ kind: text, "line": number }));
    }
    eprintln!("line {number}: {}", super::table::printable(text));
    Ok(())
}

async fn act_on(way: &Reach, act: ServerAct) -> Result<Value, Failure> {
    let answer = way.ask(Ask::Act { act }).await?.only().await?;
    Ok(answer["position"].clone())
}

/// The next line that is not blank; `None` after the last. `number` is counted up to its place in the input.
fn read_line(
    input: &mut impl BufRead,
    number: &mut u64,
) -> Result<Option<Result<Vec<u8>, String>>> {
    loop {
        let mut line = Vec::new();
        let read = Read::take(&mut *input, LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        read.map_err(CommandError::Stdin)?;
        if line.is_empty() {
            return Ok(None);
        }
        *number += 1;
        if line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n") {
            input.skip_until(b'\n').map_err(CommandError::Stdin)?;
            let why =
                format!("a line of over {LINE_BYTES_MAX} bytes, which is the most that one has");
            return Ok(Some(Err(why)));
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Ok(line)));
        }
    }
}
