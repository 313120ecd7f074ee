//! One session alone, told by hand what its peer and its store say.
//!
//! Invariant: a test is the peer and the store, so that what two honest ends never say to each other can
//! be said here: too early, too late, twice, or more of it than was asked for. What two ends come to
//! together is in `pair_tests`.

use super::pair::{TENANT, config, noise};
use super::{Effect, Fetch, Offer, OfferKind, Opening, Output, Reply, Role, Session};
use crate::log::{Tip, seal};
use crate::merge::{Burst, Refusal};
use core::time::Duration;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::event::{Bytes, UnknownEvent};
use tallyroll_schema::limits::links::{HELLO_TIMEOUT, STOPS_MAX};
use tallyroll_schema::limits::{
    BATCH_BYTES_MAX, BURST_BYTES_MAX, BURST_RECORDS_BYTES_MAX, EPOCHS_MAX, HEADS_PER_MESSAGE_MAX,
};
use tallyroll_schema::wire::{
    DirectoryEntry, ErrorCode, ErrorMessage, Have, Hello, Message, PROTOCOL_VERSION,
    SCHEMA_VERSION, StreamKind, Want,
};
use tallyroll_schema::{
    Batch, DeviceId, EpochId, Event, Hash, Head, LogId, Position, Record, Signature, SignedHead,
    TenantId, Timestamp, UserAlias,
};

const ME: DeviceId = DeviceId([6; 16]);
const BEGIN: Duration = Duration::from_secs(5);

fn place(log: u16) -> (LogId, EpochId) {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&log.to_be_bytes());
    (LogId(id), EpochId { counter: 0, nonce: [1; 16] })
}

fn head(log: u16, seq: u64, hash: u8) -> Head {
    let (log, epoch) = place(log);
    Head { position: Position { log, epoch, seq }, hash: Hash([hash; 32]) }
}

fn offer(log: u16, seq: u64, kind: OfferKind) -> Offer {
    Offer { head: head(log, seq, 1), class: LogClass::Ledger, kind }
}

fn offering(offers: &[Offer]) -> Opening {
    Opening { offers: offers.to_vec(), ..Opening::default() }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: 1,
        schema_max: SCHEMA_VERSION,
        tenant: TENANT,
        device: ME,
        window: 1 << 20,
        agent: String::new(),
        accounts: None,
        names: None,
        enrolment: None,
    }
}

fn have(heads: &[Head], more: bool) -> Message {
    Message::Have(Have { heads: heads.to_vec(), more })
}

fn want(log: u16, from: u64, hash: u8) -> Message {
    let (log, epoch) = place(log);
    Message::Want(Want { log, epoch, from, hash: Hash([hash; 32]) })
}

fn stopped(log: u16, text: &str) -> Message {
    let (log, epoch) = (Some(place(log).0), Some(place(log).1));
    let code = ErrorCode::Fork;
    Message::Error(ErrorMessage { code, retryable: false, log, text: text.into(), epoch })
}

fn begun(role: Role, opening: Opening) -> Session {
    let mut session = Session::new(config(role, ME), opening, BEGIN);
    said(&mut session);
    session
}

/// One whose peer said HELLO.
fn greeted(role: Role, opening: Opening) -> Session {
    let mut session = begun(role, opening);
    assert_eq!(tell(&mut session, Message::Hello(hello())), []);
    session
}

fn said(session: &mut Session) -> Vec<Output> {
    core::iter::from_fn(|| session.poll_output()).collect()
}

fn tell(session: &mut Session, message: Message) -> Vec<Output> {
    session.handle(StreamKind::Control, message);
    said(session)
}

fn complete(session: &mut Session, reply: Reply) -> Vec<Output> {
    session.complete(reply);
    said(session)
}

fn sends(message: Message) -> Output {
    Output::Send { stream: StreamKind::Control, message }
}

