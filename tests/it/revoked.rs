//! A revoked device at its cloud's door: what it is told, by the connection it has and by those it makes.
//! Invariant shown here: it hears on the wire, once and for all, that it is revoked and what to do, and its people read
//! the same. That nothing more is taken from it is shown with the branches.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use quinn::{ConnectionError, Endpoint};
use tallyroll_edge::data_dir::DataDir;
use tallyroll_edge::identity::{Enrolment, Keys};
use tallyroll_edge::link::tls::session_config;
use tallyroll_schema::enrol::SERVER_NAME;
use tallyroll_schema::wire::{
    ErrorCode, ErrorMessage, FrameReader, Message, StreamKind, encode_frame,
};
use tallyroll_tests::fleet::{Branch, Cloud, PATIENCE, wait_for, wait_until};

/// The cloud's close code for who is not, or no longer, known.
const DENIED: u32 = 1;

fn reason(branch: &Branch) -> String {
    wait_for(PATIENCE, "the branch is told", || {
        let status = branch.json(&["status"]);
        let why = status["why"].as_str().filter(|_| status["link"] == "down");
        why.filter(|why| why.contains("revoked")).map(str::to_owned)
    })
}

#[test]
fn it_reads_that_it_is_revoked_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(dir.path().join("cloud"));
    let mut branch = Branch::joined(dir.path().join("branch"), &cloud.enroll("branch"));
    wait_until(PATIENCE, "the branch is linked", || branch.standing().linked);
    drop(cloud.run(&["revoke", "branch"]).succeeded());
    let cut = reason(&branch);
    assert!(cut.contains("this device, branch, is revoked"), "{cut}");
    assert!(cut.contains("joins anew") && cut.contains("tallyroll enroll"), "{cut}");

    branch.stop();
    branch.start();
    assert_eq!(reason(&branch), cut, "as it comes again");

    branch.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (told, closed) = runtime.block_on(knock(branch.data(), cloud.addr()));
    let (code, text) = (ErrorCode::Denied, cut.clone());
    let refused = ErrorMessage { code, retryable: false, log: None, text, epoch: None };
    assert_eq!(told, Some(Message::Error(refused)));
    let ConnectionError::ApplicationClosed(closed) = closed else { panic!("{closed}") };
    assert_eq!((closed.error_code, closed.reason.as_ref()), (DENIED.into(), cut.as_bytes()));
}

/// Connects as the device of a directory; returns the first message it hears, and how the connection ends.
async fn knock(data: &Path, cloud: SocketAddr) -> (Option<Message>, ConnectionError) {
    let dir = DataDir::new(data);
    let (enrolment, keys) = (Enrolment::load(&dir).unwrap(), Keys::load_or_create(&dir).unwrap());
    let trust = session_config(enrolment.authority, &keys.tls).unwrap();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = endpoint.connect_with(trust.config, cloud, SERVER_NAME).unwrap();
    let connection = connecting.await.unwrap();
    let (mut say, mut hear) = connection.open_bi().await.unwrap();
    say.write_all(&encode_frame(&Message::Credit(0))).await.unwrap();
    let mut frames = FrameReader::new(StreamKind::Control);
    frames.push(&hear.read_to_end(64 * 1024).await.unwrap());
    (frames.next_message().unwrap(), connection.closed().await)
}
