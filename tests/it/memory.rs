//! What hostile and slow peers cost a cloud, and hostile and slow programs beside it an agent: memory, and nobody else's
//! service.
//! The figures are printed, for README tells them; what they may be at most, at any moment, is asserted.
//! What an idle agent takes is measured in `idle`; that no decoder allocates what a peer only declares is shown with
//! each of them.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quinn::{Connection, Endpoint, SendStream};
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::identity::{Enrolment, Keys};
use tallyroll_edge::link::tls::{DeviceTls, Pinned, join_config, session_config};
use tallyroll_engine::device::Now;
use tallyroll_schema::enrol::SERVER_NAME;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::event::{Bytes, UnknownEvent};
use tallyroll_schema::wire::{
    Hello, Message, PROTOCOL_VERSION, SCHEMA_VERSION, StreamKind, Want, encode_frame,
};
use tallyroll_schema::{EpochId, Event, Hash, LogId};
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, Memory, PATIENCE};

const MEBIBYTE: u64 = 1024 * 1024;
/// What README promises of a cloud with these visitors.
const CLOUD_MAX: u64 = 128 * MEBIBYTE;
/// What it promises of an agent with theirs: a printer has little memory to spare.
const AGENT_MAX: u64 = 40 * MEBIBYTE;
/// Who is not enrolled, and connects.
const STRANGERS: usize = 200;
/// Devices that are enrolled, and turned hostile.
const HOSTILE: usize = 6;
/// Events of a quarter of a megabyte each, of which a few bytes are sent: more than the cloud may take altogether.
const SWOLLEN: usize = 720;
/// Programs beside an agent that misbehave at its sockets; a third of them takes a recording's place, of which there are 64.
const PROGRAMS: usize = 180;
/// Between two words of one, so that together they leave the machine to others.
const PAUSE: Duration = Duration::from_millis(50);
/// How long they go on.
const VISIT: Duration = Duration::from_secs(8);

#[test]
fn hostile_and_slow_peers_leave_a_cloud_below_128_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let honest = Branch::joined(dir.path().join("honest"), &cloud.enroll("honest"));
    let hostile: Vec<PathBuf> = (0..HOSTILE)
        .map(|number| {
            let branch = Branch::new(dir.path().join(format!("hostile-{number}")));
            drop(branch.join(&cloud.enroll(&format!("hostile-{number}"))).succeeded());
            branch.data().to_owned()
        })
        .collect();
    let process = cloud.process_id().unwrap();
    let (before, at) = (Memory::of(process), cloud.addr());

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut visits = tokio::task::JoinSet::new();
        let authority = Enrolment::load(&DataDir::new(&hostile[0])).unwrap().authority;
        for _ in 0..STRANGERS {
            let tls = DeviceTls::generate().unwrap();
            visits.spawn(ask_without_end(join_config(authority, &tls).unwrap(), at));
        }
        for (number, data) in hostile.iter().enumerate() {
            let dir = DataDir::new(data);
            let (device, keys) =
                (Enrolment::load(&dir).unwrap(), Keys::load_or_create(&dir).unwrap());
            let trust = session_config(authority, &keys.tls).unwrap();
            visits.spawn(misbehave(number, device, trust, at));
        }
        tokio::time::sleep(VISIT).await;
        assert_eq!(cloud.process_id(), Some(process));
        visits.shutdown().await;
    });

    // Who behaves was served all the while.
    let lines: String = Acts::new(7, 0).take(200).map(|(job, said)| said.line(job)).collect();
    drop(honest.run_with(&["record"], lines.as_bytes()).succeeded());
    honest.wait_synced(PATIENCE);
    stays_below("a cloud", (process, before), CLOUD_MAX);
}

/// A few kilobytes on the wire may be a hundred megabytes of events, all of them signed and in order.
#[test]
fn a_device_whose_events_unpack_to_much_costs_its_cloud_little() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::new(dir.path().join("branch"));
    drop(branch.join(&cloud.enroll("branch")).succeeded());
    let process = cloud.process_id().unwrap();
    let before = Memory::of(process);
    swell(branch.data());
    branch.start();
    branch.wait_synced(PATIENCE);
    let log = branch.standing();
    assert!(log.cloud >= SWOLLEN as u64, "{log:?}");
    stays_below("a cloud that was sent much in little", (process, before), CLOUD_MAX);
}

/// Fills a device with events of zeros.
fn swell(data: &Path) {
    let dir = DataDir::new(data);
    let (device, keys) = (Enrolment::load(&dir).unwrap(), Keys::load_or_create(&dir).unwrap());
    let mut device = tallyroll_edge::keeper::open(&dir, keys, &device).unwrap();
    let body = Bytes(vec![0; 250 * 1024]);
    let event = Event::Unknown(UnknownEvent { code: 0x7fff, version: 1, body });
    for number in 0..SWOLLEN {
        device.commit(Now::default(), &[(LogClass::Ledger, event.clone())]).unwrap();
        if number % 8 == 0 {
            device.seal(Now::default()).unwrap();
        }
    }
    device.seal(Now::default()).unwrap();
}

/// Says what a process took, and that it was never more than it may.
fn stays_below(what: &str, (process, before): (u32, Memory), most: u64) {
    let mebibytes = |bytes| bytes as f64 / MEBIBYTE as f64;
    let peak = Memory::of(process).peak;
    eprintln!(
        "{what}: {:.1} MiB resident, at most {:.1}",
        mebibytes(before.resident),
        mebibytes(peak)
    );
    assert!(before.resident > 0 && peak >= before.resident, "it has ended");
    assert!(peak < most, "{what}: {:.1} MiB, {:.0} are allowed", mebibytes(peak), mebibytes(most));
}

