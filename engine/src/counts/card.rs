//! Rate cards: the price of each act.
//!
//! Owns the one rule by which a price is found: of a card's finer prices that fit an act the most
//! particular holds. One that names the kind of conversion goes before one that does not, then the
//! longer `media`, then one that names the color; where none fits, the card's plain price does.
//! Invariant: prices are exact thousandths and a card is never changed once
//! published; version 1 is built in, so a device can price before it ever
//! reached its cloud. Source of the default prices: mission 1.

use tallyroll_schema::Credits;
use tallyroll_schema::event::counts::{
    ColorMode, Conversion, FinerPrice, PricedAct, PricedUnit, RateCard,
};
use tallyroll_schema::limits::{FINER_PRICES_MAX, GRANT_THOUSANDTHS_MAX};

/// The built-in card, version 1. The price of an impression printed is ours.
pub fn default_card() -> RateCard {
    RateCard {
        version: 1,
        capture: Credits::from_thousandths(1_000),
        print_monochrome: Credits::from_thousandths(1_000),
        print_color: Credits::from_thousandths(1_000),
        conversion: Credits::from_thousandths(500),
        send_monochrome: Credits::from_thousandths(500),
        send_color: Credits::from_thousandths(1_000),
        save: Credits::ZERO,
        finer: None,
    }
}

/// One of what an act did, as far as that has to do with its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced<'a> {
    /// What was done.
    pub act: PricedAct,
    /// One of which.
    pub unit: PricedUnit,
    /// Color or not; what is not known is priced as monochrome.
    pub color: ColorMode,
    /// `media` keyword of its size.
    pub media: Option<&'a str>,
    /// The kind of conversion.
    pub conversion: Option<Conversion>,
}

/// What one of it costs.
pub fn price(card: &RateCard, priced: &Priced<'_>) -> Credits {
    let finer = card.finer.iter().flatten().filter(|finer| fits(finer, priced));
    match finer.max_by_key(|finer| particular(finer)) {
        Some(finer) => finer.price,
        None => plain(card, priced),
    }
}

fn plain(card: &RateCard, priced: &Priced<'_>) -> Credits {
    let color = priced.color == ColorMode::Color;
    match (priced.act, priced.unit) {
        (_, PricedUnit::Sheet) => Credits::ZERO,
        (PricedAct::Print, _) if color => card.print_color,
        (PricedAct::Print, _) => card.print_monochrome,
        (PricedAct::Capture, _) => card.capture,
        (PricedAct::Conversion, _) => card.conversion,
        (PricedAct::Send, _) if color => card.send_color,
        (PricedAct::Send, _) => card.send_monochrome,
        (PricedAct::Save, _) => card.save,
    }
}

fn fits(finer: &FinerPrice, priced: &Priced<'_>) -> bool {
    let color = match priced.color {
        ColorMode::Unknown | ColorMode::Monochrome => ColorMode::Monochrome,
        ColorMode::Color => ColorMode::Color,
    };
    (finer.act, finer.unit) == (priced.act, priced.unit)
        && finer.color.is_none_or(|only| only == color)
        && finer.conversion.is_none_or(|only| Some(only) == priced.conversion)
        && finer.media.as_deref().is_none_or(|only| priced.media.is_some_and(|it| is_of(it, only)))
}

/// Whether a keyword is that one, or begins with its parts: `iso_a3_297x420mm` is of `iso_a3`.
fn is_of(media: &str, class: &str) -> bool {
    media.strip_prefix(class).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

fn particular(finer: &FinerPrice) -> (bool, usize, bool) {
    let media = finer.media.as_ref().map_or(0, String::len);
    (finer.conversion.is_some(), media, finer.color.is_some())
}

/// What is wrong with a card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Mispriced {
    /// Which of the finer prices, from 0 on; the card itself, if none.
    pub finer: Option<usize>,
    /// The field, as in JSON.
    pub field: &'static str,
    /// What is there, and what is expected.
    pub what: String,
}

