//! Rate cards as files: the TOML that an administrator keeps, checks and publishes.
//!
//! Owns the file's form, both ways. Invariant: an amount is read from the digits that stand in the
//! file, never through a float, and what cannot be read is told with its line, what is there and what
//! is expected. What is a price, and which of several holds, is the engine's to say.

use serde::Deserialize;
use std::fmt::Write;
use std::ops::Range;
use tallyroll_engine::counts::card::{self, Mispriced, plain_prices};
use tallyroll_schema::Credits;
use tallyroll_schema::event::counts::{
    ColorMode, Conversion, FinerPrice, PricedAct, PricedUnit, RateCard,
};
use tallyroll_schema::limits::local::CLOUD_QUESTION_BYTES_MAX;
use toml::{Spanned, Value};

/// Why a file is no rate card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Unreadable {
    /// From 1 on.
    pub line: usize,
    /// What is there, and what is expected.
    pub what: String,
}

type Amount = Spanned<Value>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    capture: Amount,
    print_monochrome: Amount,
    print_color: Amount,
    conversion: Amount,
    send_monochrome: Amount,
    send_color: Amount,
    save: Amount,
    #[serde(default)]
    price: Vec<Finer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finer {
    act: Spanned<PricedAct>,
    unit: Option<Spanned<PricedUnit>>,
    color: Option<Spanned<ColorMode>>,
    media: Option<Spanned<String>>,
    conversion: Option<Spanned<Conversion>>,
    price: Amount,
}

/// Reads a file; the card's version is for whoever publishes it.
///
/// # Errors
/// It is no rate card, or a larger one than may be published.
pub fn read(file: &[u8]) -> Result<RateCard, Unreadable> {
    let line = |before: &[u8]| before.split(|byte| *byte == b'\n').count();
    if file.len() > CLOUD_QUESTION_BYTES_MAX {
        let what =
            format!("a rate card has at most {CLOUD_QUESTION_BYTES_MAX} bytes, this is more");
        return Err(Unreadable { line: line(file), what });
    }
    let text = core::str::from_utf8(file).map_err(|why| {
        let what = "this is no text; a rate card is a TOML file in UTF-8".into();
        Unreadable { line: line(file.get(..why.valid_up_to()).unwrap_or(file)), what }
    })?;
    let at = |span: Range<usize>, what: String| Unreadable {
        line: line(file.get(..span.start).unwrap_or(file)),
        what,
    };
    let file: File = toml::from_str(text)
        .map_err(|why| at(why.span().unwrap_or_default(), why.message().replace('\n', ", ")))?;
    let amount = |name: &str, amount: &Amount| {
        let digits = match amount.as_ref() {
            Value::String(digits) => digits,
            _ => text.get(amount.span()).unwrap_or_default(),
        };
        let unlike = |_| {
            let what = format!(
                "{name}: found `{digits}`, expected credits with at most three decimals, as 0.5"
            );
            at(amount.span(), what)
        };
        digits.parse::<Credits>().map_err(unlike)
    };
    let finer = |finer: &Finer| {
        Ok(FinerPrice {
            act: *finer.act.as_ref(),
            unit: finer
                .unit
                .as_ref()
                .map_or_else(|| unit_of(*finer.act.as_ref()), |unit| *unit.as_ref()),
            color: finer.color.as_ref().map(|color| *color.as_ref()),
            media: finer.media.as_ref().map(|media| media.as_ref().clone()),
            conversion: finer.conversion.as_ref().map(|kind| *kind.as_ref()),
            price: amount("price", &finer.price)?,
        })
    };
    let finer: Vec<_> = file.price.iter().map(finer).collect::<Result<_, _>>()?;
    let read = RateCard {
        version: 0,
        capture: amount("capture", &file.capture)?,
        print_monochrome: amount("print-monochrome", &file.print_monochrome)?,
        print_color: amount("print-color", &file.print_color)?,
        conversion: amount("conversion", &file.conversion)?,
        send_monochrome: amount("send-monochrome", &file.send_monochrome)?,
        send_color: amount("send-color", &file.send_color)?,
        save: amount("save", &file.save)?,
        finer: Some(finer).filter(|finer| !finer.is_empty()),
    };
    card::check(&read).map_err(|why| at(file.span(&why).unwrap_or_default(), why.to_string()))?;
    Ok(read)
}

