//! How a command reaches its cloud: through the running process, or by itself.
//!
//! Invariant: whichever way, the same code answers. With no process running the
//! command takes the directory's lock for as long as it works; with one it never
//! touches the files. Who comes while another process has the directory and does
//! not answer waits a little, and then goes: a `serve` starts or stops, a command is
//! about to end, or the process was suspended.

use super::desk::Desk;
use super::{Ask, Failure, Line, NO_QUESTION, answer};
use crate::data_dir::{DataDir, DataDirError, Lock};
use crate::keeper::{self, Running};
use crate::links::Attention;
use crate::opening::{OpenError, Opened, open};
use crate::public::{PORT, Public};
use backon::{BackoffBuilder, ExponentialBuilder};
use core::time::Duration;
use serde_json::Value;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use tallyroll_engine::{Error, Kind};
use tallyroll_schema::limits::TEXT_BYTES_MAX;
use tallyroll_schema::limits::local::{CLOUD_QUESTION_BYTES_MAX, HOLDER_PATIENCE};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// The first pause while another process has the directory and does not listen; each is twice the last,
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// and none is longer: a person waits.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How often a directory that is empty and nobody's is looked at again before that is told, after 175 ms.
const LOOKS_AT_NOTHING: usize = 3;

/// A way to the cloud.
#[derive(Debug)]
pub enum Reach {
    /// A process serves.
    Running(PathBuf),
    /// None does; this one has opened the files.
    Alone(Box<Alone>),
}

/// Who has a directory.
#[derive(Debug)]
pub enum Place {
    /// A process that serves it.
    Served,
    /// This process, from now on.
    Ours(Lock),
}

/// A cloud opened by this process.
#[derive(Debug)]
pub struct Alone {
    desk: Desk,
    running: Running,
    _lock: Lock,
}

/// Why there is no way, or why it ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The directory is empty, held or cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file in it cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another process has the directory and does not answer.
    #[error(
        "{} is held by {holder}, which does not answer; try again; if it was suspended, let it go on (kill -CONT), or end it",
        root.display()
    )]
    Silent {
        /// The directory.
        root: PathBuf,
        /// Process id, command and since when, as the holder wrote them.
        holder: String,
    },
    /// The socket cannot be used.
    #[error("cannot reach the running process at {path}: {source}")]
    Socket {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A write failed.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl ReachError {
    /// Whether the same may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::DataDir(why) => why.is_temporary(),
            Self::Open(why) => why.is_temporary(),
            Self::Engine(why) => matches!(why.kind(), Kind::Full | Kind::Retry),
            Self::Silent { .. } => true,
            Self::Socket { .. } => false,
        }
    }
}

/// The parts of an answer.
#[derive(Debug)]
pub struct Answer {
    lines: mpsc::Receiver<Line>,
}

impl Answer {
    /// The next part, or `None` after the last.
    ///
    /// # Errors
    /// The question could not be answered, or no further.
    pub async fn next(&mut self) -> Result<Option<Value>, Failure> {
        match self.lines.recv().await {
            Some(Line::Item(value)) => Ok(Some(value)),
            Some(Line::End) => Ok(None),
            Some(Line::Failed(Failure { text, .. })) if text.starts_with(NO_QUESTION) => {
                Err(Failure::lasting(format!(
                    "the cloud that runs here is of another version than this command; end it and start it again \
                     (`tallyroll serve`): {text}"
                )))
            }
            Some(Line::Failed(failure)) => Err(failure),
            None => Err(Failure::temporary("the cloud went away while answering; ask again")),
        }
    }

    /// The only part.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn only(mut self) -> Result<Value, Failure> {
        Ok(self.next().await?.unwrap_or_default())
    }
}

/// Finds the way to the cloud in `dir`, for the command `purpose`.
///
/// # Errors
/// No cloud is there, another process holds it and does not answer, or its files
/// cannot be used.
pub async fn reach(dir: &DataDir, purpose: &str) -> Result<Reach, ReachError> {
    expect_cloud(dir).await?;
    let lock = match place(dir, purpose).await? {
        Place::Served => return Ok(Reach::Running(dir.socket())),
        Place::Ours(lock) => lock,
    };
    let Opened { replica, authority, .. } = open(dir)?;
    let public = Public::load(dir).unwrap_or_default(); // unreadable is as good as unknown
    let (keeper, running) = keeper::start(replica, None);
    let authority = authority.fingerprint();
    let tls_port = public.as_ref().and_then(|public| public.tls_port);
    let dir = dir.clone();
    let (live, attention) = (None, Attention::default());
    let desk = Desk { dir, keeper, authority, public, port: PORT, tls_port, live, attention };
    Ok(Reach::Alone(Box::new(Alone { desk, running, _lock: lock })))
}

