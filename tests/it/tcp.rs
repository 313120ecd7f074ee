//! A network that blocks UDP: the same session by TLS over TCP, and back to QUIC when that is let through.
//! Invariant shown here: the way is chosen without being asked for, `status` tells which, and a change of way loses
//! nothing and counts nothing twice; what holds for a device by QUIC (trust, revocation, patience with the silent)
//! holds by TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{
    Branch, Cloud, PATIENCE, Process, program, run, wait_for, wait_until,
};
use tallyroll_tests::proxy::{Proxy, ProxyConfig};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::sync::watch;

const SEED: u64 = 443;
/// QUIC is noticed to be gone by 30 s of silence, TCP is tried 3 s later.
const TO_TCP: Duration = Duration::from_secs(60);
/// At most a minute between two attempts, and 15 s for one.
const TO_QUIC: Duration = Duration::from_secs(90);
/// Who is revoked is cut within this.
const CUT: Duration = Duration::from_secs(5);
/// Silent for so long is gone, by either way.
const IDLE: Duration = Duration::from_secs(30);
/// Connections that never say who they are: more than there are places for handshakes.
const HALF_OPEN: usize = 300;

/// A branch's line to its cloud: one address, at which UDP and TCP can each be blocked.
struct Line {
    runtime: Runtime,
    udp: Proxy,
    tcp_open: watch::Sender<bool>,
    tcp_connections: Arc<AtomicUsize>,
}

