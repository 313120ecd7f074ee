//! Who may come in by loopback: other users of this machine, and every page that a browser on it
//! shows, can connect; only who can read the token's file may ask.
//!
//! Invariant: no request by loopback reaches the API without the token, by another name than this
//! address's (DNS rebinding), or from another page than ours. The token is in a file that only the
//! owner reads, in no log and on no command line. The socket needs no door: its mode is one.

use super::reply::Refusal;
use crate::data_dir::DataDir;
use crate::secret_file;
use axum::http::{HeaderMap, Request, StatusCode, header};
use std::io;
use std::net::SocketAddr;

const TOKEN_FILE: &str = "panel.token";
const TOKEN_BYTES: usize = 32;

/// What lets a request in.
#[derive(Clone)]
pub(super) struct Door {
    /// Names of this address, as a `Host` header has them.
    hosts: Vec<String>,
    /// Hashes are compared, in constant time.
    token: blake3::Hash,
}

impl Door {
    /// The door of an address; the token is made if there is none.
    pub(super) fn of_loopback(dir: &DataDir, address: SocketAddr) -> io::Result<Self> {
        let hosts = vec![address.to_string(), format!("localhost:{}", address.port())];
        Ok(Self { hosts, token: blake3::hash(token(dir)?.as_bytes()) })
    }

    /// Why a request is not let in, if it is not.
    pub(super) fn refusal<B>(&self, request: &Request<B>) -> Option<Refusal> {
        let forbidden = |why: &str| Some(Refusal::new(StatusCode::FORBIDDEN, "forbidden", why));
        let headers = request.headers();
        let Some(host) = only(headers, "host").filter(|host| self.hosts.iter().any(|h| h == host))
        else {
            return forbidden(
                "this is not the name of the panel; use the address that `tallyroll-edge panel` prints",
            );
        };
        let own = format!("http://{host}");
        let elsewhere = headers.contains_key(header::ORIGIN)
            && only(headers, "origin").is_none_or(|origin| origin != own);
        let site = only(headers, "sec-fetch-site");
        if elsewhere || site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
            return forbidden("another page asks; only the panel's own may");
        }
        let open = !request.uri().path().starts_with("/v1");
        (!open && !self.knows(headers)).then(|| {
            let why = "no token, or not this one; open the address that `tallyroll-edge panel` prints, \
                or send `Authorization: Bearer` with the content of `panel.token`";
            Refusal::new(StatusCode::UNAUTHORIZED, "token", why)
        })
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let shown = only(headers, "authorization").and_then(|text| text.strip_prefix("Bearer "));
        shown.is_some_and(|shown| blake3::hash(shown.as_bytes()) == self.token)
    }
}

/// A header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The panel's address for a browser, with the token where no server and no log sees it.
///
/// # Errors
/// There is no token, or it is not ours to read.
pub fn address_with_token(dir: &DataDir, url: &str) -> io::Result<String> {
    Ok(format!("{url}#{}", token(dir)?))
}

fn token(dir: &DataDir) -> io::Result<String> {
    if let Some(bytes) = secret_file::read(&dir.root().join(TOKEN_FILE))? {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.len() == TOKEN_BYTES * 2 {
            return Ok(text);
        }
    }
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let text = blake3::Hash::from_bytes(bytes).to_hex().to_string();
    secret_file::write(dir.root(), TOKEN_FILE, text.as_bytes())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(door: &Door, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("is a request");
        door.refusal(&request).map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn only_who_has_the_token_and_asks_for_this_address_comes_in() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = DataDir::new(root.path());
        let address: SocketAddr = "127.0.0.1:8631".parse().expect("is one");
        let door = Door::of_loopback(&dir, address).expect("opens");
        let token = format!("Bearer {}", token(&dir).expect("is there"));
        assert_eq!(Door::of_loopback(&dir, address).expect("opens").token, door.token, "kept");
        let (host, known) = (("host", "127.0.0.1:8631"), ("authorization", token.as_str()));
        let own = ("origin", "http://127.0.0.1:8631");
        assert_eq!(status(&door, "/v1/events", &[host, known]), None);
        assert_eq!(status(&door, "/v1/events", &[host, known, own]), None);
        assert_eq!(status(&door, "/", &[("host", "localhost:8631")]), None, "the page itself");
        for (path, headers, expected) in [
            ("/v1/events", vec![host], 401),
            ("/v1/events", vec![host, ("authorization", "Bearer 00")], 401),
            ("/v1/events", vec![host, known, known], 401),
            ("/v1/events", vec![("host", "evil.example:8631"), known], 403),
            ("/v1/events", vec![("host", "127.0.0.1"), known], 403),
            ("/", vec![("host", "evil.example")], 403),
            ("/", vec![], 403),
            ("/v1/jobs", vec![host, known, ("origin", "http://evil.example")], 403),
            ("/v1/jobs", vec![host, known, ("origin", "null")], 403),
            ("/v1/jobs", vec![host, known, own, own], 403),
            ("/v1/jobs", vec![host, known, ("sec-fetch-site", "cross-site")], 403),
        ] {
            assert_eq!(status(&door, path, &headers), Some(expected), "{path} {headers:?}");
        }
    }
}
