//! Answers of the panel, as JSON, and why there is none.
//!
//! Invariant: every answer is JSON with a status that a program can go by, and every refusal says in
//! words what to do. Nothing is kept by a browser. What is answered is left to the routes.

use crate::keeper::Gone;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tallyroll_schema::limits::local::{ASK_TIMEOUT, PANEL_BODY_BYTES_MAX};
use tokio::time::timeout;

/// Why a request is not answered as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// For programs.
    pub(super) code: &'static str,
    /// For people.
    pub(super) error: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self { status, code, error: error.into() }
    }

    pub(super) fn wrong(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "wrong", error)
    }

    pub(super) fn busy(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error)
    }

    pub(super) fn refused(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", error)
    }
}

impl From<Gone> for Refusal {
    fn from(gone: Gone) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", gone.to_string())
    }
}

impl From<tallyroll_engine::Error> for Refusal {
    fn from(why: tallyroll_engine::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", why.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        answer(self.status, &json!({ "code": self.code, "error": self.error }))
    }
}

/// Headers of every answer: nothing of it is kept, guessed at, or shown within another page.
pub(super) const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

/// An answer in JSON.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).unwrap_or_default(); // plain data is always written
    (status, HEADERS, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Reads a request's body.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let Ok(read) = timeout(ASK_TIMEOUT, to_bytes(body, PANEL_BODY_BYTES_MAX)).await else {
        let why = format!("the body did not come within {} s", ASK_TIMEOUT.as_secs());
        return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow", why));
    };
    let bytes = read.map_err(|_| {
        let why =
            format!("a body of more than {PANEL_BODY_BYTES_MAX} bytes, or one that broke off");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "large", why)
    })?;
    serde_json::from_slice(&bytes).map_err(|why| {
        Refusal::wrong(format!("not what is expected here: {why}; see docs/panel.md"))
    })
}
