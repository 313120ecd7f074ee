//! The running agent: keeper, link, control socket and panel, until it is told to stop.
//!
//! Invariant: everything recorded is served and kept with or without a link, and
//! a stop seals and leaves nothing behind. A failed write ends the process with
//! the reason; the next start replays what is durable.

use crate::control::reach::{Place, open_desk, place};
use crate::control::{self, Desk, clients};
use crate::data_dir::DataDir;
use crate::identity::{Enrolment, Keys};
use crate::link;
use crate::panel::{self, PanelOptions};
use core::time::Duration;
use miette::{IntoDiagnostic, Result, WrapErr};
use std::io::Write;
use tallyroll_engine::device::Retention;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Runs the device in `dir` until SIGTERM or SIGINT; it prunes what `retention` does not keep, gives back
/// leases that nobody spent from for `lease_idle`, and serves its panel by `options`.
///
/// # Errors
/// Not joined, held by another process, files or sockets that cannot be used,
/// or a failed write.
pub async fn run(
    dir: &DataDir,
    retention: Retention,
    lease_idle: Duration,
    options: PanelOptions,
) -> Result<()> {
    dir.refuse_if_too_long()?;
    let enrolment = Enrolment::load(dir).into_diagnostic()?;
    let _lock = match place(dir, "run").await? {
        Place::Ours(lock) => lock,
        Place::Served => dir.lock("run")?, // says who has it
    };
    let keys = Keys::load_or_create(dir).into_diagnostic()?;
    keys.check(dir).into_diagnostic()?;
    let (desk, running) = open_desk(dir, enrolment.clone())?;
    desk.keeper.query(move |device| device.set_retention(retention)).await.into_diagnostic()?;
    desk.keeper.set_lease_idle(lease_idle).await.into_diagnostic()?;
    let listener = control::listen(&dir.socket())
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot listen on {}", dir.socket().display()))?;
    let at = options.address.map_or(String::new(), |address| format!(" and {address}"));
    let panel = panel::open(dir, &options).await.into_diagnostic().wrap_err_with(|| {
        format!("cannot open the panel at {}{at}", dir.panel_socket().display())
    })?;

    // Before it is said to be ready, for whoever waited for that may stop it at once.
    let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
    let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
    let (end, acts) = link::ends();
    let link = acts.link();
    let desk = Desk { acts: Some(acts), panel: Some(panel.place.clone()), ..desk };
    let panel = panel::serve(panel, &desk, link, &options).await;
    let serving = tokio::spawn(clients::serve(listener, desk.clone()));
    let linking = tokio::spawn(link::keep_up(desk.keeper.clone(), dir.clone(), enrolment, end));
    println!("ready device={} data={}", desk.enrolment.name, dir.root().display());
    std::io::stdout().flush().into_diagnostic()?;

    tokio::select! {
        _ = terminate.recv() => info!("stopping"),
        _ = interrupt.recv() => info!("stopping"),
        () = desk.keeper.ended() => {}
    }
    serving.abort();
    linking.abort();
    drop((serving.await, linking.await)); // aborted: their handles to the keeper are gone
    drop(desk);
    let mut panel = panel;
    panel.shutdown().await;
    for socket in [dir.socket(), dir.panel_socket()] {
        let _ = std::fs::remove_file(socket); // a new one is made at the next start
    }
    Ok(tokio::task::spawn_blocking(|| running.join()).await.into_diagnostic()??)
}
