//! 64 writers that pipeline through one agent's socket, each line answered once it is durable.
//!
//! Invariant: the agent is the real one: its socket, its clients, its keeper, its files; it has no link. Writers
//! send acts as JSON, as a printer's software does, and count answers with a position; any other one is an error.

use crate::Outcome;
use crate::measure::{Plan, Spread};
use crate::site::{Branch, Cloud};
use crate::workload::Draw;
use std::path::PathBuf;
use std::time::Instant;
use tallyroll_edge::control::{Ask, clients, listen};
use tallyroll_schema::limits::local::RECORDINGS_MAX;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// As many as an agent has places for.
const WRITERS: usize = RECORDINGS_MAX;
const EVENTS_MAX: u64 = 400_000;
/// Users that print; each one's alias is minted before it is measured.
const USERS: u64 = 100;

/// Measures and prints.
///
/// # Errors
/// Files and sockets.
pub fn run(plan: &Plan) -> Outcome {
    if !plan.wants("writers") {
        return Ok(());
    }
    let each = plan.events.min(EVENTS_MAX) / WRITERS as u64;
    let mut rates = Vec::new();
    for run in 0..plan.runs {
        let (cloud_dir, branch_dir) = (plan.temporary()?, plan.temporary()?);
        let serving = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let cloud = serving.block_on(Cloud::start(cloud_dir.path()))?;
        let branch = serving.block_on(cloud.enrol("branch", &branch_dir.path().join("branch")))?;
        serving.block_on(cloud.stop())?;
        drop(serving);
        rates.push(agent(&branch, |socket| {
            let clients = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            clients.block_on(async {
                let names: Vec<_> = (0..USERS).map(|user| print_by(user, 1)).collect();
                write(socket.clone(), names.concat().into_bytes(), USERS).await?;
                let lines = |writer: usize| {
                    let mut draw = Draw::new((run * WRITERS + writer) as u64);
                    let line = |_| print_by(draw.below(USERS), 1 + draw.below(12));
                    (0..each).map(line).collect::<String>().into_bytes()
                };
                let prepared: Vec<_> = (0..WRITERS).map(lines).collect();
                let began = Instant::now();
                let mut writers = JoinSet::new();
                for lines in prepared {
                    writers.spawn(write(socket.clone(), lines, each));
                }
                while let Some(done) = writers.join_next().await {
                    done??;
                }
                Ok((each * WRITERS as u64) as f64 / began.elapsed().as_secs_f64())
            })
        })?);
    }
    let rates = Spread::of(rates);
    plan.note("64 writers", "tallyroll", "events/s", "fdatasync before each answer", rates)?;
    println!(
        "writers: {WRITERS} through one agent, acts as JSON, pipelined: {rates} events/s, each answered once durable"
    );
    Ok(())
}

fn print_by(user: u64, impressions: u64) -> String {
    format!(
        "{{\"kind\":\"pages.printed\",\"user\":\"user-{user}\",\"impressions\":{impressions}}}\n"
    )
}

/// Runs an agent in a thread of its own, as its program does, for as long as `work` takes.
fn agent(branch: &Branch, work: impl FnOnce(PathBuf) -> Outcome<f64>) -> Outcome<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = branch.dir.socket();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (started, is_started) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            runtime.block_on(async {
                let (desk, running) = branch.desk()?;
                let listener = listen(&branch.dir.socket())?;
                started.send(())?;
                tokio::select! {
                    () = clients::serve(listener, desk) => {}
                    _ = stopped => {}
                }
                // Its clients have ended with it; then it does.
                tokio::task::spawn_blocking(|| running.join()).await??;
                Outcome::Ok(())
            })
        });
        let done = match is_started.recv() {
            Ok(()) => work(socket),
            Err(_) => Err("the agent did not start".into()),
        };
        drop(stop);
        serving.join().map_err(|_| "the agent panicked")??;
        done
    })
}

/// Sends lines and waits for as many positions.
async fn write(socket: PathBuf, lines: Vec<u8>, count: u64) -> Outcome {
    let (answers, mut to) = UnixStream::connect(socket).await?.into_split();
    let sending = tokio::spawn(async move {
        let mut ask = serde_json::to_vec(&Ask::Record)?;
        ask.push(b'\n');
        to.write_all(&ask).await?;
        to.write_all(&lines).await?;
        to.shutdown().await?;
        Outcome::Ok(())
    });
    let mut answers = BufReader::new(answers);
    let (mut line, mut positions) = (Vec::new(), 0);
    while answers.read_until(b'\n', &mut line).await? > 0 {
        if !line.starts_with(b"{\"position\"") {
            return Err(String::from_utf8_lossy(&line).into());
        }
        positions += 1;
        line.clear();
    }
    sending.await??;
    if positions == count { Ok(()) } else { Err(format!("{positions} of {count} answered").into()) }
}
