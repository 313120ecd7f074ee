//! Rule: every Rust file is compiled, and every test in it runs.
//! A file is reached by `mod` declarations from a file that cargo compiles; one that is not is forgotten, and
//! its tests pass by never running. `#[path]` is not followed: a file lies where its name says.
//! Integration tests are modules of the binaries in `tests/`: no package links one of its own, and none is
//! switched off. A `#[test]` that is ignored is left to the rule on unfinished work.

use std::collections::BTreeSet;

use crate::tree::{Finding, Tree, assert_kept, places, planted};
use crate::workspace::{manifest, packages};

const TESTS: &str = "tallyroll-tests";

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reached = BTreeSet::new();
    for package in packages(tree) {
        for target in &package.targets {
            reach(tree, &target.root, true, &mut reached);
            let mut find = |what| {
                findings.push(Finding::new(
                    &package.manifest,
                    package.line_of(tree, &target.name),
                    what,
                ))
            };
            if target.kind == "test" && package.name != TESTS {
                find(format!(
                    "{} is a test binary of its own; make it a module of tests/it",
                    target.root
                ));
            }
            if !target.tested && ["lib", "bin", "test"].contains(&target.kind.as_str()) {
                find(format!("the tests in {} never run; drop `test = false`", target.root));
            }
        }
    }
    for (path, _) in tree.ending(".rs").filter(|(path, _)| !reached.contains(*path)) {
        let what = "no `mod` leads here, so nothing in it is compiled or tested; declare it in the file above, or delete it";
        findings.push(Finding::new(path, 1, what));
    }
    findings
}

/// Follows the `mod name;` lines from one file down. `is_root`: its modules lie beside it, as of a `mod.rs`.
fn reach(tree: &Tree, path: &str, is_root: bool, reached: &mut BTreeSet<String>) {
    let Some(text) = tree.text(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let beside = is_root || name == "mod.rs";
    let below = if beside { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() };
    for module in text.lines().filter_map(declared_module) {
        reach(tree, &format!("{below}/{module}.rs"), false, reached);
        reach(tree, &format!("{below}/{module}/mod.rs"), false, reached);
    }
}

/// `pub(crate) mod name;` → `name`
fn declared_module(line: &str) -> Option<&str> {
    let declaration = line.trim().split_once("//").map_or(line.trim(), |(code, _)| code.trim());
    let (before, name) = declaration.strip_suffix(';')?.rsplit_once("mod ")?;
    let before = before.trim();
    let is_visibility = before.is_empty()
        || before == "pub"
        || (before.starts_with("pub(") && before.ends_with(')'));
    let is_name = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    (is_visibility && is_name).then_some(name)
}

#[test]
fn no_file_is_forgotten() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_forgotten_file_is_found() {
    let tests = manifest(
        TESTS,
        "autotests = false\n[lib]\ntest = false\n[[test]]\nname = \"it\"\npath = \"it/main.rs\"\n[[test]]\nname = \"off\"\npath = \"off.rs\"\ntest = false\n",
    );
    let (_folder, tree) = planted(&[
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"tests\", \"engine\"]\n"),
        ("tests/Cargo.toml", &tests),
        ("tests/src/lib.rs", "pub mod deep;\n// mod gone;\n"),
        ("tests/src/deep.rs", "#[cfg(test)]\npub(crate) mod inner; // below\n"),
        ("tests/src/deep/inner.rs", ""),
        ("tests/src/inner.rs", ""),
        ("tests/src/gone.rs", ""),
        ("tests/it/main.rs", "mod proxy;\nmod folder;\n"),
        ("tests/it/proxy.rs", ""),
        ("tests/it/folder/mod.rs", "mod beside;\n"),
        ("tests/it/folder/beside.rs", ""),
        ("tests/it/undeclared.rs", ""),
        ("tests/off.rs", ""),
        ("tests/sim/main.rs", ""),
        ("engine/Cargo.toml", &manifest("tallyroll-engine", "")),
        ("engine/src/lib.rs", ""),
        ("engine/tests/alone.rs", ""),
    ]);
    assert_eq!(
        places(&findings(&tree)),
        [
            "engine/Cargo.toml:1", // engine/tests/alone.rs, found by cargo on its own
            "tests/Cargo.toml:1",  // [lib] test = false, named by cargo
            "tests/Cargo.toml:12", // [[test]] off
            "tests/it/undeclared.rs:1",
            "tests/sim/main.rs:1",
            "tests/src/gone.rs:1",
            "tests/src/inner.rs:1",
        ]
    );
}
