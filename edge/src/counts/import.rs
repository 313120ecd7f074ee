//! Imports a `page_log`: lines in, batches of keyed entries out to a [`Recorder`], a [`Summary`] at the end.
//!
//! Owns the way of one line: split, read, keyed, recorded or rejected. Invariant: nothing about progress is
//! stored here, so a kill at any moment costs nothing; the next import reads again and the keys sort it out.
//! A last line without its newline is left in a file (it is still being written) and taken from a stream.
//! Leaves files that grow and rotate to [`super::follow`].

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::key::{LineKey, Occurrences};
use super::lines::{Line, Lines};
use super::page_log::{Entry, Format, Reject};
use super::rejects::RejectFile;

/// Entries handed to the recorder at a time.
const BATCH_LINES_MAX: usize = 256;
const READ_BYTES: usize = 64 * 1024;
/// Rejections told in the summary, and to the recorder even when they cannot be kept.
const REJECTIONS_TOLD_MAX: usize = 100;
/// So many lines may fail before one can be read; the rest of those is only counted. A page_log in
/// another format, or no page_log at all, would fill the reject file.
const LEADING_REJECTS_MAX: usize = 16;

/// Makes entries durable, and knows the keys of those it has.
pub trait Recorder {
    /// What can go wrong.
    type Error: std::error::Error + 'static;

    /// Records the entries whose keys are new, in their order, and returns once they are durable:
    /// one outcome for each line. A key may come twice within `lines`; the second is [`Outcome::Already`].
    ///
    /// # Errors
    /// If not all of them are known to be durable; the same lines will come again at the next import.
    fn record(&mut self, lines: &[Keyed]) -> Result<Vec<Outcome>, Self::Error>;

    /// Hears of a line that is not counted, as soon as it is read; not of each of a great many.
    fn rejected(&mut self, _rejection: &Rejection) {}
}

/// An entry and the key that tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// The key.
    pub key: LineKey,
    /// The entry.
    pub entry: Entry,
}

/// What a recorder did with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was new and is recorded.
    Counted,
    /// Its key was known.
    Already,
}

/// A line that was not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The file's path, or `-`.
    pub source: String,
    /// The line's number in it, from 1.
    pub line: u64,
    /// Why.
    pub reason: Reject,
}

/// What an import did: `lines = counted + already + rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines read.
    pub lines: u64,
    /// Lines recorded.
    pub counted: u64,
    /// Lines whose key was known.
    pub already: u64,
    /// Lines that could not be read.
    pub rejected: u64,
    /// The first hundred of them.
    pub rejections: Vec<Rejection>,
    /// Rejected lines the reject file had no room for.
    pub rejects_not_kept: u64,
    /// Rejected lines before the first that could be read, beyond some; they are not kept either.
    pub passed_over: u64,
    /// Files whose last line had no newline yet; it was not read.
    pub incomplete: BTreeSet<String>,
    /// Rotated parts that are compressed and were not read; unpack and import them by name.
    pub not_read: BTreeSet<PathBuf>,
}

/// Why an import stopped. Everything recorded before it stays; run it again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<E: std::error::Error + 'static> {
    /// The log.
    #[error("cannot read {source_name}: {source}")]
    Read {
        /// Its path, or `-`.
        source_name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The reject file.
    #[error("cannot keep rejected lines in {}: {source}", path.display())]
    Rejects {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Not one line could be read.
    #[error(
        "{source_name} is no page_log, or one in another format: none of its {lines} lines follows \
         `{format}`; nothing of it is counted or kept; if CUPS has a PageLogFormat, pass it to the import"
    )]
    NoPageLog {
        /// The file's path, or `-`.
        source_name: String,
        /// Lines read.
        lines: u64,
        /// What they should follow.
        format: Format,
    },
    /// The recorder.
    #[error("cannot record: {0}")]
    Record(#[source] E),
}

/// One import; several files may be read in it.
pub struct Importer<'r, R: Recorder> {
    format: Format,
    recorder: &'r mut R,
    pub(super) rejects: RejectFile,
    batch: Vec<Keyed>,
    /// Rejected lines that wait for the first that can be read; `None` once there was one.
    leading: Option<Vec<(Rejection, Vec<u8>)>>,
    pub(super) summary: Summary,
    buffer: Vec<u8>,
}

/// A file or stream as far as it was read.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) lines: Lines,
    occurrences: Occurrences,
}

impl Source {
    pub(super) fn new(name: String) -> Self {
        Self { name, lines: Lines::default(), occurrences: Occurrences::default() }
    }
}

impl<'r, R: Recorder> Importer<'r, R> {
    /// An import of lines written in `format`.
    pub fn new(format: Format, recorder: &'r mut R, rejects: RejectFile) -> Self {
        let (batch, summary, buffer) = (Vec::new(), Summary::default(), vec![0; READ_BYTES]);
        Self { format, recorder, rejects, batch, leading: Some(Vec::new()), summary, buffer }
    }

    /// Reads a file as it is now.
    ///
    /// # Errors
    /// An [`ImportError`].
    pub fn read_file(&mut self, path: &Path) -> Result<(), ImportError<R::Error>> {
        let mut source = Source::new(path.display().to_string());
        let mut file = File::open(path).map_err(|error| read_error(&source.name, error))?;
        while !self.pump(&mut source, &mut file)?.is_empty() {}
        self.leave(&source);
        self.flush()
    }

