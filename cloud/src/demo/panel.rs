//! A branch's panel, asked as the software of a scanner or printer asks (docs/panel.md).
//!
//! One request a connection, by the Unix socket in the branch's data directory.
//! Invariant: whoever does not know what became of a request repeats it; the panel
//! promises that no page is recorded twice by that. What is asked is the visitor's.

use axum::body::{Body, to_bytes};
use core::time::Duration;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A page that waits for credits is answered after six seconds.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// A session, a page or a stop, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Where a panel is.
#[derive(Debug)]
pub(super) struct Panel {
    socket: PathBuf,
}

impl Panel {
    /// The panel of whoever listens at `socket`, now or later.
    pub(super) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks until it is answered: the agent may be killed and start again meanwhile.
    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        loop {
            match timeout(ANSWER_TIME, self.post_once(path, body)).await {
                Ok(Ok((status, said))) if status != 503 => return (status, said),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn post_once(&self, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::post(path).header(HOST, "panel");
        let request = request.body(Body::from(body.to_string())).map_err(io::Error::other)?;
        let asked = async {
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            let (status, body) = (answer.status().as_u16(), Body::new(answer.into_body()));
            let said = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(io::Error::other)?;
            Ok((status, serde_json::from_slice(&said)?))
        };
        tokio::pin!(asked);
        tokio::select! {
            said = &mut asked => said,
            // It may end with the answer's last byte.
            ended = connection => { ended.map_err(io::Error::other)?; asked.await }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn an_answer_that_was_cut_short_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let panel = Panel::at(dir.path().join("panel.sock"));
        let listener = UnixListener::bind(&panel.socket).unwrap();
        let answer = "HTTP/1.1 409 Conflict\r\ncontent-length: 18\r\n\r\n{\"reason\": \"zero\"}";
        for length in [0, 9, 40, answer.len() - 1, answer.len()] {
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(&answer.as_bytes()[..length]).await.unwrap();
            };
            let asked = json!({ "page": 1 });
            let (_, said) = tokio::join!(serve, panel.post_once("/v1/jobs", &asked));
            let whole = (length == answer.len()).then(|| (409, json!({ "reason": "zero" })));
            assert_eq!(said.ok(), whole, "{length}");
        }
    }
}
