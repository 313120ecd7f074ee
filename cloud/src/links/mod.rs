//! The links to devices.

pub mod tls;
