//! Figures for spreadsheets: CSV and XLSX.
//!
//! Invariant: text is never a formula (a cell that begins with `=`, `+`, `-` or `@` gets an apostrophe
//! in CSV, and is a string in XLSX) and steers no terminal; a number is a number, exact or else text;
//! equal figures of one cut are equal bytes. Who may read it is left to the caller.

use super::table::{Column, Datum, Holds, printable, time};
use super::{CommandError, Result};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use serde_json::Value;

/// Thousandths from here on do not all fit a workbook's number, which has 15 digits.
const EXACT_MAX: i128 = 1_000_000_000_000_000;

/// As CSV.
pub(super) fn csv(columns: &[Column<'_>], rows: &[Value]) -> Result<Vec<u8>> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let wrong = |why: csv::Error| CommandError::Sheet(why.into());
    writer.write_record(columns.iter().map(|column| column.title)).map_err(wrong)?;
    for row in rows {
        let cells = columns.iter().map(|column| match column.datum(row) {
            Datum::Nothing => String::new(),
            Datum::Text(text) => harmless(printable(&text)),
            Datum::Count(count) => count.to_string(),
            Datum::Credits(credits) => credits,
            Datum::Time(milliseconds) => time(milliseconds),
        });
        writer.write_record(cells).map_err(wrong)?;
    }
    writer.into_inner().map_err(|why| CommandError::Sheet(why.into_error().into()))
}

/// Text that no spreadsheet takes for a formula.
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// As a workbook of one sheet, which says it was made at `dated`, in milliseconds.
pub(super) fn workbook(
    title: &str,
    dated: u64,
    columns: &[Column<'_>],
    rows: &[Value],
) -> Result<Vec<u8>> {
    let made = || -> Made<Vec<u8>> {
        let mut workbook = Workbook::new();
        workbook.set_properties(&DocProperties::new().set_creation_datetime(&excel(dated)?));
        let sheet = workbook.add_worksheet();
        sheet.set_name(title)?.set_freeze_panes(1, 0)?;
        let head = Format::new().set_bold();
        for (at, column) in (0_u16..).zip(columns) {
            sheet.write_string_with_format(0, at, column.title, &head)?;
        }
        let formats = Formats {
            count: Format::new().set_num_format("0"),
            credits: Format::new().set_num_format("0.000"),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
        };
        for (row, values) in (1_u32..).zip(rows) {
            for (at, column) in (0_u16..).zip(columns) {
                formats.write(sheet, (row, at), column.datum(values))?;
            }
        }
        for (at, column) in (0_u16..).zip(columns) {
            let width = if column.holds == Holds::Text { 24 } else { 20 };
            sheet.set_column_width(at, width)?;
        }
        workbook.save_to_buffer()
    };
    made().map_err(|why| CommandError::Sheet(why.into()))
}

type Made<T = ()> = std::result::Result<T, XlsxError>;

struct Formats {
    count: Format,
    credits: Format,
    time: Format,
}

impl Formats {
    fn write(&self, sheet: &mut Worksheet, (row, column): (u32, u16), datum: Datum) -> Made {
        match datum {
            Datum::Nothing => return Ok(()),
            Datum::Text(text) => sheet.write_string(row, column, text)?,
            Datum::Count(count) if count.abs() < EXACT_MAX => {
                sheet.write_number_with_format(row, column, count as f64, &self.count)?
            }
            Datum::Count(count) => sheet.write_string(row, column, count.to_string())?,
            Datum::Credits(credits) => match exact(&credits) {
                Some(number) => {
                    sheet.write_number_with_format(row, column, number, &self.credits)?
                }
                None => sheet.write_string(row, column, credits)?,
            },
            Datum::Time(milliseconds) => {
                sheet.write_datetime_with_format(row, column, excel(milliseconds)?, &self.time)?
            }
        };
        Ok(())
    }
}

/// To the second, as everywhere.
fn excel(milliseconds: u64) -> Made<ExcelDateTime> {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    ExcelDateTime::from_timestamp(seconds.min(253_402_300_799)) // the end of 9999
}

/// Credits as the number that shows the same three decimals, if there is one.
fn exact(credits: &str) -> Option<f64> {
    let thousandths: i128 = credits.replace('.', "").parse().ok()?;
    let number = credits.parse().ok()?;
    (thousandths.abs() < EXACT_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn columns() -> [Column<'static>; 3] {
        [
            Column::key("name", "user"),
            Column::key("count", "count").holding(Holds::Count),
            Column::key("credits", "credits").holding(Holds::Credits),
        ]
    }

    #[test]
    fn text_is_no_formula_and_a_negative_number_stays_one() {
        for (name, shown) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\t=a", "\u{fffd}=a"),
            ("a\r\n=b", "a\u{fffd}\u{fffd}=b"),
            ("a\u{1b}[2J", "a\u{fffd}[2J"),
            ("a=1", "a=1"),
            ("a,b", "\"a,b\""),
        ] {
            let rows = [json!({ "name": name, "count": 3, "credits": "-2.500" })];
            let text = String::from_utf8(csv(&columns(), &rows).unwrap()).unwrap();
            assert_eq!(text, format!("user,count,credits\r\n{shown},3,-2.500\r\n"));
        }
    }

    #[test]
    fn equal_figures_are_equal_bytes() {
        let rows = [json!({ "name": "=1", "count": 1_u64 << 40, "credits": "1.000" })];
        let made = |at| workbook("figures", at, &columns(), &rows).unwrap();
        assert_eq!(made(1_795_000_000_000), made(1_795_000_000_000));
        assert_ne!(made(1_795_000_000_000), made(1_795_000_001_000));
    }

    #[test]
    fn a_sum_beyond_fifteen_digits_is_text() {
        assert_eq!(exact("-2.500"), Some(-2.5));
        assert_eq!(exact("999999999999.999"), Some(999_999_999_999.999));
        assert_eq!(exact("1000000000000.000"), None);
    }
}
