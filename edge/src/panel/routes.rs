//! The panel's requests, and the page's three files.
//!
//! Invariant: what a request has begun is finished, also when who asked went away; so a client that
//! repeats it finds it done. Each request is described in `docs/panel.md`.

use super::Panel;
use super::jobs::{Ending, Look, Page, Wish};
use super::reply::{HEADERS, Refusal, answer, read};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tallyroll_schema::JobId;

type Shared = State<Arc<Panel>>;
type Answered = Result<Response, Refusal>;

pub(super) fn router(panel: Arc<Panel>) -> Router {
    let html = async || file("text/html; charset=utf-8", include_str!("page/panel.html"));
    let script = async || file("text/javascript; charset=utf-8", include_str!("page/panel.js"));
    let style = async || file("text/css; charset=utf-8", include_str!("page/panel.css"));
    Router::new()
        .route("/", get(html))
        .route("/panel.js", get(script))
        .route("/panel.css", get(style))
        .route("/v1/sessions", post(log_in))
        .route("/v1/sessions/{session}", get(session).delete(log_out))
        .route("/v1/jobs", post(begin))
        .route("/v1/jobs/{job}", get(job))
        .route("/v1/jobs/{job}/pages", post(page))
        .route("/v1/jobs/{job}/end", post(end))
        .route("/v1/jobs/{job}/discard", post(discard))
        .route("/v1/events", get(events))
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "unknown", "no such request; see docs/panel.md")
        })
        .method_not_allowed_fallback(async || {
            let why = "not by this method; see docs/panel.md";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "unknown", why)
        })
        .with_state(panel)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    (HEADERS, [(CONTENT_TYPE, kind)], text).into_response()
}

/// Finishes what was begun, whoever waits for it.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(Refusal::busy("the agent is stopping; ask again")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Login {
    user: String,
}

async fn log_in(State(panel): Shared, body: Body) -> Answered {
    let Login { user } = read(body).await?;
    let session = whole(async move { panel.log_in(user).await }).await?;
    Ok(answer(StatusCode::CREATED, &session))
}

async fn session(State(panel): Shared, Path(session): Path<String>) -> Answered {
    Ok(answer(StatusCode::OK, &panel.session(&session).await?))
}

async fn log_out(State(panel): Shared, Path(session): Path<String>) -> Answered {
    let ended = whole(async move { panel.log_out(&session).await }).await?;
    Ok(answer(StatusCode::OK, &json!({ "ended": ended })))
}

async fn begin(State(panel): Shared, body: Body) -> Answered {
    let wish: Wish = read(body).await?;
    let view = whole(async move { panel.begin(wish).await }).await?;
    let begun = view.message().is_none();
    Ok(answer(if begun { StatusCode::CREATED } else { StatusCode::CONFLICT }, &view))
}

async fn job(State(panel): Shared, Path(job): Path<String>) -> Answered {
    Ok(answer(StatusCode::OK, &panel.job_view(id(&job)?).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PageSaid {
    page: u32,
    #[serde(flatten)]
    look: Look,
}

#[derive(Serialize)]
struct PageAnswer<T, V> {
    page: u32,
    position: Option<T>,
    job: V,
}

async fn page(State(panel): Shared, Path(job): Path<String>, body: Body) -> Answered {
    let (job, PageSaid { page, look }) = (id(&job)?, read(body).await?);
    match whole(async move { panel.page(job, page, look).await }).await? {
        Page::Recorded { position, view } => {
            Ok(answer(StatusCode::OK, &PageAnswer { page, position, job: view }))
        }
        Page::Stopped(view) => Ok(answer(StatusCode::CONFLICT, &view)),
    }
}

async fn end(State(panel): Shared, Path(job): Path<String>) -> Answered {
    ending(panel, &job, Ending::End).await
}

async fn discard(State(panel): Shared, Path(job): Path<String>) -> Answered {
    ending(panel, &job, Ending::Discard).await
}

async fn ending(panel: Arc<Panel>, job: &str, ending: Ending) -> Answered {
    let job = id(job)?;
    let view = whole(async move { panel.end(job, ending).await }).await?;
    Ok(answer(StatusCode::OK, &view))
}

async fn events(State(panel): Shared, uri: Uri) -> Answered {
    let asked = uri.query().unwrap_or_default();
    let cursor = asked.split('&').find_map(|pair| pair.strip_prefix("after="));
    Ok(answer(StatusCode::OK, &panel.feed.after(cursor).await?))
}

fn id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|why: tallyroll_schema::IdParseError| Refusal::wrong(why.to_string()))
}
