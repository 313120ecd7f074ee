//! `PageLogFormat`: which fields a line holds, and in what order.
//!
//! Owns the reading of the format string, as `cupsdLogPage` expands it, and the judgement whether lines
//! written by it can be told apart at all. Invariant: in an accepted format every field that carries a
//! figure is reached from one of the line's ends without crossing text that may hold anything.
//! Leaves the lines to [`super::reading`].

/// The fields CUPS documents as standard, and its built-in default since 1.4.
const DEFAULT: &str =
    "%p %u %j %T %P %C %{job-billing} %{job-originating-host-name} %{job-name} %{media} %{sides}";

/// How a `page_log` was written: CUPS's default, or the scheduler's `PageLogFormat`.
///
/// ```
/// use tallyroll_edge::counts::{Format, Pages};
/// let line = b"hall anna 7 [21/Nov/2026:01:02:03 +0100] total 8 - localhost total 9 - x - -";
/// assert_eq!(Format::default().read(line)?.pages, Pages::Total { impressions: 8 });
/// assert!(Format::parse("%p %u %j %P %C").unwrap_err().to_string().contains("add %T"));
/// # Ok::<(), tallyroll_edge::counts::Reject>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Up to the first field that may hold anything; the whole line if there is none.
    pub(super) head: Vec<Piece>,
    /// From after the last such field to the end; `None` if there is no such field.
    pub(super) tail: Option<Vec<Piece>>,
    /// As it was given.
    text: String,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Vec<u8>),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Printer,
    /// May hold spaces, but no time.
    User,
    Job,
    Time,
    PageNumber,
    Copies,
    Impressions,
    Media,
    Sides,
    ColorMode,
    /// A whole number nobody here needs.
    Number,
    /// One word nobody here needs.
    Word,
    /// Anything at all: a title, a billing text, an attribute unknown here.
    Text,
}

/// Why a `PageLogFormat` cannot be imported, and what to add or move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PageLogFormat cannot be imported: {0}")]
pub struct FormatError(String);

impl Default for Format {
    fn default() -> Self {
        Self::parse(DEFAULT).expect("CUPS's own default is importable")
    }
}

impl Format {
    /// Reads the value of `PageLogFormat` as it stands in `cupsd.conf`.
    ///
    /// # Errors
    /// If a field that is needed is missing or cannot be found in a line for certain.
    pub fn parse(format: &str) -> Result<Self, FormatError> {
        let text = format.trim().to_owned();
        let pieces = pieces(&text)?;
        every_fact_once(&pieces)?;
        no_neighbours(&pieces)?;
        let is_text = |piece: &Piece| *piece == Piece::Field(Field::Text);
        let Some(first) = pieces.iter().position(is_text) else {
            return Ok(Self { head: pieces, tail: None, text });
        };
        let last = pieces.iter().rposition(is_text).unwrap_or(first);
        let (head, rest) = pieces.split_at(first);
        let (enclosed, tail) = rest.split_at(last - first);
        if let Some(name) = enclosed.iter().find_map(needed) {
            return refuse(format!(
                "{name} stands between two fields that may hold anything; move it to the front"
            ));
        }
        let tail = tail.get(1..).unwrap_or_default();
        if opens_into_text(head.iter().rev()) || opens_into_text(tail.iter()) {
            return refuse(
                "nobody can tell where %u ends and free text begins; put %j %T between them".into(),
            );
        }
        Ok(Self { head: head.to_vec(), tail: Some(tail.to_vec()), text })
    }
}

fn refuse<T>(reason: String) -> Result<T, FormatError> {
    Err(FormatError(reason))
}

fn pieces(format: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            literal.push(letter);
            continue;
        }
        let field = match letters.next() {
            Some('p') => Field::Printer,
            Some('u') => Field::User,
            Some('j') => Field::Job,
            Some('T') => Field::Time,
            Some('P') => Field::PageNumber,
            Some('C') => Field::Copies,
            Some('{') => {
                let Some((name, rest)) = letters.as_str().split_once('}') else {
                    return refuse("%{ has no closing }; add it".into());
                };
                letters = rest.chars();
                attribute(name)
            }
            Some('%') => {
                literal.push('%');
                continue;
            }
            // CUPS copies what it does not know.
            Some(unknown) => {
                literal.extend(['%', unknown]);
                continue;
            }
            None => return refuse("it ends in a single %; remove it or write %%".into()),
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal).into_bytes()));
        }
        pieces.push(Piece::Field(field));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into_bytes()));
    }
    Ok(pieces)
}

/// Keywords and numbers hold no spaces; everything not listed may hold anything.
fn attribute(name: &str) -> Field {
    match name {
        "job-id" => Field::Job,
        "job-originating-user-name" => Field::User,
        "job-impressions-completed" => Field::Impressions,
        "media" => Field::Media,
        "sides" => Field::Sides,
        "print-color-mode" => Field::ColorMode,
        "job-media-sheets-completed"
        | "job-impressions"
        | "job-media-sheets"
        | "job-k-octets"
        | "job-priority"
        | "copies"
        | "number-up"
        | "print-quality"
        | "orientation-requested" => Field::Number,
        "job-originating-host-name" | "job-uuid" | "document-format" | "output-bin" => Field::Word,
        _ => Field::Text,
    }
}

