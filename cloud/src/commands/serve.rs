//! `serve`: the cloud itself.
//!
//! Invariant: one line on stdout, once everything listens, which a script may
//! wait for: `ready quic=ADDR tls=ADDR http=ADDR data=DIR`.

use super::Result;
use clap::Args;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use tallyroll_cloud::data_dir::DataDir;
use tallyroll_cloud::public::Public;
use tallyroll_cloud::server::{Listen, Ready, serve};

#[derive(Args)]
pub(crate) struct ServeArguments {
    /// Where devices connect (UDP).
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:4433")]
    quic: SocketAddr,
    /// Where devices connect whose network blocks UDP (TLS over TCP); the --quic address and port number unless said.
    #[arg(long, value_name = "ADDR")]
    tls: Option<SocketAddr>,
    /// Health and metrics (TCP), without authentication.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where devices reach this cloud, for join URLs; the --quic address unless said. Behind a forwarder whose TCP
    /// port is another: HOST:PORT?tls=PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    public: Option<Public>,
    /// `accounts`: hold the balances, and take what is done from processing servers by their links alone. It stays so
    /// until `all` is said.
    #[arg(long, value_enum)]
    role: Option<Role>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Everything: this is the processing server, too.
    All,
    /// An account server.
    Accounts,
}

/// Serves until it is told to stop.
pub(crate) async fn run(dir: &DataDir, arguments: ServeArguments) -> Result {
    let ServeArguments { quic, tls, http, public, role } = arguments;
    let accounts_only = role.map(|role| role == Role::Accounts);
    let ready = |ready: &Ready| {
        let Ready { quic, tls, http, public } = ready;
        if public.is_none() {
            eprintln!(
                "`tallyroll enroll` will need --public HOST[:PORT]: this listens on every address"
            );
        }
        let mut out = io::stdout().lock();
        writeln!(out, "ready quic={quic} tls={tls} http={http} data={}", dir.root().display())?;
        out.flush()
    };
    serve(dir, Listen { quic, tls, http, public }, accounts_only, ready).await?;
    Ok(ExitCode::SUCCESS)
}
