//! A branch's panel, asked as the software of a scanner or printer asks (docs/panel.md).
//!
//! One request a connection, by the Unix socket in the branch's data directory.
//! Invariant: whoever does not know what became of a request repeats it; the panel
//! promises that no page is recorded twice by that. What is asked is the visitor's.

use core::time::Duration;
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A page that waits for credits is answered after six seconds.
const ANSWER_TIME: Duration = Duration::from_secs(20);
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
        let mut stream = UnixStream::connect(&self.socket).await?;
        let body = body.to_string();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: panel\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        read(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Status and body; nothing of an answer that was cut short.
fn read(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_that_was_cut_short_is_none() {
        let answer = "HTTP/1.1 409 Conflict\r\ncontent-length: 18\r\n\r\n{\"reason\": \"zero\"}";
        assert_eq!(read(answer), Some((409, json!({ "reason": "zero" }))));
        for cut in 0..answer.len() {
            assert_eq!(read(&answer[..cut]), None, "{cut}");
        }
    }
}
