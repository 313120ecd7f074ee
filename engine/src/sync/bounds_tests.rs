//! Bounds of what a device and a cloud take: what lies just at one is taken, what lies beyond is refused.
//!
//! Invariant: what is refused changes nothing, and its words say what to do. Bounds of rights, quarantine
//! and pruning are tested where these are.

use super::pair::{TENANT, enrol, hub, noise, now, talk};
use super::{Effect, Fetch, Reply};
use crate::Kind;
use crate::device::Now;
use crate::hub::{Invitation, NewDevice, pin_hash};
use crate::keys::Signer;
use crate::log::journal::ENTRY_BYTES_MAX;
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::counts::{FinerPrice, PricedAct, PricedUnit, RateCard};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::event::{Bytes, UnknownEvent};
use tallyroll_schema::limits::{BURST_RECORDS_BYTES_MAX, NAME_BYTES_MAX};
use tallyroll_schema::wire::DirectoryEntry;
use tallyroll_schema::{
    Act, Batch, Credits, DeviceId, Event, Hash, JobId, Position, RequestId, ServerAct, UserAlias,
    Wall,
};

#[test]
fn a_commit_is_as_large_as_an_entry_of_the_journal_and_no_larger() {
    let mut device = enrol(&mut hub(), "branch", 21);
    let events = |last: usize| {
        let body = Bytes(vec![1; last]);
        let last = Event::Unknown(UnknownEvent { code: 0x7fff, version: 9, body });
        let events = (0..16).map(noise).chain([last]);
        events.map(|event| (LogClass::Ledger, event)).collect::<Vec<_>>()
    };
    let much = device.commit(now(4), &events(20_000)).expect_err("is too much");
    let told = much.to_string();
    assert!(much.kind() == Kind::Full && told.contains("send fewer events"), "{told}");
    let bytes = told.split(' ').find_map(|word| word.parse::<usize>().ok()).expect("says so");
    let fits = 20_000 - (bytes - ENTRY_BYTES_MAX);
    device.commit(now(4), &events(fits + 1)).expect_err("is one byte too much");
    let positions = device.commit(now(4), &events(fits)).expect("fits");
    assert_eq!((positions.len(), positions[0].seq), (17, 1), "nothing was written before");
}

#[test]
fn a_users_name_has_a_length() {
    let mut device = enrol(&mut hub(), "branch", 21);
    let mut mint = |length: usize| {
        let entry = DirectoryEntry { alias: UserAlias([8; 16]), sealed: vec![1; 80] };
        device.mint(vec![("x".repeat(length), entry)]).map_err(|why| why.to_string())
    };
    let told = Err("a user's name has 1 to 255 bytes".to_owned());
    assert_eq!(
        [mint(0), mint(NAME_BYTES_MAX + 1), mint(NAME_BYTES_MAX)],
        [told.clone(), told, Ok(())]
    );
}

#[test]
fn an_act_names_the_device_of_its_job_and_is_noted_until_it_is_answered() {
    let mut office = enrol(&mut hub(), "office", 21);
    let request = RequestId([1; 8]);
    let mut ask = |device: String| {
        let act = Act::Discard { job: JobId([1; 8]) };
        let act = ServerAct { device, request: Some(request), act };
        let asked = office.ask(now(4), &act).map(drop).map_err(|why| why.to_string());
        (asked, office.is_asked(request).expect("reads"))
    };
    let told = Err("say the name of the job's device".to_owned());
    assert_eq!(ask(String::new()), (told.clone(), false));
    assert_eq!(ask("x".repeat(NAME_BYTES_MAX + 1)), (told, false));
    assert_eq!(ask("x".repeat(NAME_BYTES_MAX)), (Ok(()), true));
    office.answered(request).expect("is noted");
    assert!(!office.is_asked(request).expect("reads"));
}

