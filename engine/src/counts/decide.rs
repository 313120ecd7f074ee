//! From an act to the event that records it, priced.
//!
//! Invariant: pure; the same act, terms, job and alias give the same event. An act
//! of nothing, or one whose price overflows, is refused, not rounded. A charge in a
//! job that began names the job's policy; how it settles is [`super::job`]'s.

use super::card::{Priced, default_card, price};
use super::job::Standing;
use super::pages::PageSet;
use crate::planted::{Bug, planted};
use crate::{Error, Result};
use tallyroll_schema::event::balances::BalanceAsked;
use tallyroll_schema::event::counts::{
    Charge, ColorMode, Conversion, DocumentDiscarded, DocumentSaved, DocumentSent, JobBegun,
    JobEnded, PageRange, PagesCaptured, PagesConverted, PagesPrinted, PricedAct, PricedUnit,
    RateCard, SettlementPolicy, Sides,
};
use tallyroll_schema::limits::{EVENT_COUNT_MAX, JOB_STEPS_MAX, TEXT_BYTES_MAX};
use tallyroll_schema::{Act, Credits, Event, JobId, UserAlias};

/// What an act is decided by, as far as is known where it is.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The rate card in force.
    pub card: RateCard,
    /// How a job settles that begins now.
    pub policy: SettlementPolicy,
    /// How the act's job stands, if it began.
    pub job: Option<Standing>,
    /// Whether the act's job was ended and never began.
    pub over: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            card: default_card(),
            policy: SettlementPolicy::ServerSettles,
            job: None,
            over: false,
        }
    }
}

/// Prices an act for the user `alias` in `job`; discarding and ending are nobody's.
///
/// # Errors
/// [`Error::Rejected`] when the act counts nothing or too much, or not in this job.
pub fn decide(terms: &Terms, act: Act, job: JobId, alias: Option<UserAlias>) -> Result<Event> {
    let user = alias.unwrap_or(UserAlias([0; UserAlias::LEN]));
    let (card, policy) = (&terms.card, terms.job.map(|job| job.policy));
    let nobodys = matches!(act, Act::Discard { .. } | Act::End { .. });
    if alias.is_none() && !nobodys {
        return Err(Error::Rejected("an act of nobody; say the user".into()));
    }
    refuse_in_job(terms, &act, job)?;
    if let (false, Some(Standing { user: Some(begun_by), .. })) = (nobodys, terms.job)
        && begun_by != user
    {
        let why = format!("job {job} is another user's; who did this begins a job of their own");
        return Err(Error::Rejected(why));
    }
    Ok(match act {
        Act::Begin { .. } => JobBegun { job, user, policy: terms.policy }.into(),
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
            page: number,
            ..
        } => {
            let price = |unit| priced(card, PricedAct::Print, unit, color, &media, None);
            let (impression, sheet) = (price(PricedUnit::Impression)?, price(PricedUnit::Sheet)?);
            let used = u64::from(sheets.unwrap_or_else(|| sheets_of(impressions, sides)));
            let parts = [(impression, count("impressions", &[impressions])?), (sheet, used)];
            let charge = charge(card, "impressions", &parts)?;
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
                page: number,
            }
            .into()
        }
        Act::Capture { pages, color, media, page: number, .. } => {
            let price = page(card, PricedAct::Capture, color, &media, None)?;
            let charge = charge(card, "pages", &[(price, count("pages", &[pages])?)])?;
            PagesCaptured { job, user, pages, color, charge, media, policy, page: number }.into()
        }
        Act::Convert {
            pages,
            mut conversions,
            media,
            revision,
            from_revision,
            which_pages,
            ..
        } => {
            conversions.sort_unstable();
            if !planted(Bug::ConversionsDoubled) {
                conversions.dedup();
            }
            let (what, unknown) = ("pages and conversions", ColorMode::Unknown);
            let kinds = u32::try_from(conversions.len()).unwrap_or(u32::MAX);
            count(what, &[pages, kinds])?;
            check_pages(which_pages.as_deref(), pages)?;
            let price =
                |kind: &Conversion| page(card, PricedAct::Conversion, unknown, &media, Some(*kind));
            let prices = conversions.iter().map(price).collect::<Result<Vec<_>>>()?;
            let parts: Vec<_> = prices.iter().map(|price| (*price, u64::from(pages))).collect();
            let charge = charge(card, what, &parts)?;
            let (revision, from_revision) =
                revisions(terms.job, revision, from_revision, conversions.len())?;
            let prices = policy.is_some().then_some(prices);
            PagesConverted {
                job,
                user,
                pages,
                conversions,
                charge,
                device: None,
                request: None,
                media,
                policy,
                prices,
                revision,
                from_revision,
                which_pages,
            }
            .into()
        }
        Act::Send { pages, destinations, color, media, revision, which_pages, .. } => {
            let what = "pages and destinations";
            count(what, &[pages, destinations])?;
            let charged = if planted(Bug::DestinationsUncharged) { 1 } else { destinations };
            let price = page(card, PricedAct::Send, color, &media, None)?;
            let charge = charge(card, what, &[(price, count(what, &[pages, charged])?)])?;
            check_pages(which_pages.as_deref(), pages)?;
            let revision = delivered(terms.job, revision)?;
            DocumentSent {
                job,
                user,
                pages,
                destinations,
                color,
                charge,
                device: None,
                request: None,
                media,
                policy,
                revision,
                which_pages,
            }
            .into()
        }
        Act::Save { pages, media, revision, which_pages, .. } => {
            let price = page(card, PricedAct::Save, ColorMode::Unknown, &media, None)?;
            let charge = charge(card, "pages", &[(price, count("pages", &[pages])?)])?;
            check_pages(which_pages.as_deref(), pages)?;
            let revision = delivered(terms.job, revision)?;
            DocumentSaved {
                job,
                user,
                pages,
                charge,
                device: None,
                request: None,
                media,
                policy,
                revision,
                which_pages,
            }
            .into()
        }
        Act::Ask { .. } => BalanceAsked { user }.into(),
        Act::Discard { .. } => {
            DocumentDiscarded { job, device: None, request: None, user: None }.into()
        }
        Act::End { .. } => JobEnded { job }.into(),
    })
}

