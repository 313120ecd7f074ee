//! The stream of a processing server: acts in as JSON Lines, answers out in the same order, one at a time.
//!
//! Invariant: a request is noted on the disk before it is asked, and until its answer was written to who
//! asked: whatever ends in between, it is listed as not known. Nothing is asked without a link, and nothing
//! again by itself. What may have been done is never told as not done. What an act costs by the card here is
//! the engine's, whether it may be done the account server's.

use super::Desk;
use super::answers::hash;
use super::recording::{read_line, refuse_long};
use crate::keeper::Gone;
use crate::link::Heard;
use serde::{Deserialize, Serialize};
use std::io;
use tallyroll_engine::Kind;
use tallyroll_engine::hub::ANOTHER_ACTS;
use tallyroll_schema::wire::ActOutcome;
use tallyroll_schema::{Hash, Position, RequestId, ServerAct, read_json_line};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// What became of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActLine {
    /// It may be done, and is recorded there.
    Position(Position),
    /// It may not, and why.
    Error(String),
    /// Not now, and why; it is not done.
    Busy(String),
    /// Nobody knows whether it is done, why, and what to do.
    Unknown(String),
    /// As before, and nobody here will ever know.
    Never(String),
    /// It is not asked for, now or ever, and why. If it was asked for before, it may have been done then.
    Ended(String),
}

/// Asks for acts until the stream ends.
///
/// # Errors
/// The stream broke, or the keeper ended; what was not answered may be done all the same.
pub async fn pump<R, W>(mut reader: BufReader<R>, mut writer: W, desk: &Desk) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line).await? > 0 {
        if !line.iter().all(u8::is_ascii_whitespace) {
            let (answer, noted) = match parse(&line) {
                Ok(act) => ask(desk, act).await.map_err(io::Error::other)?,
                Err(why) => (ActLine::Error(why), None),
            };
            let mut text = serde_json::to_vec(&answer)?;
            text.push(b'\n');
            writer.write_all(&text).await?;
            if let Some(request) = noted {
                // Without room it stays listed, and may be asked again.
                let told = desk.keeper.query(move |device| device.answered(request)).await;
                drop(told.map_err(io::Error::other)?);
            }
        }
        line.clear();
    }
    writer.shutdown().await
}

fn parse(line: &[u8]) -> Result<ServerAct, String> {
    refuse_long(line)?;
    read_json_line(line)
}

/// Asks for an act; returns its answer, and its request if it need not be noted any longer.
async fn ask(desk: &Desk, act: ServerAct) -> Result<(ActLine, Option<RequestId>), Gone> {
    let Some(request) = act.request else {
        let why = "an act without `request`: 16 hex digits, new for each act";
        return Ok((ActLine::Error(why.into()), None));
    };
    let hash = hash(&act);
    let acts = match (desk.revoked(), &desk.acts) {
        (Some(why), _) => Err((why, true)),
        (None, None) => Err(("no agent runs here".into(), false)),
        (None, Some(acts)) => acts.refusal().map_or(Ok(acts), |why| Err((why, false))),
    };
    let acts = match acts {
        Ok(acts) => acts,
        Err(refusal) => {
            let asked = desk.keeper.query(move |device| device.is_asked(request)).await?;
            return Ok((
                not_asked(desk, (request, hash), !matches!(asked, Ok(false)), refusal),
                None,
            ));
        }
    };
    let (asked, noted_before) = match desk.keeper.ask_to_act(act).await? {
        Ok(asked) => asked,
        Err(why) => {
            let temporary = matches!(why.kind(), Kind::Full | Kind::Retry);
            let line = if temporary { ActLine::Busy } else { ActLine::Error };
            return Ok((line(why.to_string()), None));
        }
    };
    let heard = acts.ask(asked).await;
    if let Heard::Answer(outcome @ (ActOutcome::At(_) | ActOutcome::Refused(_))) = &heard {
        desk.answers.keep(request, hash, outcome.clone());
    }
    Ok(match heard {
        Heard::Answer(ActOutcome::At(position)) => (ActLine::Position(position), Some(request)),
        Heard::Answer(ActOutcome::Refused(why)) => (ActLine::Error(why), Some(request)),
        // It is not done now; whether it was, when it was asked before, is told by a position alone.
        Heard::Answer(ActOutcome::Later(why)) => {
            (ActLine::Busy(why), (!noted_before).then_some(request))
        }
        Heard::NotAsked(why) => {
            let refusal = desk.revoked().map_or((why, false), |why| (why, true));
            let told = not_asked(desk, (request, hash), noted_before, refusal);
            (told, (!noted_before).then_some(request))
        }
        Heard::Unknown => (
            ActLine::Unknown(format!(
                "the link was lost, or no answer came: it is not known whether this is done; send the same line again \
                 with \"request\":\"{request}\""
            )),
            None,
        ),
    })
}

/// What is told of an act that is not asked for, whether it was before, and never can be.
fn not_asked(
    desk: &Desk,
    (request, hash): (RequestId, Hash),
    may_be_done: bool,
    (why, ever): (String, bool),
) -> ActLine {
    match (desk.answers.of(request, hash), may_be_done) {
        (Some((ActOutcome::At(position), true)), _) => ActLine::Position(position),
        (Some((ActOutcome::At(_), false)), _) => ActLine::Error(ANOTHER_ACTS.into()),
        (Some((ActOutcome::Refused(why), true)), false) if ever => ActLine::Error(why),
        (_, false) if ever => ActLine::Ended(why),
        (_, false) => ActLine::Busy(why),
        (_, true) if ever => ActLine::Never(format!(
            "it was asked before and is never answered here any more; `tallyroll log show --all` at the account \
             server tells whether it is done: {why}"
        )),
        (_, true) => {
            let why = format!("it is still not known whether this is done; send it again: {why}");
            ActLine::Unknown(why)
        }
    }
}
