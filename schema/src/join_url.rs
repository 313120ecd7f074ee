//! The URL an administrator hands to a branch: where, who, and whom to trust.
//!
//! Invariant: it carries the fingerprint of the cloud's authority, so nothing is
//! trusted on first use; it carries no secret (the PIN goes by another way).
//! Form: `tallyroll://HOST:PORT/NAME#FINGERPRINT`, with `?tls=PORT` behind the name
//! where TLS over TCP has a port of its own.

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
/// assert_eq!((url.tls_port, url.to_string()), (None, text));
/// # Ok::<(), tallyroll_schema::IdParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinUrl {
    /// DNS name or address, an IPv6 one without brackets.
    pub host: String,
    /// UDP port, and TCP port unless there is another.
    pub port: u16,
    /// TCP port, where it is another.
    pub tls_port: Option<u16>,
    /// The name the device was invited under.
    pub name: String,
    /// BLAKE3 of the authority's certificate (DER).
    pub authority: Fingerprint,
}

const SCHEME: &str = "tallyroll://";
const TLS_PORT: &str = "?tls=";

impl JoinUrl {
    /// `HOST:PORT`, an IPv6 host in brackets.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for JoinUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.address(), self.name)?;
        if let Some(port) = self.tls_port {
            write!(f, "{TLS_PORT}{port}")?;
        }
        write!(f, "#{}", self.authority)
    }
}

impl FromStr for JoinUrl {
    type Err = IdParseError;

    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let parse = || {
            let rest = text.strip_prefix(SCHEME)?;
            let (place, authority) = rest.split_once('#')?;
            let (address, name) = place.split_once('/')?;
            let (name, tls_port) = match name.split_once(TLS_PORT) {
                Some((name, port)) => (name, Some(port.parse().ok()?)),
                None => (name, None),
            };
            let (host, port) = address.rsplit_once(':')?;
            let (host, is_v6) = match host.strip_prefix('[') {
                Some(host) => (host.strip_suffix(']')?, true),
                None => (host, false),
            };
            if host.contains(':') != is_v6 || host.contains(['[', ']']) {
                return None;
            }
            if host.is_empty() || name.is_empty() || name.contains(['/', '?']) {
                return None;
            }
            let (port, authority) = (port.parse().ok()?, authority.parse().ok()?);
            Some(Self { host: host.into(), port, tls_port, name: name.into(), authority })
        };
        let form = "tallyroll://HOST:PORT/NAME#FINGERPRINT, as `tallyroll enroll` printed it";
        parse().ok_or_else(|| IdParseError::new("join URL", form, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcp_port_of_its_own_is_carried_and_what_does_not_read_back_is_refused() {
        let text = |place: &str| format!("tallyroll://{place}#{}", "ab".repeat(32));
        let read = text("cloud.example.com:4433/branch-1?tls=443").parse::<JoinUrl>().expect("one");
        assert_eq!((read.port, read.tls_port, read.name.as_str()), (4433, Some(443), "branch-1"));
        assert_eq!(read.to_string(), text("cloud.example.com:4433/branch-1?tls=443"));
        for wrong in [
            "host:1/name?tls=",
            "host:1/name?tls=70000",
            "host:1/?tls=443",
            "host:1/name?tsl=443",
            "[host]:1/name",
            "[[::1]:1/name",
        ] {
            assert!(text(wrong).parse::<JoinUrl>().is_err(), "{wrong}");
        }
    }
}
