//! The recording stream: entries in as JSON Lines, answers out in the same order.
//!
//! Invariant: pipelined but bounded: lines that are there go into one commit, and
//! reading stops while [`GROUPS_MAX`] groups wait for theirs. A line that is no
//! entry is answered with why; the lines around it go in.

use super::kinds::{is_known, no_kind};
use crate::keeper::{Entry, Keeper, Recorded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use tallyroll_schema::limits::local::{GROUP_LINES_MAX, GROUPS_MAX, LINE_BYTES_MAX};
use tallyroll_schema::{Act, Event, Position, read_json_line};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineAnswer {
    /// Durable, there.
    Position(Position),
    /// It was durable before; for page-log lines.
    Already(bool),
    /// Not recorded, and why.
    Error(String),
    /// Not now, and why: there is no place for the stream, or the device must ask the cloud first.
    Busy(String),
}

type Parsed = Result<(), String>;

/// Records lines until the stream ends; returns once all are answered.
///
/// # Errors
/// The stream broke; what was answered is durable all the same.
pub async fn pump<R, W>(reader: BufReader<R>, writer: W, keeper: &Keeper) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (groups, waiting) = mpsc::channel(GROUPS_MAX);
    let (read, written) = tokio::join!(read_groups(reader, keeper, groups), write(writer, waiting));
    read.and(written)
}

type Group = (Vec<Parsed>, oneshot::Receiver<Vec<Recorded>>);

async fn read_groups<R: AsyncRead + Unpin>(
    mut reader: BufReader<R>,
    keeper: &Keeper,
    groups: mpsc::Sender<Group>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let (mut parsed, mut entries) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            if read_line(&mut reader, &mut line).await? == 0 {
                break;
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                match parse(&line) {
                    Ok(entry) => {
                        entries.push(entry);
                        parsed.push(Ok(()));
                    }
                    Err(why) => parsed.push(Err(why)),
                }
            }
            let more_is_here = reader.buffer().contains(&b'\n');
            if !more_is_here || parsed.len() >= GROUP_LINES_MAX {
                break;
            }
        }
        if line.is_empty() && parsed.is_empty() {
            return Ok(());
        }
        let answers = keeper.submit_recording(entries).await.map_err(io::Error::other)?;
        if groups.send((parsed, answers)).await.is_err() {
            return Ok(()); // the client reads no answers; writing said why
        }
    }
}

/// Reads a line, keeping at most [`LINE_BYTES_MAX`] and a bit of it.
pub(super) async fn read_line<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    line: &mut Vec<u8>,
) -> io::Result<usize> {
    let limit = LINE_BYTES_MAX as u64 + 1;
    let mut read = (&mut *reader).take(limit).read_until(b'\n', line).await?;
    let mut rest = Vec::new();
    while line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n") && !rest.ends_with(b"\n") {
        rest.clear();
        match (&mut *reader).take(limit).read_until(b'\n', &mut rest).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Of a line that is too long only the beginning was read.
pub(super) fn refuse_long(line: &[u8]) -> Result<(), String> {
    match line.len() > LINE_BYTES_MAX {
        true => {
            Err(format!("a line of over {LINE_BYTES_MAX} bytes, which is the most that one has"))
        }
        false => Ok(()),
    }
}

pub(super) fn parse(line: &[u8]) -> Result<Entry, String> {
    refuse_long(line)?;
    let object = |why: String| {
        format!("{why}; a line is a JSON object with a `kind`, see schema/golden/act.schema.json")
    };
    let entry: Value = read_json_line(line).map_err(object)?;
    let kind = entry.get("kind").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| object("no `kind`".into()))?;
    if Act::KINDS.contains(&kind) {
        Act::deserialize(entry).map(Entry::Act).map_err(|why| why.to_string())
    } else if is_known(kind) {
        Event::deserialize(entry).map(Entry::Event).map_err(|why| why.to_string())
    } else {
        Err(no_kind(kind))
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut groups: mpsc::Receiver<Group>,
) -> io::Result<()> {
    while let Some((parsed, answers)) = groups.recv().await {
        let mut answers = answers.await.map_err(io::Error::other)?.into_iter();
        let mut text = Vec::new();
        for line in parsed {
            let answer = match line {
                Err(why) => LineAnswer::Error(why),
                Ok(()) => answer_of(answers.next()),
            };
            write_answer(&mut text, &answer)?;
        }
        writer.write_all(&text).await?;
    }
    writer.shutdown().await
}

/// What a client is told of what became of its line.
pub(super) fn answer_of(recorded: Option<Recorded>) -> LineAnswer {
    match recorded {
        Some(Recorded::At(position)) => LineAnswer::Position(position),
        Some(Recorded::Already) => LineAnswer::Already(true),
        Some(Recorded::Refused(why)) => LineAnswer::Error(why),
        Some(Recorded::NotNow(why)) => LineAnswer::Busy(why),
        None => LineAnswer::Error("no answer from the writer".into()),
    }
}

pub(super) fn write_answer(text: &mut Vec<u8>, answer: &LineAnswer) -> io::Result<()> {
    serde_json::to_writer(&mut *text, answer)?;
    text.push(b'\n');
    Ok(())
}
