//! The people this device sees, and the aliases it gives them.

pub mod sealed;
