//! The frames of every wire message, and the enrolment's request and answers.
//!
//! Invariant: each message type has a frame on file that reads back to the same
//! message; the largest message that limits allow fits its frame. Who may send
//! what, and when, is the engine's.

use super::files::{assert_golden, assert_no_others, bytes, hex};
use super::samples::{ALIAS, DEVICE, EPOCH, HASH, LOG, POSITION, TENANT, WALL, samples};
use crate::enrol::{self, JoinAnswer, JoinRequest, Welcome};
use crate::event::Bytes;
use crate::event::counts::{Charge, ColorMode};
use crate::limits::{
    ACT_ANSWER_BYTES_MAX, ACT_BYTES_MAX, BATCH_BYTES_MAX, CONTROL_BYTES_MAX, DIRECTORY_ENTRIES_MAX,
    FRAME_BYTES_MAX, HEADS_PER_MESSAGE_MAX, SEALED_NAME_BYTES_MAX,
};
use crate::wire::*;
use crate::{
    Act, Batch, BatchHeader, Commit, CommitPosition, Compression, Credits, EpochId, Head, JobId,
    Position, PublicKey, Receipt, Record, RequestId, ServerAct, Signature, SignedHead, Timestamp,
};

const FOLDER: &str = "golden/v1/wire";
const HEAD: Head = Head { position: POSITION, hash: HASH };
const SIGNED_HEAD: SignedHead = SignedHead { head: HEAD, signature: Signature([0xdd; 64]) };

fn batch() -> Batch {
    let record = Record::encode(&samples()[0], Timestamp::default()).unwrap();
    let header = BatchHeader {
        compression: Compression::None,
        dictionary: 0,
        log: LOG,
        epoch: EPOCH,
        first_seq: 4_821,
        count: 1,
        records_len: u32::try_from(record.len()).unwrap(),
        payload_len: 0,
    };
    Batch::encode(header, &record).unwrap()
}

fn messages() -> Vec<(&'static str, Message)> {
    let commit = Commit { position: CommitPosition { epoch: 1, index: 482 }, received_at: WALL };
    let error = |log, epoch| ErrorMessage {
        code: ErrorCode::Busy,
        retryable: true,
        log,
        text: "the disk is full; come again in an hour".into(),
        epoch,
    };
    let batches = || vec![Bytes(batch().bytes().to_vec())];
    let proof = |renewed| EnrolmentProof { batches: batches(), head: SIGNED_HEAD, renewed };
    let renewed = EnrolmentRenewed { after: HASH, batches: batches(), head: SIGNED_HEAD };
    let hello = |accounts, enrolment, names| Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: 1,
        schema_max: SCHEMA_VERSION,
        tenant: TENANT,
        device: DEVICE,
        window: 2 * 1024 * 1024,
        agent: "tallyroll-edge 0.1.0".into(),
        accounts,
        enrolment,
        names,
    };
    vec![
        ("hello", Message::Hello(hello(Some(EPOCH), Some(proof(None)), None))),
        (
            "hello.renewed",
            Message::Hello(hello(Some(EPOCH), Some(proof(Some(Box::new(renewed)))), None)),
        ),
        ("hello.cloud", Message::Hello(hello(Some(EPOCH), None, None))),
        ("hello.names", Message::Hello(hello(Some(EPOCH), None, Some(12)))),
        ("hello.minimal", Message::Hello(hello(None, None, None))),
        ("surveyed", Message::Surveyed(3)),
        ("have", Message::Have(Have { heads: vec![HEAD], more: true })),
        ("want", Message::Want(Want { log: LOG, epoch: EPOCH, from: 4_822, hash: HASH })),
        ("credit", Message::Credit(65_536)),
        (
            "receipt",
            Message::Receipt(Receipt { head: HEAD, commit, signature: Signature([0xee; 64]) }),
        ),
        ("fork", Message::Fork(SIGNED_HEAD)),
        ("error", Message::Error(error(Some(LOG), Some(EPOCH)))),
        (
            "error.pruned",
            Message::Error(ErrorMessage {
                code: ErrorCode::Pruned,
                retryable: false,
                ..error(Some(LOG), Some(EPOCH))
            }),
        ),
        ("error.minimal", Message::Error(error(None, None))),
        (
            "directory",
            Message::Directory(vec![DirectoryEntry { alias: ALIAS, sealed: vec![0xab; 80] }]),
        ),
        ("names", Message::Names(0x0123_4567_89ab_cdef)),
        ("directory-stored", Message::DirectoryStored(vec![ALIAS])),
        (
            "act",
            Message::Act(asked(Some(Charge {
                credits: Credits::from_thousandths(2_500),
                card: 3,
                backing: None,
            }))),
        ),
        ("act.minimal", Message::Act(asked(None))),
        ("acted", Message::Acted(ActAnswer::new(REQUEST, ActOutcome::At(POSITION)))),
        (
            "acted.refused",
            Message::Acted(ActAnswer::new(REQUEST, ActOutcome::Refused("0.000 left".into()))),
        ),
        (
            "acted.later",
            Message::Acted(ActAnswer::new(REQUEST, ActOutcome::Later("card 4 is in force".into()))),
        ),
        ("batch", Message::Batch(batch())),
        ("head", Message::Head(SIGNED_HEAD)),
    ]
}

