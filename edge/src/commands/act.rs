//! `act`: what the processing server is about to do, from stdin; a position out for each act that may be done.
//!
//! Invariant: every act has a request before the agent hears of it, so that whatever ends, whoever started this
//! knows by what to ask again. One line is under way at a time. Lines that are refused, for good, for now, or with
//! nobody knowing, are told on stderr with their number; the others go in.

use super::{print, printable};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use tallyroll_edge::control::acting::ActLine;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;
use tallyroll_schema::RequestId;

/// Something may be taken later, or is not known.
const TEMPORARY: u8 = 75;

/// Asks for what is on stdin; exits with 1 when a line was refused, with 75 when one may be asked again.
pub(crate) async fn run(dir: &DataDir, json: bool) -> Result<ExitCode> {
    let way = reach(dir, "act").await?;
    let asked = match way.act() {
        Ok(stream) => {
            let lines = move || ask_all(stream, std::io::stdin().lock(), json);
            tokio::task::spawn_blocking(lines).await.into_diagnostic()?
        }
        Err(why) => Err(why),
    };
    way.close().await?;
    asked
}

fn ask_all(mut agent: UnixStream, lines: impl BufRead, json: bool) -> Result<ExitCode> {
    let mut answers = BufReader::new(agent.try_clone().into_diagnostic()?);
    let (mut refused, mut again, mut gone, mut number) = (false, false, false, 0);
    for line in lines.lines() {
        let line = line.into_diagnostic()?;
        if line.trim().is_empty() {
            continue;
        }
        number += 1;
        let (line, request) = with_request(line)?;
        let answer = match gone {
            false => ask(&mut agent, &mut answers, &line),
            true => Some(ActLine::Busy("the agent went away; this was not asked for".into())),
        };
        gone |= answer.is_none();
        let answer = answer.unwrap_or_else(|| {
            ActLine::Unknown(format!(
                "the agent went away: it is not known whether this is done; send the same line again with \
                 \"request\":\"{request}\""
            ))
        });
        refused |= matches!(answer, ActLine::Error(_) | ActLine::Never(_));
        again |= matches!(answer, ActLine::Busy(_) | ActLine::Unknown(_));
        tell(json, number, &request, &answer)?;
    }
    Ok(match (again, refused) {
        (true, _) => ExitCode::from(TEMPORARY),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

/// A line with a request, its own or a new one. What is no object is left to the agent to refuse.
fn with_request(line: String) -> Result<(String, String)> {
    let Ok(mut act) = serde_json::from_str::<Map<String, Value>>(&line) else {
        return Ok((line, String::new()));
    };
    match act.get("request") {
        None | Some(Value::Null) => {
            let mut minted = [0; 8];
            getrandom::fill(&mut minted).map_err(|why| miette!("no random request: {why}"))?;
            let minted = RequestId(minted).to_string();
            act.insert("request".into(), minted.clone().into());
            Ok((Value::Object(act).to_string(), minted))
        }
        Some(own) => {
            let own = own.as_str().unwrap_or_default().to_owned();
            Ok((line, own))
        }
    }
}

/// The answer to a line, unless the agent is gone.
fn ask(agent: &mut UnixStream, answers: &mut impl BufRead, line: &str) -> Option<ActLine> {
    agent.write_all(format!("{line}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    answers.read_line(&mut answer).ok()?;
    serde_json::from_str(&answer).ok()
}

fn tell(json: bool, number: u64, request: &str, answer: &ActLine) -> Result<()> {
    if json {
        let mut told = serde_json::to_value(answer).into_diagnostic()?;
        told["request"] = json!(request);
        if !matches!(answer, ActLine::Position(_)) {
            told["entry"] = json!(number);
        }
        return print(told);
    }
    match answer {
        ActLine::Position(position) => print(position),
        ActLine::Error(why) | ActLine::Busy(why) | ActLine::Unknown(why) | ActLine::Never(why) => {
            eprintln!("entry {number}: {}", printable(why));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_request_gets_one_and_keeps_it() {
        let (line, request) = with_request(r#"{"kind":"document.sent"}"#.into()).unwrap();
        assert_eq!(request.len(), 16);
        assert_eq!(with_request(line.clone()).unwrap(), (line, request.clone()));
        let (_, other) = with_request(r#"{"kind":"document.sent","request":null}"#.into()).unwrap();
        assert_ne!(other, request);
        assert_eq!(with_request("no json".into()).unwrap(), ("no json".into(), String::new()));
    }
}
