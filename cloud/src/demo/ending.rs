//! The end of the demo: the line it all comes down to, or what is missing.
//!
//! Invariant: the line with two `=` is printed only if everything holds, and exactly
//! then the exit code is 0; else it is 3 and what is missing is named.

use super::check::Verdict;
use super::place::Place;
use super::programs::Programs;
use std::process::ExitCode;

const DOES_NOT_HOLD: u8 = 3;
/// Of what is missing; the rest is counted.
const MISSING_SHOWN_MAX: usize = 20;

/// What the verdict means to a script.
pub(super) fn exit_code(verdict: &Verdict) -> ExitCode {
    if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) }
}

/// What the verdict means to people, and what they may try next.
pub(super) fn text(verdict: &Verdict, seed: u64, place: &Place, programs: &Programs) -> String {
    if verdict.holds() {
        return format!("{}\n{}\n\n{}", verdict.scope(), verdict.line(), next(place, programs));
    }
    let mut lines = vec![verdict.figures(), "does NOT hold:".to_owned()];
    let shown = verdict.missing.iter().take(MISSING_SHOWN_MAX);
    lines.extend(shown.map(|missing| format!("  {missing}")));
    let more = verdict.missing.len().saturating_sub(MISSING_SHOWN_MAX);
    lines.extend((more > 0).then(|| format!("  and {more} more")));
    lines.push(format!("it was seed {seed}; its files are in {}", place.root().display()));
    lines.join("\n")
}

fn next(place: &Place, programs: &Programs) -> String {
    if !place.stays() {
        return "To look around in the files, play it with --keep DIR.".to_owned();
    }
    let (cloud, edge) = (programs.cloud.display(), programs.edge.display());
    let root = place.root().display();
    let branch = format!("{root}/branch-1");
    [
        "Nothing runs any more; these work on the files:".to_owned(),
        format!("  {cloud} view balances --data {root}/cloud"),
        format!("  {cloud} log show branch-1 --limit 5 --data {root}/cloud"),
        format!("  {cloud} log verify --data {root}/cloud"),
        format!("  {edge} view totals --data {branch}/data"),
        format!("  {edge} import page-log {branch}/page_log --data {branch}/data   # once more: 0 counted"),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::check::check;
    use super::super::evidence::Evidence;
    use super::super::naive::{Expected, sum};
    use super::super::visit::Seen;
    use super::super::workload::workload;
    use super::*;

    fn told(verdict: &Verdict) -> String {
        let programs = Programs { cloud: "tallyroll".into(), edge: "tallyroll-edge".into() };
        let root = tempfile::tempdir().unwrap();
        text(verdict, 7, &Place::make(Some(root.path())).unwrap(), &programs)
    }

    #[test]
    fn books_that_do_not_hold_exit_with_3_and_say_what_is_missing() {
        let seen = Seen::as_it_should("branch-2");
        let nothing_arrived = check(&sum(&workload(7, 3, 120), &seen), &Evidence::default(), &seen);
        assert_eq!(exit_code(&nothing_arrived), ExitCode::from(3));
        let told = told(&nothing_arrived);
        assert!(told.contains("branch-1: 0 events written, by its files, "), "{told}");
        assert!(told.contains(" more\n") && told.contains("seed 7"), "{told}");
        assert!(!told.contains("= "), "{told}");
    }

    #[test]
    fn books_that_hold_exit_with_0_and_say_so_in_one_line() {
        let seen = Seen::as_it_should("branch-2");
        let holds = check(&Expected::default(), &Evidence::default(), &seen);
        assert_eq!(exit_code(&holds), ExitCode::SUCCESS);
        assert!(told(&holds).contains("\n0 written = 0 counted = 0 verified\n"));
    }
}
