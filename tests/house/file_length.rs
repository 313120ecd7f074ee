//! Rule: no Rust file is longer than 500 lines.
//! A hundred to two hundred read well; the projects we admire regret the one file that grew to thousands.
//! The limit stands above the custom, so that it is met by splitting a file along its parts, not by
//! squeezing its lines.

use crate::tree::{Finding, Tree, assert_kept, places, planted};

const LINES_MAX: usize = 500;

fn findings(tree: &Tree) -> Vec<Finding> {
    let lengths = tree.ending(".rs").map(|(path, text)| (path, text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| {
            let what =
                format!("{lines} lines, {LINES_MAX} are the most; split it by what its parts own");
            Finding::new(path, LINES_MAX + 1, what)
        })
        .collect()
}

#[test]
fn files_are_short_enough_to_read() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_long_file_is_found() {
    let (_folder, tree) = planted(&[
        ("full.rs", &"//\n".repeat(LINES_MAX)),
        ("long.rs", &"//\n".repeat(LINES_MAX + 1)),
        ("long.txt", &"story\n".repeat(LINES_MAX + 1)),
    ]);
    assert_eq!(places(&findings(&tree)), ["long.rs:501"]);
}
