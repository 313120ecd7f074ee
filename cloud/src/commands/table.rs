//! Tables of JSON rows: ruled on a terminal, plain columns in a pipe.
//!
//! Invariant: what is shown is what `--json` gives, laid out; a value that is not
//! known shows as `-`.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::Value;
use std::io::IsTerminal;

/// Where a column's values stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

enum Content<'a> {
    Key(&'a str),
    Read(&'a dyn Fn(&Value) -> String),
}

/// What a column's values are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    /// A count, or a difference of counts.
    Count,
    /// Credits, an exact decimal in a string.
    Credits,
    /// Milliseconds since 1970.
    Time,
}

/// A value for a sheet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Datum {
    Nothing,
    Text(String),
    Count(i128),
    Credits(String),
    Time(u64),
}

/// A column: its title and how to read it off a row.
pub(super) struct Column<'a> {
    pub(super) title: &'a str,
    content: Content<'a>,
    side: Side,
    pub(super) holds: Holds,
}

impl<'a> Column<'a> {
    /// The value of a key.
    pub(super) fn key(key: &'a str, title: &'a str) -> Self {
        Self { title, content: Content::Key(key), side: Side::Left, holds: Holds::Text }
    }

    /// Something made of a row.
    pub(super) fn of(title: &'a str, read: &'a dyn Fn(&Value) -> String) -> Self {
        Self { title, content: Content::Read(read), side: Side::Left, holds: Holds::Text }
    }

    /// The same, on that side.
    pub(super) fn on(self, side: Side) -> Self {
        Self { side, ..self }
    }

    /// The same, of values that are more than text; numbers stand on the right.
    pub(super) fn holding(self, holds: Holds) -> Self {
        let side = if holds == Holds::Time { self.side } else { Side::Right };
        Self { holds, side, ..self }
    }

    /// The value itself, as it is.
    pub(super) fn datum(&self, row: &Value) -> Datum {
        let value = match &self.content {
            Content::Read(read) => match read(row) {
                text if text.is_empty() => return Datum::Nothing,
                text => return Datum::Text(text),
            },
            Content::Key(key) => &row[*key],
        };
        match (self.holds, value) {
            (_, Value::Null) => Datum::Nothing,
            (Holds::Count, value) => {
                let count = value.as_u64().map(i128::from).or(value.as_i64().map(i128::from));
                count.map_or(Datum::Nothing, Datum::Count)
            }
            (Holds::Time, value) => value.as_u64().map_or(Datum::Nothing, Datum::Time),
            (Holds::Credits, Value::String(credits)) => Datum::Credits(credits.clone()),
            (_, Value::String(text)) => Datum::Text(text.clone()),
            (_, Value::Array(parts)) => {
                let parts = parts.iter().filter_map(Value::as_str);
                Datum::Text(parts.collect::<Vec<_>>().join(" "))
            }
            (_, other) => Datum::Text(other.to_string()),
        }
    }

    fn read(&self, row: &Value) -> String {
        if self.holds == Holds::Time {
            return match self.datum(row) {
                Datum::Time(milliseconds) => time(milliseconds),
                _ => "-".to_owned(),
            };
        }
        match &self.content {
            Content::Read(read) => match read(row) {
                text if text.is_empty() => "-".to_owned(),
                text => printable(&text),
            },
            Content::Key(key) => match &row[*key] {
                Value::Null => "-".to_owned(),
                Value::String(text) => printable(text),
                other => other.to_string(),
            },
        }
    }
}

/// A name comes from outside and must not steer the terminal it is shown on.
pub(super) fn printable(text: &str) -> String {
    // Marks that turn the direction of what follows would let one name write over another.
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A table of rows, as text.
pub(super) fn table(columns: &[Column<'_>], rows: &[Value]) -> String {
    table_for(columns, rows, std::io::stdout().is_terminal())
}

/// The same, for a terminal or not.
pub(super) fn table_for(columns: &[Column<'_>], rows: &[Value], on_terminal: bool) -> String {
    let styled = on_terminal && super::color_wanted();
    let mut table = Table::new();
    table.load_style(if on_terminal { presets::UTF8_HORIZONTAL_ONLY } else { presets::NOTHING });
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| {
        let title = Cell::new(column.title);
        if styled { title.add_attribute(Attribute::Bold) } else { title }
    }));
    for row in rows {
        table.add_row(columns.iter().map(|column| column.read(row)));
    }
    for (index, column) in columns.iter().enumerate() {
        let Some(shown) = table.column_mut(index) else { continue };
        if !on_terminal {
            shown.set_padding((0, 2));
        }
        if column.side == Side::Right {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Milliseconds since 1970 as RFC 3339, to the second.
pub(super) fn time(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("jörg\u{1b}[2J\n\u{202e}"), "jörg\u{fffd}[2J\u{fffd}\u{fffd}");
    }
}
