//! Hostile bytes: damage is detected or harmless, tampering is found, no input brings a
//! decoder down, and nobody does what is not his.
//!
//! Invariant: a failure prints its seed, or the place that was damaged. One binary; what the tests
//! are built from is in `tests/src/hostile`, and sizes beyond CI's are run by the binary `fuzz`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop where it stands")]

mod asking;
mod damage;
mod deciding;
mod decoders;
mod matrix;
mod naming;
mod tampering;
