//! The stages of an event's way, each with a line of output for each of its figures.
//!
//! Owns nothing but their list. Invariant: a stage makes what it needs, or is given it by the one before; it
//! leaves nothing behind. What is common to them lies beside this folder.

pub mod apart;
pub mod append;
pub mod backlog;
pub mod freshness;
pub mod past;
pub mod replay;
pub mod writers;
