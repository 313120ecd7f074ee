//! Why the demo could not be played to its end.
//!
//! Not that the books are wrong: that is a verdict, and exits with 3. Invariant: an
//! error names the child, file or command it is about; a child's own last words
//! come with it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why the demo broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A file, a socket or a process cannot be used.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// The directory is somebody's.
    #[error("{} is there already; name a new or an empty directory with --keep", .0.display())]
    Taken(PathBuf),
    /// There is no edge to start.
    #[error("{} is missing; build it (cargo build --release --workspace) or put it there", .0.display())]
    NoEdge(PathBuf),
    /// Cargo could not build the edge.
    #[error("the edge cannot be built ({0}); cargo says above why")]
    EdgeNotBuilt(ExitStatus),
    /// The process that was to hold this child has ended.
    #[error("the demo has ended")]
    NoDemo,
    /// A child ended unasked, or with a failure.
    #[error("{name} ended ({status}){last_words}")]
    Ended {
        /// Which.
        name: String,
        /// How.
        status: ExitStatus,
        /// What it said on stderr.
        last_words: String,
    },
    /// A child is too slow.
    #[error("{name} is not {what} after {patience:?}{last_words}")]
    Slow {
        /// Which.
        name: String,
        /// What it should be.
        what: &'static str,
        /// How long was waited.
        patience: Duration,
        /// What it said on stderr.
        last_words: String,
    },
    /// An answer is not what the command promises.
    #[error("`{of}` answers {what}: {answer}")]
    Answer {
        /// The command.
        of: &'static str,
        /// What is wrong with it.
        what: &'static str,
        /// The answer's beginning.
        answer: String,
    },
    /// Events did not arrive.
    #[error("not everything is at the cloud after {limit:?}: {behind}")]
    NotConverged {
        /// How long was waited.
        limit: Duration,
        /// Who is behind, and by how much.
        behind: String,
    },
    /// It broke off in the middle.
    #[error("the demo broke off (its files are in {}; again: {again})", files.display())]
    BrokeOff {
        /// Where to look.
        files: PathBuf,
        /// The same once more.
        again: String,
        /// Why.
        source: Box<DemoError>,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted; everything it started is ended")]
    Interrupted,
}

/// What a part of the demo comes to.
pub(super) type Result<T> = std::result::Result<T, DemoError>;

/// Bytes of an answer that an error shows.
const SHOWN_BYTES: usize = 200;

impl DemoError {
    /// A command's answer that cannot be used.
    pub(super) fn answer(of: &'static str, what: &'static str, answer: &str) -> Self {
        let shown = answer.get(..answer.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default();
        Self::Answer { of, what, answer: shown.to_owned() }
    }
}

/// Says what could not be done.
pub(super) trait Doing<T> {
    /// The system refused to do it.
    fn doing(self, doing: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|source| DemoError::System { doing: doing.into(), source: source.into() })
    }
}
