//! `record`: events from stdin into the ledger, a position out for each.
//!
//! Invariant: a position is printed only once its event is durable. Lines that
//! are refused are told on stderr with their number; the others go in.

use miette::{IntoDiagnostic, Result};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::control::recording::LineAnswer;
use tallyroll_edge::data_dir::DataDir;

/// Records stdin; exits with 1 when a line was refused.
pub(crate) async fn run(dir: &DataDir, json: bool) -> Result<ExitCode> {
    let way = reach(dir, "record")?;
    let stream = way.record()?;
    let mut to_device = stream.try_clone().into_diagnostic()?;
    // Copied by a thread of its own: answers must be read while entries are written.
    std::thread::spawn(move || {
        let copied = std::io::copy(&mut std::io::stdin().lock(), &mut to_device);
        drop(to_device.shutdown(Shutdown::Write)); // the answers' end tells how far it came
        copied
    });
    let printed = tokio::task::spawn_blocking(move || print(BufReader::new(stream), json));
    let refused = printed.await.into_diagnostic()??;
    way.close().await?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(answers: impl BufRead, json: bool) -> Result<u64> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut refused = 0;
    let mut answers = answers;
    let mut line = String::new();
    let mut number = 0;
    while answers.read_line(&mut line).into_diagnostic()? > 0 {
        number += 1;
        let answer: LineAnswer = serde_json::from_str(&line).into_diagnostic()?;
        if json {
            write!(out, "{line}").into_diagnostic()?;
        }
        match answer {
            LineAnswer::Position(position) if !json => writeln!(out, "{position}"),
            LineAnswer::Already(_) if !json => writeln!(out, "already"),
            LineAnswer::Error(why) => {
                refused += 1;
                if json { Ok(()) } else { writeln!(std::io::stderr(), "entry {number}: {why}") }
            }
            _ => Ok(()),
        }
        .into_diagnostic()?;
        line.clear();
        out.flush().into_diagnostic()?;
    }
    Ok(refused)
}