impl Line {
    /// To `cloud`, whose invitations lead here from now on.
    fn to(cloud: &mut Cloud) -> Self {
        let (tcp_open, is_open) = watch::channel(true);
        let tcp_connections = Arc::<AtomicUsize>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let (to, count) = (cloud.addr(), tcp_connections.clone());
        let udp = runtime.block_on(async {
            let (udp, listener) = loop {
                let udp = Proxy::start(ProxyConfig::clean(to, SEED)).await.unwrap();
                // Its port may be another's for TCP.
                if let Ok(listener) = tokio::net::TcpListener::bind(udp.addr()).await {
                    break (udp, listener);
                }
            };
            tokio::spawn(async move {
                while let Ok((branch, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(carry(branch, to, is_open.clone()));
                }
            });
            udp
        });
        cloud.publish_as(udp.addr());
        Self { runtime, udp, tcp_open, tcp_connections }
    }

    fn tcp_connections(&self) -> usize {
        self.tcp_connections.load(Ordering::Relaxed)
    }
}

/// Carries both ways while the way is open; when it is not, bytes stay where they are and nobody is told.
async fn carry(
    mut branch: tokio::net::TcpStream,
    to: SocketAddr,
    mut is_open: watch::Receiver<bool>,
) {
    let mut cloud = tokio::net::TcpStream::connect(to).await.unwrap();
    let mut copied = Box::pin(async {
        drop(tokio::io::copy_bidirectional(&mut branch, &mut cloud).await);
        drop((branch.shutdown().await, cloud.shutdown().await)); // either may be gone
    });
    loop {
        let open = *is_open.borrow_and_update();
        tokio::select! {
            () = &mut copied, if open => return,
            changed = is_open.changed() => if changed.is_err() { return },
        }
    }
}

/// A cloud and the line to it.
fn cloud() -> (TempDir, Cloud, Line) {
    let dir = tempfile::tempdir().unwrap();
    let mut cloud = Cloud::start(dir.path().join("cloud"));
    let line = Line::to(&mut cloud);
    (dir, cloud, line)
}

fn way(branch: &Branch) -> Option<String> {
    let status = branch.json(&["status"]);
    let by = status["by"].as_str().map(str::to_owned);
    by.filter(|_| status["link"] == "up")
}

#[track_caller]
fn wait_linked(branch: &Branch, by: &str, limit: Duration) {
    let began = Instant::now();
    wait_until(limit, &format!("linked by {by}"), || way(branch).as_deref() == Some(by));
    eprintln!("linked by {by} after {:?}", began.elapsed());
}

#[test]
fn a_branch_goes_on_by_tcp_while_udp_is_blocked_and_nothing_comes_twice() {
    let (dir, cloud, line) = cloud();
    line.udp.set_cut(true);
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    let mut acts = Acts::new(SEED, 0);
    let mut jobs = Vec::new();
    // Recorded all the while, also as the way changes: half of it before, half of it after.
    let mut record = |branch: &Branch| {
        let mut lines = String::new();
        for (job, said) in acts.by_ref().take(40) {
            lines.push_str(&said.line(job));
            jobs.push(job.to_string());
        }
        drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
    };

    record(&branch);
    wait_linked(&branch, "tcp", PATIENCE);
    branch.wait_synced(PATIENCE);
    assert!(branch.run(&["status"]).succeeded().contains("up, by tcp"));
    assert_eq!(line.udp.stats().down.delivered, 0, "UDP was let through");

    for (blocked, by, limit) in [(false, "quic", TO_QUIC), (true, "tcp", TO_TCP)] {
        line.udp.set_cut(blocked);
        wait_until(limit, &format!("linked by {by}"), || {
            record(&branch);
            std::thread::sleep(Duration::from_millis(500));
            way(&branch).as_deref() == Some(by)
        });
        record(&branch);
        branch.wait_synced(PATIENCE);
    }

    let events = cloud.events();
    let arrived = events.iter().filter_map(|line| line["event"]["job"].as_str());
    let mut arrived: Vec<String> =
        arrived.map(str::to_owned).filter(|job| !job.is_empty()).collect();
    arrived.sort_unstable();
    jobs.sort_unstable();
    assert_eq!(arrived, jobs, "seed {SEED}");
    drop(cloud.run(&["log", "verify"]).succeeded());
    drop(line.runtime);
}

#[test]
fn a_revoked_branch_is_cut_on_tcp_and_not_asked_again_by_tcp_if_quic_told_it() {
    let (dir, cloud, line) = cloud();
    let on_quic = Branch::joined(dir.path().join("on-quic"), &cloud.enroll("on-quic"));
    wait_linked(&on_quic, "quic", PATIENCE);
    assert_eq!(line.tcp_connections(), 0, "QUIC is asked first");
    let told = |branch: &Branch| {
        let status = branch.json(&["status"]);
        status["why"].as_str().is_some_and(|why| why.contains("is revoked: nothing more is taken"))
    };
    drop(cloud.run(&["revoke", "on-quic"]).succeeded());
    wait_until(CUT, "it is cut", || told(&on_quic));
    std::thread::sleep(Duration::from_secs(6)); // it comes again, more than once
    assert!(told(&on_quic));
    assert_eq!(line.tcp_connections(), 0, "it was refused, not blocked");
    drop(on_quic);

    line.udp.set_cut(true);
    let mut on_tcp = Branch::joined(dir.path().join("on-tcp"), &cloud.enroll("on-tcp"));
    wait_linked(&on_tcp, "tcp", PATIENCE);
    drop(cloud.run(&["revoke", "on-tcp"]).succeeded());
    let began = Instant::now();
    wait_until(CUT, "it is cut", || told(&on_tcp));
    eprintln!("cut after {:?}", began.elapsed());
    let devices = cloud.json(&["devices"]);
    assert!(devices.as_array().unwrap().iter().all(|row| row["connected"] == false), "{devices}");

    on_tcp.stop();
    on_tcp.start();
    wait_until(PATIENCE, "it hears so at the door, too", || told(&on_tcp));
}

/// The keep-alive holds the idle connection, and without it both ends know that the other is gone.
#[test]
fn an_idle_connection_stays_and_a_dead_one_is_noticed() {
    let (dir, cloud, line) = cloud();
    line.udp.set_cut(true);
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_linked(&branch, "tcp", PATIENCE);
    let connections = line.tcp_connections();
    std::thread::sleep(IDLE + Duration::from_secs(5));
    assert_eq!((way(&branch).as_deref(), line.tcp_connections()), (Some("tcp"), connections));

    line.tcp_open.send_replace(false);
    let gone = IDLE + Duration::from_secs(10);
    wait_until(gone, "the branch knows", || way(&branch).is_none());
    wait_until(gone, "the cloud knows", || cloud.json(&["devices"])[0]["connected"] == false);
    line.tcp_open.send_replace(true);
    wait_linked(&branch, "tcp", PATIENCE);
}

#[test]
fn half_open_connections_keep_no_branch_out() {
    let (dir, cloud, line) = cloud();
    line.udp.set_cut(true);
    let half_of_a_hello = [22, 3, 1, 0, 200, 1, 0, 0, 196];
    let began = Instant::now();
    let silent = |index: usize| {
        let mut stream = TcpStream::connect(cloud.addr()).unwrap();
        if index.is_multiple_of(2) {
            drop(stream.write_all(&half_of_a_hello)); // it may have made room already
        }
        stream
    };
    let silent: Vec<TcpStream> = (0..HALF_OPEN).map(silent).collect();
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_linked(&branch, "tcp", Duration::from_secs(8));
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        drop(stream.read_to_end(&mut Vec::new())); // a reset is an end, too
    }
    assert!(began.elapsed() < PATIENCE, "half a handshake lasts {:?}", began.elapsed());
    assert_eq!(way(&branch).as_deref(), Some("tcp"), "who has said who it is stays");
}

