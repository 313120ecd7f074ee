//! The URL an administrator hands to a branch: where, who, and whom to trust.
//!
//! Invariant: it carries the fingerprint of the cloud's authority, so nothing is
//! trusted on first use; it carries no secret (the PIN goes by another way).
//! Form: `tallyroll://HOST:PORT/NAME#FINGERPRINT`.

use crate::ids::{Fingerprint, IdParseError};
use core::fmt;
use std::str::FromStr;

/// Where and as whom to join.
///
/// ```
/// use tallyroll_schema::JoinUrl;
/// let text = format!("tallyroll://[::1]:4433/branch-1#{}", "ab".repeat(32));
/// let url: JoinUrl = text.parse()?;
/// assert_eq!((url.host.as_str(), url.port, url.name.as_str()), ("::1", 4433, "branch-1"));
/// assert_eq!(url.to_string(), text);
/// # Ok::<(), tallyroll_schema::IdParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinUrl {
    /// DNS name or address, an IPv6 one without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// The name the device was invited under.
    pub name: String,
    /// BLAKE3 of the authority's certificate (DER).
    pub authority: Fingerprint,
}

const SCHEME: &str = "tallyroll://";

impl fmt::Display for JoinUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, name, authority } = self;
        if host.contains(':') {
            write!(f, "{SCHEME}[{host}]:{port}/{name}#{authority}")
        } else {
            write!(f, "{SCHEME}{host}:{port}/{name}#{authority}")
        }
    }
}

impl FromStr for JoinUrl {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let parse = || {
            let rest = text.strip_prefix(SCHEME)?;
            let (place, authority) = rest.split_once('#')?;
            let (address, name) = place.split_once('/')?;
            let (host, port) = address.rsplit_once(':')?;
            let host = match host.strip_prefix('[') {
                Some(host) => host.strip_suffix(']')?,
                None if host.contains(':') => return None,
                None => host,
            };
            if host.is_empty() || name.is_empty() || name.contains('/') {
                return None;
            }
            let (port, authority) = (port.parse().ok()?, authority.parse().ok()?);
            Some(Self { host: host.into(), port, name: name.into(), authority })
        };
        let form = "tallyroll://HOST:PORT/NAME#FINGERPRINT, as `tallyroll enroll` printed it";
        parse().ok_or_else(|| IdParseError::new("join URL", form, text))
    }
}
