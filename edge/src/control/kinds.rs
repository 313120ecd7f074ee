//! The kinds that a client may have recorded, and what is said of one that is none.
//!
//! Invariant: only what can be recorded is proposed, and few of it: who mistyped finds the word, who has to look
//! up finds the list. Whether an event of a known kind is taken is the keeper's.

use crate::keeper::is_recorded;
use tallyroll_schema::Event;

/// Proposed at most.
const NEAR_MAX: usize = 3;
/// Two names that are less alike are different words.
const ALIKE_MIN: f64 = 0.75;
/// An unknown kind is told up to here; those that are known are shorter.
const CHARS_TOLD: usize = 64;

/// Whether it is a kind, whoever may record it; also the form for one that a newer version knows.
pub(super) fn is_known(kind: &str) -> bool {
    kind == "unknown" || Event::KINDS.iter().any(|(_, name, _)| *name == kind)
}

/// What is said of a kind that is none.
pub(super) fn no_kind(kind: &str) -> String {
    let kind: String = kind.chars().take(CHARS_TOLD).collect();
    let names = Event::KINDS.iter().map(|(_, name, writer)| (*name, *writer));
    let recorded = names.filter(|(name, writer)| is_recorded(name, *writer));
    let mut near: Vec<(f64, &str)> = recorded
        .map(|(name, _)| (strsim::jaro_winkler(&kind, name), name))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let near: Vec<String> =
        near.iter().take(NEAR_MAX).map(|(_, name)| format!("`{name}`")).collect();
    let meant = match near.is_empty() {
        true => String::new(),
        false => format!(", the nearest are {}", near.join(", ")),
    };
    format!(
        "`{kind}` is no kind of act or event{meant}; all are in schema/golden/act.schema.json and \
         schema/golden/event.schema.json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::Act;

    #[test]
    fn the_nearest_that_can_be_recorded_are_told_and_no_others() {
        for (wrong, near) in [
            ("pages.capturd", "`pages.captured`"),
            ("Job.Ended", "`job.ended`"),
            ("document-sent", "`document.sent`"),
            ("balance", "`balance.asked`"),
        ] {
            let told = no_kind(wrong);
            assert!(told.contains(near) && told.matches('`').count() <= 2 + 2 * NEAR_MAX, "{told}");
        }
        for (wrong, never) in [("credits.grantd", "credits.granted"), ("log.open", "log.opened")] {
            assert!(!no_kind(wrong).contains(never), "not a client's to record");
        }
        let told = no_kind(&"x".repeat(9_999));
        assert!(!told.contains("nearest") && told.len() < 250, "{told}");
        assert!(Act::KINDS.iter().all(|kind| is_known(kind)));
    }
}
