//! How a command reaches its device: through the running agent, or by itself.
//!
//! Invariant: whichever way, the same code answers. Without an agent the command
//! takes the directory's lock for as long as it runs; with one it never touches
//! the files.

use super::{Ask, Desk, recording};
use crate::data_dir::{DataDir, Lock};
use crate::identity::{Enrolment, Keys};
use crate::keeper::{self, Running};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;

/// A way to the device.
pub enum Reach {
    /// An agent runs and listens.
    Agent(DataDir),
    /// No agent runs; this process has opened the files.
    Alone(Box<Alone>),
}

/// A device opened by this process.
pub struct Alone {
    desk: Desk,
    running: Running,
    _lock: Lock,
}

/// Finds the way to the device in `dir`, for the command `purpose`.
///
/// # Errors
/// Not joined, held by another command, or its files cannot be used.
pub fn reach(dir: &DataDir, purpose: &str) -> Result<Reach> {
    let enrolment = Enrolment::load(dir).into_diagnostic()?;
    match UnixStream::connect(dir.socket()) {
        Ok(_) => return Ok(Reach::Agent(dir.clone())),
        Err(why) if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&why.kind()) => {}
        Err(why) => return Err(miette!("cannot reach {}: {why}", dir.socket().display())),
    }
    let lock = dir.lock(purpose)?;
    let (desk, running) = open_desk(dir, enrolment)?;
    Ok(Reach::Alone(Box::new(Alone { desk, running, _lock: lock })))
}

/// Opens the device's files and starts its keeper; the caller holds the lock.
///
/// # Errors
/// The files cannot be used.
pub fn open_desk(dir: &DataDir, enrolment: Enrolment) -> Result<(Desk, Running)> {
    let keys = Keys::load_or_create(dir).into_diagnostic()?;
    let device = keeper::open(dir, keys, &enrolment)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot open {}", dir.root().display()))?;
    let (keeper, running) = keeper::start(device, enrolment.clone());
    Ok((Desk { keeper, enrolment, link: None }, running))
}

impl Reach {
    /// Asks a question; the answer is the JSON that an agent would give.
    ///
    /// # Errors
    /// The agent went away, or could not answer.
    pub async fn ask(&self, ask: Ask) -> Result<serde_json::Value> {
        let value = match self {
            Self::Agent(dir) => {
                let stream = agent_stream(dir, ask)?;
                let mut line = String::new();
                BufReader::new(stream).read_line(&mut line).into_diagnostic()?;
                serde_json::from_str(&line)
                    .map_err(|_| miette!("the agent went away; ask again"))?
            }
            Self::Alone(alone) => {
                serde_json::to_value(alone.desk.answer(ask).await).into_diagnostic()?
            }
        };
        match value.get("error").and_then(|why| why.as_str()) {
            Some(why) => Err(miette!("{why}")),
            None => Ok(value),
        }
    }

    /// A stream to write entries to and to read their answers from.
    ///
    /// # Errors
    /// The agent went away; the system's.
    pub fn record(&self) -> Result<UnixStream> {
        match self {
            Self::Agent(dir) => agent_stream(dir, Ask::Record),
            Self::Alone(alone) => {
                let (ours, theirs) = UnixStream::pair().into_diagnostic()?;
                theirs.set_nonblocking(true).into_diagnostic()?;
                let theirs = tokio::net::UnixStream::from_std(theirs).into_diagnostic()?;
                let keeper = alone.desk.keeper.clone();
                tokio::spawn(async move {
                    let (reader, writer) = theirs.into_split();
                    let reader = tokio::io::BufReader::new(reader);
                    drop(recording::pump(reader, writer, &keeper).await); // the stream's end tells
                });
                Ok(ours)
            }
        }
    }

    /// Ends a device this process opened, sealing what it recorded.
    ///
    /// # Errors
    /// A write failed.
    pub async fn close(self) -> Result<()> {
        if let Self::Alone(alone) = self {
            let Alone { desk, running, _lock } = *alone;
            drop(desk);
            let ended = tokio::task::spawn_blocking(|| running.join()).await.into_diagnostic()?;
            ended.into_diagnostic()?;
        }
        Ok(())
    }
}

fn agent_stream(dir: &DataDir, ask: Ask) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(dir.socket())
        .into_diagnostic()
        .wrap_err("the agent went away; ask again")?;
    let mut line = serde_json::to_vec(&ask).into_diagnostic()?;
    line.push(b'\n');
    stream.write_all(&line).into_diagnostic()?;
    Ok(stream)
}