    /// Reads a stream to its end, its last line also without a newline. What has arrived is recorded
    /// whenever the stream pauses.
    ///
    /// # Errors
    /// An [`ImportError`].
    pub fn read_stream(&mut self, input: &mut impl Read) -> Result<(), ImportError<R::Error>> {
        let mut source = Source::new("-".into());
        loop {
            let bytes = self.pump(&mut source, input)?.len();
            if bytes < READ_BYTES {
                self.flush()?;
            }
            if bytes == 0 {
                break;
            }
        }
        if !source.lines.is_empty() {
            let Source { name, mut lines, mut occurrences } = source;
            lines.end(|line| self.take(&name, &mut occurrences, line))?;
        }
        self.flush()
    }

    /// Ends the import.
    ///
    /// # Errors
    /// If the last entries or rejected lines cannot be made durable, or of many lines none could be read.
    pub fn finish(mut self) -> Result<Summary, ImportError<R::Error>> {
        self.flush()?;
        if let (Some(leading), 1..) = (&self.leading, self.summary.passed_over) {
            let first = leading.first().map(|(rejection, _)| rejection.source.clone());
            return Err(ImportError::NoPageLog {
                source_name: first.unwrap_or_default(),
                lines: self.summary.lines,
                format: self.format,
            });
        }
        self.keep_leading()?;
        if self.summary.rejected > 0 {
            self.rejects.sync().map_err(|source| rejects_error(&self.rejects, source))?;
        }
        Ok(self.summary)
    }

    /// Reads a piece of `input`, at most a buffer full; the bytes read, none at its end.
    pub(super) fn pump(
        &mut self,
        source: &mut Source,
        input: &mut impl Read,
    ) -> Result<&[u8], ImportError<R::Error>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = loop {
            match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| read_error(&source.name, error)),
            }
        };
        let Source { name, lines, occurrences } = source;
        let taken = read.and_then(|count| {
            lines.push(buffer.get(..count).unwrap_or_default(), |line| {
                self.take(name, occurrences, line)
            })?;
            Ok(count)
        });
        self.buffer = buffer;
        Ok(self.buffer.get(..taken?).unwrap_or_default())
    }

    /// Records what waits.
    pub(super) fn flush(&mut self) -> Result<(), ImportError<R::Error>> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let outcomes = self.recorder.record(&self.batch).map_err(ImportError::Record)?;
        assert_eq!(outcomes.len(), self.batch.len(), "a recorder gives one outcome for each line");
        let counted =
            outcomes.iter().filter(|outcome| **outcome == Outcome::Counted).count() as u64;
        self.summary.counted += counted;
        self.summary.already += outcomes.len() as u64 - counted;
        self.batch.clear();
        Ok(())
    }

    /// Says so if the source's last line has to be left.
    pub(super) fn leave(&mut self, source: &Source) {
        if !source.lines.is_empty() {
            self.summary.incomplete.insert(source.name.clone());
        }
    }

    fn take(
        &mut self,
        name: &str,
        occurrences: &mut Occurrences,
        line: Line<'_>,
    ) -> Result<(), ImportError<R::Error>> {
        self.summary.lines += 1;
        let read = if line.too_long { Err(Reject::TooLong) } else { self.format.read(line.bytes) };
        match read {
            Ok(entry) => {
                self.keep_leading()?;
                let key = occurrences.key(line.bytes, entry.printed_at);
                self.batch.push(Keyed { key, entry });
                if self.batch.len() >= BATCH_LINES_MAX { self.flush() } else { Ok(()) }
            }
            Err(reason) => self.reject(
                Rejection { source: name.to_owned(), line: line.number, reason },
                line.bytes,
            ),
        }
    }

    fn reject(&mut self, rejection: Rejection, line: &[u8]) -> Result<(), ImportError<R::Error>> {
        self.summary.rejected += 1;
        let kept = match &mut self.leading {
            Some(leading) if leading.len() < LEADING_REJECTS_MAX => {
                leading.push((rejection.clone(), line.to_owned()));
                true
            }
            Some(_) => {
                self.summary.passed_over += 1;
                return Ok(());
            }
            None => self.keep(&rejection, line)?,
        };
        let told = self.summary.rejections.len() < REJECTIONS_TOLD_MAX;
        if told || kept {
            self.recorder.rejected(&rejection);
        }
        if told {
            self.summary.rejections.push(rejection);
        }
        Ok(())
    }

    /// A line could be read, so those before it belong to a page_log too.
    fn keep_leading(&mut self) -> Result<(), ImportError<R::Error>> {
        for (rejection, line) in self.leading.take().unwrap_or_default() {
            self.keep(&rejection, &line)?;
        }
        Ok(())
    }

    /// `false` if there is no room for it.
    fn keep(&mut self, rejection: &Rejection, line: &[u8]) -> Result<bool, ImportError<R::Error>> {
        let kept = self
            .rejects
            .keep(&rejection.source, rejection.line, &rejection.reason, line)
            .map_err(|source| rejects_error(&self.rejects, source))?;
        self.summary.rejects_not_kept += u64::from(!kept);
        Ok(kept)
    }
}

pub(super) fn read_error<E: std::error::Error + 'static>(
    source_name: &str,
    source: io::Error,
) -> ImportError<E> {
    ImportError::Read { source_name: source_name.to_owned(), source }
}

fn rejects_error<E: std::error::Error + 'static>(
    rejects: &RejectFile,
    source: io::Error,
) -> ImportError<E> {
    ImportError::Rejects { path: rejects.path().to_owned(), source }
}

#[cfg(test)]
pub(super) mod tests;
