//! `record`, `meter`: events into the ledger, from stdin or one reading; a position out for each.
//!
//! Invariant: a position is printed only once its event is durable. Lines that
//! are refused, for good or for now, are told on stderr with their number; the others go in.

use super::input::Lines;
use super::{Outcome, tell_line};
use miette::{IntoDiagnostic, Result, miette};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tallyroll_edge::control::reach::{NotNow, reach};
use tallyroll_edge::control::recording::LineAnswer;
use tallyroll_edge::data_dir::DataDir;
use tallyroll_schema::Event;
use tallyroll_schema::event::counts::MeterRead;

/// Records stdin; the exit code is that of the worst line.
pub(crate) async fn run(dir: &DataDir, leased: Option<Duration>, json: bool) -> Result<ExitCode> {
    record(dir, "record", || std::io::stdin().lock(), leased, json).await
}

/// Records a reading of the device's meter.
pub(crate) async fn meter(
    dir: &DataDir,
    impressions: u64,
    sheets: Option<u64>,
    json: bool,
) -> Result<ExitCode> {
    let read = Event::from(MeterRead { impressions, sheets });
    let line = serde_json::to_string(&read).into_diagnostic()? + "\n";
    record(dir, "meter", || Cursor::new(line), None, json).await
}

/// Lines on their way: the numbers of those without an answer, and how the input ended.
#[derive(Default)]
struct Sent {
    unanswered: VecDeque<u64>,
    end: Option<std::io::Result<()>>,
}

/// Shared by who writes the lines and who reads their answers.
#[derive(Clone, Default)]
struct Sending(Arc<Mutex<Sent>>);

impl Sending {
    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // each change leaves it whole
    }
}

async fn record<R: BufRead>(
    dir: &DataDir,
    purpose: &str,
    input: impl FnOnce() -> R + Send + 'static,
    leased: Option<Duration>,
    json: bool,
) -> Result<ExitCode> {
    let way = reach(dir, purpose).await?;
    let stream = way.record(leased)?;
    let mut to_device = stream.try_clone().into_diagnostic()?;
    let sending = Sending::default();
    let sent = sending.clone();
    // Copied by a thread of its own: answers must be read while entries are written.
    std::thread::spawn(move || {
        let mut end = Ok(());
        for line in Lines::new(input()) {
            match line {
                Ok(line) => {
                    sent.lock().unanswered.push_back(line.number);
                    if to_device.write_all(&line.bytes).is_err() {
                        return; // the missing answers tell
                    }
                }
                Err(why) => {
                    end = Err(why);
                    break;
                }
            }
        }
        sent.lock().end = Some(end);
        drop(to_device.shutdown(Shutdown::Write));
    });
    let answers = sending.clone();
    let told =
        tokio::task::spawn_blocking(move || tell_all(BufReader::new(stream), &answers, json));
    let told = told.await.into_diagnostic()?.map_err(|why| {
        miette!("cannot tell what became of the lines, they may be recorded or not: {why}")
    });
    let Told { recorded, outcome, busy, of_no_line } = told?;
    if recorded {
        super::warn_if_refused(&way).await;
    }
    way.close().await?;
    let (unanswered, end) = {
        let mut sent = sending.lock();
        (sent.unanswered.len(), sent.end.take())
    };
    match (end, busy) {
        (Some(Err(why)), _) => {
            Err(miette!("cannot read stdin: {why}; what came after is not recorded"))
        }
        (Some(Ok(())), _) if unanswered == 0 && !of_no_line => Ok(outcome.into()),
        (_, Some(why)) => Err(NotNow::Busy(why).into()),
        _ => Err(miette!(
            "the device went away: what is not answered above may be recorded or not ({unanswered} sent without an \
             answer)"
        )),
    }
}

struct Told {
    /// Whether anything is, by now or before.
    recorded: bool,
    outcome: Outcome,
    /// The only answer, if it is that the device has no place for the stream, or for its only line.
    busy: Option<String>,
    /// Whether an answer came before any line was sent.
    of_no_line: bool,
}

fn tell_all(mut answers: impl BufRead, sending: &Sending, json: bool) -> Result<Told> {
    let mut told = Told { recorded: false, outcome: Outcome::Taken, busy: None, of_no_line: false };
    let mut first = true;
    let mut text = String::new();
    // A stream that broke, also within a line, is one that ended: the missing answers tell.
    while matches!(answers.read_line(&mut text), Ok(1..)) && text.ends_with('\n') {
        let answer: LineAnswer = serde_json::from_str(&text).into_diagnostic()?;
        let number = sending.lock().unanswered.pop_front();
        let became = match &answer {
            LineAnswer::Position(_) | LineAnswer::Already(_) => Outcome::Taken,
            LineAnswer::Busy(_) => Outcome::Later,
            LineAnswer::Error(_) => Outcome::Refused,
        };
        told.outcome = told.outcome.max(became);
        told.recorded |= became == Outcome::Taken;
        told.busy = match &answer {
            LineAnswer::Busy(why) if first => Some(why.clone()),
            _ => None,
        };
        first = false;
        match &answer {
            LineAnswer::Error(why) | LineAnswer::Busy(why) => match number {
                Some(number) => {
                    let value = serde_json::to_value(&answer).into_diagnostic()?;
                    tell_line(json, number, why, value)?;
                }
                None if became == Outcome::Refused => return Err(miette!("{why}")),
                None => told.of_no_line = true,
            },
            _ if json => super::print(text.trim_end())?,
            LineAnswer::Position(position) => super::print(position)?,
            LineAnswer::Already(_) => super::print("already")?,
        }
        text.clear();
    }
    Ok(told)
}
