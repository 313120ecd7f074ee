//! Rate cards: the price of each act.
//!
//! Invariant: prices are exact thousandths and a card is never changed once
//! published; version 1 is built in, so a device can price before it ever
//! reached its cloud. Source of the default prices: mission 1.

use tallyroll_schema::Credits;
use tallyroll_schema::event::counts::{ColorMode, RateCard};

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
    }
}

/// The price of an impression printed.
pub fn print_price(card: &RateCard, color: ColorMode) -> Credits {
    match color {
        ColorMode::Unknown | ColorMode::Monochrome => card.print_monochrome,
        ColorMode::Color => card.print_color,
    }
}

/// The price of a page sent to one destination.
pub fn send_price(card: &RateCard, color: ColorMode) -> Credits {
    match color {
        ColorMode::Unknown | ColorMode::Monochrome => card.send_monochrome,
        ColorMode::Color => card.send_color,
    }
}
