//! What hostile and slow peers cost a cloud: memory, and nobody else's service.
//! The figures are printed, for README tells them; what they may be at most is asserted.
//! What an idle agent takes is measured in `idle`; that no decoder allocates what a peer only declares is shown with
//! each of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use quinn::{Connection, Endpoint, SendStream};
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::identity::{Enrolment, Keys};
use tallyroll_edge::link::tls::{DeviceTls, Pinned, join_config, session_config};
use tallyroll_schema::enrol::SERVER_NAME;
use tallyroll_schema::wire::{
    Hello, Message, PROTOCOL_VERSION, SCHEMA_VERSION, StreamKind, Want, encode_frame,
};
use tallyroll_schema::{EpochId, Hash, LogId};
use tallyroll_tests::drill::Acts;
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE};

const MEBIBYTE: u64 = 1024 * 1024;
/// What README promises of a cloud with these visitors.
const RESIDENT_MAX: u64 = 128 * MEBIBYTE;
/// Who is not enrolled, and connects.
const STRANGERS: usize = 200;
/// Devices that are enrolled, and turned hostile.
const HOSTILE: usize = 6;
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
    let (before, at) = (resident(process), cloud.addr());

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut most = before;
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
        let began = tokio::time::Instant::now();
        while began.elapsed() < VISIT {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(resident(process));
        }
        assert_eq!(cloud.process_id(), Some(process));
        visits.shutdown().await;
    });

    // Who behaves was served all the while.
    let lines: String = Acts::new(7, 0).take(200).map(|(job, said)| said.line(job)).collect();
    drop(honest.run_with(&["record"], lines.as_bytes()).succeeded());
    honest.wait_synced(PATIENCE);
    most = most.max(resident(process));
    let [before, most] = [before, most].map(|bytes| bytes as f64 / MEBIBYTE as f64);
    eprintln!("a cloud: {before:.1} MiB resident, {most:.1} MiB with hostile and slow peers");
    assert!(most < RESIDENT_MAX as f64 / MEBIBYTE as f64, "{most:.1} MiB resident");
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

/// Bytes of a process's memory that are not swapped out (proc(5), `VmRSS`).
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
