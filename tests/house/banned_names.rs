//! Rule: no file or folder of code is named for holding the rest.
//! `utils` has no invariant, so anything may enter it; `types` says what the compiler knows; `_v2` beside
//! its first version means that one of them should go. A file is named by the noun it owns.
//! Names inside the files are left to the reader.

use std::collections::BTreeSet;

use crate::tree::{Finding, Tree, assert_kept, places, planted};

const BANNED: [&str; 7] = ["common", "helper", "helpers", "misc", "types", "util", "utils"];

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut judged = BTreeSet::new();
    let mut findings = Vec::new();
    for (path, _) in tree.ending(".rs") {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        // A folder is judged once, with the first file in it.
        for part in ends.filter_map(|end| path.get(..end)).filter(|part| judged.insert(*part)) {
            let name = part.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
            if BANNED.contains(&name) || is_numbered_version(name) {
                let what = format!(
                    "`{name}` says nothing about what it owns; name it by the noun, and keep one version"
                );
                findings.push(Finding::new(path, 1, what));
            }
        }
    }
    findings
}

/// `session_v2`
fn is_numbered_version(name: &str) -> bool {
    let digits = name.rsplit_once("_v").map(|(_, digits)| digits);
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit())
    })
}

#[test]
fn files_are_named_by_what_they_own() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_name_for_the_rest_is_found() {
    let (_folder, tree) = planted(&[
        ("edge/src/link.rs", ""),
        ("edge/src/link_v2.rs", ""),
        ("edge/src/link_via.rs", ""),
        ("edge/src/utils.rs", ""),
        ("engine/src/common/clock.rs", ""),
        ("engine/src/common/time.rs", ""),
        ("schema/src/prototypes.rs", ""),
    ]);
    assert_eq!(
        places(&findings(&tree)),
        ["edge/src/link_v2.rs:1", "edge/src/utils.rs:1", "engine/src/common/clock.rs:1"]
    );
}
