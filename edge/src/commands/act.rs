//! `act`: what the processing server is about to do, from stdin; a position out for each act that may be done.
//!
//! Invariant: every act has a request before the agent hears of it, so that whatever ends, whoever started this
//! knows by what to ask again. One line is under way at a time. Lines that are refused, for good, for now, or with
//! nobody knowing, are told on stderr with their number; the others go in.

use super::input::{Line, Lines};
use super::{Outcome, print, tell_line};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use tallyroll_edge::control::acting::ActLine;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;
use tallyroll_schema::{RequestId, read_json_line};

/// Asks for what is on stdin; the exit code is that of the worst line.
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
    Ok(asked?.into())
}

fn ask_all(mut agent: UnixStream, input: impl BufRead, json: bool) -> Result<Outcome> {
    let mut answers = BufReader::new(agent.try_clone().into_diagnostic()?);
    let (mut outcome, mut gone) = (Outcome::Taken, false);
    for line in Lines::new(input) {
        let Line { number, bytes } = line.into_diagnostic()?;
        let asked = with_request(bytes)?;
        let answer = match gone {
            false => ask(&mut agent, &mut answers, &asked.line),
            true => Some(ActLine::Busy("the agent went away; this was not asked for".into())),
        };
        gone |= answer.is_none();
        let answer = answer.unwrap_or_else(|| {
            ActLine::Unknown(format!(
                "the agent went away: it is not known whether this is done; send the same line again with \
                 \"request\":\"{}\"",
                asked.request
            ))
        });
        let answer = of_its_past(answer, &asked);
        outcome = outcome.max(match &answer {
            ActLine::Position(_) => Outcome::Taken,
            ActLine::Busy(_) | ActLine::Unknown(_) => Outcome::Later,
            ActLine::Error(_) | ActLine::Never(_) | ActLine::Ended(_) => Outcome::Refused,
        });
        tell(json, number, &asked.request, &answer)?;
    }
    Ok(outcome)
}

/// A line with its request.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    line: Vec<u8>,
    request: String,
    /// Whether the request is new, so that nobody asked for it before.
    minted: bool,
}

/// A line with a request, its own or a new one. What is no object is left to the agent to refuse.
fn with_request(line: Vec<u8>) -> Result<Asked> {
    let Ok(mut act) = read_json_line::<Map<String, Value>>(&line) else {
        return Ok(Asked { line, request: String::new(), minted: false });
    };
    match act.get("request") {
        None | Some(Value::Null) => {
            let mut minted = [0; 8];
            getrandom::fill(&mut minted).map_err(|why| miette!("no random request: {why}"))?;
            let request = RequestId(minted).to_string();
            act.insert("request".into(), request.clone().into());
            let line = format!("{}\n", Value::Object(act)).into_bytes();
            Ok(Asked { line, request, minted: true })
        }
        Some(own) => {
            let request = own.as_str().unwrap_or_default().to_owned();
            Ok(Asked { line, request, minted: false })
        }
    }
}

/// The answer to a line, unless the agent is gone.
fn ask(agent: &mut UnixStream, answers: &mut impl BufRead, line: &[u8]) -> Option<ActLine> {
    agent.write_all(line).ok()?;
    let mut answer = String::new();
    answers.read_line(&mut answer).ok()?;
    serde_json::from_str(&answer).ok()
}

/// Of what is not asked for any more: whether it may have been done before is known by who made its request.
fn of_its_past(answer: ActLine, asked: &Asked) -> ActLine {
    match answer {
        ActLine::Ended(why) if asked.minted => {
            ActLine::Error(format!("nothing of this is done: {why}"))
        }
        ActLine::Ended(why) => ActLine::Never(format!(
            "nothing is asked for here any more, and if request {} was asked for before, it may have been done before: \
             `tallyroll log show --all` at the account server tells; {why}",
            asked.request
        )),
        other => other,
    }
}

fn tell(json: bool, number: u64, request: &str, answer: &ActLine) -> Result<()> {
    let mut told = serde_json::to_value(answer).into_diagnostic()?;
    told["request"] = json!(request);
    match answer {
        ActLine::Position(_) if json => print(told),
        ActLine::Position(position) => print(position),
        ActLine::Error(why)
        | ActLine::Busy(why)
        | ActLine::Unknown(why)
        | ActLine::Never(why)
        | ActLine::Ended(why) => tell_line(json, number, why, told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_request_gets_one_and_keeps_it() {
        let first = with_request(b"{\"kind\":\"document.sent\"}\n".to_vec()).unwrap();
        assert_eq!((first.request.len(), first.minted), (16, true));
        let again = with_request(first.line.clone()).unwrap();
        assert_eq!(
            (&again.line, &again.request, again.minted),
            (&first.line, &first.request, false)
        );
        let other = with_request(br#"{"kind":"document.sent","request":null}"#.to_vec()).unwrap();
        assert_ne!(other.request, first.request);
        // What is wrong goes to the agent as it is, which says why: also a key that comes twice.
        for wrong in [&b"no json"[..], br#"{"user":"a","user":"b"}"#, b"\xff"] {
            let (line, request) = (wrong.to_vec(), String::new());
            let left = Asked { line: line.clone(), request, minted: false };
            assert_eq!(with_request(line).unwrap(), left);
        }
    }

    #[test]
    fn only_a_request_that_is_new_is_told_as_not_done() {
        let told = |minted| {
            let asked = Asked { line: Vec::new(), request: "00000000000000b1".into(), minted };
            of_its_past(ActLine::Ended("revoked".into()), &asked)
        };
        assert_eq!(told(true), ActLine::Error("nothing of this is done: revoked".into()));
        let ActLine::Never(why) = told(false) else { panic!("{:?}", told(false)) };
        assert!(why.contains("may have been done") && why.contains("00000000000000b1"), "{why}");
    }
}