/// An end always goes in; a beginning once, and before the end; captures and conversions until the end.
fn refuse_in_job(terms: &Terms, act: &Act, job: JobId) -> Result<()> {
    match (act, terms.job) {
        (Act::Begin { .. }, Some(_)) => {
            let why =
                format!("job {job} began already; a job begins once, take a new id for another");
            Err(Error::Rejected(why))
        }
        (Act::Begin { .. }, None) if terms.over => {
            let why = format!("job {job} was ended before it began; take a new id for another");
            Err(Error::Rejected(why))
        }
        (Act::Capture { .. } | Act::Convert { .. }, Some(Standing { ended: true, .. })) => {
            Err(Error::Rejected(format!("job {job} has ended; begin another one")))
        }
        (
            Act::Print { job: None, page: Some(_), .. }
            | Act::Capture { job: None, page: Some(_), .. },
            _,
        ) => Err(Error::Rejected("a page is numbered within its job; say the job".into())),
        (Act::Print { page: Some(0), .. } | Act::Capture { page: Some(0), .. }, _) => {
            Err(Error::Rejected("page 0: the pages of a job count from 1".into()))
        }
        _ => Ok(()),
    }
}

/// The revisions that a conversion makes and starts from, in a job that began.
fn revisions(
    job: Option<Standing>,
    makes: Option<u32>,
    from: Option<u32>,
    kinds: usize,
) -> Result<(Option<u32>, Option<u32>)> {
    let Some(job) = job else { return Ok((makes, from)) };
    let makes = makes.unwrap_or_else(|| job.revision.saturating_add(1));
    let from = from.unwrap_or_else(|| job.revision.min(makes.saturating_sub(1)));
    if from > job.revision {
        let newest = job.revision;
        let why = format!("revision {makes} of {from}: nothing made that; the newest is {newest}");
        return Err(Error::Rejected(why));
    }
    if from >= makes {
        let why = format!("revision {makes} of {from}: a revision is made of an earlier one");
        return Err(Error::Rejected(why));
    }
    if makes > JOB_STEPS_MAX || job.steps.saturating_add(kinds) > JOB_STEPS_MAX as usize {
        let why = format!("a job has at most {JOB_STEPS_MAX} conversions; begin another one");
        return Err(Error::Rejected(why));
    }
    Ok((Some(makes), Some(from)))
}

/// The revision that is sent or saved, in a job that began.
fn delivered(job: Option<Standing>, revision: Option<u32>) -> Result<Option<u32>> {
    let Some(job) = job else { return Ok(revision) };
    let revision = revision.unwrap_or(job.revision);
    if revision > job.revision {
        let newest = job.revision;
        let why = format!("revision {revision}: nothing made that; the newest is {newest}");
        return Err(Error::Rejected(why));
    }
    Ok(Some(revision))
}

fn check_pages(which: Option<&[PageRange]>, pages: u32) -> Result<()> {
    match PageSet::named(which, pages) {
        Some(_) => Ok(()),
        None => Err(Error::Rejected(format!(
            "which-pages: ranges that ascend, from page 1 on, {pages} pages in all"
        ))),
    }
}

/// As many as it takes, where the source does not say.
fn sheets_of(impressions: u32, sides: Option<Sides>) -> u32 {
    match sides {
        None | Some(Sides::OneSided) => impressions,
        Some(Sides::TwoSidedLongEdge | Sides::TwoSidedShortEdge) => impressions.div_ceil(2),
    }
}

fn page(
    card: &RateCard,
    act: PricedAct,
    color: ColorMode,
    media: &Option<String>,
    conversion: Option<Conversion>,
) -> Result<Credits> {
    priced(card, act, PricedUnit::Page, color, media, conversion)
}

fn priced(
    card: &RateCard,
    act: PricedAct,
    unit: PricedUnit,
    color: ColorMode,
    media: &Option<String>,
    conversion: Option<Conversion>,
) -> Result<Credits> {
    let media = media.as_deref();
    if media.is_some_and(|media| media.len() > TEXT_BYTES_MAX) {
        return Err(Error::Rejected(format!("media: at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(price(card, &Priced { act, unit, color, media, conversion }))
}

fn count(what: &str, counts: &[u32]) -> Result<u64> {
    if counts.contains(&0) {
        return Err(Error::Rejected(format!("{what}: at least 1, or there is nothing to record")));
    }
    let counted = counts.iter().try_fold(1, |count, more| u64::checked_mul(count, (*more).into()));
    counted
        .filter(|counted| *counted <= EVENT_COUNT_MAX)
        .ok_or_else(|| Error::Rejected(format!("{what}: at most {EVENT_COUNT_MAX}, multiplied")))
}

fn charge(card: &RateCard, what: &str, parts: &[(Credits, u64)]) -> Result<Charge> {
    let credits = parts.iter().try_fold(Credits::ZERO, |sum, (price, count)| {
        price.checked_mul(*count).and_then(|part| sum.checked_add(part))
    });
    match credits {
        Some(credits) => Ok(Charge { credits, card: card.version, backing: None }),
        None => Err(Error::Rejected(format!("{what}: the price is beyond what can be counted"))),
    }
}

#[cfg(test)]
mod tests;