/// Finds a process that serves `dir`, or takes it for this one, whose command is `purpose`.
///
/// # Errors
/// It is a backup; for some seconds another process had it and did not answer; the system's.
pub async fn place(dir: &DataDir, purpose: &str) -> Result<Place, ReachError> {
    dir.refuse_if_backup()?;
    let patience = Instant::now() + HOLDER_PATIENCE;
    let mut pauses = pauses();
    loop {
        if timeout_at(patience, answers(dir)).await.unwrap_or(Ok(false))? {
            return Ok(Place::Served);
        }
        match dir.lock(purpose) {
            Ok(lock) => return Ok(Place::Ours(lock)),
            Err(DataDirError::Held { .. }) if Instant::now() < patience => {
                sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
            }
            Err(DataDirError::Held { root, holder }) => {
                return Err(ReachError::Silent { root, holder });
            }
            Err(why) => return Err(why.into()),
        }
    }
}

/// Refuses a directory without a cloud; but a `serve` that was started together with
/// this command may be making one.
async fn expect_cloud(dir: &DataDir) -> Result<(), DataDirError> {
    for (look, pause) in pauses().enumerate() {
        let found = dir.refuse_if_empty();
        if found.is_ok() || (look >= LOOKS_AT_NOTHING && !dir.is_held()) {
            return found;
        }
        sleep(pause).await;
    }
    dir.refuse_if_empty()
}

/// Whether a process answers. One that is suspended is connected to all the same, and says nothing.
async fn answers(dir: &DataDir) -> Result<bool, ReachError> {
    use ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, WouldBlock};
    let mut stream = match UnixStream::connect(dir.socket()).await {
        Ok(stream) => stream,
        // Nobody does, or nobody takes what waits.
        Err(why)
            if [NotFound, ConnectionRefused, ConnectionReset, WouldBlock].contains(&why.kind()) =>
        {
            return Ok(false);
        }
        Err(source) => {
            let path = dir.socket().display().to_string();
            return Err(ReachError::Socket { path, source });
        }
    };
    let heard = async {
        stream.write_all(b"\"ping\"\n").await?;
        stream.read(&mut [0]).await
    };
    Ok(heard.await.is_ok_and(|bytes| bytes > 0)) // whatever it says: an older process knows no ping
}

fn question(ask: &Ask) -> Result<Vec<u8>, Failure> {
    if let Ask::QuarantineRelease { reason, .. }
    | Ask::QuarantineDiscard { reason, .. }
    | Ask::Retire { reason, .. }
    | Ask::Revoke { reason, .. }
    | Ask::WriteOff { reason, .. }
    | Ask::Correct { reason, .. }
    | Ask::Grant { reason, .. } = ask
        && reason.len() > TEXT_BYTES_MAX
    {
        let (len, most) = (reason.len(), TEXT_BYTES_MAX);
        return Err(Failure::lasting(format!("a reason of {len} bytes; it has at most {most}")));
    }
    let mut line = serde_json::to_vec(ask).map_err(Failure::lasting)?;
    line.push(b'\n');
    if line.len() > CLOUD_QUESTION_BYTES_MAX {
        let len = line.len();
        return Err(Failure::lasting(format!(
            "this is too long to ask: {len} bytes, where {CLOUD_QUESTION_BYTES_MAX} may be"
        )));
    }
    Ok(line)
}

fn pauses() -> impl Iterator<Item = Duration> {
    let doubling = ExponentialBuilder::default().with_factor(2.0).without_max_times();
    let bounded = doubling.with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
    bounded.with_total_delay(Some(HOLDER_PATIENCE)).build()
}

impl Reach {
    /// Asks a question.
    ///
    /// # Errors
    /// The running process went away.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        let lines = match self {
            Self::Alone(alone) => answer(alone.desk.clone(), ask),
            Self::Running(socket) => {
                let gone = |_| Failure::temporary("the cloud went away; ask again");
                let mut stream = UnixStream::connect(socket).await.map_err(gone)?;
                let question = question(&ask)?;
                stream.write_all(&question).await.map_err(gone)?;
                read_answer(stream)
            }
        };
        Ok(Answer { lines })
    }

    /// Ends a cloud that this process opened.
    ///
    /// # Errors
    /// A write failed.
    pub async fn close(self) -> Result<(), ReachError> {
        if let Self::Alone(alone) = self {
            alone.desk.keeper.stop().await;
            alone.running.join().await?;
        }
        Ok(())
    }
}

fn read_answer(stream: UnixStream) -> mpsc::Receiver<Line> {
    let (sender, lines) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut read = BufReader::new(stream).lines();
        while let Ok(Some(text)) = read.next_line().await {
            let Ok(line) = serde_json::from_str(&text) else { break };
            if sender.send(line).await.is_err() {
                break;
            }
        }
    });
    lines
}