#[test]
fn an_invitation_is_good_to_its_last_millisecond() {
    let (mut hub, salt) = (hub(), Hash([5; 32]));
    for (late, welcome) in [(0, true), (1, false)] {
        let name = format!("branch-{late}");
        let pin_hash = pin_hash(&salt, "ABCD-EFGH");
        let invitation = Invitation { name: name.clone(), pin_hash, salt, processing: false };
        let Wall(end) = hub.invite(now(1), invitation).expect("invites");
        let (signer, tls) = (Signer::from_seed(&[40 + late; 32]), [late; 32]);
        let request = JoinRequest {
            proof: signer.sign_enrolment(&name, &tls),
            signing_key: signer.public_key(),
            pin: "abcdefgh".into(),
            agent: String::new(),
            name,
        };
        let at = Now { wall: Wall(end + u64::from(late)), ..now(1) };
        let joined = hub.join(at, &request, Hash(tls), [late; 16]);
        assert_eq!(joined.is_ok_and(|NewDevice { again, .. }| !again), welcome);
        let device = DeviceId::of_key(TENANT, &signer.public_key());
        assert_eq!(hub.fleet().device(device).is_some(), welcome);
    }
}

/// Little on the wire can be much once it is unpacked, and others wait while it is.
#[test]
fn a_device_ends_its_bursts_where_they_unpack_to_much() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "branch", 21);
    let body = Bytes(vec![0; 250 * 1024]);
    let event = Event::Unknown(UnknownEvent { code: 0x7fff, version: 9, body });
    for _ in 0..2 * BURST_RECORDS_BYTES_MAX / (500 * 1024) {
        device.commit(now(4), &[(LogClass::Ledger, event.clone())]).expect("fits");
        device.seal(now(4)).expect("seals");
    }
    let head = device.offers().expect("reads").first().expect("its ledger").head;
    let Position { log, epoch, seq } = head.position;
    let ask = Fetch { log, epoch, from: 0, after: Hash::ZERO, bytes_max: 1 << 20 };
    let Ok(Reply::Fetched(burst)) = device.perform(now(5), Effect::Fetch(ask)) else {
        panic!("is there");
    };
    let size = |batch: &Batch| u64::from(batch.header().records_len);
    let sent: u64 = burst.batches.iter().map(size).sum();
    let half = BURST_RECORDS_BYTES_MAX / 2;
    assert!((half - 512 * 1024..=half).contains(&sent) && burst.head.head.position.seq < seq);
    talk(&mut device, &mut hub);
    assert_eq!(hub.counts().incomplete(), seq, "all but the one that begins the log is unknown");
}

/// Prices that are in force are no new card, whatever version who brings them believes in.
#[test]
fn a_rate_card_is_published_once_and_takes_the_next_version() {
    let mut hub = hub();
    let before = hub.card();
    let same = RateCard { version: 99, finer: Some(Vec::new()), ..before.clone() };
    assert_eq!(hub.publish_next(now(4), same).expect("is a card"), (before.version, None));
    let mut prices = RateCard { version: 77, ..before.clone() };
    prices.send_monochrome = Credits::from_thousandths(700);
    let (version, position) = hub.publish_next(now(5), prices.clone()).expect("publishes");
    assert_eq!((version, position.is_some()), (before.version + 1, true));
    assert_eq!(hub.card(), RateCard { version, ..prices.clone() });
    assert_eq!(hub.publish_next(now(6), prices.clone()).expect("is a card"), (version, None));
    let (act, unit, price) = (PricedAct::Send, PricedUnit::Page, Credits::from_thousandths(9));
    let (color, media, conversion) = (None, Some("a3".into()), None);
    let finer = Some(vec![FinerPrice { act, unit, color, media, conversion, price }]);
    let finer = RateCard { finer, ..prices };
    let (version, _) = hub.publish_next(now(7), finer.clone()).expect("publishes");
    assert_eq!(hub.card(), RateCard { version, ..finer });
}
