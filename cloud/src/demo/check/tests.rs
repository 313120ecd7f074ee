//! The check must be able to fail: whatever is changed in right evidence is found.
//!
//! Each test takes the evidence of a fleet that kept its books well and falsifies one
//! thing. Whether the evidence is read rightly is tested beside its reading.

use super::super::evidence::Shown;
use super::super::naive::{Books, sum};
use super::super::workload::workload;
use super::*;

fn seen() -> Seen {
    Seen::as_it_should("branch-2")
}

fn expected() -> Expected {
    sum(&workload(7, 3, 120), &seen())
}

/// What a fleet without fault leaves.
fn right(expected: &Expected) -> Evidence {
    let branch = |(name, found): (&String, &BranchBooks)| {
        let BranchBooks { books: Books { charged, impressions }, prints, jobs, events } =
            found.clone();
        let questions = if jobs > 0 { 3 } else { 0 };
        let events = events + questions;
        let own = Shown {
            charged: charged.into_iter().collect(),
            impressions: impressions.into_iter().collect(),
        };
        let at_cloud = own.impressions.clone();
        let evidence = BranchEvidence {
            written: events,
            receipted: events,
            own,
            counted: events,
            prints,
            jobs,
            questions,
            verified: events,
            at_cloud,
        };
        (name.clone(), evidence)
    };
    Evidence {
        branches: expected.branches.iter().map(branch).collect(),
        charged: expected.charged.clone().into_iter().collect(),
        left: expected.left.clone().into_iter().collect(),
        wrong: vec![],
    }
}

/// The verdict on right evidence with one thing falsified.
fn verdict(falsify: impl FnOnce(&mut Evidence)) -> Verdict {
    let expected = expected();
    let mut evidence = right(&expected);
    falsify(&mut evidence);
    check(&expected, &evidence, &seen())
}

fn branch(evidence: &mut Evidence) -> &mut BranchEvidence {
    evidence.branches.get_mut("branch-2").unwrap()
}

#[test]
fn right_evidence_holds() {
    let verdict = verdict(|_| {});
    assert!(verdict.holds(), "{:?}", verdict.missing);
    let events: u64 = expected().branches.values().map(|branch| branch.events).sum::<u64>() + 3;
    let line = format!("{events} written = {events} counted = {events} verified");
    assert_eq!(verdict.line(), line);
}

#[test]
fn a_lost_event_is_found_wherever_it_is_lost() {
    type Figure = fn(&mut BranchEvidence) -> &mut u64;
    let lost: [(Figure, &str); 6] = [
        (|branch| &mut branch.written, "events written"),
        (|branch| &mut branch.receipted, "events receipted"),
        (|branch| &mut branch.counted, "events at the cloud"),
        (|branch| &mut branch.prints, "prints at the cloud"),
        (|branch| &mut branch.jobs, "beginnings and ends of jobs"),
        (|branch| &mut branch.verified, "events verified"),
    ];
    for (figure, what) in lost {
        for change in [-1, 1] {
            let verdict = verdict(|evidence| {
                let figure = figure(branch(evidence));
                *figure = figure.strict_add_signed(change);
            });
            let [missing] = &verdict.missing[..] else { panic!("{:?}", verdict.missing) };
            assert!(missing.starts_with("branch-2: ") && missing.contains(what), "{missing}");
        }
    }
}

#[test]
fn a_wrong_balance_is_found_at_either_end() {
    let at_branch = verdict(|evidence| branch(evidence).own.charged[0].1 += 1);
    assert!(at_branch.missing[0].starts_with("branch-2: balance of"), "{:?}", at_branch.missing);
    let at_cloud = verdict(|evidence| evidence.charged[0].1 -= 1000);
    assert!(at_cloud.missing[0].starts_with("balance at the cloud of"), "{:?}", at_cloud.missing);
    let left = verdict(|evidence| evidence.left[0].1 += 1);
    assert!(left.missing[0].starts_with("left at the cloud of"), "{:?}", left.missing);
    let in_month = verdict(|evidence| branch(evidence).at_cloud[0].1 += 1);
    assert!(in_month.missing[0].contains("impressions at the cloud"), "{:?}", in_month.missing);
}

#[test]
fn a_row_too_few_or_too_many_is_found() {
    let gone = verdict(|evidence| drop(evidence.charged.remove(0)));
    assert!(gone.missing[0].contains("is not there"), "{:?}", gone.missing);
    let double = verdict(|evidence| evidence.charged.push(evidence.charged[0].clone()));
    assert!(double.missing[0].contains(" and "), "{:?}", double.missing);
    let unknown = verdict(|evidence| evidence.charged.push(("(no name)".into(), 1)));
    assert!(unknown.missing[0].contains("none expected"), "{:?}", unknown.missing);
}

#[test]
fn a_branch_too_few_or_too_many_is_found() {
    let gone = verdict(|evidence| drop(evidence.branches.remove("branch-1")));
    assert!(gone.missing.iter().any(|missing| missing.starts_with("branch-1: 0 events written")));
    let unknown = |evidence: &mut Evidence| {
        evidence.branches.insert("branch-9".into(), BranchEvidence::default());
    };
    assert!(verdict(unknown).missing[0].contains("branch-9"));
}

#[test]
fn a_chain_that_does_not_verify_is_told() {
    let verdict = verdict(|evidence| evidence.wrong.push("the chain differs at L/0-e/3".into()));
    assert!(verdict.missing[0].contains("the chain differs at L/0-e/3"));
}

#[test]
fn questions_are_only_expected_where_the_visitor_was() {
    let verdict = verdict(|evidence| {
        let branch = evidence.branches.get_mut("branch-1").unwrap();
        (branch.questions, branch.written) = (1, branch.written + 1);
    });
    assert!(verdict.missing[0].starts_with("branch-1: "), "{:?}", verdict.missing);
}

#[test]
fn a_job_that_was_not_stopped_at_zero_is_found() {
    let visited = |change: fn(&mut Seen)| {
        let (expected, mut seen) = (expected(), seen());
        change(&mut seen);
        check(&expected, &right(&expected), &seen).missing
    };
    assert!(visited(|_| {}).is_empty());
    let told = visited(|seen| seen.stopped = None);
    assert!(told[0].contains("stopped nowhere, before page 4 for zero expected"), "{told:?}");
    let told = visited(|seen| seen.stopped.as_mut().unwrap().page += 1);
    assert!(told[0].contains("stopped before page 5"), "{told:?}");
    let told = visited(|seen| seen.stopped.as_mut().unwrap().reason = "line-down".into());
    assert!(told[0].contains("for line-down"), "{told:?}");
    let told = visited(|seen| seen.recorded = 11);
    assert!(told[0].contains("11 are recorded, 10 expected"), "{told:?}");
}
