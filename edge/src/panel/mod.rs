//! The panel: how a device's own software logs users in, has each page allowed before it happens, and
//! is told when to stop and to go on; a JSON API and a small page, described in `docs/panel.md`.
//!
//! Owns who is logged in and which jobs they run here. Invariant: a page is paid and durable before it
//! is answered as recorded, and a page number is recorded once: what was recorded is read off the
//! ledger, never remembered here. Leaves prices and rights to the engine, sockets to [`server`].

mod door;
mod feed;
mod jobs;
mod kept;
mod reply;
mod routes;
mod server;
mod sessions;
mod stops;
mod undecided;

pub use door::address_with_token;
pub use undecided::UNDECIDED_AFTER;

use crate::control::{Desk, listen};
use crate::data_dir::DataDir;
use crate::keeper::Keeper;
use crate::link::LinkState;
use core::time::Duration;
use door::Door;
use feed::Feed;
use jobs::Job;
use serde::Serialize;
use sessions::Session;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_schema::JobId;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// How the agent serves its panel.
#[derive(Debug, Clone, Copy)]
pub struct PanelOptions {
    /// Where on loopback, if at all; the socket is always there.
    pub address: Option<SocketAddr>,
    /// A job that is left undecided for so long counts as discarded.
    pub undecided_after: Duration,
}

/// Where a running agent's panel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PanelPlace {
    /// Its socket.
    pub socket: PathBuf,
    /// Its address on loopback, `http://HOST:PORT/`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Where the panel can be reached, before anybody is served.
pub struct Listening {
    socket: tokio::net::UnixListener,
    loopback: Option<(TcpListener, Door)>,
    /// Where.
    pub place: PanelPlace,
}

/// Opens the panel's sockets; the caller holds the directory's lock.
///
/// # Errors
/// The system's, or the token cannot be read or made.
pub async fn open(dir: &DataDir, options: &PanelOptions) -> io::Result<Listening> {
    let socket = listen(&dir.panel_socket())?;
    let mut place = PanelPlace { socket: dir.panel_socket(), url: None };
    let loopback = match options.address {
        Some(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            place.url = Some(format!("http://{address}/"));
            Some((listener, Door::of_loopback(dir, address)?))
        }
        None => None,
    };
    Ok(Listening { socket, loopback, place })
}

/// Serves the panel until what is returned is dropped.
pub async fn serve(
    listening: Listening,
    desk: &Desk,
    link: watch::Receiver<LinkState>,
    options: &PanelOptions,
) -> JoinSet<()> {
    let panel = Arc::new(Panel {
        keeper: desk.keeper.clone(),
        dir: desk.dir.clone(),
        link,
        feed: Feed::new(),
        open: Mutex::default(),
        saving: tokio::sync::Mutex::default(),
        stopped: Notify::new(),
    });
    panel.take_up().await;
    let router = routes::router(panel.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve_socket(listening.socket, router.clone()));
    if let Some((listener, door)) = listening.loopback {
        tasks.spawn(server::serve_loopback(listener, door, router));
    }
    tasks.spawn(stops::watch(panel.clone()));
    tasks.spawn(undecided::watch(panel, options.undecided_after));
    tasks
}

/// Everything the panel answers from.
pub(crate) struct Panel {
    keeper: Keeper,
    dir: DataDir,
    link: watch::Receiver<LinkState>,
    feed: Feed,
    open: Mutex<Open>,
    /// Held by who writes the file of sessions.
    saving: tokio::sync::Mutex<()>,
    /// Told when a job was stopped.
    stopped: Notify,
}

/// Who is logged in, by name, and their jobs: a user has one session, and all their jobs are in it.
#[derive(Default)]
struct Open {
    sessions: BTreeMap<String, Session>,
    jobs: BTreeMap<JobId, Arc<Job>>,
}

impl Panel {
    /// Never held across a wait; a panic elsewhere leaves nothing half done in it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_linked(&self) -> bool {
        matches!(&*self.link.borrow(), LinkState::Up { .. } | LinkState::Stopped { .. })
    }
}
