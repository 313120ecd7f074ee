//! The rules of the house, as tests: what a reviewer should not have to say twice.
//! One file a rule. Each holds the rule as a function over a tree, one test that our own tree keeps it, and
//! one that a planted violation is found, because a rule that cannot fail is a wish.
//! A new rule: a file here, its `mod` line, and its two tests. What the compiler can enforce is left to the
//! lints in `Cargo.toml` and the `clippy.toml` files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop where it stands")]

mod markdown;
mod tree;
mod workspace;

mod banned_crates;
mod banned_names;
mod dead_links;
mod decision_numbers;
mod dependency_direction;
mod file_length;
mod forgotten_files;
mod module_headers;
mod places;
mod planted_bugs;
mod same_bans;
mod unfinished_work;
