//! The check: the evidence, and what a visitor saw, against the independent sum.
//!
//! Invariant: nothing is excused. Every event of every branch is written, at the
//! cloud and under a verified signature, and every row of every view is the one
//! expected, no more and no less; whatever is not, is named.

use super::evidence::{BranchEvidence, Evidence};
use super::naive::{BranchBooks, Expected};
use super::visit::{GIVEN, PAGES, Seen, Stop, TOP_UP, USER};
use core::fmt::{Debug, Display};
use std::collections::BTreeMap;
use tallyroll_schema::Credits;

/// What the check comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    written: u64,
    counted: u64,
    verified: u64,
    balances: usize,
    /// Everything that is not as it must be.
    pub(super) missing: Vec<String>,
}

impl Verdict {
    /// Whether everything is as it must be.
    pub(super) fn holds(&self) -> bool {
        self.missing.is_empty()
    }

    /// How much was compared.
    pub(super) fn scope(&self) -> String {
        format!(
            "{} balances equal the independent sum, at the branches and at the cloud; {USER}'s {} credits paid for {PAGES} pages",
            self.balances,
            GIVEN + TOP_UP,
        )
    }

    /// The line it all comes down to, if it holds.
    pub(super) fn line(&self) -> String {
        let Self { written, counted, verified, .. } = self;
        format!("{written} written = {counted} counted = {verified} verified")
    }

    /// The same figures, where they may not be equal.
    pub(super) fn figures(&self) -> String {
        let Self { written, counted, verified, .. } = self;
        format!("{written} written, {counted} counted, {verified} verified")
    }
}

/// Compares everything with everything.
pub(super) fn check(expected: &Expected, evidence: &Evidence, seen: &Seen) -> Verdict {
    let mut verdict = Verdict::default();
    for wrong in &evidence.wrong {
        verdict.missing.push(format!("the cloud's log does not verify: {wrong}"));
    }
    let none = BranchEvidence::default();
    for (name, books) in &expected.branches {
        let found = evidence.branches.get(name).unwrap_or(&none);
        check_branch(&mut verdict, name, books, found);
    }
    for name in evidence.branches.keys().filter(|name| !expected.branches.contains_key(*name)) {
        verdict.missing.push(format!("the cloud shows events of {name}, which is no branch"));
    }
    verdict.balances += expected.charged.len();
    verdict.missing.extend(compare(
        "balance at the cloud",
        &expected.charged,
        &evidence.charged,
        credits,
    ));
    let left = compare("left at the cloud", &expected.left, &evidence.left, credits);
    verdict.missing.extend(left);
    verdict.missing.extend(check_visit(seen));
    verdict
}

/// The limit holds at the page, not only in the books.
fn check_visit(seen: &Seen) -> Vec<String> {
    let Seen { branch, paid, stopped, recorded } = seen;
    let due = GIVEN + 1;
    let stop = match stopped {
        Some(Stop { page, reason, .. }) if *page == due && reason == "zero" => None,
        Some(Stop { page, reason, .. }) => Some(format!("before page {page} for {reason}")),
        None => Some("nowhere".to_owned()),
    };
    let stop = stop.map(|found| {
        format!("{branch}: {USER}'s job was stopped {found}, before page {due} for zero expected")
    });
    let (pages, paid) = (PAGES as u64, paid.len() as u64);
    let pages = (*recorded != pages || paid != pages).then(|| {
        format!(
            "{branch}: {USER} paid for {paid} pages and {recorded} are recorded, {pages} expected"
        )
    });
    stop.into_iter().chain(pages).collect()
}

fn check_branch(verdict: &mut Verdict, name: &str, books: &BranchBooks, found: &BranchEvidence) {
    verdict.written += found.written;
    verdict.counted += found.counted;
    verdict.verified += found.verified;
    verdict.balances += books.books.charged.len();
    // Only who has a visitor asks for credits; how often, depends on the line.
    let events = books.events + if books.jobs > 0 { found.questions } else { 0 };
    let figures = [
        ("events written, by its files", events, found.written),
        ("events receipted, by its files", events, found.receipted),
        ("events at the cloud", events, found.counted),
        ("prints at the cloud", books.prints, found.prints),
        ("beginnings and ends of jobs at the cloud", books.jobs, found.jobs),
        ("events verified", events, found.verified),
    ];
    for (what, expected, found) in
        figures.into_iter().filter(|(_, expected, found)| expected != found)
    {
        verdict.missing.push(format!("{name}: {found} {what}, {expected} expected"));
    }
    let own =
        compare(&format!("{name}: balance"), &books.books.charged, &found.own.charged, credits);
    let expected = &books.books.impressions;
    let show = |count: &u64| count.to_string();
    let months = compare(&format!("{name}: impressions"), expected, &found.own.impressions, show);
    let at_cloud =
        compare(&format!("{name}: impressions at the cloud"), expected, &found.at_cloud, show);
    verdict.missing.extend(own.into_iter().chain(months).chain(at_cloud));
}

/// Every difference between what is expected and the rows found.
fn compare<K: Ord + Clone + Debug, V: PartialEq, T: Display>(
    what: &str,
    expected: &BTreeMap<K, V>,
    rows: &[(K, V)],
    show: impl Fn(&V) -> T,
) -> Vec<String> {
    let mut found: BTreeMap<&K, Vec<&V>> = expected.keys().map(|key| (key, vec![])).collect();
    for (key, value) in rows {
        found.entry(key).or_default().push(value);
    }
    let mut missing = Vec::new();
    for (key, values) in found {
        let shown: Vec<String> = values.iter().map(|value| show(value).to_string()).collect();
        match (expected.get(key), &values[..]) {
            (Some(expected), [value]) if *value == expected => {}
            (Some(expected), []) => {
                missing
                    .push(format!("{what} of {key:?} is not there, {} expected", show(expected)));
            }
            (Some(expected), _) => {
                let shown = shown.join(" and ");
                missing.push(format!("{what} of {key:?} is {shown}, {} expected", show(expected)));
            }
            (None, _) => {
                let shown = shown.join(" and ");
                missing.push(format!("{what} of {key:?} is {shown}, none expected"));
            }
        }
    }
    missing
}

fn credits(thousandths: &i64) -> Credits {
    Credits::from_thousandths(*thousandths)
}

#[cfg(test)]
mod tests;
