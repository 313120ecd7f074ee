//! How a command reaches its device: through the running agent, or by itself.
//!
//! Invariant: whichever way, the same code answers. Without an agent the command
//! takes the directory's lock for as long as it runs; with one it never touches
//! the files. Who comes while another process has the directory and does not
//! answer waits a little, and then goes: an agent starts or stops, a command is about
//! to end, or the process was suspended.

use super::answers::Answers;
use super::clients::NO_QUESTION;
use super::{Ask, Desk, acting, leased, recording};
use crate::data_dir::{DataDir, DataDirError, Lock};
use crate::identity::{Enrolment, Keys};
use crate::keeper::{self, Running};
use backon::{BackoffBuilder, ExponentialBuilder};
use core::time::Duration;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tallyroll_schema::limits::local::HOLDER_PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout_at};

const WENT_AWAY: &str = "the agent went away; ask again";
/// The first pause while another process has the directory and does not listen; each is twice the last,
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// and none is longer: a person waits.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A way to the device.
pub enum Reach {
    /// An agent runs and answers.
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

/// Who has a directory.
#[derive(Debug)]
pub enum Place {
    /// An agent that answers.
    Served,
    /// This process, from now on.
    Ours(Lock),
}

/// Why there is no way now, though there may be one later. A diagnostic of its own, so that a command which
/// fails with it can tell that by its exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum NotNow {
    /// Another process has the directory and does not answer.
    #[error(
        "{} is held by {holder}, which does not answer; try again; if it was suspended, let it go on (kill -CONT), or end it",
        root.display()
    )]
    Silent {
        /// The directory.
        root: PathBuf,
        /// Process id and command, as the holder wrote them.
        holder: String,
    },
    /// The agent serves as many clients as it can, has no room for more, or does not run; in its own words.
    #[error("{0}")]
    Busy(String),
}

/// Finds the way to the device in `dir`, for the command `purpose`.
///
/// # Errors
/// Not joined, held by another process that does not answer, or its files cannot be used.
pub async fn reach(dir: &DataDir, purpose: &str) -> Result<Reach> {
    let enrolment = Enrolment::load(dir).into_diagnostic()?;
    let lock = match place(dir, purpose).await? {
        Place::Served => return Ok(Reach::Agent(dir.clone())),
        Place::Ours(lock) => lock,
    };
    let (desk, running) = open_desk(dir, enrolment)?;
    Ok(Reach::Alone(Box::new(Alone { desk, running, _lock: lock })))
}

/// Finds an agent that answers, or takes the directory for this process, whose command is `purpose`.
///
/// # Errors
/// It is a backup; for some seconds another process had it and did not answer; the system's.
pub async fn place(dir: &DataDir, purpose: &str) -> Result<Place> {
    dir.refuse_if_backup()?;
    let doubling = ExponentialBuilder::default().with_factor(2.0).without_max_times();
    let mut pauses = doubling.with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX).build();
    let patience = Instant::now() + HOLDER_PATIENCE;
    loop {
        if timeout_at(patience, answers(dir)).await.unwrap_or(Ok(false))? {
            return Ok(Place::Served);
        }
        match dir.lock(purpose) {
            Ok(lock) => return Ok(Place::Ours(lock)),
            Err(DataDirError::Held { .. }) if Instant::now() < patience => {
                tokio::time::sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
            }
            Err(DataDirError::Held { root, holder }) => {
                return Err(NotNow::Silent { root, holder }.into());
            }
            Err(why) => return Err(why.into()),
        }
    }
}

/// Whether an agent answers. One that is suspended is connected to all the same, and says nothing.
async fn answers(dir: &DataDir) -> Result<bool> {
    use ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, WouldBlock};
    let mut stream = match tokio::net::UnixStream::connect(dir.socket()).await {
        Ok(stream) => stream,
        // Nobody does, or nobody takes what waits.
        Err(why)
            if [NotFound, ConnectionRefused, ConnectionReset, WouldBlock].contains(&why.kind()) =>
        {
            return Ok(false);
        }
        Err(why) => return Err(miette!("cannot reach {}: {why}", dir.socket().display())),
    };
    let ping = question(Ask::Ping)?;
    let heard = async {
        stream.write_all(&ping).await?;
        stream.read(&mut [0]).await
    };
    Ok(heard.await.is_ok_and(|bytes| bytes > 0)) // whatever it says: an older agent knows no ping
}

