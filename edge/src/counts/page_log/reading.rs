//! Reading one line by a format: the head from the left, the tail from the right, free text between.
//!
//! A title may hold anything, also what looks like another line's middle (`total 8 - localhost`), so
//! nothing is ever searched for across it. User names may hold spaces: every place a name could end is
//! tried, and the line is rejected if two of them lead to different figures. One assumption is made, and
//! it is what makes CUPS's default unambiguous: **no user or printer name holds a CUPS time.**
//! Leaves the choice of formats that can be read this way to [`super::format`].

use super::fault::Furthest;
use super::format::{Field, Format, Piece};
use super::{Entry, Pages, Reject, time};
use crate::counts::key::JobKey;
use tallyroll_schema::limits::files::PAGE_LOG_WORD_BYTES_MAX;
use tallyroll_schema::{Act, Wall, limits};

/// `cupsdLogPage` fills a buffer of 2048 bytes; a line of this length may have lost its end.
const CUT_BYTES: usize = 2047;

/// What one reading of a part of the line found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts<'a> {
    printer: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    job: Option<u32>,
    printed_at: Option<i64>,
    page: Option<PageNumber>,
    copies: Option<u32>,
    impressions: Option<u32>,
    media: Option<&'a [u8]>,
    sides: Option<&'a [u8]>,
    color_mode: Option<&'a [u8]>,
}

/// `%P` is a page's number, or the word `total` with the whole job's figure in `%C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageNumber {
    Total,
    Number(u32),
}

/// The readings found so far; two that differ are as many as anyone needs.
#[derive(Default)]
struct Readings<'a> {
    first: Option<(Facts<'a>, &'a [u8])>,
    contradicted: bool,
    furthest: Furthest<'a>,
}

impl Format {
    /// Reads a line (without its newline).
    ///
    /// # Errors
    /// A [`Reject`], if the line does not follow the format or could be read in two ways.
    pub fn read(&self, line: &[u8]) -> Result<Entry, Reject> {
        if line.is_empty() {
            return Err(Reject::Empty);
        }
        let mut heads = Readings::default();
        walk(&self.head, line, Facts::default(), self.tail.is_none(), &mut heads);
        if heads.contradicted {
            return Err(Reject::Ambiguous);
        }
        let Some((head, rest)) = heads.first else {
            return Err(heads.furthest.reject().unwrap_or(Reject::Mismatch));
        };
        let (facts, free_text) = match &self.tail {
            None => (head, rest),
            Some(tail) => {
                let (tail, free_text) = read_tail(tail, rest, line.len())?;
                (head.joined(tail), free_text)
            }
        };
        let entry = facts.into_entry(free_text).ok_or(Reject::Mismatch)?;
        let media_len = entry.media.as_ref().map_or(0, String::len);
        if entry.user.len() > limits::NAME_BYTES_MAX || media_len > limits::TEXT_BYTES_MAX {
            return Err(Reject::FieldTooLong);
        }
        Ok(entry)
    }
}

/// The facts of the line's end, and the free text before it.
fn read_tail<'a>(
    tail: &[Piece],
    rest: &'a [u8],
    line_bytes: usize,
) -> Result<(Facts<'a>, &'a [u8]), Reject> {
    let mut tails = Readings::default();
    let mut free_text = rest;
    for start in (0..=rest.len()).rev() {
        let (before, end) = rest.split_at(start);
        let found_before = tails.first.is_some();
        walk(tail, end, Facts::default(), true, &mut tails);
        if tails.contradicted {
            return Err(Reject::Ambiguous);
        }
        if !found_before && tails.first.is_some() {
            free_text = before;
        }
    }
    match tails.first {
        Some((facts, _)) => Ok((facts, free_text)),
        None if line_bytes >= CUT_BYTES => Ok((Facts::default(), free_text)),
        None => Err(tails.furthest.reject().unwrap_or(Reject::Cut)),
    }
}

/// Tries every way to read `pieces` off the front of `rest`.
fn walk<'a>(
    pieces: &[Piece],
    rest: &'a [u8],
    facts: Facts<'a>,
    to_the_end: bool,
    readings: &mut Readings<'a>,
) {
    if readings.contradicted {
        return;
    }
    let left = pieces.len();
    let Some((piece, pieces)) = pieces.split_first() else {
        if !to_the_end || rest.is_empty() {
            readings.add(facts, rest);
        } else {
            readings.furthest.other(left);
        }
        return;
    };
    match piece {
        Piece::Literal(literal) => match rest.strip_prefix(literal.as_slice()) {
            Some(rest) => walk(pieces, rest, facts, to_the_end, readings),
            None => readings.furthest.other(left),
        },
        Piece::Field(
            field @ (Field::Job
            | Field::Time
            | Field::PageNumber
            | Field::Copies
            | Field::Impressions),
        ) => match facts.with_figure(*field, rest) {
            Some((facts, rest)) => walk(pieces, rest, facts, to_the_end, readings),
            None => {
                let total = !matches!(facts.page, Some(PageNumber::Number(_)));
                readings.furthest.figure(left, *field, total, rest);
            }
        },
        Piece::Field(field) => {
            readings.furthest.other(left); // unless a way through it comes further
            for end in name_ends(*field, rest, pieces.first()) {
                let (name, rest) = rest.split_at(end);
                walk(pieces, rest, facts.with_name(*field, name), to_the_end, readings);
            }
        }
    }
}

