//! HTTP: whether the process is up, whether it can work, and its figures.
//!
//! Owns `/healthz`, `/readyz` and `/metrics`, and nothing else is served here.
//! There is no authentication yet, which is why nothing about devices or people
//! may be: bind it to loopback, or behind what does authenticate.
//! Invariant: what a visitor can make us hold is bounded: a place among few, one
//! request of a few lines, a short time. Who comes regularly connects again.

use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::places::{ACCEPT_PAUSE, Places, Turn};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use core::time::Duration;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tallyroll_schema::limits::local::{BODY_BYTES_MAX, REQUEST_BYTES_MAX, VISIT_TIME, VISITS_MAX};
use tokio::net::{TcpListener, TcpStream};

/// The keeper answers within this, or we are not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Shown {
    keeper: Keeper,
    metrics: Arc<Metrics>,
}

/// Serves until it is aborted.
pub async fn serve(listener: TcpListener, keeper: Keeper, metrics: Arc<Metrics>) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Shown { keeper, metrics });
    let mut places = Places::new(VISITS_MAX);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        places.seat(|turn| visit(stream, router.clone(), turn)).await;
    }
}

/// Answers one request.
async fn visit(stream: TcpStream, router: Router, turn: Turn) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        turn.take(); // if that is too late, the visit is being ended
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(REQUEST_BYTES_MAX);
    let answered = http.serve_connection(TokioIo::new(stream), service);
    drop(tokio::time::timeout(VISIT_TIME, answered).await); // the visitor sees how it ended
}

async fn ready(State(shown): State<Shown>) -> Response {
    // A full disk is tried here too: nobody else may come to a cloud that is not ready.
    let asked = shown.keeper.run(|replica| replica.hub.try_room());
    match tokio::time::timeout(READY_TIMEOUT, asked).await {
        Ok(Ok(())) => "ready\n".into_response(),
        Ok(Err(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy for two seconds\n").into_response(),
    }
}

async fn figures(State(shown): State<Shown>) -> Response {
    let held = shown.keeper.run(|replica| {
        let _ = replica.hub.try_room(); // what it finds is shown
        let logs = replica.hub.logs()?;
        let held = logs.iter().map(|log| log.events).sum::<u64>();
        let lent = crate::control::lent(replica);
        let apart = (replica.hub.quarantine()?.len(), replica.hub.quarantine_overflow());
        Ok((held, apart, lent, replica.hub.is_full()))
    });
    let Ok(Ok((held, (open, overflow), (leased, frozen), full))) =
        tokio::time::timeout(READY_TIMEOUT, held).await
    else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let metrics = &shown.metrics;
    metrics.disk_full.set(i64::from(full));
    metrics.events.set(i64::try_from(held).unwrap_or(i64::MAX));
    metrics.quarantine.set(i64::try_from(open).unwrap_or(i64::MAX));
    metrics.quarantine_overflow.set(i64::try_from(overflow).unwrap_or(i64::MAX));
    metrics.credits_leased.set(leased as f64 / 1000.0);
    metrics.credits_frozen.set(frozen as f64 / 1000.0);
    let commits = shown.keeper.last_commit().index;
    metrics.commits.set(i64::try_from(commits).unwrap_or(i64::MAX));
    match metrics.text() {
        Ok(text) => {
            let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, form)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
