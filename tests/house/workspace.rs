//! What cargo says about a tree: its packages, what they depend on, which files it compiles first.
//! Asked of cargo itself (`cargo metadata`, offline, without resolving), so that renamed dependencies,
//! sections for one platform and targets found by name are seen as cargo sees them.
//! Invariant: paths are relative to the tree's root. Judging is left to the rules.

use std::env;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tree::{Tree, numbered};

/// One package of a workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// The path of its `Cargo.toml`.
    pub(crate) manifest: String,
    /// Names of the packages it depends on, for building, running or testing.
    pub(crate) dependencies: Vec<String>,
    /// Dependencies by name, and the features asked of each.
    pub(crate) asked_of: Vec<(String, Vec<String>)>,
    /// Its own features, and what each turns on.
    pub(crate) features: Vec<(String, Vec<String>)>,
    pub(crate) targets: Vec<Target>,
}

/// One thing that cargo compiles.
pub(crate) struct Target {
    pub(crate) name: String,
    /// `lib`, `bin`, `test`, `bench`, `example` or `custom-build`.
    pub(crate) kind: String,
    /// The file it begins with.
    pub(crate) root: String,
    /// Whether `cargo test` runs the tests in it.
    pub(crate) tested: bool,
}

impl Package {
    /// Where the manifest names `word`, for a finding; its first line if it does so in a way of its own.
    pub(crate) fn line_of(&self, tree: &Tree, word: &str) -> usize {
        let manifest = tree.text(&self.manifest).unwrap_or_default();
        let named = |line: &str| {
            line.trim_start().starts_with(word) || line.contains(&format!("\"{word}\""))
        };
        numbered(manifest).find(|(_, line)| named(line)).map_or(1, |(number, _)| number)
    }
}

/// The packages of the tree, by name: those of its workspace, and of others that lie within it.
pub(crate) fn packages(tree: &Tree) -> Vec<Package> {
    let is_workspace = |text: &str| text.lines().any(|line| line.trim() == "[workspace]");
    let manifests = tree.texts().filter(|(path, text)| {
        *path == "Cargo.toml" || (path.ends_with("/Cargo.toml") && is_workspace(text))
    });
    let mut packages: Vec<_> =
        manifests.flat_map(|(manifest, _)| packages_of(tree, manifest)).collect();
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    packages
}

fn packages_of(tree: &Tree, manifest: &str) -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .args(["--manifest-path", manifest])
        .current_dir(&tree.root)
        .output()
        .expect("cargo starts, as it started this test");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    list(&metadata["packages"]).map(|package| read_package(tree, package)).collect()
}

fn read_package(tree: &Tree, package: &Value) -> Package {
    Package {
        name: text(&package["name"]),
        manifest: relative(tree, &package["manifest_path"]),
        dependencies: list(&package["dependencies"])
            .map(|dependency| text(&dependency["name"]))
            .collect(),
        asked_of: list(&package["dependencies"])
            .map(|asked| (text(&asked["name"]), list(&asked["features"]).map(text).collect()))
            .collect(),
        features: package["features"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, parts)| (name.clone(), list(parts).map(text).collect()))
            .collect(),
        targets: list(&package["targets"])
            .map(|target| Target {
                name: text(&target["name"]),
                kind: text(&target["kind"][0]),
                root: relative(tree, &target["src_path"]),
                tested: target["test"].as_bool().unwrap(),
            })
            .collect(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn relative(tree: &Tree, path: &Value) -> String {
    let path =
        Path::new(path.as_str().unwrap()).strip_prefix(&tree.root).expect("a package of this tree");
    path.to_str().unwrap().replace('\\', "/")
}

/// A made-up manifest: the name, and whatever sections follow.
#[cfg(test)]
pub(crate) fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}")
}
