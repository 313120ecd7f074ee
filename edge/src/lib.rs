//! The rim of one device: its files, its link to the cloud, its drivers, its commands.
//!
//! Owns clock, entropy, sockets and the data directory; decides nothing that the
//! engine can decide. Invariant: one thread ([`keeper`]) owns the device's
//! replica, and every answer about durability comes from it.
//! Leaves rules and formats to engine and schema, and never sees the cloud crate.

pub mod agent;
mod anchor;
pub mod backup;
pub mod control;
pub mod counts;
pub mod data_dir;
pub mod identity;
mod journal_file;
pub mod keeper;
pub mod link;
pub mod panel;
pub mod people;
pub mod rekeying;
mod reserve;
mod revocation;
mod scrub;
mod secret_file;