/// The name of a field without which a line cannot be counted.
fn needed(piece: &Piece) -> Option<&'static str> {
    match piece {
        Piece::Field(Field::Printer) => Some("%p"),
        Piece::Field(Field::User) => Some("%u"),
        Piece::Field(Field::Job) => Some("%j"),
        Piece::Field(Field::Time) => Some("%T"),
        Piece::Field(Field::PageNumber) => Some("%P"),
        Piece::Field(Field::Copies) => Some("%C"),
        Piece::Field(Field::Impressions) => Some("%{job-impressions-completed}"),
        _ => None,
    }
}

fn every_fact_once(pieces: &[Piece]) -> Result<(), FormatError> {
    let times = |field| pieces.iter().filter(|piece| **piece == Piece::Field(field)).count();
    if let Some(twice) =
        pieces.iter().find(|piece| needed(piece).is_some() && times_of(piece, pieces) > 1)
    {
        return refuse(format!(
            "{} stands in it twice; once is enough",
            needed(twice).unwrap_or_default()
        ));
    }
    for (field, advice) in [
        (Field::Time, "add %T (without a time a line cannot be told from its repeat)"),
        (Field::User, "add %u (without a user nobody can be charged)"),
        (Field::Printer, "add %p"),
        (Field::Job, "add %j (without a job number pages cannot be put together to jobs)"),
    ] {
        if times(field) == 0 {
            return refuse(advice.into());
        }
    }
    if times(Field::Impressions) == 0 && times(Field::PageNumber) + times(Field::Copies) < 2 {
        return refuse("add %P %C, or %{job-impressions-completed} (without them nothing says how much was printed)".into());
    }
    Ok(())
}

fn times_of(piece: &Piece, pieces: &[Piece]) -> usize {
    pieces.iter().filter(|other| *other == piece).count()
}

fn no_neighbours(pieces: &[Piece]) -> Result<(), FormatError> {
    let fields = |pair: &&[Piece]| pair.iter().all(|piece| matches!(piece, Piece::Field(_)));
    match pieces.windows(2).filter(fields).flatten().find_map(needed) {
        Some(name) => refuse(format!("{name} touches another field; put a space between them")),
        None => Ok(()),
    }
}

/// Walking towards free text, does `%u` come before anything that ends a user's name for certain?
fn opens_into_text<'a>(towards_line_middle_reversed: impl Iterator<Item = &'a Piece>) -> bool {
    for piece in towards_line_middle_reversed {
        match piece {
            Piece::Field(Field::User) => return true,
            Piece::Field(
                Field::Media | Field::Sides | Field::ColorMode | Field::Word | Field::Printer,
            ) => {}
            Piece::Field(_) => return false,
            Piece::Literal(literal) if literal.iter().all(u8::is_ascii_whitespace) => {}
            Piece::Literal(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(format: &str) -> String {
        Format::parse(format).expect_err(format).to_string()
    }

    #[test]
    fn refusals_say_what_to_add() {
        assert!(refusal("%p %u %j %P %C").contains("add %T"));
        assert!(refusal("%p %j %T %P %C").contains("add %u"));
        assert!(refusal("%u %j %T %P %C").contains("add %p"));
        assert!(refusal("%p %u %T %P %C").contains("add %j"));
        assert!(refusal("%p %u %j %T").contains("add %P %C"));
        assert!(refusal("%p %u %j %T %C").contains("add %P %C"));
        assert!(
            refusal("%p %u %j %T %{job-media-sheets-completed}")
                .contains("%{job-impressions-completed}")
        );
        assert!(refusal("").contains("add %T"));
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        assert!(
            refusal("%p %u %j %T %{job-name} %P %C %{job-billing}").contains("%P stands between")
        );
        assert!(refusal("%p %j %T %P %C %u %{job-name}").contains("where %u ends"));
        assert!(refusal("%{job-name} %u %p %j %T %P %C").contains("where %u ends"));
        assert!(refusal("%p %u %j %T %P%C").contains("touches"));
        assert!(refusal("%p %u %j %T %P %C %T").contains("twice"));
        assert!(refusal("%p %u %j %T %P %C %{job-name").contains("closing }"));
        assert!(refusal("%p %u %j %T %P %C %").contains("single %"));
    }

    #[test]
    fn common_formats_are_taken() {
        for format in [
            DEFAULT,
            "%p %u %j %T %P %C",
            "%p %j %u %T %P %C %{job-billing}",
            "%T %p %j \"%u\" %P %C \"%{job-name}\"",
            "\"%{job-name}\" %T %p %u %j %{job-impressions-completed}",
            "%T|%j|%p|%u|%{job-impressions-completed}|%{print-color-mode}|100%%|\"%{job-name}\"|%{sides}|%x",
        ] {
            Format::parse(format).expect(format);
        }
        assert_eq!(Format::default(), Format::parse(DEFAULT).expect("the default"));
    }
}
