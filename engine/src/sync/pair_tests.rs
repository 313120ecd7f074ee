//! A device and a hub talk through two sessions in memory: the whole way, without faults.
//!
//! Invariant: what one end says is durable, the other can read. What happens with
//! faults is the simulator's; what happens with copies is in `copy_tests`.

use super::pair::{capture, config, enrol, hub, now, talk};
use super::{Effect, Fetch, Output, Reply, Role, Session, pair};
use crate::counts::card;
use crate::hub::{Hub, Invitation, LogSummary, pin_hash};
use crate::keys::Signer;
use crate::log::open;
use crate::merge::{Burst, Refusal};
use crate::store::MemoryStore;
use core::time::Duration;
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{ErrorCode, ErrorMessage, Message, StreamKind};
use tallyroll_schema::{Batch, BatchHeader, Compression, Event, Hash, Position, SignedHead};

#[test]
fn what_a_device_counts_the_cloud_counts_and_says_so() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    for at in 10..300 {
        capture(&mut device, 2, at);
    }
    device.seal(now(300)).expect("seals");
    assert!(
        !device.has_heard_of_accounts().expect("reads"),
        "its cloud may be of the first version"
    );
    talk(&mut device, &mut hub);

    assert!(device.has_heard_of_accounts().expect("reads"), "it is not");
    assert_eq!(hub.counts().usage(), device.counts().usage());
    let status = device.status().expect("reads");
    assert_eq!(status.logs[0].durable_local, 291, "genesis and 290 captures");
    assert_eq!(status.logs[0].durable_cloud, 291);
    assert_eq!(device.card(), card::default_card(), "the card came down the public log");
    let ledger = status.logs[0].clone();
    let verified = hub.verify_log(ledger.log, ledger.epoch, ledger.receipt.as_ref());
    let verified = verified.expect("reads");
    assert_eq!((verified.events, verified.signed, verified.wrong), (291, 291, None));
    assert_eq!(verified.batches, 2, "its genesis and the rest");
}

#[test]
fn a_device_takes_the_public_log_and_the_one_about_itself() {
    let mut hub = hub();
    let (mut device, mut other) = (enrol(&mut hub, "a", 11), enrol(&mut hub, "b", 12));
    for each in [&mut device, &mut other] {
        capture(each, 1, 10);
        each.seal(now(11)).expect("seals");
        talk(each, &mut hub);
    }
    let mut taken = Vec::new();
    for LogSummary { log, epoch, class, device: about, .. } in hub.logs().expect("reads") {
        let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
        let fetched = hub.perform(now(12), vec![(device.id(), Effect::Fetch(ask))]);
        let Reply::Fetched(burst) = fetched.expect("reads").remove(0) else { panic!("{class:?}") };
        match device.perform(now(13), Effect::Persist(burst)).expect("performs") {
            Reply::Persisted { .. } => taken.push((class, about)),
            Reply::Refused { refusal: Refusal::Denied(_), .. } => {}
            other => panic!("{class:?}: {other:?}"),
        }
    }
    taken.sort();
    assert_eq!(taken, [(LogClass::Public, None), (LogClass::Device, Some(device.id()))]);
}

/// Its epochs before may only then be asked about: till then the cloud might take more into them.
#[test]
fn a_device_is_settled_once_both_its_open_epochs_are_receipted() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 11);
    let mut moved = device.moved_copy(now(12), Hash([77; 32]));
    let settled = |device: &pair::TestDevice| device.opening().expect("reads").settled;
    assert!(!settled(&device) && !settled(&moved));
    talk(&mut device, &mut hub);
    assert!(settled(&device));
    let mut whole = moved.copy(now(13));
    talk(&mut whole, &mut hub);
    assert!(settled(&whole));
    for open in whole.status().expect("reads").logs.iter().filter(|log| log.open) {
        assert!(!settled(&moved), "of one of them, or none");
        let receipt = open.receipt.expect("is receipted");
        moved.perform(now(14), Effect::KeepReceipt(receipt)).expect("keeps it");
    }
    assert!(settled(&moved));
}

#[test]
fn a_device_in_sync_sends_no_batch_again() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    device.seal(now(11)).expect("seals");
    talk(&mut device, &mut hub);
    let commit = hub.last_commit();
    let again = talk(&mut device, &mut hub);
    assert!(!again.iter().any(|message| matches!(message, Message::Batch(_))), "{again:?}");
    assert_eq!(hub.last_commit(), commit);
}