/// What a price is for one of where the file does not say.
fn unit_of(act: PricedAct) -> PricedUnit {
    match act {
        PricedAct::Print => PricedUnit::Impression,
        _ => PricedUnit::Page,
    }
}

impl File {
    /// Where the wrong thing stands.
    fn span(&self, wrong: &Mispriced) -> Option<Range<usize>> {
        let Some(finer) = wrong.finer else {
            let plain = [
                &self.capture,
                &self.print_monochrome,
                &self.print_color,
                &self.conversion,
                &self.send_monochrome,
                &self.send_color,
                &self.save,
            ];
            let names = plain_prices(&card::default_card()).map(|(name, _)| name);
            let found = names.iter().position(|name| *name == wrong.field)?;
            return plain.get(found).map(|amount| amount.span());
        };
        let finer = self.price.get(finer)?;
        let span = match wrong.field {
            "price" => Some(finer.price.span()),
            "unit" => finer.unit.as_ref().map(Spanned::span),
            "color" => finer.color.as_ref().map(Spanned::span),
            "media" => finer.media.as_ref().map(Spanned::span),
            "conversion" => finer.conversion.as_ref().map(Spanned::span),
            _ => None,
        };
        span.or_else(|| Some(finer.act.span()))
    }
}

/// The file that publishes a card's prices.
pub fn write(card: &RateCard) -> String {
    let mut text = "# Prices in credits, exact to a thousandth: of a page captured, an impression printed, a page\n\
        # converted (each kind), a page sent to one destination, a page saved.\n"
        .to_owned();
    for (name, price) in plain_prices(card) {
        line(&mut text, name, &format!("\"{price}\""));
    }
    for finer in card.finer.iter().flatten() {
        text.push_str("\n[[price]]\n");
        line(&mut text, "act", &word(&finer.act));
        line(&mut text, "unit", &word(&finer.unit));
        for (name, value) in [
            ("color", finer.color.as_ref().map(word)),
            ("media", finer.media.as_ref().map(word)),
            ("conversion", finer.conversion.as_ref().map(word)),
        ] {
            if let Some(value) = value {
                line(&mut text, name, &value);
            }
        }
        line(&mut text, "price", &format!("\"{}\"", finer.price));
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name} = {value}").unwrap_or_else(|never| unreachable!("a string: {never}"));
}

