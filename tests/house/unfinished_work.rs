//! Rule: what is merged is finished.
//! No test is ignored, no function panics because it is still to be written, no comment puts work off:
//! what is to be done is an issue. A test that cannot run everywhere says what is missing and fails.
//! The needles are written in two halves, so that this file does not find itself.

use crate::tree::{Finding, Tree, assert_kept, numbered, places, planted};

const UNFINISHED: [(&str, &str); 5] = [
    (concat!("#[ig", "nore"), "a test that never runs proves nothing; make it run, or delete it"),
    (concat!("to", "do!"), "write it, or leave it out and open an issue"),
    (concat!("unimple", "mented!"), "write it, or leave it out and open an issue"),
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("FIX", "ME"), "do it, or open an issue"),
];

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        for (number, line) in numbered(text) {
            if let Some((needle, instead)) =
                UNFINISHED.iter().find(|(needle, _)| line.contains(needle))
            {
                findings.push(Finding::new(path, number, format!("`{needle}`: {instead}")));
            }
        }
    }
    findings
}

#[test]
fn nothing_is_left_for_later() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn every_way_to_put_work_off_is_found() {
    let text: String =
        UNFINISHED.map(|(needle, _)| format!("fn done() {{}}\n    {needle}\n")).concat();
    let (_folder, tree) = planted(&[("late.rs", &text)]);
    assert_eq!(
        places(&findings(&tree)),
        ["late.rs:2", "late.rs:4", "late.rs:6", "late.rs:8", "late.rs:10"]
    );
}
