//! The parser against a log that a real CUPS wrote (`tests/fixtures/page_log`), judged by what the
//! printer itself says it marked, not by anything read from a log.
//!
//! Invariant: the expected figures were never made by our own code.

use std::collections::BTreeMap;

use super::{Entry, Format, JobKey, Pages};
use tallyroll_engine::counts::SpoolJob;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/page_log/", $name))
    };
}

const LOG: &str = fixture!("page_log");
const EXPECTED: &str = fixture!("expected.csv");
const CUSTOM_LOG: &str = fixture!("page_log.custom");
const CUSTOM_EXPECTED: &str = fixture!("expected.custom.csv");
const CUSTOM_FORMAT: &str = fixture!("PageLogFormat.custom");

fn entries(format: &Format, log: &str) -> Vec<Entry> {
    log.lines().map(|line| format.read(line.as_bytes()).expect(line)).collect()
}

/// The views' figures, by the rule of [`SpoolJob`]: a user's lines, per job, in order.
fn impressions_per_user(entries: &[Entry]) -> BTreeMap<&str, u64> {
    let mut jobs: BTreeMap<(&str, JobKey), SpoolJob> = BTreeMap::new();
    for entry in entries {
        let job = jobs.entry((&entry.user, entry.job)).or_default();
        *job = match entry.pages {
            Pages::Total { impressions } => job.after(impressions, Some(impressions)),
            Pages::Page { copies, .. } => job.after(copies, None),
        };
    }
    let mut users = BTreeMap::new();
    for ((user, _), job) in jobs {
        *users.entry(user).or_default() += job.impressions();
    }
    users
}

fn expected(table: &str) -> BTreeMap<&str, u64> {
    table
        .lines()
        .skip(1)
        .map(|line| {
            let (rest, impressions) = line.rsplit_once(',').expect(line);
            let (user, _jobs) = rest.rsplit_once(',').expect(line);
            (user, impressions.parse().expect(line))
        })
        .collect()
}

#[test]
fn a_real_log_gives_what_the_printer_marked() {
    let entries = entries(&Format::default(), LOG);
    assert_eq!(impressions_per_user(&entries), expected(EXPECTED));
}

#[test]
fn a_real_log_in_another_format_does_too() {
    let entries = entries(&Format::parse(CUSTOM_FORMAT).expect("importable"), CUSTOM_LOG);
    assert_eq!(impressions_per_user(&entries), expected(CUSTOM_EXPECTED));
    assert!(entries.iter().all(|entry| entry.color.is_some()));
}

#[test]
fn the_log_has_what_makes_it_worth_keeping() {
    let entries = entries(&Format::default(), LOG);
    let first_jobs = entries.iter().filter(|entry| entry.job_number == 1).count();
    assert_eq!(first_jobs, 2, "the spool was cleared");
    assert!(LOG.contains("total 8 - localhost - -"), "a title that looks like figures");
    assert!(entries.windows(2).all(|pair| pair[0].printed_at <= pair[1].printed_at));
}