#[test]
fn another_cloud_is_not_trusted_by_tcp_either() {
    let (dir, cloud, line) = cloud();
    line.udp.set_cut(true);
    let ours = cloud.enroll("branch");
    let mut elsewhere = ours.clone();
    let (place, fingerprint) = ours.url.split_once('#').unwrap();
    let other: String = fingerprint.chars().rev().collect();
    elsewhere.url = format!("{place}#{other}");
    let branch = Branch::new(dir.path().join("branch"));
    let refused = branch.join(&elsewhere).failed(1);
    assert!(refused.contains("by TLS (TCP)"), "{refused}");
    let words = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("another cloud answers there"), "{words}");
    assert!(words.contains(fingerprint) && words.contains(&other), "{words}");
    drop(branch.join(&ours).succeeded());
}

#[test]
fn a_tcp_port_of_its_own_is_told_to_branches() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
    let nowhere = ProxyConfig::clean(([127, 0, 0, 1], 9).into(), SEED);
    let blocked = runtime.block_on(Proxy::start(nowhere)).unwrap();
    blocked.set_cut(true);
    let data = dir.path().join("cloud");
    let tallyroll = |arguments: &[&str]| {
        let mut command = Command::new(program("tallyroll"));
        command.args(arguments).arg("--data").arg(&data);
        command
    };
    let public = blocked.addr().to_string();
    let any = "127.0.0.1:0";
    let serve = ["serve", "--quic", any, "--tls", any, "--http", any, "--public", &public];
    let cloud = Process::start(&mut tallyroll(&serve), &dir.path().join("stderr")).unwrap();
    let (_, port) = cloud.said("tls").rsplit_once(':').unwrap();
    let invited = run(&mut tallyroll(&["enroll", "branch", "--json"]), b"").succeeded();
    let invited: serde_json::Value = serde_json::from_str(&invited).unwrap();
    let text = |key: &str| invited[key].as_str().unwrap().to_owned();
    let invitation = tallyroll_tests::fleet::Invitation { url: text("url"), pin: text("pin") };
    let place = format!("tallyroll://{public}/branch?tls={port}#");
    assert!(invitation.url.starts_with(&place), "{}", invitation.url);

    let branch = Branch::joined(dir.path().join("branch"), &invitation);
    let by = wait_for(PATIENCE, "the branch is linked", || way(&branch));
    assert_eq!(by, "tcp");
}
