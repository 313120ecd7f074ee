//! The people behind the aliases.

pub mod sealed;
