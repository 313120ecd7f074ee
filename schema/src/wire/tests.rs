//! How much a message may hold: each limit's last value is let through and the next one refused.
//!
//! Invariant: nothing else of a message is looked at here. How messages are written stands in the golden files; that
//! no bytes bring a reader down is shown by the hostile inputs.

use super::*;
use crate::limits::{
    ACT_ANSWER_BYTES_MAX, ACT_BYTES_MAX, DIRECTORY_ENTRIES_MAX, ENROLMENT_PROOF_BYTES_MAX,
    HEADS_PER_MESSAGE_MAX, SEALED_NAME_BYTES_MAX,
};
use crate::{Hash, LogId, Position, RequestId, Signature};

fn head() -> Head {
    let epoch = EpochId { counter: 0, nonce: [1; 16] };
    Head { position: Position { log: LogId([2; 32]), epoch, seq: 3 }, hash: Hash([4; 32]) }
}

#[track_caller]
fn limited(most: usize, message: impl Fn(usize) -> Message) {
    message(most).check().expect("fits");
    match message(most + 1).check() {
        Err(DecodeError::Limit { found, limit, .. }) => {
            assert_eq!((found, limit), (most as u64 + 1, most as u64));
        }
        other => panic!("{other:?}"),
    }
}

fn hello(proof: Option<&[usize]>) -> Message {
    let signed = SignedHead { head: head(), signature: Signature([0; 64]) };
    let batches = |sizes: &[usize]| sizes.iter().map(|size| Bytes(vec![0; *size])).collect();
    Message::Hello(Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: SCHEMA_VERSION,
        schema_max: SCHEMA_VERSION,
        tenant: TenantId([5; 16]),
        device: DeviceId([6; 16]),
        window: 1,
        agent: String::new(),
        accounts: None,
        names: None,
        enrolment: proof.map(|sizes| {
            let (first, later) = sizes.split_at(1);
            let after = Hash([8; 32]);
            let renewed = EnrolmentRenewed { after, batches: batches(later), head: signed };
            EnrolmentProof {
                batches: batches(first),
                head: signed,
                renewed: Some(Box::new(renewed)),
            }
        }),
    })
}

#[test]
fn every_message_that_could_be_long_has_a_limit() {
    hello(None).check().expect("needs no proof");
    limited(ENROLMENT_PROOF_BYTES_MAX, |bytes| hello(Some(&[7, bytes - 7])));
    limited(HEADS_PER_MESSAGE_MAX, |heads| {
        Message::Have(Have { heads: vec![head(); heads], more: false })
    });
    let entry = |bytes| DirectoryEntry { alias: UserAlias([7; 16]), sealed: vec![0; bytes] };
    limited(DIRECTORY_ENTRIES_MAX, |entries| Message::Directory(vec![entry(1); entries]));
    limited(SEALED_NAME_BYTES_MAX, |bytes| Message::Directory(vec![entry(1), entry(bytes)]));
    limited(DIRECTORY_ENTRIES_MAX, |aliases| {
        Message::DirectoryStored(vec![UserAlias([7; 16]); aliases])
    });
    let request = RequestId([8; 8]);
    limited(ACT_BYTES_MAX, |bytes| {
        Message::Act(ActRequest { request, act: "a".repeat(bytes), charge: None })
    });
    for outcome in [ActOutcome::Refused, ActOutcome::Later] {
        limited(ACT_ANSWER_BYTES_MAX, |bytes| {
            Message::Acted(ActAnswer { request, outcome: outcome("a".repeat(bytes)) })
        });
    }
}

#[test]
fn an_enrolment_proves_something_by_its_batches() {
    let Message::Hello(Hello { enrolment: Some(proof), .. }) = hello(Some(&[3, 4])) else {
        panic!("has a proof");
    };
    assert_eq!((proof.len(), proof.is_empty()), (7, false));
    let nothing = EnrolmentProof { batches: Vec::new(), renewed: None, ..proof };
    assert_eq!((nothing.len(), nothing.is_empty()), (0, true));
}

#[test]
fn every_code_reads_back_and_a_later_one_is_the_senders_own_fault() {
    for code in [
        ErrorCode::Version,
        ErrorCode::Protocol,
        ErrorCode::Denied,
        ErrorCode::Poison,
        ErrorCode::Fork,
        ErrorCode::Busy,
        ErrorCode::Internal,
        ErrorCode::Pruned,
    ] {
        let bytes = minicbor::to_vec(code).expect("encodes");
        assert_eq!(minicbor::decode::<ErrorCode>(&bytes).expect("reads"), code);
    }
    let later = minicbor::to_vec(8_u32).expect("encodes");
    assert_eq!(minicbor::decode::<ErrorCode>(&later).expect("reads"), ErrorCode::Internal);
}
