//! Rule: decision pages are numbered from 0001 without gap or repeat.
//! A page's number is its name in conversation; a gap makes the reader look for a page that never was, and
//! two pages of one number cannot both be meant. Nothing else lies among them.
//! What a page says is left to its author and reader.

use crate::tree::{Finding, Tree, assert_kept, places, planted};

const FOLDER: &str = "docs/decisions/";

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut expected = 1;
    for (path, name) in tree.paths().filter_map(|path| Some((path, path.strip_prefix(FOLDER)?))) {
        let Some(number) = page_number(name) else {
            let what =
                "not a decision page; name it NNNN-title.md, in small letters, digits and hyphens";
            findings.push(Finding::new(path, 1, what));
            continue;
        };
        if number != expected {
            findings.push(Finding::new(
                path,
                1,
                format!("{expected:04} is the next number; number it so"),
            ));
        }
        expected = number + 1;
    }
    findings
}

/// `0007-two-logs.md` → 7
fn page_number(name: &str) -> Option<u32> {
    let (digits, title) = name.strip_suffix(".md")?.split_once('-')?;
    let in_title =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let is_page = digits.len() == 4 && !title.is_empty() && title.chars().all(in_title);
    digits.parse().ok().filter(|_| is_page)
}

#[test]
fn decisions_are_numbered_without_gap() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_gap_a_repeat_and_a_stray_page_are_found() {
    let (_folder, tree) = planted(&[
        ("docs/decisions/0001-one-log.md", ""),
        ("docs/decisions/0003-two-logs.md", ""),
        ("docs/decisions/0003-two-tails.md", ""),
        ("docs/decisions/0004-heads.md", ""),
        ("docs/decisions/notes.md", ""),
        ("docs/tour.md", ""),
    ]);
    assert_eq!(
        places(&findings(&tree)),
        [
            "docs/decisions/0003-two-logs.md:1",
            "docs/decisions/0003-two-tails.md:1",
            "docs/decisions/notes.md:1"
        ]
    );
}
