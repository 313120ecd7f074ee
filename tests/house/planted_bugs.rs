//! Rule: no bug that is planted in the engine can come into what is shipped.
//! The engine's feature `planted` is asked for by one feature of the tests, which is off by default and
//! asked for by nobody: not by a dependency, where cargo would unify it into every build beside it, and
//! not as part of another feature. What the feature does is left to `engine/src/planted.rs`.

use crate::tree::{Finding, Tree, assert_kept, places, planted};
use crate::workspace::{manifest, packages};

const FEATURE: &str = "planted";
const ENGINE: &str = "tallyroll-engine";
const TESTS: &str = "tallyroll-tests";

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages(tree) {
        let mut find = |what: String| {
            findings.push(Finding::new(&package.manifest, package.line_of(tree, FEATURE), what));
        };
        for (dependency, features) in &package.asked_of {
            if features.iter().any(|feature| feature == FEATURE || feature.ends_with("/planted")) {
                find(format!(
                    "asks {dependency} for `{FEATURE}`, and so plants bugs in whatever is built beside it; only the feature of {TESTS} may"
                ));
            }
        }
        for (name, parts) in &package.features {
            let asks = |part: &String| {
                let (of, feature) = part.split_once('/').unwrap_or(("", part));
                feature == FEATURE && (of.is_empty() || of.trim_end_matches('?') == ENGINE)
            };
            let ours = name == FEATURE && [ENGINE, TESTS].contains(&package.name.as_str());
            if parts.iter().any(asks) && !ours {
                find(format!("feature `{name}` plants bugs; only `{FEATURE}` of {TESTS} may"));
            }
        }
    }
    findings
}

#[test]
fn nothing_shipped_can_have_bugs_planted() {
    assert_kept(&findings(&Tree::ours()));
}

/// Cargo builds this binary and those of `it` and `sim` together, with the same features.
#[test]
fn this_build_cannot_have_bugs_planted() {
    let available = tallyroll_engine::planted::AVAILABLE;
    assert!(!available, "run `cargo test --features planted` for the test `planted` alone");
}

#[test]
fn a_way_in_for_planted_bugs_is_found() {
    let engine = manifest(ENGINE, "[features]\ndefault = [\"planted\"]\nplanted = []\n");
    let asked = "{ path = \"../engine\", features = [\"planted\"] }";
    let edge = manifest("tallyroll-edge", &format!("[dependencies]\ntallyroll-engine = {asked}\n"));
    let cloud = manifest(
        "tallyroll-cloud",
        &format!(
            "[dev-dependencies]\nengine = {}\n",
            asked.replace(" }", ", package = \"tallyroll-engine\" }")
        ),
    );
    let tests = manifest(
        TESTS,
        "[dependencies]\ntallyroll-engine = { path = \"../engine\" }\n[features]\nplanted = [\"tallyroll-engine/planted\"]\nfull = [\"tallyroll-engine/planted\"]\n",
    );
    let (_folder, tree) = planted(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"engine\", \"edge\", \"cloud\", \"tests\"]\n",
        ),
        ("engine/Cargo.toml", &engine),
        ("engine/src/lib.rs", ""),
        ("edge/Cargo.toml", &edge),
        ("edge/src/lib.rs", ""),
        ("cloud/Cargo.toml", &cloud),
        ("cloud/src/lib.rs", ""),
        ("tests/Cargo.toml", &tests),
        ("tests/src/lib.rs", ""),
    ]);
    let mut found: Vec<_> = places(&findings(&tree))
        .into_iter()
        .map(|place| place.split(':').next().unwrap().to_owned())
        .collect();
    found.sort();
    let expected = ["cloud", "edge", "engine", "tests"].map(|name| format!("{name}/Cargo.toml"));
    assert_eq!(found, expected);
}
