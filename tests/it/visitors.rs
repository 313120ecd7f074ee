//! Who comes to a cloud's sockets too early, too often, or with nothing to say.
//! Invariant shown here: a command that comes while the cloud starts is answered, one that cannot be is told who is in
//! the way, and visitors that ask nothing, or half of something, keep nobody out.
//! What is answered is shown elsewhere.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tallyroll_tests::fleet::{Cloud, PATIENCE, Process, Ran, program, run, wait_until};
use tempfile::TempDir;

const TEMPORARY: i32 = 75;
/// As many as either socket has places.
const PLACES: usize = 64;
/// Nobody waits for so long, neither for an answer behind the silent nor, silent, for the end.
const SOON: Duration = Duration::from_secs(8);

fn directory() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("cloud");
    (dir, data)
}

fn tallyroll(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("tallyroll"));
    command.args(arguments).arg("--data").arg(data);
    command
}

fn serve(data: &Path) -> Process {
    let mut command = tallyroll(data, &["serve", "--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    Process::start(&mut command, &data.with_extension("stderr")).unwrap()
}

/// Runs a command as soon as `serve`, started beside it, has come as far as `when` looks for.
fn run_behind_serve(data: &Path, when: impl Fn() -> bool, arguments: &[&str]) -> Ran {
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(data));
        wait_until(PATIENCE, "serve begins", when);
        let ran = run(&mut tallyroll(data, arguments), b"");
        drop(serving.join().expect("serve is ready"));
        ran
    })
}

/// `serve & enroll` was told that the directory is held, for the socket was not there yet.
#[test]
fn a_command_right_behind_serve_is_answered() {
    let (_dir, data) = directory();
    let enroll = |name| ["enroll", name, "--public", "cloud.example.com"];
    let behind = run_behind_serve(&data, || data.join("lock").exists(), &enroll("branch-1"));
    assert!(behind.succeeded().contains("/branch-1#"));
    for round in 0..5 {
        // Whichever of the two has the directory first, both do what they are to do.
        let beside = run_behind_serve(&data, || true, &enroll("branch-2"));
        assert!(beside.succeeded().contains("/branch-2#"), "{round}");
    }
}

#[test]
fn a_holder_that_does_not_answer_is_named() {
    let (_dir, data) = directory();
    drop(serve(&data));
    let mut lock = File::options().read(true).write(true).open(data.join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    lock.set_len(0).unwrap();
    lock.write_all(b"pid 4711 (tallyroll log verify), since noon").unwrap();

    let began = Instant::now();
    let told = run(&mut tallyroll(&data, &["devices"]), b"").failed(TEMPORARY);
    assert!(told.contains("held by pid 4711 (tallyroll log verify)"), "{told}");
    assert!(told.contains("does not answer"), "{told}");
    let took = began.elapsed();
    assert!((Duration::from_secs(2)..SOON).contains(&took), "{took:?}");

    // It goes while somebody waits for it.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&mut tallyroll(&data, &["devices"]), b""));
        std::thread::sleep(Duration::from_millis(500));
        drop(lock);
        drop(waiting.join().unwrap().succeeded());
    });
}

/// Connections that say nothing and that say half, as many as there are places and once more.
fn silent_visitors<S: Write>(connect: impl Fn() -> S, half: &[u8]) -> Vec<S> {
    let visitor = |index| {
        let mut stream = connect();
        if index % 2 == 0 {
            drop(stream.write_all(half)); // it may have made room already
        }
        stream
    };
    (0..2 * PLACES).map(visitor).collect()
}

/// Reads until the other end has closed; what was read.
fn rest(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes)); // a reset is an end, too
    bytes
}

/// Sixty-four silent connections had all places for half a minute.
#[test]
fn silent_clients_keep_no_command_out() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let socket = cloud.data().join("control.sock");
    let silent = silent_visitors(|| UnixStream::connect(&socket).unwrap(), br#""devi"#);
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(cloud.run(&["devices", "--json"]).succeeded(), "[]\n");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    let began = Instant::now();
    for stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(rest(stream), b"");
    }
    assert!(began.elapsed() < SOON, "silence lasts {:?}", began.elapsed());
}

#[test]
fn silent_visitors_keep_no_health_check_out() {
    let (_dir, data) = directory();
    let cloud = serve(&data);
    let http = cloud.said("http").to_owned();
    let connect = || TcpStream::connect(&http).unwrap();
    let silent = silent_visitors(connect, b"GET /healthz HTTP/1.1\r\nHost: half");
    for path in ["healthz", "readyz", "metrics"] {
        let began = Instant::now();
        let mut stream = connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: cloud\r\n\r\n").unwrap();
        let answer = String::from_utf8(rest(stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(began.elapsed() < SOON, "{path}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    for stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        drop(rest(stream));
    }
    assert!(began.elapsed() < SOON, "silence lasts {:?}", began.elapsed());
}
