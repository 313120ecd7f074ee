//! The books: every closed month stays as it was, and all months add up to what was counted.
//!
//! Invariant: part of `conserves`, whose sums of what was done it is given; of the engine only what is shown
//! of months is read. A month closed at a commit that the cloud lost has no figures, and says so.

use super::Violation;
use super::conserves::add;
use crate::sim::truth::Figures;
use crate::sim::world::World;
use std::collections::BTreeMap;
use tallyroll_engine::counts::{Month, Report, TotalsRow, UsageKey};
use tallyroll_engine::hub::MonthBooks;

/// Returns how many rows adjust a closed month.
pub(super) fn at_the_end(
    world: &World,
    done: &BTreeMap<UsageKey, Figures>,
) -> Result<usize, Violation> {
    let Some(cloud) = &world.cloud.process else { return Ok(0) };
    let wrong = |what: String| Err(world.violation("conserves", what));
    let failed = |why| world.violation("conserves", format!("closed months: {why}"));
    let closed: Vec<Month> = cloud
        .closed_months(cloud.counts().books())
        .map_err(failed)?
        .into_iter()
        .map(|(month, _)| month)
        .collect();
    let lost = |month: &u32| world.truth.tails_lost == 0 && !closed.contains(&Month(*month));
    if let Some(month) = world.truth.closed.keys().copied().find(lost) {
        return wrong(format!("{} is closed no more", Month(month)));
    }
    let Some(last) = closed.last() else { return Ok(0) };
    // Of months that are open, adjustments stand in the first one.
    let mut rows = Vec::new();
    for month in closed.iter().copied().chain([last.next()]) {
        let books = match cloud.month_books(month, cloud.last_commit()) {
            Ok(books) => books,
            Err(error) => return wrong(format!("{month}: {error}")),
        };
        if let Some(closing) = world.truth.closed.get(&month.0) {
            let usage = books.counts.usage().iter().filter(|(key, _)| key.month == month.0);
            if books.closed != Some(closing.commit) || !usage.eq(&closing.usage) {
                return wrong(format!("{month} is not what it was when it was closed"));
            }
        }
        rows.extend(booked(&books, month));
    }
    let open = done.keys().map(|key| Month(key.month)).filter(|month| *month > last.next());
    let open: std::collections::BTreeSet<Month> = open.collect();
    for month in open {
        match cloud.month_books(month, cloud.last_commit()) {
            Ok(books) => rows.extend(booked(&books, month)),
            Err(error) => return wrong(format!("{month}: {error}")),
        }
    }

    let (mut expected, mut shown) = <(BTreeMap<String, Figures>, BTreeMap<_, _>)>::default();
    for (key, figures) in done {
        add(expected.entry(Month(key.month).to_string()).or_default(), figures);
    }
    for row in &rows {
        let of = row.adjusts.as_ref().unwrap_or(&row.month);
        add(shown.entry(of.clone()).or_default(), &figures(row));
    }
    if shown != expected {
        return wrong(format!("the books of all months say {shown:?}; done was {expected:?}"));
    }
    Ok(rows.iter().filter(|row| row.adjusts.is_some()).count())
}

fn booked(books: &MonthBooks, month: Month) -> Vec<TotalsRow> {
    let before = books.before.as_ref().map(|(month, counts)| (*month, counts));
    report(&books.counts).booked_in(month, before)
}

fn report(counts: &tallyroll_engine::counts::Counts) -> Report<'_> {
    Report { counts, user_name: &|_, _| None, device_name: &|_| None }
}

fn figures(row: &TotalsRow) -> Figures {
    Figures {
        impressions: row.impressions,
        sheets: row.sheets,
        captured: row.captured,
        converted: row.converted,
        sent: row.sent,
        saved: row.saved,
        charged: row.charged.thousandths(),
    }
}
