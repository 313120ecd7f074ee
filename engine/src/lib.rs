//! The deterministic core: logs, merging, sync, storage, folds and the domains.
//!
//! Invariant: no clock, no entropy, no socket, no thread, no async; time,
//! entropy and bytes are arguments (`clippy.toml` enforces it). So the simulator
//! runs this very code. The log *calls* a small storage trait; sync *returns*
//! its effects. Sockets, files, keys on disk and names are left to the rims.

#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

pub mod counts;
pub mod device;
mod error;
mod fetch;
pub mod fold;
pub mod hub;
pub mod keys;
pub mod log;
pub mod merge;
#[cfg(test)]
mod merge_tests;
pub mod planted;
pub mod store;
pub mod sync;

pub use error::{Error, Kind, Result};
