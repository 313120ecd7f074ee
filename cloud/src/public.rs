//! Where devices reach this cloud: the address that join URLs carry.
//!
//! Invariant: an address that only means "everywhere here" is never handed out.
//! The last `serve` keeps what it knew in the data directory, so that `enroll`
//! works while nothing runs. Whether the address leads here is left to the network.

use crate::data_dir::DataDir;
use crate::secret_file;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The port that `serve` listens on unless told otherwise.
pub const PORT: u16 = 4433;
const TLS_PORT: &str = "?tls=";

/// `HOST[:PORT][?tls=PORT]`, an IPv6 address in brackets when a port follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Public {
    /// DNS name or address, an IPv6 one without brackets.
    pub host: String,
    /// UDP port, where it was said.
    pub port: Option<u16>,
    /// TCP port, where it was said; else the same.
    pub tls_port: Option<u16>,
}

/// A text that is no `HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: expected HOST or HOST:PORT, as cloud.example.com:4433 or [::1]:4433")]
pub struct NoAddress(String);

impl Public {
    /// What a socket's address says of where it is reached; nothing, if it is bound to all.
    pub fn of_socket(address: SocketAddr) -> Option<Self> {
        let reachable = !address.ip().is_unspecified();
        reachable.then(|| Self {
            host: address.ip().to_string(),
            port: Some(address.port()),
            tls_port: None,
        })
    }

    /// The same, with a port if it had none.
    pub fn or_port(self, port: u16) -> Self {
        Self { port: self.port.or(Some(port)), ..self }
    }

    /// The same, with a TCP port if it had none.
    pub fn or_tls_port(self, tls_port: Option<u16>) -> Self {
        Self { tls_port: self.tls_port.or(tls_port), ..self }
    }

    /// What the last `serve` kept.
    ///
    /// # Errors
    /// The system's, or the file is none of ours.
    pub fn load(dir: &DataDir) -> io::Result<Option<Self>> {
        let Some(bytes) = secret_file::read(&dir.public())? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        text.trim().parse().map(Some).map_err(io::Error::other)
    }

    /// Keeps what this `serve` knows.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(known: Option<&Self>, dir: &DataDir) -> io::Result<()> {
        match known {
            // A full disk is no reason not to start, so nothing is written that is there.
            Some(public) if Self::load(dir).is_ok_and(|kept| kept.as_ref() == Some(public)) => {
                Ok(())
            }
            Some(public) => secret_file::write(dir.root(), "public", public.to_string().as_bytes()),
            None => match std::fs::remove_file(dir.public()) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
                _ => Ok(()),
            },
        }
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (None, _) => f.write_str(&self.host),
        }?;
        self.tls_port.map_or(Ok(()), |port| write!(f, "{TLS_PORT}{port}"))
    }
}

impl FromStr for Public {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let (address, tls_port) = match text.split_once(TLS_PORT) {
            Some((address, port)) => match port.parse() {
                Ok(port @ 1..) => (address, Some(port)),
                _ => return Err(NoAddress(text.to_owned())),
            },
            None => (text, None),
        };
        let parse = || {
            let text = address;
            if let Ok(address) = text.parse::<Ipv6Addr>() {
                return Some((address.to_string(), None));
            }
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
                None => (text, None),
            };
            let host = match host.strip_prefix('[') {
                Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string(),
                None => host.to_owned(),
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
            let is_host = !host.is_empty() && host.chars().all(plain);
            is_host.then_some((host, port))
        };
        let (host, port) = parse().ok_or_else(|| NoAddress(text.to_owned()))?;
        let everywhere = host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified());
        if everywhere {
            return Err(NoAddress(text.to_owned()));
        }
        Ok(Self { host, port, tls_port })
    }
}

impl From<Public> for String {
    fn from(public: Public) -> Self {
        public.to_string()
    }
}

impl TryFrom<String> for Public {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in [
            "cloud.example.com",
            "10.0.0.1:4433",
            "[::1]:9",
            "::1",
            "cloud.example.com:4433?tls=443",
            "cloud.example.com?tls=443",
        ] {
            assert_eq!(text.parse::<Public>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            ":1",
            "a b",
            "host:",
            "host:0",
            "host:99999",
            "0.0.0.0",
            "[::]:1",
            "a/b",
            "a?tls=",
            "a?tls=0",
            "?tls=443",
        ] {
            assert!(wrong.parse::<Public>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_bound_to_all_addresses_says_nothing() {
        let of = |text: &str| Public::of_socket(text.parse().unwrap());
        assert_eq!(of("0.0.0.0:4433"), None);
        assert_eq!(of("[::]:4433"), None);
        assert_eq!(of("127.0.0.1:5").unwrap().to_string(), "127.0.0.1:5");
    }

    #[test]
    fn what_is_kept_is_known_until_nothing_is() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path());
        let public =
            Public { host: "cloud.example.com".into(), port: Some(7), tls_port: Some(443) };
        Public::keep(None, &dir).unwrap();
        Public::keep(Some(&public), &dir).unwrap();
        assert_eq!(Public::load(&dir).unwrap(), Some(public));
        Public::keep(None, &dir).unwrap();
        assert_eq!(Public::load(&dir).unwrap(), None);
    }
}
