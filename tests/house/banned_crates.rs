//! Rule: `Cargo.lock` holds one TLS provider, and one version of what speaks or stores for us.
//! ring is passed explicitly; a second provider enters by a default feature somewhere deep, doubles the
//! binary, and makes rustls refuse to choose. Two versions of a storage engine or a runtime mean that two
//! parts of the program cannot share a handle, or that one reads what the other wrote.
//! Which features are on is left to the manifests.

use std::collections::BTreeMap;

use crate::tree::{Finding, Tree, assert_kept, numbered, places, planted};

const BANNED: [(&str, &str); 7] = [
    (
        "aws-lc-rs",
        "use ring: find who asks for it with `cargo tree -i aws-lc-rs` and drop that default feature",
    ),
    (
        "aws-lc-sys",
        "use ring: find who asks for it with `cargo tree -i aws-lc-sys` and drop that default feature",
    ),
    (
        "aws-lc-fips-sys",
        "use ring: find who asks for it with `cargo tree -i aws-lc-fips-sys` and drop that feature",
    ),
    (
        "openssl",
        "use rustls: find who asks for it with `cargo tree -i openssl` and choose its rustls feature",
    ),
    (
        "openssl-sys",
        "use rustls: find who asks for it with `cargo tree -i openssl-sys` and choose its rustls feature",
    ),
    (
        "native-tls",
        "use rustls: find who asks for it with `cargo tree -i native-tls` and choose its rustls feature",
    ),
    (
        "boring-sys",
        "use rustls: find who asks for it with `cargo tree -i boring-sys` and choose its rustls feature",
    ),
];

const ONCE: [&str; 9] = [
    "automerge",
    "ed25519-dalek",
    "minicbor",
    "quinn",
    "quinn-proto",
    "redb",
    "ring",
    "rustls",
    "tokio",
];

fn findings(tree: &Tree) -> Vec<Finding> {
    const LOCK: &str = "Cargo.lock";
    let lock =
        tree.text(LOCK).expect("Cargo.lock is committed, so that every build is the same build");
    let mut findings = Vec::new();
    let mut first_lines = BTreeMap::new();
    for (number, line) in numbered(lock) {
        let Some(name) = line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"'))
        else {
            continue;
        };
        if let Some((_, instead)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(Finding::new(LOCK, number, format!("{name} is banned; {instead}")));
        }
        let first = *first_lines.entry(name).or_insert(number);
        if first != number && ONCE.contains(&name) {
            let what = format!(
                "a second version of {name}, the first is in line {first}; bring all to one, see `cargo tree -d`"
            );
            findings.push(Finding::new(LOCK, number, what));
        }
    }
    findings
}

#[test]
fn no_banned_crate_is_locked() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_banned_or_doubled_crate_is_found() {
    let lock: String = ["openssl", "rustls", "syn", "rustls", "syn", "tokio", "openssl-probe"]
        .map(|name| format!("[[package]]\nname = \"{name}\"\n"))
        .concat();
    let (_folder, tree) = planted(&[("Cargo.lock", &lock)]);
    assert_eq!(places(&findings(&tree)), ["Cargo.lock:2", "Cargo.lock:8"]);
}
