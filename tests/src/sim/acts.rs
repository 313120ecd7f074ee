//! Acts drawn at random, each with what it counts.
//!
//! Invariant: the figures are worked out here from mission 1's prices, apart from the engine's own
//! pricing, so that an error in one of the two shows.

use super::entropy::Entropy;
use super::machine::Line;
use super::truth::Figures;
use tallyroll_schema::event::counts::{ColorMode, Conversion, CountSource};
use tallyroll_schema::{Act, JobId, Wall};

pub(super) const CAPTURED: i128 = 1_000;
const PRINTED: i128 = 1_000;
pub(super) const CONVERTED: i128 = 500;
const SENT_MONOCHROME: i128 = 500;
const SENT_COLOR: i128 = 1_000;

/// An act of a user and what it counts.
pub(crate) fn draw(entropy: &mut Entropy, job: JobId, user: String) -> (Act, Figures) {
    let pages = entropy.between(1, 40) as u32;
    let color = [ColorMode::Unknown, ColorMode::Monochrome, ColorMode::Color][entropy.index(3)];
    match entropy.below(5) {
        0 => print(job, user, pages, color, entropy.percent(50), None),
        1 => {
            let charged = CAPTURED * i128::from(pages);
            let figures = Figures { captured: pages.into(), charged, ..Figures::default() };
            (Act::Capture { job: Some(job), user, pages, color, media: None, page: None }, figures)
        }
        2 => convert(entropy, job, user, pages),
        3 => {
            let destinations = entropy.between(1, 5) as u32;
            let sent = u64::from(pages) * u64::from(destinations);
            let charged = send_price(color) * i128::from(sent);
            let figures = Figures { sent, charged, ..Figures::default() };
            let (media, revision, which_pages) = (None, None, None);
            let act =
                Act::Send { job, user, pages, destinations, color, media, revision, which_pages };
            (act, figures)
        }
        _ => {
            let (media, revision, which_pages) = (None, None, None);
            let act = Act::Save { job, user, pages, media, revision, which_pages };
            (act, Figures { saved: pages.into(), ..Figures::default() })
        }
    }
}

/// A print and what it counts.
pub(crate) fn print_of(entropy: &mut Entropy, job: JobId, user: String) -> (Act, Figures) {
    let impressions = entropy.between(1, 40) as u32;
    print(job, user, impressions, ColorMode::Monochrome, entropy.percent(50), None)
}

fn convert(entropy: &mut Entropy, job: JobId, user: String, pages: u32) -> (Act, Figures) {
    let all = [Conversion::Resize, Conversion::ColorToMonochrome, Conversion::Resolution];
    let kinds = entropy.between(1, 3) as usize;
    let mut conversions = all[..kinds].to_vec();
    if entropy.percent(20) {
        conversions.push(Conversion::Resize); // said twice, done once
    }
    let converted = u64::from(pages) * kinds as u64;
    let charged = CONVERTED * i128::from(converted);
    let figures = Figures { converted, charged, ..Figures::default() };
    let (media, revision, from_revision, which_pages) = (None, None, None, None);
    let act =
        Act::Convert { job, user, pages, conversions, media, revision, from_revision, which_pages };
    (act, figures)
}

/// The price of a page sent to one destination.
pub(super) fn send_price(color: ColorMode) -> i128 {
    if color == ColorMode::Color { SENT_COLOR } else { SENT_MONOCHROME }
}

fn print(
    job: JobId,
    user: String,
    impressions: u32,
    color: ColorMode,
    duplex: bool,
    line: Option<Wall>,
) -> (Act, Figures) {
    let sheets = duplex.then_some(impressions.div_ceil(2));
    let figures = Figures {
        impressions: impressions.into(),
        sheets: sheets.unwrap_or(0).into(),
        charged: PRINTED * i128::from(impressions),
        ..Figures::default()
    };
    let act = Act::Print {
        job: Some(job),
        user,
        impressions,
        sheets,
        color,
        sides: None,
        media: duplex.then(|| "iso_a4_210x297mm".into()),
        source: if line.is_some() { CountSource::PageLog } else { CountSource::Device },
        job_number: line.map(|_| 17), // CUPS uses its numbers again; nobody may count by them
        acted_at: line,
        spool_job: None,
        running_total: None,
        page: None,
    };
    (act, figures)
}

/// The act of a page-log line, of which the rim made so many impressions, and what the line counts.
pub(super) fn of_line(line: &Line, user: String, impressions: u32) -> (Act, Figures) {
    let at = Some(line.printed_at);
    let (_, figures) =
        print(line.key, user.clone(), line.impressions, ColorMode::Unknown, false, at);
    let (mut act, _) = print(line.key, user, impressions, ColorMode::Unknown, false, at);
    if let (Act::Print { spool_job, running_total, .. }, Some((job, total))) =
        (&mut act, line.total)
    {
        (*spool_job, *running_total) = (Some(job), Some(total));
    }
    (act, figures)
}
