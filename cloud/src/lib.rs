//! The rim of the fleet: its files, the links to its devices, its people, its commands.
//!
//! Owns clock, entropy, sockets and the data directory; decides nothing that the
//! engine can decide. Invariant: one thread ([`keeper`]) owns the cloud's replica,
//! and every answer about durability comes from it.
//! Leaves rules and formats to engine and schema, and never sees the edge crate.

mod acts;
mod allocations;
mod anchor;
pub mod authority;
pub mod backup;
mod clock;
pub mod control;
pub mod data_dir;
pub mod http;
pub mod identity;
pub mod keeper;
pub mod links;
mod metrics;
pub mod opening;
pub mod people;
mod places;
pub mod public;
pub mod rates;
mod scrub;
mod secret_file;
pub mod server;