async fn connect(trust: Pinned, at: SocketAddr) -> Option<(Endpoint, Connection)> {
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connection = endpoint.connect_with(trust.config, at, SERVER_NAME).unwrap().await.ok()?;
    Some((endpoint, connection))
}

/// A stranger who may ask one small question, sends a large one, and comes again.
async fn ask_without_end(trust: Pinned, at: SocketAddr) {
    loop {
        if let Some((_endpoint, connection)) = connect(trust.clone(), at).await
            && let Ok((mut say, _unread)) = connection.open_bi().await
        {
            while say.write_all(&[0xff; 4096]).await.is_ok() {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// An enrolled device that does each wrong thing in its turn, and comes again when it is cut.
async fn misbehave(number: usize, enrolment: Enrolment, trust: Pinned, at: SocketAddr) {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: 1,
        schema_max: SCHEMA_VERSION,
        tenant: enrolment.tenant,
        device: enrolment.device,
        window: u32::MAX,
        agent: "hostile".into(),
        accounts: None,
        enrolment: None,
        names: None,
    };
    for turn in number.. {
        let Some((_endpoint, connection)) = connect(trust.clone(), at).await else { continue };
        let Ok((mut say, _unread)) = connection.open_bi().await else { continue };
        match turn % 3 {
            // It asks without end, and reads no answer.
            0 => {
                let mut frames = encode_frame(&Message::Hello(hello.clone()));
                while say.write_all(&frames).await.is_ok() {
                    frames = encode_frame(&Message::Want(nonsense(turn)));
                }
            }
            // Frames that declare four gibibytes, on every stream it may open.
            1 => {
                let mut streams = vec![say];
                while let Ok(opened) =
                    tokio::time::timeout(Duration::from_millis(200), connection.open_uni()).await
                {
                    let Ok(mut stream) = opened else { break };
                    drop(stream.write_all(&[StreamKind::Ledger.tag()]).await);
                    streams.push(stream);
                }
                huge_frames(&mut streams).await;
            }
            // Half a frame, and silence.
            _ => {
                drop(say.write_all(&[0, 200, 0, 0, 1, 2, 3]).await);
                connection.closed().await;
            }
        }
    }
}

/// A log that nobody has.
fn nonsense(turn: usize) -> Want {
    let (log, epoch) = (LogId([turn as u8; 32]), EpochId { counter: 0, nonce: [1; 16] });
    Want { log, epoch, from: 0, hash: Hash::ZERO }
}

async fn huge_frames(streams: &mut [SendStream]) {
    let junk = [0xff; 4096];
    for _ in 0..4096 {
        for stream in &mut *streams {
            if stream.write_all(&junk).await.is_err() {
                return;
            }
        }
    }
}

#[test]
fn hostile_and_slow_programs_beside_it_leave_an_agent_below_40_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    branch.wait_synced(PATIENCE);
    let process = branch.agent_id().unwrap();
    let before = Memory::of(process);
    let until = Instant::now() + VISIT;
    let mut acts = Acts::new(7, 0);
    std::thread::scope(|scope| {
        for number in 0..PROGRAMS {
            let data = branch.data();
            scope.spawn(move || pester(number, data, until));
        }
        while Instant::now() < until {
            // Who behaves is served all the while.
            let asked = Instant::now();
            drop(branch.run(&["status"]).succeeded());
            let lines: String = acts.by_ref().take(20).map(|(job, said)| said.line(job)).collect();
            drop(branch.run_with(&["record"], lines.as_bytes()).succeeded());
            assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
        }
    });
    branch.wait_synced(PATIENCE);
    assert_eq!(branch.agent_id(), Some(process));
    stays_below("an agent", (process, before), AGENT_MAX);
}

/// Does its wrong thing at one of the agent's sockets, and comes again when it is cut.
fn pester(number: usize, data: &Path, until: Instant) {
    let (control, panel) = (data.join("control.sock"), data.join("panel.sock"));
    let long = "x".repeat(60_000);
    let (at, begin, again) = match number % 6 {
        // A question without an end.
        0 => (&control, String::new(), long),
        // Lines that are refused, each with a long word why, and no answer is read.
        1 => (&control, "\"record\"\n".into(), format!("{{\"kind\":\"{long}\"}}\n")),
        // One line without an end.
        2 => (&control, "\"record\"\n".into(), long),
        // A question whose answer is not read.
        3 => (&control, "\"status\"\n".into(), String::new()),
        // A body of four gibibytes.
        4 => {
            let head =
                "POST /v1/sessions HTTP/1.1\r\nHost: panel\r\nContent-Length: 4294967296\r\n\r\n";
            (&panel, head.into(), long)
        }
        // A head without an end.
        _ => (
            &panel,
            "GET /v1/events HTTP/1.1\r\nHost: panel\r\n".into(),
            format!("X-More: {long}\r\n"),
        ),
    };
    while Instant::now() < until {
        let Ok(mut stream) = UnixStream::connect(at) else {
            std::thread::sleep(PAUSE);
            continue;
        };
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = stream.write_all(begin.as_bytes()); // it may be sent away already
        let end = until.min(Instant::now() + VISIT / 4);
        while Instant::now() < end {
            match stream.write_all(again.as_bytes()) {
                Err(why) if why.kind() != ErrorKind::WouldBlock => break,
                _ => std::thread::sleep(PAUSE), // it stays, and reads nothing
            }
        }
    }
}
