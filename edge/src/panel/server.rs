//! The panel's sockets: how many may come, and for how long.
//!
//! Invariant: a visitor is one request of a few kilobytes and a short time; who sends no header within
//! seconds goes. The socket and loopback have places of their own, so that nobody on loopback keeps
//! the device's own software out. All visits end with their server.

use super::door::Door;
use axum::Router;
use axum::response::IntoResponse;
use core::convert::Infallible;
use core::time::Duration;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tallyroll_schema::limits::local::{
    PANEL_VISITS_MAX, REQUEST_BYTES_MAX, SILENCE_MAX, VISIT_TIME,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// After nobody could be let in: out of descriptors, most likely, and it passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the socket for ever.
pub(super) async fn serve_socket(listener: UnixListener, router: Router) {
    let mut visits = Visits::new(None, router);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => visits.seat(stream).await,
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves loopback for ever.
pub(super) async fn serve_loopback(listener: TcpListener, door: Door, router: Router) {
    let mut visits = Visits::new(Some(Arc::new(door)), router);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => visits.seat(stream).await,
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

struct Visits {
    door: Option<Arc<Door>>,
    router: Router,
    free: Arc<Semaphore>,
    running: JoinSet<()>,
}

impl Visits {
    fn new(door: Option<Arc<Door>>, router: Router) -> Self {
        let free = Arc::new(Semaphore::new(PANEL_VISITS_MAX));
        Self { door, router, free, running: JoinSet::new() }
    }

    /// Begins a visit as soon as there is a place.
    async fn seat(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        while self.running.try_join_next().is_some() {}
        let Ok(place) = self.free.clone().acquire_owned().await else { return }; // it is never closed
        let (door, router) = (self.door.clone(), self.router.clone());
        self.running.spawn(async move {
            visit(stream, door, router).await;
            drop(place);
        });
    }
}

/// Answers one request.
async fn visit(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Option<Arc<Door>>,
    router: Router,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let answered = match door.as_ref().and_then(|door| door.refusal(&request)) {
            None => Ok(router.call(request)),
            Some(refusal) => Err(refusal),
        };
        async {
            match answered {
                Ok(answer) => answer.await,
                Err(refusal) => Ok::<_, Infallible>(refusal.into_response()),
            }
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE_MAX);
    http.keep_alive(false).max_buf_size(REQUEST_BYTES_MAX);
    let answered = http.serve_connection(TokioIo::new(stream), service);
    drop(timeout(VISIT_TIME, answered).await); // the visitor sees how it ended
}
