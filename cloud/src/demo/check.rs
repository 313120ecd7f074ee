//! The check: the evidence against the independent sum.
//!
//! Invariant: nothing is excused. Every event of every branch is written, at the
//! cloud and under a verified signature, and every row of every view is the one
//! expected, no more and no less; whatever is not, is named.

use super::evidence::{BranchEvidence, Evidence};
use super::naive::{BranchBooks, Expected};
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
            "{} balances equal the independent sum, at the branches and at the cloud",
            self.balances
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
pub(super) fn check(expected: &Expected, evidence: &Evidence) -> Verdict {
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
    verdict
}

fn check_branch(verdict: &mut Verdict, name: &str, books: &BranchBooks, found: &BranchEvidence) {
    verdict.written += found.written;
    verdict.counted += found.counted;
    verdict.verified += found.verified;
    verdict.balances += books.books.charged.len();
    let figures = [
        ("events written, by its files", books.events, found.written),
        ("events receipted, by its files", books.events, found.receipted),
        ("events at the cloud", books.events, found.counted),
        ("prints at the cloud", books.prints, found.prints),
        ("events verified", books.events, found.verified),
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
