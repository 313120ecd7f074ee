//! A history's trace: a digest of all that happened, and the lines themselves when asked for.
//!
//! Invariant: equal digests mean equal histories, so nothing that may differ between two runs of
//! one seed (addresses, real time, thread numbers) is ever noted.

use core::fmt::{self, Write};
use core::time::Duration;

/// Takes notes.
#[derive(Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    line: String,
    verbose: bool,
}

impl Trace {
    /// An empty trace; `verbose` prints each note.
    pub fn new(verbose: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), line: String::new(), verbose }
    }

    /// Notes what happened at a virtual time.
    pub fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        self.line.clear();
        let written = writeln!(self.line, "{:>10.3} {what}", now.as_secs_f64());
        debug_assert!(written.is_ok(), "writing to a string never fails");
        self.hasher.update(self.line.as_bytes());
        if self.verbose {
            print!("{}", self.line);
        }
    }

    /// Notes bytes without showing them.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// The digest of everything noted.
    pub fn digest(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}
