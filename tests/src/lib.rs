//! What the tests are built from: the harness that is code of its own, used by more than one test.
//! The tests themselves are the three binaries beside it: `house/` reads the source tree, `sim/` runs the
//! engine under a virtual world, `it/` runs real processes and sockets.
//! Invariant: everything random here is drawn from a seed that a failing test prints.

pub mod drill;
pub mod fleet;
pub mod hostile;
pub mod mixed;
pub mod proxy;
pub mod recount;
pub mod sim;
pub mod soak;
