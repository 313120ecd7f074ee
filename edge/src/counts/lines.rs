//! Bytes in pieces of any size to numbered lines, within fixed memory.
//!
//! Invariant: at most [`PAGE_LOG_LINE_BYTES_MAX`](LINE_BYTES_MAX) bytes wait for their newline; of a longer line only the
//! beginning is kept. A line is given out once its newline is there, or at [`Lines::end`].
//! Leaves where the bytes come from to [`super::import`] and [`super::follow`].

use tallyroll_schema::limits::files::{
    PAGE_LOG_LINE_BYTES_KEPT as KEPT_BYTES, PAGE_LOG_LINE_BYTES_MAX as LINE_BYTES_MAX,
};

/// A line without its newline (nor a carriage return before it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The line was over [`PAGE_LOG_LINE_BYTES_MAX`](LINE_BYTES_MAX), and `bytes` are its beginning.
    pub too_long: bool,
}

/// Splits a stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    number: u64,
    waiting: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Gives each line that `bytes` complete to `take`; stops at its first error.
    ///
    /// # Errors
    /// Whatever `take` returns; the lines after that one are lost to this splitter.
    pub fn push<E>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(newline) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(newline);
            bytes = rest.get(1..).unwrap_or_default();
            if self.is_empty() && line.len() <= LINE_BYTES_MAX {
                // The usual case, without a copy.
                self.number += 1;
                take(Line { number: self.number, bytes: without_return(line), too_long: false })?;
            } else {
                self.wait(line);
                self.end(&mut take)?;
            }
        }
        self.wait(bytes);
        Ok(())
    }

    /// Gives out what waits for a newline that will not come.
    ///
    /// # Errors
    /// Whatever `take` returns.
    pub fn end<E>(&mut self, take: impl FnOnce(Line<'_>) -> Result<(), E>) -> Result<(), E> {
        self.number += 1;
        let too_long = std::mem::take(&mut self.too_long);
        let waiting = std::mem::take(&mut self.waiting);
        take(Line { number: self.number, bytes: without_return(&waiting), too_long })
    }

    /// Does nothing wait for its newline?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn wait(&mut self, bytes: &[u8]) {
        if self.too_long {
            return;
        }
        if self.waiting.len() + bytes.len() <= LINE_BYTES_MAX {
            self.waiting.extend_from_slice(bytes);
            return;
        }
        let room = KEPT_BYTES.saturating_sub(self.waiting.len());
        self.waiting.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.waiting.truncate(KEPT_BYTES);
        self.waiting.shrink_to_fit();
        self.too_long = true;
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn split(pieces: &[&[u8]]) -> (Vec<(u64, Vec<u8>, bool)>, bool) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines
                .push(piece, |line| {
                    found.push((line.number, line.bytes.to_vec(), line.too_long));
                    Ok::<(), Infallible>(())
                })
                .expect("infallible");
        }
        (found, lines.is_empty())
    }

    #[test]
    fn a_line_ends_at_its_newline_only() {
        let (found, ended) = split(&[b"a\nb", b"c\n", b"\r\n", b"rest"]);
        assert_eq!(
            found,
            [(1, b"a".to_vec(), false), (2, b"bc".to_vec(), false), (3, vec![], false)]
        );
        assert!(!ended);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        for pieces in [vec![&long[..], b"\n"], vec![&long[..5], &long[5..], b"\n"]] {
            assert_eq!(split(&pieces).0, [(1, long.clone(), false)]);
        }
        let (found, _) = split(&[&long, &long, b"y\nnext\n"]);
        assert_eq!(found, [(1, long[..KEPT_BYTES].to_vec(), true), (2, b"next".to_vec(), false)]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in "[ab\r\n]{0,40}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let bytes = bytes.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&pieces), split(&[bytes]));
        }
    }
}