/// The plain prices by their names in JSON.
pub fn plain_prices(card: &RateCard) -> [(&'static str, Credits); 7] {
    [
        ("capture", card.capture),
        ("print-monochrome", card.print_monochrome),
        ("print-color", card.print_color),
        ("conversion", card.conversion),
        ("send-monochrome", card.send_monochrome),
        ("send-color", card.send_color),
        ("save", card.save),
    ]
}

/// Whether a card may be published.
///
/// # Errors
/// It prices something below nothing, what cannot be, or one thing twice.
pub fn check(card: &RateCard) -> Result<(), Mispriced> {
    for (field, price) in plain_prices(card) {
        check_price(price).map_err(|what| Mispriced { finer: None, field, what })?;
    }
    let finer = card.finer.as_deref().unwrap_or_default();
    for (index, one) in finer.iter().enumerate() {
        let wrong = |field, what| Mispriced { finer: Some(index), field, what };
        check_price(one.price).map_err(|what| wrong("price", what))?;
        check_finer(one).map_err(|(field, what)| wrong(field, what))?;
        let same = |before: &FinerPrice| before.price == one.price || !overrules(before, one);
        if let Some(before) = finer.iter().take(index).position(|before| !same(before)) {
            let what = format!("the same is priced by price {} already; leave one", before + 1);
            return Err(wrong("act", what));
        }
    }
    if finer.len() > FINER_PRICES_MAX {
        let what = format!("{} finer prices; at most {FINER_PRICES_MAX}", finer.len());
        return Err(Mispriced { finer: Some(FINER_PRICES_MAX), field: "act", what });
    }
    Ok(())
}

/// Longer than a keyword may be (RFC 8011, section 5.1.4).
const KEYWORD_BYTES: usize = 256;

/// Whether the two are prices of the same.
fn overrules(one: &FinerPrice, other: &FinerPrice) -> bool {
    FinerPrice { price: Credits::ZERO, ..one.clone() }
        == FinerPrice { price: Credits::ZERO, ..other.clone() }
}

fn check_price(price: Credits) -> Result<(), String> {
    const MOST: Credits = Credits::from_thousandths(GRANT_THOUSANDTHS_MAX);
    if (Credits::ZERO..=MOST).contains(&price) {
        return Ok(());
    }
    Err(format!("{price} is no price; expected 0 to {MOST} credits"))
}

fn check_finer(finer: &FinerPrice) -> Result<(), (&'static str, String)> {
    let print = finer.act == PricedAct::Print;
    if print && finer.unit == PricedUnit::Page {
        return Err(("unit", "a print has no pages; expected `impression` or `sheet`".into()));
    }
    if !print && finer.unit != PricedUnit::Page {
        return Err(("unit", "only a print has impressions and sheets; expected `page`".into()));
    }
    if finer.color == Some(ColorMode::Unknown) {
        let what = "what is not known is priced as monochrome; expected `monochrome` or `color`";
        return Err(("color", what.into()));
    }
    if finer.conversion.is_some() && finer.act != PricedAct::Conversion {
        return Err(("conversion", "only with `act = \"conversion\"`; leave it out".into()));
    }
    let colored = matches!(finer.act, PricedAct::Print | PricedAct::Capture | PricedAct::Send);
    if finer.color.is_some() && !colored {
        let what = "conversions and saves are priced alike in color or not; leave it out";
        return Err(("color", what.into()));
    }
    match finer.media.as_deref().map(str::len) {
        Some(len @ (0 | KEYWORD_BYTES..)) => Err((
            "media",
            format!("{len} bytes; expected a keyword of PWG 5101.1, or its beginning, as `iso_a3`"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finer(act: PricedAct, unit: PricedUnit, price: i64) -> FinerPrice {
        let price = Credits::from_thousandths(price);
        FinerPrice { act, unit, color: None, media: None, conversion: None, price }
    }

    fn card(finer: Vec<FinerPrice>) -> RateCard {
        RateCard { finer: Some(finer), ..default_card() }
    }

    fn impression(color: ColorMode, media: Option<&str>) -> Priced<'_> {
        let (act, unit) = (PricedAct::Print, PricedUnit::Impression);
        Priced { act, unit, color, media, conversion: None }
    }

    #[test]
    fn the_most_particular_price_holds_whatever_their_order() {
        let of = |price| finer(PricedAct::Print, PricedUnit::Impression, price);
        let mut prices = vec![
            of(1),
            FinerPrice { color: Some(ColorMode::Color), ..of(2) },
            FinerPrice { media: Some("iso".into()), ..of(3) },
            FinerPrice { media: Some("iso_a3".into()), ..of(4) },
            FinerPrice { media: Some("iso_a3".into()), color: Some(ColorMode::Color), ..of(5) },
        ];
        for _ in 0..prices.len() {
            prices.rotate_left(1);
            let card = card(prices.clone());
            check(&card).expect("is a card");
            let price = |color, media| price(&card, &impression(color, media)).thousandths();
            let a3 = Some("iso_a3_297x420mm");
            assert_eq!(price(ColorMode::Monochrome, None), 1);
            assert_eq!(price(ColorMode::Unknown, Some("na_letter_8.5x11in")), 1);
            assert_eq!(price(ColorMode::Color, None), 2);
            assert_eq!(price(ColorMode::Color, Some("iso_a30")), 3, "size before color");
            assert_eq!(price(ColorMode::Monochrome, a3), 4);
            assert_eq!(price(ColorMode::Color, a3), 5);
        }
    }

    #[test]
    fn every_act_has_its_own_price_and_color_its_own_where_it_may() {
        let amount = Credits::from_thousandths;
        let card = RateCard {
            print_color: amount(1),
            print_monochrome: amount(2),
            capture: amount(3),
            conversion: amount(4),
            send_color: amount(5),
            send_monochrome: amount(6),
            save: amount(7),
            ..default_card()
        };
        for (act, color, monochrome) in [
            (PricedAct::Print, 1, 2),
            (PricedAct::Capture, 3, 3),
            (PricedAct::Conversion, 4, 4),
            (PricedAct::Send, 5, 6),
            (PricedAct::Save, 7, 7),
        ] {
            let unit = PricedUnit::Page;
            let of = |color| {
                price(&card, &Priced { act, unit, ..impression(color, None) }).thousandths()
            };
            assert_eq!(of(ColorMode::Color), color, "{act:?}");
            assert_eq!(of(ColorMode::Monochrome), monochrome, "{act:?}");
            assert_eq!(of(ColorMode::Unknown), monochrome, "{act:?}, of a color nobody knows");
        }
    }

    #[test]
    fn a_kind_of_conversion_has_its_own_price_and_a_card_so_many_prices() {
        let of = |conversion, price| FinerPrice {
            conversion,
            ..finer(PricedAct::Conversion, PricedUnit::Page, price)
        };
        let one = card(vec![of(Some(Conversion::Resize), 5), of(None, 6)]);
        let price = |conversion| {
            let (act, unit) = (PricedAct::Conversion, PricedUnit::Page);
            let plain = impression(ColorMode::Color, None);
            price(&one, &Priced { act, unit, conversion, ..plain }).thousandths()
        };
        assert_eq!(price(Some(Conversion::Resize)), 5);
        assert_eq!(price(Some(Conversion::Resolution)), 6);
        assert_eq!(price(None), 6);

        let sized = |number| {
            let media = Some(format!("size{number}"));
            FinerPrice { media, ..finer(PricedAct::Print, PricedUnit::Impression, 1) }
        };
        let most: Vec<_> = (0..FINER_PRICES_MAX).map(sized).collect();
        check(&card(most.clone())).expect("is a card");
        let more: Vec<_> = most.into_iter().chain([sized(FINER_PRICES_MAX)]).collect();
        let why = check(&card(more)).expect_err("too many").to_string();
        assert!(why.contains(&format!("at most {FINER_PRICES_MAX}")), "{why}");
    }

    #[test]
    fn a_sheet_costs_nothing_until_it_is_priced() {
        let sheet = Priced { unit: PricedUnit::Sheet, ..impression(ColorMode::Color, None) };
        assert_eq!(price(&default_card(), &sheet), Credits::ZERO);
        let card = card(vec![finer(PricedAct::Print, PricedUnit::Sheet, 20)]);
        assert_eq!(price(&card, &sheet).thousandths(), 20);
        assert_eq!(price(&card, &impression(ColorMode::Color, None)).thousandths(), 1_000);
    }

    #[test]
    fn a_wrong_card_is_refused_with_its_field() {
        let save = finer(PricedAct::Save, PricedUnit::Page, 1);
        let wrong = |finer: Vec<FinerPrice>| {
            check(&card(finer)).map_err(|why| (why.finer, why.field)).expect_err("is wrong")
        };
        let one = |finer: FinerPrice| wrong(vec![finer]);
        assert_eq!(one(finer(PricedAct::Save, PricedUnit::Page, -1)), (Some(0), "price"));
        assert_eq!(one(finer(PricedAct::Save, PricedUnit::Sheet, 1)), (Some(0), "unit"));
        assert_eq!(one(finer(PricedAct::Print, PricedUnit::Page, 1)), (Some(0), "unit"));
        let color = Some(ColorMode::Color);
        assert_eq!(one(FinerPrice { color, ..save.clone() }), (Some(0), "color"));
        let media = Some(String::new());
        assert_eq!(one(FinerPrice { media, ..save.clone() }), (Some(0), "media"));
        let conversion = Some(Conversion::Resize);
        assert_eq!(one(FinerPrice { conversion, ..save.clone() }), (Some(0), "conversion"));
        let twice = finer(PricedAct::Save, PricedUnit::Page, 2);
        assert_eq!(wrong(vec![save, twice]), (Some(1), "act"));
        let below = RateCard { save: Credits::from_thousandths(-1), ..default_card() };
        assert_eq!(check(&below).map_err(|why| (why.finer, why.field)), Err((None, "save")));
    }
}