#[test]
fn a_restart_between_seal_and_sync_changes_nothing() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    capture(&mut device, 1, 10);
    device.seal(now(11)).expect("seals");
    capture(&mut device, 1, 12);
    let before = device.counts().clone();
    let mut device = device.restart(now(20));
    assert_eq!(device.counts(), &before);
    device.seal(now(21)).expect("seals");
    talk(&mut device, &mut hub);
    assert_eq!(hub.counts().usage(), before.usage());
    let again = hub.restart(now(30));
    assert_eq!(again.counts().usage(), before.usage());
    assert_eq!(again.counts_at(again.last_commit()).expect("reads").usage(), before.usage());
}

#[test]
fn a_device_cannot_bring_anothers_log() {
    let mut hub = hub();
    let mut honest = enrol(&mut hub, "honest", 11);
    let thief = enrol(&mut hub, "thief", 12);
    capture(&mut honest, 1, 10);
    honest.seal(now(11)).expect("seals");
    let offer = honest.offers().expect("reads")[0];
    let (log, epoch) = (offer.head.position.log, offer.head.position.epoch);
    let ask = super::Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
    let fetched = honest.perform(now(12), Effect::Fetch(ask)).expect("reads");
    let super::Reply::Fetched(burst) = fetched else { panic!("nothing to steal") };
    let stolen = vec![(thief.id(), Effect::Persist(burst))];
    let replies = hub.perform(now(13), stolen).expect("is performed");
    assert!(matches!(replies[0], super::Reply::Refused { .. }), "{replies:?}");
    assert!(hub.counts().usage().is_empty());
}

#[test]
fn a_pin_works_once_and_only_for_the_keys_that_used_it() {
    let mut hub = hub();
    let device = enrol(&mut hub, "branch-1", 11);
    let ask = |seed: u8| {
        let signer = Signer::from_seed(&[seed; 32]);
        JoinRequest {
            name: "branch-1".into(),
            pin: "ABCDEFGH".into(),
            signing_key: signer.public_key(),
            proof: signer.sign_enrolment("branch-1", &[seed; 32]),
            agent: String::new(),
        }
    };
    let again = hub.join(now(3), &ask(11), Hash([11; 32]), [0; 16]).expect("the same keys");
    assert!(again.again);
    assert_eq!(again.welcome.device, device.id());
    hub.join(now(3), &ask(12), Hash([12; 32]), [0; 16]).expect_err("other keys");

    let salt = Hash([5; 32]);
    let late = Invitation {
        name: "late".into(),
        pin_hash: pin_hash(&salt, "ABCDEFGH"),
        salt,
        processing: false,
    };
    hub.invite(now(10), late).expect("invites");
    let mut request = ask(13);
    request.name = "late".into();
    request.proof = Signer::from_seed(&[13; 32]).sign_enrolment("late", &[13; 32]);
    hub.join(now(10 + 601), &request, Hash([13; 32]), [0; 16]).expect_err("ten minutes are over");

    let wrong = JoinRequest { pin: "WRONGPIN".into(), ..request.clone() };
    for _ in 0..5 {
        hub.join(now(11), &wrong, Hash([13; 32]), [0; 16]).expect_err("a wrong PIN");
    }
    hub.join(now(11), &request, Hash([13; 32]), [0; 16]).expect_err("five wrong tries were made");
}

#[test]
fn unknown_kinds_reach_the_cloud_untouched_and_are_told() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch-1", 11);
    let unknown = Event::decode(0x7abc, 3, &[0xa0]).expect("any kind is kept");
    device.commit(now(10), &[(LogClass::Ledger, unknown.clone())]).expect("commits");
    device.seal(now(11)).expect("seals");
    talk(&mut device, &mut hub);
    assert_eq!(hub.counts().incomplete(), 1);
    let ledger = device.status().expect("reads").logs[0].clone();
    let mut last = None;
    hub.read_log(ledger.log, ledger.epoch, 1, &mut |_, record| {
        last = Some(record.event());
        core::ops::ControlFlow::Continue(())
    })
    .expect("reads");
    assert_eq!(last, Some(Ok(unknown)));
}

