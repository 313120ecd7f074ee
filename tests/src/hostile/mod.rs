//! Hostile bytes: damage at rest, tampered logs, and inputs that no honest peer sends.
//!
//! Owns the cloud and device in memory to which it is done ([`place`]), damage to their bytes ([`damage`]),
//! tampering with a stored log ([`tampering`]) and the fuzzing of every decoder ([`fuzzing`]). Invariant: all of it is drawn from
//! a seed, and what is found is told with the line that shows it again. What must hold is said by
//! the tests in `tests/hostile`; sizes beyond CI's are run by the binary `fuzz`.

pub mod damage;
pub mod fuzzing;
pub mod image;
pub mod place;
pub mod shared;
pub mod tampering;