/// Where a name at the front of `rest` could end, shortest first: before each place the next piece stands.
fn name_ends<'a>(
    field: Field,
    rest: &'a [u8],
    next: Option<&'a Piece>,
) -> impl Iterator<Item = usize> + 'a {
    let reach = rest.get(..PAGE_LOG_WORD_BYTES_MAX).unwrap_or(rest);
    let limit = match field {
        Field::User => time::first_in(reach),
        _ => reach.iter().position(|byte| !belongs(field, *byte)),
    };
    let limit = limit.unwrap_or(reach.len());
    (1..=limit).filter(move |&end| match next {
        Some(Piece::Literal(literal)) => {
            rest.get(end..).is_some_and(|rest| rest.starts_with(literal))
        }
        Some(Piece::Field(_)) => true,
        None => end == rest.len(),
    })
}

/// May the byte stand in such a field? CUPS joins several values with commas.
fn belongs(field: Field, byte: u8) -> bool {
    match field {
        Field::Number => byte.is_ascii_digit() || matches!(byte, b'-' | b','),
        // RFC 8011, section 5.1.4: keywords.
        Field::Sides | Field::ColorMode => {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',')
        }
        _ => !byte.is_ascii_whitespace(),
    }
}

/// `-1` and the like never stand for something printed, so a figure is digits alone.
fn figure(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) =
        bytes.split_at(bytes.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest))
}

impl<'a> Readings<'a> {
    fn add(&mut self, facts: Facts<'a>, rest: &'a [u8]) {
        match &self.first {
            None => self.first = Some((facts, rest)),
            Some((first, _)) => self.contradicted |= first.decisive() != facts.decisive(),
        }
    }
}

impl<'a> Facts<'a> {
    fn with_figure(mut self, field: Field, bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if field == Field::Time {
            let (printed_at, rest) = time::take(bytes)?;
            let wall = Wall(u64::try_from(printed_at).ok()?);
            if !Act::ACTED_AT.contains(&wall) {
                return None;
            }
            self.printed_at = Some(printed_at);
            return Some((self, rest));
        }
        if field == Field::PageNumber
            && let Some(rest) = bytes.strip_prefix(b"total")
        {
            self.page = Some(PageNumber::Total);
            return Some((self, rest));
        }
        let (value, rest) = figure(bytes)?;
        match field {
            Field::Job => self.job = Some(value),
            Field::PageNumber => self.page = Some(PageNumber::Number(value)),
            Field::Copies => self.copies = Some(value),
            _ => self.impressions = Some(value),
        }
        Some((self, rest))
    }

    fn with_name(mut self, field: Field, name: &'a [u8]) -> Self {
        // CUPS writes `-` for an attribute the job does not have.
        let asked = (name != b"-").then_some(name);
        match field {
            Field::Printer => self.printer = Some(name),
            Field::User => self.user = Some(name),
            Field::Media => self.media = asked,
            Field::Sides => self.sides = asked,
            Field::ColorMode => self.color_mode = asked,
            _ => {}
        }
        self
    }

    /// What must not differ between two readings; media, sides and color are for show.
    fn decisive(self) -> Self {
        Self { media: None, sides: None, color_mode: None, ..self }
    }

    fn joined(self, tail: Self) -> Self {
        Self {
            printer: self.printer.or(tail.printer),
            user: self.user.or(tail.user),
            job: self.job.or(tail.job),
            printed_at: self.printed_at.or(tail.printed_at),
            page: self.page.or(tail.page),
            copies: self.copies.or(tail.copies),
            impressions: self.impressions.or(tail.impressions),
            media: self.media.or(tail.media),
            sides: self.sides.or(tail.sides),
            color_mode: self.color_mode.or(tail.color_mode),
        }
    }

    fn pages(self) -> Option<Pages> {
        match (self.page, self.copies, self.impressions) {
            (Some(PageNumber::Total), Some(impressions), _) => Some(Pages::Total { impressions }),
            (Some(PageNumber::Number(number)), Some(copies), _) => {
                Some(Pages::Page { number, copies })
            }
            (_, _, Some(impressions)) => Some(Pages::Total { impressions }),
            _ => None,
        }
    }

    fn into_entry(self, free_text: &[u8]) -> Option<Entry> {
        let (printer, user, job_number) = (self.printer?, self.user?, self.job?);
        Some(Entry {
            printer: text(printer),
            user: text(user),
            job_number,
            job: JobKey::of(printer, user, job_number, free_text),
            printed_at: self.printed_at?,
            pages: self.pages()?,
            media: self.media.map(text),
            sides: self.sides.map(text),
            color: self.color_mode.and_then(color),
        })
    }
}

/// PWG 5100.13 `print-color-mode`; `auto` and the like leave it to the document.
fn color(mode: &[u8]) -> Option<bool> {
    match mode {
        b"color" | b"highlight" => Some(true),
        b"monochrome"
        | b"process-monochrome"
        | b"auto-monochrome"
        | b"bi-level"
        | b"process-bi-level" => Some(false),
        _ => None,
    }
}

/// Two names that differ in bytes must differ as text, so bytes that are not UTF-8 are spelled out.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests;