/// The hybrid times of a device's ledger as the hub has it.
fn ledger_times(hub: &Hub<MemoryStore>) -> Vec<tallyroll_schema::HybridTime> {
    let logs = hub.logs().expect("lists");
    let ledger = logs.iter().find(|log| log.class == LogClass::Ledger).expect("is there");
    let mut times = Vec::new();
    let mut visit = |_, record: &tallyroll_schema::Record<'_>| {
        times.push(record.header.time.hybrid);
        core::ops::ControlFlow::Continue(())
    };
    hub.read_log(ledger.log, ledger.epoch, 0, &mut visit).expect("reads");
    times
}

/// The simulator set a clock back while a device was off: what is sealed was not looked at when it
/// started again, so hybrid times ran backwards within its ledger.
#[test]
fn time_goes_on_after_a_restart_with_a_clock_set_back() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 1);
    capture(&mut device, 1, 1000);
    device.seal(now(1000)).expect("seals");
    let mut device = device.restart(now(5));
    capture(&mut device, 1, 6);
    device.seal(now(7)).expect("seals");
    talk(&mut device, &mut hub);
    let times = ledger_times(&hub);
    assert!(times.is_sorted_by(|before, after| before < after), "{times:?}");
}

/// The simulator found a genesis and the record after it at one time: a log's first record did not
/// move its writer's hybrid clock.
#[test]
fn a_logs_second_record_is_later_than_its_genesis() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "a", 1);
    capture(&mut device, 1, 3); // the very time of its opening
    device.seal(now(3)).expect("seals");
    talk(&mut device, &mut hub);
    let times = ledger_times(&hub);
    assert!(times.len() == 2 && times[0] < times[1], "{times:?}");
}

/// A cloud that refuses a device has nothing to say but why; the device answered "HELLO comes first",
/// and that was what its people read.
#[test]
fn a_refusal_before_hello_is_the_reason_that_is_told() {
    let mut hub = hub();
    let device = enrol(&mut hub, "a", 1);
    let opening = device.opening().expect("reads");
    let mut session = Session::new(config(Role::Device, device.id()), opening, Duration::ZERO);
    while session.poll_output().is_some() {}
    let text = "this device was revoked".into();
    let (code, log, epoch) = (ErrorCode::Denied, None, None);
    let refusal = ErrorMessage { code, retryable: false, log, text, epoch };
    session.handle(StreamKind::Control, Message::Error(refusal.clone()));
    let Some(Output::Close(told)) = session.poll_output() else { panic!("it goes on") };
    assert_eq!(told, refusal);
    assert!(session.poll_output().is_none(), "it answers");
}

/// A damaged bit of what compresses a batch may say the same; its device was called a copy when it
/// sent the batch once more.
#[test]
fn a_batch_that_is_packed_otherwise_is_the_same() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "one", 31);
    for at in 10..30 {
        capture(&mut device, 1, at);
    }
    device.seal(now(40)).expect("seals");
    let said = talk(&mut device, &mut hub);
    let mut batches = said.iter().filter_map(|message| match message {
        Message::Batch(batch) => Some(batch.clone()),
        _ => None,
    });
    let packed = |batch: &Batch| batch.header().compression == Compression::Zstd;
    let batch = batches.rfind(packed).expect("20 captures are worth compressing");
    let place = *batch.header();
    let end = place.end_seq().expect("ends");
    let closes = |head: &SignedHead| {
        let Position { log, epoch, seq } = head.head.position;
        (log, epoch, seq + 1) == (place.log, place.epoch, end)
    };
    let head = said.iter().find_map(|message| match message {
        Message::Head(head) if closes(head) => Some(*head),
        _ => None,
    });
    let head = head.expect("it closes a burst");
    let records = open(batch).expect("opens").records;
    let plain = BatchHeader { compression: Compression::None, ..place };
    let other = |records: &[u8]| {
        let batches = vec![Batch::encode(plain, records).expect("packs")];
        Effect::Persist(Burst { batches, head })
    };
    let mut bring = |records: &[u8]| {
        hub.perform(now(50), vec![(device.id(), other(records))]).expect("is performed").remove(0)
    };
    assert!(matches!(bring(&records), Reply::Persisted { .. }));
    let mut changed = records.clone();
    *changed.last_mut().expect("has bytes") ^= 1;
    assert!(matches!(bring(&changed), Reply::Refused { .. }));
}
