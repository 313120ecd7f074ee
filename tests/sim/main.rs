//! The simulator's tests: CI's histories, planted bugs, the naive counter, and seeds that once failed.
//!
//! Invariant: a failure prints the seed, the history and the one line that runs it again. One binary;
//! the simulator itself is in `tests/src/sim`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop where it stands")]

mod histories;
mod naive;
mod planted;
mod regressions;
