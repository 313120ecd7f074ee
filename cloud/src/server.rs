//! The running cloud: keeper, links, control socket and HTTP, until told to stop.
//!
//! Invariant: nothing listens before the files are open and the directory is
//! ours, and `ready` is said when all of it listens. A stop lets what waits be
//! stored and answered; a failed write ends the process with the reason.

use crate::authority::Authority;
use crate::control;
use crate::control::desk::Desk;
use crate::control::reach::{Place, ReachError, place};
use crate::data_dir::{DataDir, DataDirError};
use crate::http;
use crate::keeper;
use crate::links::endpoint::{self, EndpointSecret};
use crate::links::tls::{TlsError, server_config};
use crate::links::{Links, Live};
use crate::metrics::Metrics;
use crate::opening::{OpenError, Opened, open};
use crate::public::Public;
use core::time::Duration;
use quinn::Endpoint;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tallyroll_engine::{Error, Kind};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::info;

/// Devices may take so long to hear that the cloud stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Where to listen, and what to call it.
#[derive(Debug, Clone)]
pub struct Listen {
    /// For devices, UDP.
    pub quic: SocketAddr,
    /// For health and metrics, TCP.
    pub http: SocketAddr,
    /// What join URLs carry, if not the QUIC address.
    pub public: Option<Public>,
}

/// Where a cloud listens.
#[derive(Debug, Clone)]
pub struct Ready {
    /// For devices.
    pub quic: SocketAddr,
    /// For health and metrics.
    pub http: SocketAddr,
    /// Where devices reach it, if it is known.
    pub public: Option<Public>,
}

/// Why a cloud cannot be served, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory is held or cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Another process has the directory.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// A file in it cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket or signal cannot be used.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// A write failed.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl ServeError {
    /// Whether the same may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::DataDir(why) => why.is_temporary(),
            Self::Reach(why) => why.is_temporary(),
            Self::Open(why) => why.is_temporary(),
            Self::Engine(why) => matches!(why.kind(), Kind::Full | Kind::Retry),
            Self::Tls(_) | Self::System { .. } => false,
        }
    }
}

/// Serves the cloud in `dir` until SIGTERM or SIGINT; `ready` is called once.
///
/// # Errors
/// It cannot begin, or a write failed.
pub async fn serve(
    dir: &DataDir,
    listen: Listen,
    ready: impl FnOnce(&Ready) -> io::Result<()>,
) -> Result<(), ServeError> {
    dir.create()?;
    let _lock = match place(dir, "serve").await? {
        Place::Ours(lock) => lock,
        Place::Served => dir.lock("serve")?, // refused, with who serves
    };
    let Opened { replica, authority, endpoint: secret } = open(dir)?;
    let Sockets { endpoint, web, control, at } = bind(dir, listen, &authority, secret).await?;
    // Listened for before it is said to be ready: who then says stop, is heard.
    let signals = || Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    let (mut terminate, mut interrupt) = signals().map_err(system("listen for signals"))?;

    let metrics = Arc::new(Metrics::new());
    let live = Live::new(metrics.sessions.clone());
    let (keeper, running) = keeper::start(replica);
    let links = Links::new(keeper.clone(), live.clone(), metrics.clone());
    let desk = Desk {
        keeper: keeper.clone(),
        authority: authority.fingerprint(),
        public: at.public.clone(),
        port: at.quic.port(),
        live: Some(live),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(links.serve(endpoint.clone()));
    tasks.spawn(control::serve(control, desk));
    tasks.spawn(http::serve(web, keeper.clone(), metrics));
    ready(&at).map_err(system("say that it is ready"))?;
    tokio::select! {
        _ = terminate.recv() => info!("stopping"),
        _ = interrupt.recv() => info!("stopping"),
        () = keeper.ended() => {}
    }

    endpoint.close(0u32.into(), b"the cloud stops; come again");
    drop(tokio::time::timeout(STOP_TIMEOUT, endpoint.wait_idle()).await);
    tasks.shutdown().await;
    drop(std::fs::remove_file(dir.socket())); // a new one is made at the next start
    keeper.stop().await;
    Ok(running.join().await?)
}

/// Everything that listens.
struct Sockets {
    endpoint: Endpoint,
    web: TcpListener,
    control: UnixListener,
    at: Ready,
}

async fn bind(
    dir: &DataDir,
    listen: Listen,
    authority: &Authority,
    secret: EndpointSecret,
) -> Result<Sockets, ServeError> {
    let Listen { quic, http, public } = listen;
    let endpoint = endpoint::open(secret, server_config(authority)?, quic)
        .map_err(system(format!("listen on udp {quic}")))?;
    let web = TcpListener::bind(http).await.map_err(system(format!("listen on tcp {http}")))?;
    let socket = dir.socket();
    let control =
        control::listen(dir).map_err(system(format!("listen on {}", socket.display())))?;
    let quic = endpoint.local_addr().map_err(system("ask for the udp address"))?;
    let http = web.local_addr().map_err(system("ask for the tcp address"))?;
    let public = public.map(|public| public.or_port(quic.port()));
    let public = public.or_else(|| Public::of_socket(quic));
    let kept = Public::keep(public.as_ref(), dir);
    kept.map_err(system(format!("write {}", dir.public().display())))?;
    Ok(Sockets { endpoint, web, control, at: Ready { quic, http, public } })
}

fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServeError {
    let doing = doing.into();
    |source| ServeError::System { doing, source }
}
