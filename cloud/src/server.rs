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
use crate::keeper::{self, Keeper, Replica, Unanswered};
use crate::links::endpoint::{self, EndpointSecret};
use crate::links::tls::{TlsError, server_config, tls_config};
use crate::links::{Attention, Links, Listener, Live};
use crate::metrics::Metrics;
use crate::opening::{OpenError, Opened, open};
use crate::public::Public;
use core::time::Duration;
use quinn::{Endpoint, ServerConfig};
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
/// How often the calendar is looked at: allotments come on the first of a month, within this.
const TICK: Duration = Duration::from_secs(60);
/// Ports that the system may choose before one is free for both ways.
const PORTS_TRIED: u32 = 16;

/// Where to listen, and what to call it.
#[derive(Debug, Clone)]
pub struct Listen {
    /// For devices, UDP.
    pub quic: SocketAddr,
    /// For devices whose network blocks UDP, TCP; the same as `quic`, if absent.
    pub tls: Option<SocketAddr>,
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
    /// For devices whose network blocks UDP.
    pub tls: SocketAddr,
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

/// Serves the cloud in `dir` until SIGTERM or SIGINT; `ready` is called once. `accounts_only` says, from now on,
/// whether it is an account server, and nothing if it stays what it is.
///
/// # Errors
/// It cannot begin, or a write failed.
pub async fn serve(
    dir: &DataDir,
    listen: Listen,
    accounts_only: Option<bool>,
    ready: impl FnOnce(&Ready) -> io::Result<()>,
) -> Result<(), ServeError> {
    dir.create()?;
    let _lock = match place(dir, "serve").await? {
        Place::Ours(lock) => lock,
        Place::Served => dir.lock("serve")?, // refused, with who serves
    };
    let Opened { mut replica, authority, endpoint: secret } = open(dir)?;
    if let Some(accounts_only) = accounts_only {
        replica.hub.set_account_server(accounts_only)?;
    }
    if replica.hub.is_account_server() {
        info!("an account server: acts come from processing servers by their links");
    }
    if let Some(recovery) = replica.hub.recovery() {
        keeper::tell_frozen(&recovery);
    }
    let sockets = bind(dir, listen, &authority, secret).await?;
    let Sockets { endpoint, listener, web, control, at, join_tls_port } = sockets;
    // Listened for before it is said to be ready: who then says stop, is heard.
    let signals = || Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    let (mut terminate, mut interrupt) = signals().map_err(system("listen for signals"))?;

    let metrics = Arc::new(Metrics::new());
    let live = Live::new(metrics.sessions.clone());
    let (keeper, running) = keeper::start(replica, Some(live.clone()));
    let attention = Attention::default();
    let links = Links::new(keeper.clone(), live.clone(), attention.clone(), metrics.clone());
    let desk = Desk {
        dir: dir.clone(),
        keeper: keeper.clone(),
        authority: authority.fingerprint(),
        public: at.public.clone(),
        port: at.quic.port(),
        tls_port: join_tls_port,
        live: Some(live),
        attention,
    };
    let (mut linking, mut tasks) = (JoinSet::new(), JoinSet::new());
    linking.spawn(links.serve(endpoint.clone(), listener));
    tasks.spawn(control::serve(control, desk));
    tasks.spawn(tick(keeper.clone()));
    tasks.spawn(http::serve(web, keeper.clone(), metrics));
    ready(&at).map_err(system("say that it is ready"))?;
    tokio::select! {
        _ = terminate.recv() => info!("stopping"),
        _ = interrupt.recv() => info!("stopping"),
        () = keeper.ended() => {}
    }

    endpoint.close(0u32.into(), b"the cloud stops; come again");
    let told = async {
        while linking.join_next().await.is_some() {}
        endpoint.wait_idle().await;
    };
    drop(tokio::time::timeout(STOP_TIMEOUT, told).await);
    linking.shutdown().await;
    tasks.shutdown().await;
    drop(std::fs::remove_file(dir.socket())); // a new one is made at the next start
    keeper.stop().await;
    Ok(running.join().await?)
}

/// Has the keeper do what is due by the calendar, until it ends.
async fn tick(keeper: Keeper) {
    loop {
        tokio::time::sleep(TICK).await;
        if let Err(Unanswered::Gone) = keeper.run(Replica::tick).await {
            return; // what else went wrong is in the log, and tried again
        }
    }
}

/// Everything that listens.
struct Sockets {
    endpoint: Endpoint,
    listener: Listener,
    web: TcpListener,
    control: UnixListener,
    at: Ready,
    /// What join URLs say of TCP, where it is another port.
    join_tls_port: Option<u16>,
}

async fn bind(
    dir: &DataDir,
    listen: Listen,
    authority: &Authority,
    secret: EndpointSecret,
) -> Result<Sockets, ServeError> {
    let Listen { quic, tls, http, public } = listen;
    let (endpoint, tcp) = bind_links(quic, tls, server_config(authority)?, secret).await?;
    let listener = tls_config(authority)?;
    let web = TcpListener::bind(http).await.map_err(system(format!("listen on tcp {http}")))?;
    let socket = dir.socket();
    let control =
        control::listen(dir).map_err(system(format!("listen on {}", socket.display())))?;
    let quic = endpoint.local_addr().map_err(system("ask for the udp address"))?;
    let http = web.local_addr().map_err(system("ask for the tcp address"))?;
    let at_tls = tcp.local_addr().map_err(system("ask for the tcp address"))?;
    let join_tls_port = tls.map(|_| at_tls.port());
    let public = public.map(|public| public.or_port(quic.port()));
    let public = public.or_else(|| Public::of_socket(quic));
    let public = public.map(|public| public.or_tls_port(join_tls_port));
    let kept = Public::keep(public.as_ref(), dir);
    kept.map_err(system(format!("write {}", dir.public().display())))?;
    let at = Ready { quic, tls: at_tls, http, public };
    let listener = Listener::new(tcp, Arc::new(listener));
    Ok(Sockets { endpoint, listener, web, control, at, join_tls_port })
}

/// Takes one port number for both ways, unless TCP was given an address of its own.
async fn bind_links(
    quic: SocketAddr,
    tls: Option<SocketAddr>,
    config: ServerConfig,
    secret: EndpointSecret,
) -> Result<(Endpoint, TcpListener), ServeError> {
    // A port that the system chose for TCP may be another's for UDP; then it chooses again.
    let mut again = if quic.port() == 0 && tls.is_none() { PORTS_TRIED } else { 0 };
    loop {
        let tcp = tls.unwrap_or(quic);
        let tcp = TcpListener::bind(tcp).await.map_err(system(format!(
            "listen on tcp {tcp} for devices (--tls says another address)"
        )))?;
        let port = tcp.local_addr().map_err(system("ask for the tcp address"))?.port();
        let udp = if tls.is_none() { SocketAddr::new(quic.ip(), port) } else { quic };
        match endpoint::open(secret, config.clone(), udp) {
            Ok(endpoint) => return Ok((endpoint, tcp)),
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && again > 0 => again -= 1,
            Err(why) => return Err(system(format!("listen on udp {udp}"))(why)),
        }
    }
}

fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServeError {
    let doing = doing.into();
    |source| ServeError::System { doing, source }
}
