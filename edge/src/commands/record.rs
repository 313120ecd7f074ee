//! `record`, `meter`: events into the ledger, from stdin or one reading; a position out for each.
//!
//! Invariant: a position is printed only once its event is durable. Lines that
//! are refused, for good or for now, are told on stderr with their number; the others go in.

use miette::{IntoDiagnostic, Result, miette};
use std::io::{BufRead, BufReader, BufWriter, Cursor, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tallyroll_edge::control::reach::{NotNow, reach};
use tallyroll_edge::control::recording::LineAnswer;
use tallyroll_edge::data_dir::DataDir;
use tallyroll_schema::Event;
use tallyroll_schema::event::counts::MeterRead;

/// Records stdin; exits with 1 when a line was refused.
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

async fn record<R: BufRead>(
    dir: &DataDir,
    purpose: &str,
    lines: impl FnOnce() -> R + Send + 'static,
    leased: Option<Duration>,
    json: bool,
) -> Result<ExitCode> {
    let way = reach(dir, purpose).await?;
    let stream = way.record(leased)?;
    let mut to_device = stream.try_clone().into_diagnostic()?;
    let (sent, all_sent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counter, end) = (sent.clone(), all_sent.clone());
    // Copied by a thread of its own: answers must be read while entries are written.
    std::thread::spawn(move || {
        let mut lines = lines();
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            if !line.iter().all(u8::is_ascii_whitespace) {
                counter.fetch_add(1, Ordering::SeqCst); // blank lines get no answer
            }
            if to_device.write_all(&line).is_err() {
                return; // the missing answers tell
            }
            line.clear();
        }
        end.store(true, Ordering::SeqCst);
        drop(to_device.shutdown(Shutdown::Write));
    });
    let printed = tokio::task::spawn_blocking(move || print(BufReader::new(stream), json));
    let Printed { answered, refused, busy } = printed.await.into_diagnostic()??;
    if answered > refused {
        super::warn_if_refused(&way).await;
    }
    way.close().await?;
    if let Some(why) = busy {
        return Err(NotNow::Busy(why).into());
    }
    let unanswered = sent.load(Ordering::SeqCst).saturating_sub(answered);
    if unanswered > 0 || !all_sent.load(Ordering::SeqCst) {
        return Err(miette!(
            "the device went away: what is not answered above may be recorded or not ({unanswered} sent without an answer)"
        ));
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Printed {
    answered: u64,
    refused: u64,
    /// Why something is not recorded now.
    busy: Option<String>,
}

fn print(answers: impl BufRead, json: bool) -> Result<Printed> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut refused, mut busy) = (0, None);
    let mut answers = answers;
    let mut line = String::new();
    let mut number = 0_u64;
    // A stream that broke, also within a line, is one that ended: the missing answers tell.
    while matches!(answers.read_line(&mut line), Ok(1..)) && line.ends_with('\n') {
        number += 1;
        let answer: LineAnswer = serde_json::from_str(&line).into_diagnostic()?;
        match &answer {
            LineAnswer::Error(_) | LineAnswer::Busy(_) if json => {
                let mut told = serde_json::to_value(&answer).into_diagnostic()?;
                told["entry"] = number.into();
                writeln!(out, "{told}").into_diagnostic()?;
            }
            _ if json => write!(out, "{line}").into_diagnostic()?,
            _ => {}
        }
        match answer {
            LineAnswer::Position(position) if !json => writeln!(out, "{position}"),
            LineAnswer::Already(_) if !json => writeln!(out, "already"),
            LineAnswer::Error(why) => {
                refused += 1;
                if json { Ok(()) } else { writeln!(std::io::stderr(), "entry {number}: {why}") }
            }
            LineAnswer::Busy(why) => {
                let told = if json {
                    Ok(())
                } else {
                    writeln!(std::io::stderr(), "entry {number}: {why}")
                };
                busy = Some(why);
                told
            }
            _ => Ok(()),
        }
        .into_diagnostic()?;
        line.clear();
        out.flush().into_diagnostic()?;
    }
    Ok(Printed { answered: number, refused, busy })
}