/// A word as a TOML string.
fn word(word: &impl serde::Serialize) -> String {
    Value::try_from(word).map(|value| value.to_string()).unwrap_or_default() // words are strings
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::limits::{FINER_PRICES_MAX, GRANT_THOUSANDTHS_MAX};

    const PLAIN: &str = "capture = 1\nprint-monochrome = 0.05\nprint-color = \"0.25\"\nconversion = 0.5\n\
        send-monochrome = 0.5\nsend-color = 1.0\nsave = 0\n";

    fn wrong(text: &str) -> (usize, String) {
        let Unreadable { line, what } = read(text.as_bytes()).expect_err("is wrong");
        (line, what)
    }

    #[test]
    fn a_file_reads_back_and_no_float_has_a_part_in_it() {
        let text = format!(
            "{PLAIN}[[price]]\nact = \"print\"\ncolor = \"color\"\nmedia = \"iso_a3\"\nprice = 0.3\n\
             [[price]]\nact = \"print\"\nunit = \"sheet\"\nprice = 0.001\n\
             [[price]]\nact = \"conversion\"\nconversion = \"resize\"\nprice = 9007199254.741\n"
        );
        // A billion is the most.
        assert_eq!(wrong(&text).0, 20);
        let text = text.replace("9007199254.741", "900719925.741");
        let card = read(text.as_bytes()).expect("is a card");
        assert_eq!(card.print_monochrome.thousandths(), 50);
        let finer = card.finer.clone().expect("has finer prices");
        let (first, last) = (&finer[0], &finer[2]);
        assert_eq!((first.unit, first.price.thousandths()), (PricedUnit::Impression, 300));
        assert_eq!((last.unit, last.price.thousandths()), (PricedUnit::Page, 900_719_925_741));
        assert_eq!(read(write(&card).as_bytes()), Ok(card));
        let default = RateCard { version: 0, ..card::default_card() };
        assert_eq!(read(write(&default).as_bytes()), Ok(default));
    }

    #[test]
    fn the_documented_file_is_a_card_and_says_what_it_is_said_to() {
        let page = include_str!("../../docs/rate-cards.md");
        let file = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let card = read(file.expect("has an example").as_bytes()).expect("is a card");
        let default = card::default_card();
        assert_eq!(RateCard { version: 1, finer: None, ..card.clone() }, default);
        let price = |act, unit, color, media, conversion| {
            card::price(&card, &card::Priced { act, unit, color, media, conversion }).thousandths()
        };
        let a3 = Some("iso_a3_297x420mm");
        let (print, black, color) = (PricedAct::Print, ColorMode::Monochrome, ColorMode::Color);
        assert_eq!(price(print, PricedUnit::Impression, color, a3, None), 2_500);
        assert_eq!(price(print, PricedUnit::Impression, black, a3, None), 1_000);
        assert_eq!(price(print, PricedUnit::Sheet, black, a3, None), 10);
        let converted = |kind| {
            price(PricedAct::Conversion, PricedUnit::Page, ColorMode::Unknown, None, Some(kind))
        };
        assert_eq!(converted(Conversion::ColorToMonochrome), 250);
        assert_eq!(converted(Conversion::Resize), 500);
        for word in ["monochrome-to-color", "resolution", "256", "1,000,000,000"] {
            assert!(page.contains(word), "{word}");
        }
        assert_eq!((FINER_PRICES_MAX, GRANT_THOUSANDTHS_MAX), (256, 1_000_000_000_000));
    }

    #[test]
    fn a_wrong_file_is_told_with_line_found_and_expected() {
        for (from, to, line, told) in [
            ("capture = 1", "capture = 1.2345", 1, "capture: found `1.2345`, expected credits"),
            ("capture = 1", "capture = 1e3", 1, "found `1e3`"),
            ("capture = 1", "capture = true", 1, "found `true`"),
            ("save = 0", "save = -1", 7, "save: -1.000 is no price; expected 0 to"),
            ("save = 0", "safe = 0", 7, "unknown field `safe`, expected one of `capture`"),
            ("save = 0\n", "", 1, "missing field `save`"),
            ("save = 0", "save = ", 7, ""),
        ] {
            let (at, what) = wrong(&PLAIN.replace(from, to));
            assert!(what.contains(told), "{to}: {what}");
            assert_eq!(at, line, "{to}: {what}");
        }
        for (lines, line, told) in [
            ("act = \"prnt\"\nprice = 1", 9, "unknown variant `prnt`, expected one of `print`"),
            ("act = \"save\"\nunit = \"sheet\"\nprice = 1", 10, "expected `page`"),
            (
                "act = \"save\"\nprice = 1\n[[price]]\nact = \"save\"\nprice = 2",
                12,
                "price 1 already",
            ),
            ("act = \"save\"\nsize = \"a3\"\nprice = 1", 10, "unknown field `size`"),
        ] {
            let (at, what) = wrong(&format!("{PLAIN}[[price]]\n{lines}\n"));
            assert!(what.contains(told), "{lines}: {what}");
            assert_eq!(at, line, "{lines}: {what}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_large_is_told_with_its_line() {
        let told = |file: &[u8]| read(file).expect_err("is no card");
        let Unreadable { line, what } = told(b"capture = 1\nsave = \"\xff\"\n");
        assert_eq!((line, what.contains("UTF-8")), (2, true), "{what}");
        let large = told(&vec![b'\n'; CLOUD_QUESTION_BYTES_MAX + 1]);
        assert!(large.what.contains("at most 262144 bytes"), "{}", large.what);
    }
}
