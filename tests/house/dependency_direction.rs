//! Rule: `schema ← engine ← {edge, cloud} ← tests, benches`, and nothing impure in schema and engine.
//! Edge and cloud never see each other. The deterministic core has no runtime, socket, TLS, clock or entropy
//! among its dependencies, not for its tests either: what it needs of the world is handed to it.
//! Which functions of std, redb and jiff the core may call is left to its `clippy.toml`.

use crate::tree::{Finding, Tree, assert_kept, places, planted};
use crate::workspace::{manifest, packages};

/// Who may see whom. A new package needs a line here, and so a thought about where it belongs.
const MAY_SEE: [(&str, &[&str]); 7] = [
    ("tallyroll-schema", &[]),
    ("tallyroll-engine", &["tallyroll-schema"]),
    ("tallyroll-edge", &["tallyroll-schema", "tallyroll-engine"]),
    ("tallyroll-cloud", &["tallyroll-schema", "tallyroll-engine"]),
    (
        "tallyroll-tests",
        &["tallyroll-schema", "tallyroll-engine", "tallyroll-edge", "tallyroll-cloud"],
    ),
    (
        "tallyroll-benches",
        &["tallyroll-schema", "tallyroll-engine", "tallyroll-edge", "tallyroll-cloud"],
    ),
    // Others' programs, driven by themselves; what they need is not to come into ours.
    ("tallyroll-peers", &[]),
];

/// The deterministic core.
const PURE: [&str; 2] = ["tallyroll-schema", "tallyroll-engine"];

/// What the core must not depend on, and what it does instead.
const IMPURE: [(&str, &str); 5] = [
    (
        "async-io async-std async-trait embassy-executor futures futures-util smol tokio tokio-util",
        "no async here: return an output, the rim awaits it",
    ),
    (
        "axum h2 hyper libc mio nix quinn quinn-proto quinn-udp reqwest rustix socket2 tonic ureq",
        "no sockets or system calls here: return a Send output, the rim owns the link",
    ),
    (
        "hpke rcgen ring rustls tokio-rustls",
        "no TLS or sealing here: the rim proves the peer and passes its key in",
    ),
    (
        "fastrand getrandom oorandom rand rand_chacha rand_core rand_pcg",
        "no entropy here: take the random bytes as an argument",
    ),
    (
        "chrono coarsetime quanta time web-time crossbeam crossbeam-channel parking_lot rayon",
        "no clocks or threads here: take `now` as an argument",
    ),
];

fn findings(tree: &Tree) -> Vec<Finding> {
    let packages = packages(tree);
    let ours: Vec<_> = packages.iter().map(|package| package.name.clone()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let mut find = |word: &str, what: String| {
            findings.push(Finding::new(&package.manifest, package.line_of(tree, word), what));
        };
        let name = package.name.as_str();
        let Some((_, may_see)) = MAY_SEE.iter().find(|(known, _)| *known == name) else {
            find(
                name,
                format!(
                    "{name} has no place in the house; give it one in tests/house/dependency_direction.rs"
                ),
            );
            continue;
        };
        for dependency in &package.dependencies {
            if ours.contains(dependency) && !may_see.contains(&dependency.as_str()) {
                find(
                    dependency,
                    format!(
                        "{name} must not see {dependency}; move what they share into schema or engine"
                    ),
                );
            }
            let impure =
                IMPURE.iter().find(|(names, _)| names.split(' ').any(|name| name == dependency));
            if let Some((_, instead)) = impure.filter(|_| PURE.contains(&name)) {
                find(dependency, format!("{name} must not depend on {dependency}; {instead}"));
            }
        }
    }
    findings
}

#[test]
fn dependencies_point_one_way() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_wrong_dependency_is_found() {
    let schema = manifest(
        "tallyroll-schema",
        "[dev-dependencies]\nchance = { package = \"rand\", version = \"0.9\" }\n",
    );
    let engine = manifest(
        "tallyroll-engine",
        "[dependencies]\ntallyroll-schema = { path = \"../schema\" }\n[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n",
    );
    let edge = manifest(
        "tallyroll-edge",
        "[dependencies]\ntokio = \"1\"\ntallyroll-engine = { path = \"../engine\" }\n",
    );
    let cloud = manifest(
        "tallyroll-cloud",
        "[dev-dependencies]\ntallyroll-edge = { path = \"../edge\" }\n",
    );
    let extra = manifest("extra", "");
    let (_folder, tree) = planted(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"schema\", \"engine\", \"edge\", \"cloud\", \"extra\"]\n",
        ),
        ("schema/Cargo.toml", &schema),
        ("schema/src/lib.rs", ""),
        ("engine/Cargo.toml", &engine),
        ("engine/src/lib.rs", ""),
        ("edge/Cargo.toml", &edge),
        ("edge/src/lib.rs", ""),
        ("cloud/Cargo.toml", &cloud),
        ("cloud/src/lib.rs", ""),
        ("extra/Cargo.toml", &extra),
        ("extra/src/lib.rs", ""),
    ]);
    let mut found = places(&findings(&tree));
    found.sort();
    assert_eq!(
        found,
        ["cloud/Cargo.toml:6", "engine/Cargo.toml:8", "extra/Cargo.toml:2", "schema/Cargo.toml:6"]
    );
}
