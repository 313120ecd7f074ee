//! The source tree as the rules see it: every file that is ours, by its path from the root.
//! Owns what counts as ours (all but version control and the entries of `.gitignore`) and how a finding is
//! told: `file:line: what is wrong; what to do`.
//! Invariant: paths are relative, with `/`, and sorted, so that a report reads the same on every machine.
//! Which rules there are is left to the files beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A source tree, read once.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// Path → text; `None` for what is not text, such as golden bytes.
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// The tree this test was built from.
    pub(crate) fn ours() -> Self {
        Self::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")))
    }

    /// Reads everything under `root` that is ours.
    pub(crate) fn read(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut hidden: Vec<String> = ignored.lines().filter_map(ignored_entry).collect();
        hidden.push(".git".to_owned());
        let mut tree = Self { root, files: BTreeMap::new() };
        tree.read_folder("", &hidden);
        tree
    }

    fn read_folder(&mut self, folder: &str, hidden: &[String]) {
        for entry in fs::read_dir(self.root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().expect("file names are UTF-8");
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let kind = entry.file_type().unwrap();
            if hidden.contains(&path) {
                continue;
            } else if kind.is_dir() {
                self.read_folder(&path, hidden);
            } else if kind.is_file() {
                let text = String::from_utf8(fs::read(entry.path()).unwrap()).ok();
                self.files.insert(path, text);
            }
        }
    }

    /// The paths of all files, text or not.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Path and text of all text files.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Path and text of the text files whose names end with `ending`.
    pub(crate) fn ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(move |(path, _)| path.ends_with(ending))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Whether there is such a file, or a folder with a file in it.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.contains_key(path)
            || self
                .paths()
                .any(|file| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// `/name` hides an entry of the root; nothing else is used in our `.gitignore`.
fn ignored_entry(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let name = line
        .strip_prefix('/')
        .expect(".gitignore: only `/name` entries, so that this test can read it");
    Some(name.trim_end_matches('/').to_owned())
}

/// Lines with their numbers, counted from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// A place where a rule is not kept.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Fails with all findings, one a line.
pub(crate) fn assert_kept(findings: &[Finding]) {
    let report: String = findings.iter().map(|finding| format!("\n{finding}")).collect();
    assert!(findings.is_empty(), "{} found:{report}\n", findings.len());
}

/// A tree made up for one test, from paths and texts.
pub(crate) fn planted(files: &[(&str, &str)]) -> (TempDir, Tree) {
    let folder = TempDir::new().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let tree = Tree::read(folder.path());
    (folder, tree)
}

/// Where the findings are, as `file:line`.
pub(crate) fn places(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}

#[test]
fn what_git_ignores_is_not_ours() {
    let (_folder, tree) = planted(&[
        (".gitignore", "# made by building\n/target\n"),
        (".git/config", "theirs"),
        ("target/made.rs", "theirs"),
        ("engine/target/kept.rs", "ours"),
    ]);
    assert_eq!(tree.paths().collect::<Vec<_>>(), [".gitignore", "engine/target/kept.rs"]);
    assert!(tree.holds("engine/target/") && !tree.holds("engine/tar"));
}

#[test]
fn what_is_not_text_is_there_but_not_read() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("batch.bin"), [0xff, 0xfe]).unwrap();
    let tree = Tree::read(folder.path());
    assert!(tree.holds("batch.bin"));
    assert_eq!(tree.texts().count(), 0);
}

#[test]
fn our_tree_is_really_read() {
    let tree = Tree::ours();
    for path in ["Cargo.lock", "schema/src/lib.rs", "tests/house/tree.rs"] {
        assert!(tree.text(path).is_some_and(|text| !text.is_empty()), "{path} was not read");
    }
}
