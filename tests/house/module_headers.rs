//! Rule: every Rust file opens with 3 to 10 lines of `//!`.
//! They say what the module owns, the invariant it keeps, and what it leaves to others. Less says nothing,
//! more is not read; what needs more room goes to the items or to `ARCHITECTURE.md`.
//! Whether the lines are true is left to the reader.

use crate::tree::{Finding, Tree, assert_kept, places, planted};

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let header: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let said = header.iter().filter(|line| !line.trim().is_empty()).count();
        if said < 3 {
            let what = format!(
                "opens with {said} lines of `//!`; say what it owns, its invariant, what it leaves to others (3 to 10 lines)"
            );
            findings.push(Finding::new(path, 1, what));
        } else if header.len() > 10 {
            let what = format!(
                "opens with {} lines of `//!`; keep 10 and move the rest to the items",
                header.len()
            );
            findings.push(Finding::new(path, 11, what));
        }
    }
    findings
}

#[test]
fn every_module_says_what_it_owns() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_missing_or_endless_header_is_found() {
    let three = "//! Owns.\n//! Keeps.\n//! Leaves.\n";
    let (_folder, tree) = planted(&[
        ("empty.rs", ""),
        ("good.rs", three),
        ("hollow.rs", "//! Owns.\n//!\n//!\n//! Keeps.\n"),
        ("late.rs", &format!("\n{three}")),
        ("long.rs", &"//! More.\n".repeat(11)),
        ("ten.rs", &"//! More.\n".repeat(10)),
    ]);
    assert_eq!(places(&findings(&tree)), ["empty.rs:1", "hollow.rs:1", "late.rs:1", "long.rs:11"]);
}