fn fetches(log: u16, from: u64, hash: u8) -> Output {
    let ((log, epoch), after) = (place(log), Hash([hash; 32]));
    let bytes_max = BURST_BYTES_MAX as usize;
    Output::Perform(Effect::Fetch(Fetch { log, epoch, from, after, bytes_max }))
}

fn diverged(log: u16) -> Output {
    Output::Perform(Effect::Diverged(place(log).0, place(log).1))
}

#[track_caller]
fn assert_closes(said: &[Output], code: ErrorCode) {
    match said {
        [Output::Send { message: Message::Error(told), .. }, Output::Close(error)] => {
            assert_eq!((told, error.code, error.log), (error, code, None));
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_stops(said: &[Output], code: ErrorCode, log: u16) {
    match said {
        [.., Output::Send { message: Message::Error(told), .. }] => {
            assert_eq!((told.code, told.log), (code, Some(place(log).0)));
        }
        other => panic!("{other:?}"),
    }
}

fn batch(log: u16, first_seq: u64) -> Batch {
    let record = Record::encode(&noise(1), Timestamp::default()).expect("encodes");
    seal(place(log).0, place(log).1, first_seq, 1, &record).expect("seals")
}

fn burst(log: u16, seq: u64) -> Burst {
    let head = SignedHead { head: head(log, seq, 9), signature: Signature([0; 64]) };
    Burst { batches: vec![batch(log, seq)], head }
}

#[test]
fn a_peer_that_says_no_hello_is_closed_in_time() {
    let mut silent = begun(Role::Cloud, Opening::default());
    let by = BEGIN + HELLO_TIMEOUT;
    assert_eq!((silent.deadline(), silent.peer()), (Some(by), None));
    silent.handle_timeout(by - Duration::from_millis(1));
    assert_eq!(said(&mut silent), []);
    silent.handle_timeout(by);
    assert_closes(&said(&mut silent), ErrorCode::Protocol);
    assert_eq!(silent.deadline(), None);
    assert_eq!(tell(&mut silent, have(&[head(1, 0, 1)], false)), [], "nothing is heard any more");

    let mut session = greeted(Role::Cloud, Opening::default());
    assert_eq!((session.deadline(), session.peer()), (None, Some(&hello())));
    session.handle_timeout(by * 2);
    assert_eq!(said(&mut session), []);
}

#[test]
fn hello_comes_first_and_once_and_from_whom_it_may() {
    let early = tell(&mut begun(Role::Cloud, Opening::default()), have(&[head(1, 0, 1)], false));
    assert_closes(&early, ErrorCode::Protocol);
    let twice = tell(&mut greeted(Role::Cloud, Opening::default()), Message::Hello(hello()));
    assert_closes(&twice, ErrorCode::Protocol);
    for (hello, code) in [
        (Hello { protocol: PROTOCOL_VERSION + 1, ..hello() }, ErrorCode::Version),
        (Hello { schema_min: SCHEMA_VERSION + 1, ..hello() }, ErrorCode::Version),
        (Hello { tenant: TenantId([9; 16]), ..hello() }, ErrorCode::Denied),
        (Hello { device: DeviceId([9; 16]), ..hello() }, ErrorCode::Denied),
    ] {
        let mut session = begun(Role::Cloud, Opening::default());
        assert_closes(&tell(&mut session, Message::Hello(hello)), code);
    }
}

#[test]
fn all_is_there_once_all_was_told_and_each_log_arrived_or_stopped() {
    let mut session = greeted(Role::Cloud, Opening::default());
    assert!(!session.has_all(), "nothing was told");
    tell(&mut session, have(&[], true));
    assert!(!session.has_all(), "more is told");
    tell(&mut session, have(&[head(1, 4, 1)], false));
    assert!(!session.has_all(), "the first log is to come");
    let (epoch, hash, receipt, bytes) = (place(1), Hash([1; 32]), None, 10);
    complete(&mut session, Reply::Persisted { epoch, next_seq: 5, hash, receipt, bytes });
    assert!(session.has_all());
    tell(&mut session, have(&[head(2, 0, 1)], false));
    assert!(!session.has_all(), "the second log is to come");
    tell(&mut session, stopped(2, "a copy"));
    assert!(session.has_all());
    tell(&mut session, have(&[head(3, 0, 1)], false));
    assert!(!session.has_all(), "that the second log stopped is nothing to the third");
}

#[test]
fn what_stops_is_noted_once_by_its_first_reason_and_of_so_many_logs() {
    let mut session = greeted(Role::Cloud, Opening::default());
    for log in 0..=u16::try_from(STOPS_MAX).expect("fits") {
        for text in ["first", "second"] {
            tell(&mut session, stopped(log, text));
        }
    }
    assert_eq!(session.stops().len(), STOPS_MAX);
    assert!(session.stops().iter().all(|stop| stop.text == "first"));
}

/// The cloud's HAVE is enough: a device need not send anything to learn that it was copied.
#[test]
fn a_device_sees_by_what_the_cloud_has_that_its_own_history_is_another() {
    use OfferKind::{Ended, Open};
    for (kind, seq, hash, comes) in [
        (Open, 3, 1, vec![]),
        (Open, 2, 2, vec![]), // by the fetch
        (Open, 3, 2, vec![diverged(1)]),
        (Open, 4, 1, vec![diverged(1)]),
        (Ended, 3, 1, vec![]),
        (Ended, 3, 2, vec![diverged(1)]),
        (Ended, 4, 1, vec![sends(want(1, 4, 1))]),
    ] {
        let mut session = greeted(Role::Device, offering(&[offer(1, 3, kind)]));
        let told = tell(&mut session, have(&[head(1, seq, hash)], true));
        assert_eq!(told, comes, "{kind:?}, up to {seq}, {hash}");
    }
}

#[test]
fn once_its_history_is_another_a_session_says_nothing_unless_it_cannot_be_set_aside() {
    let mut session = greeted(Role::Device, offering(&[offer(1, 3, OfferKind::Open)]));
    assert_eq!(tell(&mut session, have(&[head(1, 4, 2)], true)), [diverged(1)]);
    let news = || have(&[head(2, 0, 1)], true);
    assert_eq!(tell(&mut session, news()), []);
    let grew = Reply::Grew(vec![offer(3, 0, OfferKind::Open)]);
    assert_eq!(complete(&mut session, grew), []);
    let (log, epoch) = place(1);
    let pruned = |epoch| Reply::Stays(log, epoch, Refusal::Pruned { from: 0, end: 2 });
    let another = EpochId { counter: epoch.counter + 1, ..epoch };
    assert_stops(&complete(&mut session, pruned(another)), ErrorCode::Pruned, 1);
    assert_eq!(tell(&mut session, news()), [], "that was not the one");
    let pruned = pruned(epoch);
    assert_stops(&complete(&mut session, pruned), ErrorCode::Pruned, 1);
    assert_eq!(tell(&mut session, news()), [sends(want(2, 0, 0))], "the other logs go on");
}

#[test]
fn who_is_told_of_a_fork_sets_aside_what_is_its_own_or_its_clouds() {
    let ours = || offering(&[offer(1, 3, OfferKind::Open), offer(2, 3, OfferKind::GivenBack)]);
    assert_eq!(tell(&mut greeted(Role::Device, ours()), stopped(1, "a copy")), [diverged(1)]);
    assert_eq!(tell(&mut greeted(Role::Device, ours()), stopped(2, "a copy")), [diverged(2)]);
    assert_eq!(tell(&mut greeted(Role::Cloud, ours()), stopped(1, "a copy")), []);
}

/// What a device holds of its cloud's logs, and finds to be another history than what comes.
#[test]
fn a_burst_that_is_another_history_sets_aside_the_clouds_log_and_none_of_its_own() {
    let refused = |opening| {
        let mut session = greeted(Role::Device, opening);
        let (epoch, refusal, bytes) = (place(1), Refusal::Fork { seq: 3 }, 10);
        complete(&mut session, Reply::Refused { epoch, refusal, bytes })
    };
    let theirs = refused(Opening::default());
    assert!(theirs.contains(&diverged(1)), "{theirs:?}");
    let ours = refused(offering(&[offer(1, 3, OfferKind::Open)]));
    assert!(!ours.contains(&diverged(1)), "{ours:?}");
    assert_stops(&ours, ErrorCode::Fork, 1);
}

/// A digest that was made before the last of our names came says nothing of them.
#[test]
fn what_names_the_cloud_has_is_heard_once_it_has_all_of_ours() {
    let digest = 7;
    let heard = || Output::Perform(Effect::Names(digest));
    let mut session = greeted(Role::Device, Opening::default());
    assert_eq!(tell(&mut session, Message::Names(digest)), [heard()]);
    let (alias, sealed) = (UserAlias([8; 16]), vec![1]);
    let entries = vec![DirectoryEntry { alias, sealed }];
    session.offer_directory(entries.clone());
    assert_eq!(said(&mut session), [sends(Message::Directory(entries))]);
    assert_eq!(tell(&mut session, Message::Names(digest)), []);
    let stored = Output::Perform(Effect::DirectoryStored(vec![alias]));
    assert_eq!(tell(&mut session, Message::DirectoryStored(vec![alias])), [stored]);
    assert_eq!(tell(&mut session, Message::Names(digest)), [heard()]);
}

#[test]
fn what_the_cloud_has_of_a_devices_own_is_surveyed_once_it_told_all_and_only_if_settled() {
    let give_back = || Output::Perform(Effect::GiveBack(vec![]));
    let surveyed = || Output::Perform(Effect::Surveyed);
    for (settled, comes) in [(true, vec![give_back(), surveyed()]), (false, vec![give_back()])] {
        let mut session = greeted(Role::Device, Opening { settled, ..Opening::default() });
        assert_eq!(tell(&mut session, have(&[], true)), []);
        assert_eq!(tell(&mut session, have(&[], false)), comes);
        assert_eq!(tell(&mut session, have(&[], false)), []);
    }
}

/// A device whose copy of one of a cloud's logs is another history was lent and told nothing any more.
#[test]
fn a_cloud_waits_for_nothing_that_cannot_be_given_back() {
    let surveyed = || Output::Perform(Effect::Surveyed);
    let settled = Opening { settled: true, ..offering(&[offer(1, 3, OfferKind::Ended)]) };
    for role in [Role::Cloud, Role::Device] {
        let mut session = greeted(role, settled.clone());
        assert_eq!(
            tell(&mut session, have(&[head(1, 9, 2)], false)).len(),
            1 + usize::from(role == Role::Device)
        );
        assert_eq!(tell(&mut session, Message::Surveyed(1)), []);
        let comes = match role {
            Role::Cloud => {
                vec![Output::Perform(Effect::CaughtUp(place(1).0, place(1).1)), surveyed()]
            }
            Role::Device => vec![diverged(1)],
        };
        assert_eq!(tell(&mut session, stopped(1, "another history")), comes);
    }
}

#[test]
fn who_asks_from_where_another_history_ends_is_told_and_not_served() {
    let open = || offering(&[offer(1, 3, OfferKind::Open)]);
    let ask = |role, from, hash| tell(&mut greeted(role, open()), want(1, from, hash));
    assert_eq!(ask(Role::Cloud, 4, 1), []);
    assert_stops(&ask(Role::Cloud, 4, 2), ErrorCode::Fork, 1);
    assert_eq!(ask(Role::Cloud, 9, 2), [], "it has more than a cloud that lost its tail");
    assert_stops(&ask(Role::Device, 4, 2), ErrorCode::Fork, 1);
    let more = ask(Role::Device, 9, 2);
    assert_eq!(more.first(), Some(&diverged(1)));
    assert_stops(&more, ErrorCode::Fork, 1);
}

#[test]
fn an_older_head_takes_nothing_back_and_many_heads_are_told_in_pieces() {
    let mut session = greeted(Role::Device, offering(&[offer(1, 3, OfferKind::Open)]));
    session.grew(vec![offer(1, 5, OfferKind::Open)]);
    session.grew(vec![offer(1, 3, OfferKind::Open)]);
    assert_eq!(said(&mut session), [], "it was told of that epoch");
    assert_eq!(tell(&mut session, want(1, 6, 1)), [], "it ends there");

    let many = u16::try_from(HEADS_PER_MESSAGE_MAX).expect("fits") + 1;
    session.grew((10..10 + many).map(|log| offer(log, 0, OfferKind::Open)).collect());
    let told = said(&mut session).into_iter().map(|output| match output {
        Output::Send { message: Message::Have(have), .. } => (have.heads.len(), have.more),
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [(HEADS_PER_MESSAGE_MAX, true), (1, false)]);
}

#[test]
fn an_ask_stands_that_came_while_another_was_read() {
    let mut session = greeted(Role::Cloud, offering(&[offer(1, 3, OfferKind::Open)]));
    assert_eq!(tell(&mut session, want(1, 0, 0)), [fetches(1, 0, 0)]);
    assert_eq!(tell(&mut session, want(1, 2, 7)), []);
    assert_eq!(complete(&mut session, Reply::Fetched(burst(1, 0))), [fetches(1, 2, 7)]);
}

#[test]
fn an_offer_that_ran_ahead_of_the_store_is_fetched_once_it_comes_again() {
    let mut session = greeted(Role::Cloud, offering(&[offer(1, 3, OfferKind::Open)]));
    assert_eq!(tell(&mut session, want(1, 0, 0)), [fetches(1, 0, 0)]);
    let (log, epoch) = place(1);
    assert_eq!(complete(&mut session, Reply::NothingThere(log, epoch)), []);
    assert_eq!(tell(&mut session, Message::Credit(1)), [], "not before");
    session.grew(vec![offer(1, 3, OfferKind::Open)]);
    assert_eq!(said(&mut session), [fetches(1, 0, 0)]);
}

#[test]
fn a_log_that_stops_makes_room_for_the_next_and_is_read_no_more() {
    let offers = [1, 2].map(|log| offer(log, 3, OfferKind::Open));
    let mut session = greeted(Role::Cloud, offering(&offers));
    assert_eq!(tell(&mut session, want(1, 0, 0)), [fetches(1, 0, 0)]);
    assert_eq!(tell(&mut session, want(2, 0, 0)), []);
    assert_eq!(tell(&mut session, Message::Fork(burst(1, 0).head)), []);
    assert_eq!(tell(&mut session, Message::Credit(1)), [], "one is under way");
    assert_eq!(complete(&mut session, Reply::Fetched(burst(1, 0))), [fetches(2, 0, 0)]);
}

#[test]
fn what_a_peer_lost_of_its_own_goes_first() {
    let offers = [offer(1, 3, OfferKind::Open), offer(2, 3, OfferKind::GivenBack)];
    let mut session = greeted(Role::Device, offering(&offers));
    tell(&mut session, want(1, 0, 0));
    tell(&mut session, want(1, 1, 1));
    tell(&mut session, want(2, 0, 0));
    assert_eq!(complete(&mut session, Reply::Fetched(burst(1, 0))), [fetches(2, 0, 0)]);
}

/// A figure of a page waits for no heartbeat.
#[test]
fn each_class_has_its_stream() {
    let telemetry = Offer { class: LogClass::Telemetry, ..offer(2, 0, OfferKind::Open) };
    let mut session = greeted(Role::Cloud, offering(&[offer(1, 0, OfferKind::Open), telemetry]));
    tell(&mut session, want(1, 0, 0));
    tell(&mut session, want(2, 0, 0));
    for (log, class) in [(1, StreamKind::Ledger), (2, StreamKind::Telemetry)] {
        let sent = complete(&mut session, Reply::Fetched(burst(log, 0)));
        for output in sent.iter().take(2) {
            assert!(matches!(output, Output::Send { stream, .. } if *stream == class), "{sent:?}");
        }
    }
}

#[test]
fn so_many_epochs_are_offered_and_so_many_bytes_sent_before_they_are_durable() {
    let mut session = greeted(Role::Cloud, Opening::default());
    let most = u16::try_from(EPOCHS_MAX).expect("fits");
    let heads: Vec<Head> = (0..most).map(|log| head(log, 0, 1)).collect();
    assert_eq!(tell(&mut session, have(&heads, false)).len(), EPOCHS_MAX);
    let one_more = tell(&mut session, have(&[head(most, 0, 1)], false));
    assert_closes(&one_more, ErrorCode::Protocol);

    let (len, beside) = (batch(1, 0).bytes().len(), (BURST_BYTES_MAX + BATCH_BYTES_MAX) as usize);
    let batches = beside.div_ceil(len);
    let window = u32::try_from(batches * len - beside).expect("fits");
    let config = super::SessionConfig { window, ..config(Role::Cloud, ME) };
    let mut session = Session::new(config, Opening::default(), BEGIN);
    session.handle(StreamKind::Control, Message::Hello(hello()));
    said(&mut session);
    for _ in 0..batches {
        session.handle(StreamKind::Ledger, Message::Batch(batch(1, 0)));
        assert_eq!(said(&mut session), []);
    }
    session.handle(StreamKind::Ledger, Message::Batch(batch(1, 0)));
    assert_closes(&said(&mut session), ErrorCode::Protocol);
}

#[test]
fn a_burst_unpacks_to_so_much_and_no_more() {
    let mut session = greeted(Role::Cloud, Opening::default());
    let body = Bytes(vec![0; 250 * 1024]);
    let event = Event::Unknown(UnknownEvent { code: 0x7fff, version: 1, body });
    let records = Record::encode(&event, Timestamp::default()).expect("encodes").repeat(2);
    let (log, epoch) = place(1);
    let large = seal(log, epoch, 0, 2, &records).expect("seals");
    let most = BURST_RECORDS_BYTES_MAX / records.len() as u64;
    for _ in 0..most {
        session.handle(StreamKind::Ledger, Message::Batch(large.clone()));
    }
    assert_eq!(said(&mut session), []);
    session.handle(StreamKind::Ledger, Message::Batch(large));
    assert_closes(&said(&mut session), ErrorCode::Protocol);
}

/// A burst that was on its way when a place was told again leaves a gap, and that is nobody's fault.
#[test]
fn a_gap_is_asked_for_once_at_each_place() {
    let held = vec![(place(1), Tip { next_seq: 5, hash: Hash([1; 32]) })];
    let mut session = greeted(Role::Cloud, Opening { held, ..Opening::default() });
    let (epoch, credit) = (place(1), || sends(Message::Credit(10)));
    let gap = |expected| {
        let refusal = Refusal::Gap { expected, found: expected + 2 };
        Reply::Refused { epoch, refusal, bytes: 10 }
    };
    assert_eq!(complete(&mut session, gap(5)), [credit(), sends(want(1, 5, 1))]);
    assert_stops(&complete(&mut session, gap(5)), ErrorCode::Protocol, 1);
    let (hash, receipt, bytes) = (Hash([2; 32]), None, 10);
    complete(&mut session, Reply::Persisted { epoch, next_seq: 7, hash, receipt, bytes });
    assert_stops(&complete(&mut session, gap(5)), ErrorCode::Protocol, 1);
    assert_eq!(complete(&mut session, gap(7)), [credit(), sends(want(1, 7, 2))]);
}
