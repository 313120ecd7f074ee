//! From an act to the event that records it, priced.
//!
//! Invariant: pure; the same act, card, job and alias give the same event. An act
//! of nothing, or one whose price overflows, is refused, not rounded.

use super::card::{print_price, send_price};
use crate::planted::{Bug, planted};
use crate::{Error, Result};
use tallyroll_schema::event::counts::{
    Charge, DocumentSaved, DocumentSent, PagesCaptured, PagesConverted, PagesPrinted, RateCard,
};
use tallyroll_schema::limits::{EVENT_COUNT_MAX, TEXT_BYTES_MAX};
use tallyroll_schema::{Act, Credits, Event, JobId, UserAlias};

/// Prices an act by `card` for the user `alias` in `job`.
///
/// # Errors
/// [`Error::Rejected`] when the act counts nothing or too much.
pub fn decide(card: &RateCard, act: Act, job: JobId, alias: UserAlias) -> Result<Event> {
    let user = alias;
    Ok(match act {
        Act::Print {
            impressions,
            sheets,
            color,
            sides,
            media,
            source,
            job_number,
            acted_at,
            spool_job,
            running_total,
            ..
        } => {
            if media.as_ref().is_some_and(|media| media.len() > TEXT_BYTES_MAX) {
                return Err(Error::Rejected(format!("media: at most {TEXT_BYTES_MAX} bytes")));
            }
            let charge = charge(card, print_price(card, color), "impressions", &[impressions])?;
            PagesPrinted {
                job,
                user,
                impressions,
                sheets,
                color,
                sides,
                media,
                source,
                job_number,
                acted_at,
                charge,
                spool_job,
                running_total,
            }
            .into()
        }
        Act::Capture { pages, color, .. } => {
            let charge = charge(card, card.capture, "pages", &[pages])?;
            PagesCaptured { job, user, pages, color, charge }.into()
        }
        Act::Convert { pages, mut conversions, .. } => {
            conversions.sort_unstable();
            if !planted(Bug::ConversionsDoubled) {
                conversions.dedup();
            }
            let kinds = u32::try_from(conversions.len()).unwrap_or(u32::MAX);
            let charge = charge(card, card.conversion, "pages and conversions", &[pages, kinds])?;
            PagesConverted { job, user, pages, conversions, charge, device: None }.into()
        }
        Act::Send { pages, destinations, color, .. } => {
            let charged = if planted(Bug::DestinationsUncharged) { 1 } else { destinations };
            let counts = [pages, charged];
            let charge = charge(card, send_price(card, color), "pages and destinations", &counts)?;
            DocumentSent { job, user, pages, destinations, color, charge, device: None }.into()
        }
        Act::Save { pages, .. } => {
            let charge = charge(card, card.save, "pages", &[pages])?;
            DocumentSaved { job, user, pages, charge, device: None }.into()
        }
    })
}

fn charge(card: &RateCard, price: Credits, what: &str, counts: &[u32]) -> Result<Charge> {
    if counts.contains(&0) {
        return Err(Error::Rejected(format!("{what}: at least 1, or there is nothing to record")));
    }
    let counted = counts.iter().try_fold(1, |count, more| u64::checked_mul(count, (*more).into()));
    if counted.is_none_or(|counted| counted > EVENT_COUNT_MAX) {
        return Err(Error::Rejected(format!("{what}: at most {EVENT_COUNT_MAX}, multiplied")));
    }
    let credits = counts.iter().try_fold(price, |sum, count| sum.checked_mul(u64::from(*count)));
    match credits {
        Some(credits) => Ok(Charge { credits, card: card.version }),
        None => Err(Error::Rejected(format!("{what}: the price is beyond what can be counted"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::card::default_card;
    use super::*;
    use tallyroll_schema::event::counts::{ColorMode, Conversion};

    fn price(act: Act) -> String {
        let event = decide(&default_card(), act, JobId([1; 8]), UserAlias([2; 16]));
        match event.expect("is priced") {
            Event::PagesPrinted(event) => event.charge,
            Event::PagesCaptured(event) => event.charge,
            Event::PagesConverted(event) => event.charge,
            Event::DocumentSent(event) => event.charge,
            Event::DocumentSaved(event) => event.charge,
            other => panic!("no act: {other:?}"),
        }
        .credits
        .to_string()
    }

    fn send(pages: u32, destinations: u32, color: ColorMode) -> Act {
        Act::Send { job: JobId([1; 8]), user: "a".into(), pages, destinations, color }
    }

    #[test]
    fn prices_are_those_of_the_mission() {
        let (job, user) = (JobId([1; 8]), || "a".to_string());
        let capture = Act::Capture { job: None, user: user(), pages: 1, color: ColorMode::Color };
        assert_eq!(price(capture), "1.000");
        let conversions = vec![Conversion::Resize, Conversion::ColorToMonochrome];
        assert_eq!(price(Act::Convert { job, user: user(), pages: 1, conversions }), "1.000");
        assert_eq!(price(send(1, 5, ColorMode::Monochrome)), "2.500");
        assert_eq!(price(send(1, 3, ColorMode::Color)), "3.000");
        assert_eq!(price(Act::Save { job, user: user(), pages: 7 }), "0.000");
    }

    #[test]
    fn an_act_of_nothing_is_refused() {
        let act = send(1, 0, ColorMode::Color);
        let refused = decide(&default_card(), act, JobId([1; 8]), UserAlias([2; 16]));
        assert!(matches!(refused, Err(Error::Rejected(_))));
    }

    #[test]
    fn an_act_beyond_counting_is_refused() {
        let decide = |act| decide(&default_card(), act, JobId([1; 8]), UserAlias([2; 16]));
        decide(send(u32::MAX, 1, ColorMode::Color)).expect("is counted");
        for destinations in [2, u32::MAX] {
            let refused = decide(send(u32::MAX, destinations, ColorMode::Color));
            assert!(matches!(refused, Err(Error::Rejected(_))));
        }
    }
}
