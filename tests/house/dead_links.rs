//! Rule: what a page points at is there.
//! Relative links lead to a file or folder of this tree, their anchors to a heading. A path in backticks that
//! begins with a folder of ours is a pointer too, and in `ARCHITECTURE.md`, which tells the code by file
//! names, every one is. Folders are written with a slash at the end, files with their extension.
//! Addresses on the network are left alone: a test must not depend on someone's server.

use crate::markdown::Page;
use crate::tree::{Finding, Tree, assert_kept, places, planted};

const MAP: &str = "ARCHITECTURE.md";

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let page = Page::read(text);
        for (line, target) in &page.links {
            if let Some(what) = dead_link(tree, path, folder, target) {
                findings.push(Finding::new(path, *line, what));
            }
        }
        for (line, span) in page.spans.iter().filter(|(_, span)| looks_like_path(span)) {
            // Beside the page or from the root: both are how people write.
            let readings = [resolve("", span), resolve(folder, span)];
            let first = span.trim_start_matches("./").split('/').next().unwrap_or_default();
            let is_ours = [resolve("", first), resolve(folder, first)]
                .iter()
                .flatten()
                .any(|path| tree.holds(path));
            let is_there = readings.iter().flatten().any(|path| tree.holds(path));
            if !is_there && (is_ours || path == MAP) {
                let what =
                    format!("`{span}` is not in the tree; name the file as it is now, or drop it");
                findings.push(Finding::new(path, *line, what));
            }
        }
    }
    findings
}

/// What is wrong with a link, if anything is.
fn dead_link(tree: &Tree, page: &str, folder: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) =
        target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let file = file.replace("%20", " ");
    let found = match file.as_str() {
        "" => Some(page.to_owned()),
        file => {
            file.strip_prefix('/').map_or_else(|| resolve(folder, file), |file| resolve("", file))
        }
    };
    let Some(found) = found.filter(|found| found.is_empty() || tree.holds(found)) else {
        return Some(format!(
            "the link to {target} leads nowhere; mend the path, it is read from the page's folder"
        ));
    };
    let anchor = anchor.filter(|_| found.ends_with(".md"))?;
    let has_anchor = Page::read(tree.text(&found).unwrap_or_default())
        .anchors
        .iter()
        .any(|known| known == anchor);
    (!has_anchor).then(|| format!("{found} has no heading for #{anchor}; use a heading's words, in small letters with hyphens"))
}

/// `docs` and `../edge/src` → `edge/src`; nothing when it leads out of the tree.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// `engine/src/` or `engine/src/log.rs`, but not `application/ipp`, `tests/*.rs` or `/etc/hosts`.
fn looks_like_path(span: &str) -> bool {
    let in_path = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
    let last = span.rsplit('/').next().unwrap_or_default();
    let has_extension = last.rsplit_once('.').is_some_and(|(name, extension)| {
        !name.is_empty()
            && (1..=5).contains(&extension.len())
            && extension.chars().all(char::is_alphabetic)
    });
    span.contains('/')
        && !span.starts_with('/')
        && span.chars().all(in_path)
        && (last.is_empty() || has_extension)
}

#[test]
fn no_link_is_dead() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_dead_link_is_found() {
    let (_folder, tree) = planted(&[
        (
            "README.md",
            "# Tour\n[code](engine/src/log.rs) [folder](docs) [top](#tour)\n[gone](gone.md)\n[web](https://a.example/b.md)\n",
        ),
        (
            "docs/page.md",
            "[up](../README.md#tour)\n[no heading](../README.md#toor)\n[out](../../README.md)\n[root](/engine/src/log.rs#L7)\n",
        ),
        ("engine/src/log.rs", ""),
    ]);
    assert_eq!(places(&findings(&tree)), ["README.md:3", "docs/page.md:2", "docs/page.md:3"]);
}

#[test]
fn a_path_in_backticks_that_is_gone_is_found() {
    let (_folder, tree) = planted(&[
        (
            "ARCHITECTURE.md",
            "`engine/src/log.rs` in `engine/src/`\n`engine/src/gone.rs`\n`journal/tail.bin`\n`application/ipp` `a/*.rs` `/etc/a.conf`\n",
        ),
        (
            "docs/decisions/0001-log.md",
            "`journal/tail.bin` `quinn-proto/src/lib.rs`\n`engine/gone/`\n",
        ),
        ("engine/FORMAT.md", "`src/log.rs`\n`src/gone.rs`\n"),
        ("engine/src/log.rs", ""),
    ]);
    assert_eq!(
        places(&findings(&tree)),
        [
            "ARCHITECTURE.md:2",
            "ARCHITECTURE.md:3",
            "docs/decisions/0001-log.md:2",
            "engine/FORMAT.md:2"
        ]
    );
}