fn question(ask: Ask) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&ask).into_diagnostic()?;
    line.push(b'\n');
    Ok(line)
}

/// Opens the device's files and starts its keeper; the caller holds the lock.
///
/// # Errors
/// The files cannot be used.
pub fn open_desk(dir: &DataDir, enrolment: Enrolment) -> Result<(Desk, Running)> {
    let keys = Keys::load_or_create(dir).into_diagnostic()?;
    let device = keeper::open(dir, keys, &enrolment)?;
    let (keeper, running) = keeper::start(dir, device, enrolment.clone());
    Ok((
        Desk {
            dir: dir.clone(),
            keeper,
            enrolment,
            acts: None,
            panel: None,
            answers: Answers::default(),
        },
        running,
    ))
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
                let read = BufReader::new(stream).read_line(&mut line);
                read.into_diagnostic().wrap_err(WENT_AWAY)?;
                serde_json::from_str(&line).map_err(|_| miette!("{WENT_AWAY}"))?
            }
            Self::Alone(alone) => {
                serde_json::to_value(alone.desk.answer(ask).await).into_diagnostic()?
            }
        };
        let said = |key: &str| value.get(key).and_then(|why| why.as_str());
        match (said("busy"), said("error")) {
            (Some(why), _) => Err(NotNow::Busy(why.to_owned()).into()),
            (None, Some(why)) if why.starts_with(NO_QUESTION) => Err(miette!(
                "the agent that runs here is of another version than this command; end it and start it again \
                 (`tallyroll-edge run`): {why}"
            )),
            (None, Some(why)) => Err(miette!("{why}")),
            (None, None) => Ok(value),
        }
    }

    /// A stream to write entries to and to read their answers from; acts wait so long for a right
    /// to what they cost, if they need one.
    ///
    /// # Errors
    /// The agent went away; the system's.
    pub fn record(&self, leased: Option<Duration>) -> Result<UnixStream> {
        match self {
            Self::Agent(dir) => {
                let ask = leased.map_or(Ask::Record, |wait| {
                    let wait_seconds = wait.as_secs();
                    Ask::RecordLeased { wait_seconds }
                });
                agent_stream(dir, ask)
            }
            Self::Alone(alone) => {
                let (ours, reader, writer) = pair()?;
                let desk = alone.desk.clone();
                // The stream's end tells how it went.
                tokio::spawn(async move {
                    drop(match leased {
                        Some(wait) => leased::pump(reader, writer, &desk, wait).await,
                        None => recording::pump(reader, writer, &desk.keeper).await,
                    });
                });
                Ok(ours)
            }
        }
    }

    /// A stream to write acts to, for the account server, and to read their answers from. Who is revoked needs no
    /// link to be answered.
    ///
    /// # Errors
    /// No agent runs, which alone has a link; it went away; the system's.
    pub fn act(&self) -> Result<UnixStream> {
        match self {
            Self::Agent(dir) => agent_stream(dir, Ask::Act),
            Self::Alone(alone) if alone.desk.revoked().is_some() => {
                let (ours, reader, writer) = pair()?;
                let desk = alone.desk.clone();
                // The stream's end tells how it went.
                tokio::spawn(async move { drop(acting::pump(reader, writer, &desk).await) });
                Ok(ours)
            }
            Self::Alone(_) => {
                let why = "no agent runs here, so the account server cannot be asked; `tallyroll-edge run` starts it";
                Err(NotNow::Busy(why.into()).into())
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
            tokio::task::spawn_blocking(|| running.join()).await.into_diagnostic()??;
        }
        Ok(())
    }
}

/// A stream whose other end is in this process, too.
fn pair() -> Result<(UnixStream, tokio::io::BufReader<OwnedReadHalf>, OwnedWriteHalf)> {
    let (ours, theirs) = UnixStream::pair().into_diagnostic()?;
    theirs.set_nonblocking(true).into_diagnostic()?;
    let theirs = tokio::net::UnixStream::from_std(theirs).into_diagnostic()?;
    let (reader, writer) = theirs.into_split();
    Ok((ours, tokio::io::BufReader::new(reader), writer))
}

fn agent_stream(dir: &DataDir, ask: Ask) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(dir.socket()).into_diagnostic().wrap_err(WENT_AWAY)?;
    stream.write_all(&question(ask)?).into_diagnostic().wrap_err(WENT_AWAY)?;
    Ok(stream)
}
