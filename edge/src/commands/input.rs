//! Lines of the input, as `record` and `act` take them from people and programs.
//!
//! Invariant: a line has the number that it has in the input, blank lines counted, and whatever bytes are in it,
//! the lines around it are read: what is wrong with it is the device's to say. Of a line that is too long only so
//! much is kept that the device can tell.

use std::io::{BufRead, Read, Result};
use tallyroll_schema::limits::local::LINE_BYTES_MAX;

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number in the input, from 1.
    pub(crate) number: u64,
    /// Its bytes, with a newline at the end.
    pub(crate) bytes: Vec<u8>,
}

/// Reads lines until the input ends.
pub(crate) struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, number: 0 }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        loop {
            let mut bytes = Vec::new();
            let mut most = Read::take(&mut self.input, LINE_BYTES_MAX as u64 + 1);
            match most.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => self.number += 1,
                Err(why) => return Some(Err(why)),
            }
            if bytes.last() != Some(&b'\n') {
                if bytes.len() > LINE_BYTES_MAX
                    && let Err(why) = self.input.skip_until(b'\n')
                {
                    return Some(Err(why));
                }
                bytes.push(b'\n');
            }
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Some(Ok(Line { number: self.number, bytes }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_with_its_number_whatever_is_in_it() {
        let long = "x".repeat(LINE_BYTES_MAX + 7);
        let input = [b"\n \t\r\n{}\n\xff\n", long.as_bytes(), b"\n\nlast"].concat();
        let read: Vec<Line> = Lines::new(&*input).map(|line| line.unwrap()).collect();
        let line = |number, bytes: &[u8]| Line { number, bytes: bytes.to_vec() };
        let [first, second, third, last] = &read[..] else { panic!("{} lines", read.len()) };
        assert_eq!((first, second), (&line(3, b"{}\n"), &line(4, b"\xff\n")));
        assert_eq!((third.number, third.bytes.len()), (5, LINE_BYTES_MAX + 2));
        assert_eq!(last, &line(7, b"last\n"));
    }
}
