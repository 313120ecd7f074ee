//! Where the reading of a line that cannot be read came furthest, and what was wrong there.
//!
//! Owns the choice of the one reason that is told. Of several ways to read a line the one that got through
//! the most pieces of the format is the one that was meant; of several such, the first that met a figure or a
//! time. Invariant: nothing of a line is told but those two, so no reason holds a name or a title.
//! Leaves the walk to [`super::reading`].

use super::Reject;
use super::format::Field;

/// Of a figure or a time, told.
const TOLD_BYTES_MAX: usize = 40;

/// The furthest failure so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Furthest<'a> {
    /// Pieces of the format that were left, and what stood where the first of them should be.
    failed: Option<(usize, Fault<'a>)>,
}

#[derive(Clone, Copy, Debug)]
enum Fault<'a> {
    Number(&'static str, &'a [u8]),
    Time(&'a [u8]),
    Other,
}

impl<'a> Furthest<'a> {
    /// A way ended with `left` pieces to go: `rest` does not begin with what the format says.
    pub(super) fn other(&mut self, left: usize) {
        self.fail(left, || Fault::Other);
    }

    /// The same, where `rest` should begin with a figure; `total` if it is that of a whole job.
    pub(super) fn figure(&mut self, left: usize, field: Field, total: bool, rest: &'a [u8]) {
        self.fail(left, || match field {
            Field::Time => bracketed(rest).map_or(Fault::Other, Fault::Time),
            _ => {
                number(rest).map_or(Fault::Other, |found| Fault::Number(name(field, total), found))
            }
        });
    }

    fn fail(&mut self, left: usize, fault: impl FnOnce() -> Fault<'a>) {
        let further = match self.failed {
            None => true,
            Some((least, Fault::Other)) => left <= least,
            Some((least, _)) => left < least,
        };
        if further {
            self.failed = Some((left, fault()));
        }
    }

    /// The reason, if it is one that can be told.
    pub(super) fn reject(self) -> Option<Reject> {
        let text = |found: &[u8]| String::from_utf8_lossy(found).into_owned();
        match self.failed?.1 {
            Fault::Number(what, found) => Some(Reject::Number { what, found: text(found) }),
            Fault::Time(found) => Some(Reject::Time { found: text(found) }),
            Fault::Other => None,
        }
    }
}

fn name(field: Field, total: bool) -> &'static str {
    match field {
        Field::Job => "job number",
        Field::PageNumber => "page number",
        Field::Copies if !total => "copies",
        _ => "impressions",
    }
}

/// `-4`, `4294967296`: what was meant as a number.
fn number(rest: &[u8]) -> Option<&[u8]> {
    let belongs = |byte: &u8| byte.is_ascii_digit() || b"+-".contains(byte);
    let (found, _) = rest.split_at(rest.iter().take_while(|byte| belongs(byte)).count());
    let is_told = found.len() <= TOLD_BYTES_MAX && found.iter().any(u8::is_ascii_digit);
    is_told.then_some(found)
}

/// `[31/Feb/2026:01:02:03 +0100]`: what was meant as a time.
fn bracketed(rest: &[u8]) -> Option<&[u8]> {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b" /:.+-".contains(byte);
    let inside = rest.strip_prefix(b"[")?.iter().take_while(|byte| belongs(byte)).count();
    let found = rest.get(..inside + 2).filter(|found| found.ends_with(b"]"))?;
    let digits = found.iter().filter(|byte| byte.is_ascii_digit()).count();
    // A year and a time of day at least; a name may stand in brackets too.
    (found.len() <= TOLD_BYTES_MAX && digits >= 8 && found.contains(&b':')).then_some(found)
}
