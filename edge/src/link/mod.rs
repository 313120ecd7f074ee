//! The link to the cloud.

pub mod fingerprint;
pub mod tls;
