//! Rule: schema and engine are under the same bans.
//! clippy reads one `clippy.toml` a package and knows no inheritance, so the list is written twice; here it
//! is kept from growing apart. The engine may ban more: it has a store that could open files.
//! That the bans name real functions is left to clippy, which warns when one does not.

use crate::tree::{Finding, Tree, assert_kept, numbered, places, planted};

const SCHEMA: &str = "schema/clippy.toml";
const ENGINE: &str = "engine/clippy.toml";

fn findings(tree: &Tree) -> Vec<Finding> {
    let Some(schema) = tree.text(SCHEMA) else {
        return vec![Finding::new(
            SCHEMA,
            1,
            "there is none, so clippy lets clocks and entropy in; restore it",
        )];
    };
    let engine: Vec<_> = tree.text(ENGINE).unwrap_or_default().lines().collect();
    let lines = numbered(schema).filter(|(_, line)| !line.starts_with('#'));
    lines
        .filter(|(_, line)| !engine.contains(line))
        .map(|(number, line)| {
            Finding::new(
                SCHEMA,
                number,
                format!("`{}` is missing in {ENGINE}; add it there", line.trim()),
            )
        })
        .collect()
}

#[test]
fn schema_and_engine_ban_the_same() {
    assert_kept(&findings(&Tree::ours()));
}

#[test]
fn a_ban_in_schema_alone_is_found() {
    let (_folder, tree) = planted(&[
        (
            SCHEMA,
            "# schema\ndisallowed-methods = [\n    { path = \"a\" },\n    { path = \"b\" },\n]\n",
        ),
        (
            ENGINE,
            "# engine\ndisallowed-methods = [\n    { path = \"a\" },\n    { path = \"c\" },\n]\n",
        ),
    ]);
    assert_eq!(places(&findings(&tree)), ["schema/clippy.toml:4"]);
    let (_folder, tree) = planted(&[(ENGINE, "")]);
    assert_eq!(places(&findings(&tree)), ["schema/clippy.toml:1"]);
}
