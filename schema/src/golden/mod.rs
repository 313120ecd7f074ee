//! Golden files: the bytes and texts that this build must read and write for ever.
//!
//! Owns the tests over `schema/golden/` and `schema/FORMAT.md`. Invariant: a file
//! is only ever written by a run with `TALLYROLL_BLESS=1`, whose diff a person
//! reads; what a released version wrote is never blessed away. Testing the parts
//! that need no frozen bytes is left to the modules that own them.

mod acts;
mod events;
mod evolution;
mod files;
mod hostile;
mod limits;
mod paper;
mod samples;
mod statements;
mod wire;
