//! Follows a log that is still written, through every way it is rotated.
//!
//! Owns the knowledge of what may happen to a log: renamed and made anew (the old one may still get lines
//! until CUPS is told, so it stays open until the next rotation), or copied and cut to nothing. Invariant: a
//! line is read at least once if it stood in the log, or in a rotated part, when this looked; reading
//! it more than once is harmless. Leaves compressed parts alone and names them.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::import::{ImportError, Importer, Recorder, Source, read_error};
use super::rotation::{Rotated, rotated};

/// So much of a file's beginning is remembered, to see whether it is still the same.
const BEGINNING_BYTES: usize = 256;

/// Device and inode.
type Identity = (u64, u64);

/// A log open for reading, as far as it was read.
struct Tail {
    source: Source,
    file: File,
    identity: Identity,
    offset: u64,
    beginning: Vec<u8>,
}

impl<R: Recorder> Importer<'_, R> {
    /// Reads rotated parts of `log`, then `log` itself and whatever is added to it, looking every `poll`,
    /// until `stop` says so. All that was read is recorded whenever nothing more is there, and at the end.
    /// The log need not exist yet.
    ///
    /// # Errors
    /// An [`ImportError`].
    pub fn follow(
        &mut self,
        log: &Path,
        poll: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), ImportError<R::Error>> {
        let mut follower =
            Follower { log, stop, current: None, previous: None, parts: HashMap::new() };
        let compressed = follower.catch_up(self)?;
        self.summary.not_read.extend(compressed);
        loop {
            let stopping = stop();
            follower.look(self)?;
            self.flush()?;
            if stopping {
                break;
            }
            std::thread::sleep(poll);
        }
        for tail in follower.previous.iter().chain(&follower.current) {
            self.leave(&tail.source);
        }
        Ok(())
    }
}

struct Follower<'a> {
    log: &'a Path,
    stop: &'a dyn Fn() -> bool,
    current: Option<Tail>,
    previous: Option<Tail>,
    /// How far each rotated part was read.
    parts: HashMap<Identity, u64>,
}

impl Follower<'_> {
    /// Reads all that is there now, across any rotation since the last look.
    fn look<R: Recorder>(
        &mut self,
        importer: &mut Importer<'_, R>,
    ) -> Result<(), ImportError<R::Error>> {
        loop {
            if let Some(previous) = &mut self.previous {
                previous.read_on(importer, self.stop)?;
            }
            let Some(current) = &mut self.current else {
                self.current = Tail::open(self.log).map_err(|error| self.error(error))?;
                match self.current {
                    Some(_) => continue,
                    None => return Ok(()),
                }
            };
            if current.is_another().map_err(|error| read_error(&current.source.name, error))? {
                importer.leave(&current.source);
                self.current = None;
                self.catch_up(importer)?;
                continue;
            }
            current.read_on(importer, self.stop)?;
            if (self.stop)() {
                return Ok(());
            }
            let renamed = match std::fs::metadata(self.log) {
                Ok(metadata) => identity(&metadata) != current.identity,
                // Renamed, and not yet made anew: the next look will tell.
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(self.error(error)),
            };
            if !renamed {
                return Ok(());
            }
            if let Some(finished) = std::mem::replace(&mut self.previous, self.current.take()) {
                importer.leave(&finished.source);
                self.parts.insert(finished.identity, finished.offset);
            }
            self.catch_up(importer)?;
        }
    }

    /// Reads rotated parts that were not read to their end; returns the compressed ones.
    fn catch_up<R: Recorder>(
        &mut self,
        importer: &mut Importer<'_, R>,
    ) -> Result<Vec<PathBuf>, ImportError<R::Error>> {
        let Rotated { plain, compressed } = match rotated(self.log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Rotated::default(),
            found => found.map_err(|error| self.error(error))?,
        };
        let rejects = importer.rejects.identity().ok();
        for path in plain {
            let Some(mut part) = Tail::open(&path)
                .map_err(|error| read_error(&path.display().to_string(), error))?
            else {
                continue;
            };
            let bytes =
                part.file.metadata().map_err(|error| read_error(&part.source.name, error))?.len();
            let open = self
                .previous
                .iter()
                .chain(&self.current)
                .any(|tail| tail.identity == part.identity);
            let read = self.parts.get(&part.identity).is_some_and(|read| *read == bytes);
            if open || read || rejects == Some(part.identity) {
                continue;
            }
            part.read_on(importer, self.stop)?;
            importer.leave(&part.source);
            self.parts.insert(part.identity, part.offset);
        }
        Ok(compressed)
    }

    fn error<E: std::error::Error + 'static>(&self, error: io::Error) -> ImportError<E> {
        read_error(&self.log.display().to_string(), error)
    }
}

impl Tail {
    /// `None` if there is no such file (any more).
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let identity = identity(&file.metadata()?);
        let source = Source::new(path.display().to_string());
        Ok(Some(Self { source, file, identity, offset: 0, beginning: Vec::new() }))
    }

    /// Reads to the end, or until `stop`.
    fn read_on<R: Recorder>(
        &mut self,
        importer: &mut Importer<'_, R>,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), ImportError<R::Error>> {
        loop {
            let bytes = importer.pump(&mut self.source, &mut self.file)?;
            if bytes.is_empty() {
                return Ok(());
            }
            self.offset += bytes.len() as u64;
            let missing = BEGINNING_BYTES.saturating_sub(self.beginning.len());
            self.beginning.extend(bytes.iter().take(missing));
            if stop() {
                return Ok(());
            }
        }
    }

    /// Was the file cut to nothing and begun again since it was read? It may have outgrown its old length.
    fn is_another(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.offset {
            return Ok(true);
        }
        let mut beginning = vec![0; self.beginning.len()];
        match self.file.read_exact_at(&mut beginning, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            read => read.map(|()| beginning != self.beginning),
        }
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests;