const REQUEST: RequestId = RequestId(*b"\0\0\0\0\0\0\0\xb1");

fn asked(charge: Option<Charge>) -> ActRequest {
    let discarded = charge.is_none();
    let job = JobId(*b"\0\0\0\0\0\0\0\xa1");
    let (user, color) = ("anna".into(), ColorMode::Monochrome);
    let (media, revision, which_pages) = (None, None, None);
    let (pages, destinations) = (1, 5);
    let sent = Act::Send { job, user, pages, destinations, color, media, revision, which_pages };
    let act = if discarded { Act::Discard { job } } else { sent };
    let act = ServerAct { device: "branch-7".into(), request: None, act };
    ActRequest::new(REQUEST, &act, charge).unwrap()
}

fn request() -> JoinRequest {
    JoinRequest {
        name: "branch-7".into(),
        pin: "ABCD-EFGH".into(),
        signing_key: PublicKey([0x99; 32]),
        proof: Signature([0xdd; 64]),
        agent: "tallyroll-edge 0.1.0".into(),
    }
}

fn answers() -> [(&'static str, JoinAnswer); 2] {
    let welcome = Welcome {
        tenant: TENANT,
        device: DEVICE,
        cloud_key: PublicKey([0xaa; 32]),
        directory_key: PublicKey([0xbb; 32]),
        public_log: LOG,
    };
    [
        ("join-welcome", JoinAnswer::Welcome(welcome)),
        ("join-refused", JoinAnswer::Refused("wrong PIN; 4 tries left".into())),
    ]
}

fn files() -> Vec<(String, String)> {
    let frames = messages().into_iter().map(|(name, message)| (name, encode_frame(&message)));
    let answers = answers().map(|(name, answer)| (name, enrol::encode(&answer)));
    let all = frames.chain([("join-request", enrol::encode(&request()))]).chain(answers);
    all.map(|(name, bytes)| (format!("{FOLDER}/{name}.hex"), hex(&bytes))).collect()
}

#[test]
fn golden_files_are_what_this_build_writes_and_nothing_else_is_there() {
    let files = files();
    assert_golden(&files);
    assert_no_others(FOLDER, &files);
}

#[test]
fn golden_files_are_read_as_what_was_written() {
    for (name, message) in messages() {
        let mut reader = FrameReader::new(StreamKind::Ledger);
        reader.push(&bytes(&format!("{FOLDER}/{name}.hex")));
        assert_eq!(reader.next_message(), Ok(Some(message)), "{name}");
    }
    let read = enrol::decode_request(&bytes(&format!("{FOLDER}/join-request.hex")));
    assert!(read == Ok(request()), "a request shows no PIN, not even here");
    for (name, answer) in answers() {
        let bytes = bytes(&format!("{FOLDER}/{name}.hex"));
        assert_eq!(enrol::decode_answer(&bytes), Ok(answer), "{name}");
    }
}

#[test]
fn every_message_type_has_a_frame_on_file() {
    let on_file: Vec<u8> = messages().iter().map(|(_, message)| message.encode().0).collect();
    for tag in 0..=u8::MAX {
        let known = !matches!(Message::decode(tag, Vec::new()), Ok(Message::Unknown(_)));
        assert_eq!(known, on_file.contains(&tag), "type {tag}: add it to `messages`");
    }
}

/// Every field at its longest: numbers of nine bytes, entries as many as there may be.
#[test]
fn the_largest_messages_fit_their_frames() {
    let epoch = EpochId { counter: u32::MAX, ..EPOCH };
    let head = Head { position: Position { epoch, seq: u64::MAX, ..POSITION }, ..HEAD };
    let have = Have { heads: vec![head; HEADS_PER_MESSAGE_MAX], more: true };
    let entry = DirectoryEntry { alias: ALIAS, sealed: vec![0; SEALED_NAME_BYTES_MAX] };
    let directory = vec![entry; DIRECTORY_ENTRIES_MAX];
    let act = Message::Act(ActRequest { act: "a".repeat(ACT_BYTES_MAX), ..asked(None) });
    let text = "a".repeat(ACT_ANSWER_BYTES_MAX);
    let acted = Message::Acted(ActAnswer::new(REQUEST, ActOutcome::Refused(text)));
    for message in [Message::Have(have), Message::Directory(directory), act, acted] {
        let frame = encode_frame(&message);
        assert!(frame.len() <= CONTROL_BYTES_MAX as usize, "{} bytes", frame.len());
    }
    let type_byte = 1;
    assert!(type_byte + BATCH_BYTES_MAX <= FRAME_BYTES_MAX);
}
