//! Rule: nothing committed names a place that exists on one machine only, or a package registry's host.
//! A path from somebody's home breaks on the next machine; a registry's address in a script is a way around
//! the lock file, and fails where packages come through a mirror. `Cargo.lock` names its sources and is left out.
//! The needles are written in two halves, so that this file does not find itself.

use crate::tree::{Finding, Tree, assert_kept, numbered, places, planted};

const MACHINE_FOLDERS: [&str; 2] = [concat!("/wo", "rk"), concat!("/ro", "ot")];

const REGISTRY_HOSTS: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("debian", ".org"),
    concat!("npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("proxy.go", "lang.org"),
];

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !is_lock(path)) {
        for (number, line) in numbered(text) {
            for folder in MACHINE_FOLDERS.iter().filter(|folder| names_folder(line, folder)) {
                let what = format!(
                    "`{folder}` is a folder of one machine; use a path from the repository or an argument"
                );
                findings.push(Finding::new(path, number, what));
            }
            let line = line.to_lowercase();
            for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(*host)) {
                let what = format!(
                    "`{host}` is a registry's host; name the package, its client knows where to look"
                );
                findings.push(Finding::new(path, number, what));
            }
        }
    }
    findings
}

fn is_lock(path: &str) -> bool {
    path.rsplit('/').next() == Some("Cargo.lock")
}

/// Whether the line holds the absolute path `folder` or one below it, not only a longer word around it.
fn names_folder(line: &str, folder: &str) -> bool {
    let in_name = |letter: char| letter.is_alphanumeric() || "_-".contains(letter);
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + folder.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(|letter| in_name(letter) || ".~<*{})]$/".contains(letter))
            && !after.is_some_and(in_name)
    })
}

#[test]
fn nothing_names_one_machine_or_a_registry() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_path_or_host_of_elsewhere_is_found() {
    let [shop, home] = MACHINE_FOLDERS;
    let text = format!(
        "let path = \"{shop}/data\";\ncd {home}\nsrc{shop}/a ..{home} {shop}load {home}s <{home}> ${{here}}{home}\nhttps://index.{}\n",
        REGISTRY_HOSTS[0].to_uppercase()
    );
    let lock = format!("source = \"registry+https://{}\"\n", REGISTRY_HOSTS[0]);
    let (_folder, tree) = planted(&[("Cargo.lock", &lock), ("run.sh", &text)]);
    assert_eq!(places(&findings(&tree)), ["run.sh:1", "run.sh:2", "run.sh:4"]);
}

#[test]
fn every_needle_is_found() {
    for needle in MACHINE_FOLDERS.iter().chain(&REGISTRY_HOSTS) {
        let (_folder, tree) = planted(&[("page.md", &format!("see {needle} there\n"))]);
        assert_eq!(places(&findings(&tree)), ["page.md:1"], "{needle}");
    }
}
