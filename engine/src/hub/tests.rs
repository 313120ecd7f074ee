//! A cloud's first start, and its store when that fails.
//!
//! Invariant: what a store refuses is either none of it and tried again, or nobody knows and nothing more is done.
//! What the cloud decides is tested beside the decisions.

use super::*;
use crate::store::rows::{BatchRow, HeadRow, ToldRow, epoch_key};
use crate::store::{MemoryStore, Table, Visit};
use crate::sync::{Effect, Fetch, Reply, pair};
use tallyroll_schema::event::fleet::DeviceEnrolled;
use tallyroll_schema::{Credits, Event, Position, SignedHead, SubjectId, UserAlias, Wall};

/// The simulator cut the power between the two commits of a cloud's first start: its logs were
/// there, so the next start took it for complete, and the rate card was never published.
#[test]
fn a_first_start_cut_short_is_completed_by_the_next() {
    let signer = Signer::from_seed(&[2; 32]);
    let (tenant, directory_key) = (TenantId([1; 16]), PublicKey([3; 32]));
    let config = HubConfig { tenant, signer, directory_key, anchor: None };
    let mut store = MemoryStore::default();
    create_logs(&config, &mut store, Now::default(), [4; 32]).expect("creates");
    let hub = Hub::open(config, store, Now::default(), [5; 32]).expect("opens");
    assert!(hub.counts().newest_card().is_some());
    let again = hub.restart(Now::default());
    assert_eq!(again.last_commit(), hub.last_commit(), "and published once");
}

/// Later ones have the seconds since 2020.
#[test]
fn the_commits_of_a_new_stores_first_process_have_the_first_epoch() {
    let (at, credits) = (1_577_836_800_000 + 7_000, Credits::from_thousandths(1));
    let hub = opened(MemoryStore::default(), None, at);
    assert_eq!(hub.last_commit().epoch, 1);
    let mut hub = opened(hub.store().clone(), None, at + 2_000);
    let now = Now { wall: Wall(at + 2_000), ..Now::default() };
    hub.grant(now, SubjectId([6; 16]), credits, String::new()).expect("grants");
    assert_eq!(hub.last_commit().epoch, 9);
}

/// Fails as it is told, after so many commits more.
#[derive(Default)]
struct Failing(MemoryStore, Option<Kind>, usize);

impl Store for Failing {
    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.read(table, key)
    }
    fn scan(&self, of: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.0.scan(of, from, to, visit)
    }
    fn last(&self, of: Table, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.0.last(of, from, to)
    }
    fn commit(&mut self, changes: Changes) -> Result<()> {
        match self.1 {
            None => self.0.commit(changes),
            Some(_) if self.2 > 0 => {
                self.2 -= 1;
                self.0.commit(changes)
            }
            Some(Kind::Full) => Err(Error::Full("no room".into())),
            Some(_) => Err(Error::corrupt("row", "a bit is another one")),
        }
    }
    fn file_bytes(&self) -> Result<u64> {
        self.0.file_bytes()
    }
    fn used_bytes(&self) -> Result<u64> {
        self.0.used_bytes()
    }
    fn shrink(&mut self) -> Result<()> {
        self.0.shrink()
    }
}

fn failing() -> (Hub<Failing>, impl Fn(&mut Hub<Failing>) -> Result<()>) {
    let (signer, directory_key) = (Signer::from_seed(&[2; 32]), PublicKey([3; 32]));
    let config = HubConfig { tenant: TenantId([1; 16]), signer, directory_key, anchor: None };
    let hub = Hub::open(config, Failing::default(), Now::default(), [5; 32]).expect("opens");
    let credits = Credits::from_thousandths(1);
    let grant = move |hub: &mut Hub<Failing>| {
        hub.grant(Now::default(), SubjectId([6; 16]), credits, String::new()).map(drop)
    };
    (hub, grant)
}

#[test]
fn a_full_store_is_tried_again_and_goes_on_when_there_is_room() {
    let (mut hub, grant) = failing();
    grant(&mut hub).expect("there is room");
    assert!(!hub.is_full() && !hub.is_closed());
    hub.store.1 = Some(Kind::Full);
    hub.try_room().expect("nothing was full yet");
    assert_eq!(grant(&mut hub).expect_err("no room").kind(), Kind::Full);
    assert!(hub.is_full() && !hub.is_closed());
    assert_eq!(hub.try_room().expect_err("no room yet").kind(), Kind::Full);
    hub.store.1 = None;
    assert!(hub.is_full(), "nobody tried");
    hub.commit_changes(Changes::new()).expect("needs none");
    assert!(hub.is_full(), "a smaller write says nothing");
    hub.store.1 = Some(Kind::Full);
    assert_eq!(hub.try_room().expect_err("as much finds none").kind(), Kind::Full);
    hub.store.1 = None;
    hub.try_room().expect("there is room");
    assert!(!hub.is_full());
    assert_eq!(hub.rows().get::<RoomProbe>(&()).expect("reads"), None, "nothing is left of it");
    grant(&mut hub).expect("there is room");
    assert_eq!(hub.counts().granted().values().sum::<i128>(), 2);
}

/// No more is tried for than a mebibyte, however large the write was.
#[test]
fn a_store_too_full_for_a_large_write_is_full_no_longer_once_the_largest_probe_finds_room() {
    let (mut hub, _) = failing();
    let mut rows = hub.rows();
    rows.put(&(), &RoomProbe(Bytes(vec![0; 2 * *PROBE_BYTES.end()])));
    let large = rows.into_changes();
    hub.store.1 = Some(Kind::Full);
    assert_eq!(hub.commit_changes(large).expect_err("no room").kind(), Kind::Full);
    assert!(hub.is_full());
    hub.store.1 = None;
    hub.try_room().expect("there is room");
    assert!(!hub.is_full());
}

#[test]
fn after_any_other_error_nothing_more_is_done() {
    let (mut hub, grant) = failing();
    hub.store.1 = Some(Kind::Closed);
    grant(&mut hub).expect_err("fails");
    assert!(hub.is_closed() && !hub.is_full());
    hub.store.1 = None;
    assert_eq!(grant(&mut hub).expect_err("is closed").kind(), Kind::Closed);
    assert_eq!(hub.try_room().expect_err("is closed").kind(), Kind::Closed);
}

fn opened(store: MemoryStore, anchor: Option<Hash>, at: u64) -> Hub<MemoryStore> {
    let (signer, directory_key) = (Signer::from_seed(&[2; 32]), PublicKey([3; 32]));
    let config = HubConfig { tenant: TenantId([1; 16]), signer, directory_key, anchor };
    let now = Now { wall: Wall(at), ..Now::default() };
    Hub::open(config, store, now, [u8::try_from(at % 251).expect("fits"); 32]).expect("opens")
}

/// The process ended between the commit of what it was given back and the one that freezes it.
#[test]
fn a_loss_that_was_noticed_freezes_the_next_process_if_this_one_does_not_get_there() {
    let mut hub = pair::hub();
    let mut device = pair::enrol(&mut hub, "one", 11);
    pair::talk(&mut device, &mut hub);
    let lost = hub.store().clone();
    let held = hub.offers(device.id()).expect("reads").into_iter();
    let mut held = held.filter(|offer| offer.class == LogClass::Public).map(|offer| offer.head);
    let held = held.next_back().expect("is offered");
    hub.publish(pair::now(10), crate::counts::card::default_card()).expect("publishes");
    pair::talk(&mut device, &mut hub);
    let Position { log, epoch, seq } = held.position;
    let ask = Fetch { log, epoch, from: seq + 1, after: held.hash, bytes_max: 1 << 20 };
    let Reply::Fetched(burst) = device.perform(pair::now(11), Effect::Fetch(ask)).expect("reads")
    else {
        panic!("has no more")
    };

    let Hub { config, store, .. } = hub.restart_on(lost, pair::now(20));
    let failing = Failing(store, None, 0);
    let mut hub = Hub::open(config, failing, pair::now(21), [5; 32]).expect("opens");
    assert_eq!(hub.recovery(), None, "nobody has shown more");
    (hub.store.1, hub.store.2) = (Some(Kind::Full), 1);
    let brought = vec![(device.id(), Effect::Persist(burst))];
    hub.perform(pair::now(22), brought).expect_err("has no room to freeze");
    assert!(hub.is_closed(), "unfrozen, it may write nothing");
    let Hub { config, store: Failing(store, ..), .. } = hub;
    let hub = Hub::open(config, store, pair::now(30), [6; 32]).expect("opens");
    let frozen = hub.recovery().expect("is frozen");
    assert!(frozen.why.contains("a device held more"), "{}", frozen.why);
}

#[test]
fn the_past_is_found_by_time_and_told_by_commit() {
    let mut hub = opened(MemoryStore::default(), None, 1_000);
    let now = Wall(5_000);
    assert_eq!(hub.commit_at(Wall(999), now).expect("reads"), None);
    let first = hub.last_commit();
    let credits = Credits::from_thousandths(1);
    let mut grant = |at| {
        let now = Now { wall: Wall(at), ..Now::default() };
        hub.grant(now, SubjectId([6; 16]), credits, String::new()).expect("grants");
        hub.last_commit()
    };
    let (second, third) = (grant(2_000), grant(3_000));
    for (at, commit) in [
        (1_000, first),
        (1_999, first),
        (2_000, second),
        (2_999, second),
        (3_000, third),
        (u64::MAX, third),
    ] {
        assert_eq!(hub.commit_at(Wall(at), now).expect("reads"), Some(commit), "at {at}");
    }
    assert_eq!(hub.committed_at(second).expect("reads"), Wall(2_000));
    let granted = |commit| hub.counts_at(commit).expect("reads").granted().values().sum::<i128>();
    assert_eq!([first, second, third].map(granted), [0, 1, 2]);
}

#[test]
fn the_fleet_of_the_past_lacks_who_came_later() {
    let mut hub = pair::hub();
    pair::enrol(&mut hub, "one", 11);
    let then = hub.last_commit();
    pair::enrol(&mut hub, "two", 12);
    let names =
        |fleet: &Fleet| fleet.devices().values().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&hub.fleet_at(then).expect("reads")), ["one"]);
    assert_eq!(names(&hub.fleet_at(hub.last_commit()).expect("reads")).len(), 2);
}

/// What stands outside a store is remembered in it: another place freezes, once.
#[test]
fn a_store_that_is_found_in_another_place_freezes_until_the_loss_is_accepted() {
    let [here, there] = [7, 8].map(|byte| Some(Hash([byte; 32])));
    let now = |at| Now { wall: Wall(at), ..Now::default() };
    let mut hub = pair::hub();
    pair::enrol(&mut hub, "one", 11); // without devices there is nobody to wait for
    assert!(hub.recovery().is_none());
    let hub = opened(hub.store().clone(), here, 2);
    assert!(hub.recovery().is_none(), "it is learnt where it is");
    let hub = opened(hub.store().clone(), None, 3);
    assert!(hub.recovery().is_none(), "nobody says where it is");

    let mut hub = opened(hub.store().clone(), there, 4);
    let frozen = hub.recovery().expect("is frozen");
    assert_eq!(frozen.why, "its data was found on another machine or in another place");
    assert_eq!((frozen.since, frozen.awaiting), (Wall(4), false));
    hub.await_devices(now(5)).expect("waits");
    assert!(hub.recovery().expect("is frozen").awaiting);
    let mut hub = opened(hub.store().clone(), here, 6);
    assert_eq!(hub.recovery().expect("is frozen still").since, Wall(4));
    hub.accept_loss(now(7)).expect("thaws");
    assert!(hub.recovery().is_none());
    assert_eq!(
        hub.accept_loss(now(8)).expect_err("is not frozen").to_string(),
        "nothing is frozen"
    );

    let hub = opened(hub.store().clone(), here, 10);
    assert!(hub.recovery().is_none(), "that is where it is now");
    let hub = opened(hub.store().clone(), there, 11);
    assert!(!hub.recovery().expect("is frozen").awaiting, "nobody asked to wait this time");
}

/// A store that was put in another place by its own cloud is where it should be.
#[test]
fn who_moves_to_a_fresh_copy_is_not_frozen_there() {
    let [here, there] = [7, 8].map(|byte| Some(Hash([byte; 32])));
    let mut hub = pair::hub();
    pair::enrol(&mut hub, "one", 11);
    let mut hub = opened(hub.store().clone(), here, 2);
    let copy = hub.store().clone();
    hub.move_to(copy, there, || Ok(())).expect("moves");
    let hub = opened(hub.store().clone(), there, 3);
    assert!(hub.recovery().is_none());
}

/// Whoever was enrolled by a version that wrote it into the accounts alone could not prove it.
#[test]
fn a_device_whose_log_does_not_say_so_is_told_at_a_start_that_it_is_enrolled() {
    let mut hub = pair::hub();
    let signing_key = Signer::from_seed(&[11; 32]).public_key();
    let device = DeviceId::of_key(hub.tenant(), &signing_key);
    let (name, tls_fingerprint) = ("one".into(), Hash([11; 32]));
    let (readmitted, processing, renewed) = (None, None, None);
    let enrolled = DeviceEnrolled {
        device,
        name,
        signing_key,
        tls_fingerprint,
        readmitted,
        processing,
        renewed,
    };
    let (mut rows, mut staged, now) = (hub.rows(), hub.stage(), Now::default());
    let class = LogClass::Device;
    let log = hub.stage_log(&mut rows, &mut staged, now, class, Some(device), [9; 16]);
    let log = log.expect("is staged").0;
    let accounts = hub.logs.accounts;
    hub.stage_events(&mut rows, &mut staged, now, accounts, &[enrolled.into()]).expect("is staged");
    let changes = rows.into_changes();
    hub.finish(changes, staged).expect("commits");
    let told = |hub: &Hub<MemoryStore>| {
        hub.tells(log, |event| matches!(event, Event::DeviceEnrolled(_))).expect("reads")
    };
    assert!(!told(&hub));
    let mut hub = hub.restart(now);
    assert!(told(&hub));
    assert_eq!(hub.restart(now).last_commit(), hub.last_commit(), "once");
    let mut rows = hub.rows();
    rows.delete::<ToldRow>(&log);
    let changes = rows.into_changes();
    hub.store.commit(changes).expect("commits");
    let again = hub.restart(now).last_commit();
    assert_eq!(again, hub.last_commit(), "once, also by a version that kept no row of it");
}

/// Two words of one device's enrolment: the first one's keys hold, and a revoked device is revoked once.
#[test]
fn a_device_is_enrolled_once_and_revoked_once() {
    let mut hub = pair::hub();
    let id = pair::enrol(&mut hub, "one", 11).id();
    let record = hub.fleet().device(id).expect("is enrolled").clone();
    let other = DeviceEnrolled { signing_key: PublicKey([66; 32]), ..record.enrolled(id) };
    hub.account(pair::now(5), &[other.into()]).expect("is written");
    assert_eq!(hub.fleet().device(id).expect("is enrolled"), &record);
    hub.revoke(pair::now(6), id, "stolen".into()).expect("revokes");
    let told = hub.revoke(pair::now(7), id, "stolen".into()).expect_err("is revoked").to_string();
    assert_eq!(told, "one is revoked already");
}

/// Who prints under a name that no person has is charged all the same, and shown as nobody.
#[test]
fn what_nobody_is_known_for_is_with_nobody_until_they_are() {
    let mut hub = pair::hub();
    let mut device = pair::enrol(&mut hub, "one", 11);
    pair::capture(&mut device, 2, 10);
    device.seal(pair::now(10)).expect("seals");
    pair::talk(&mut device, &mut hub);
    let (key, subject) = ((device.id(), UserAlias([8; 16])), SubjectId([6; 16]));
    let nobodys = Funds::of_nobody(hub.counts());
    let charged = nobodys.get(&key).expect("is shown").charged;
    assert!(charged > 0 && nobodys.len() == 1 && hub.funds().is_empty(), "{nobodys:?}");
    hub.link(pair::now(11), vec![(key.0, key.1, subject)]).expect("links");
    assert_eq!(Funds::of_nobody(hub.counts()), BTreeMap::new());
    assert_eq!(hub.funds().get(&subject).expect("is theirs").charged, charged);
}

/// A balance that found no room is told when there is some.
#[test]
fn what_could_not_be_told_is_told_later() {
    let mut hub = pair::hub();
    let mut device = pair::enrol(&mut hub, "one", 11);
    let (user, subject) = (UserAlias([8; 16]), SubjectId([6; 16]));
    hub.link(pair::now(3), vec![(device.id(), user, subject)]).expect("links");
    device.ask_balance(pair::now(4), user).expect("asks");
    device.seal(pair::now(4)).expect("seals");
    pair::talk(&mut device, &mut hub);
    let Hub { config, store, .. } = hub;
    let mut hub = Hub::open(config, Failing(store, None, 0), pair::now(5), [5; 32]).expect("opens");
    let before = hub.last_commit();
    hub.tell_balances(pair::now(5)).expect("waits");
    assert_eq!(hub.last_commit(), before, "it may hold the word already");
    hub.reported(pair::now(5), device.id()).expect("told what it holds");
    hub.store.1 = Some(Kind::Full);
    hub.tell_balances(pair::now(6)).expect_err("there is no room");
    hub.store.1 = None;
    assert_eq!(hub.last_commit(), before);
    hub.tell_balances(pair::now(7)).expect("there is room");
    assert!(hub.last_commit() > before, "it is told");
    let before = hub.last_commit();
    hub.tell_balances(pair::now(8)).expect("has nothing to tell");
    assert_eq!(hub.last_commit(), before);
}

/// What somebody with a hand in the store changes is found out.
#[test]
fn verifying_finds_what_is_forged_or_gone() {
    let mut hub = pair::hub();
    let mut device = pair::enrol(&mut hub, "one", 11);
    pair::capture(&mut device, 1, 10);
    device.seal(pair::now(10)).expect("seals");
    pair::talk(&mut device, &mut hub);
    let next = Signer::from_seed(&[91; 32]);
    device.rotate_keys(pair::now(11), next, Hash([91; 32])).expect("rotates");
    pair::talk(&mut device, &mut hub);
    let mut device = device.moved_copy(pair::now(12), Hash([77; 32]));
    pair::capture(&mut device, 1, 13);
    device.seal(pair::now(13)).expect("seals");
    pair::talk(&mut device, &mut hub);

    let status = device.status().expect("reads");
    let ledger = status.logs.iter().filter(|log| log.class == LogClass::Ledger);
    let mut epochs: Vec<_> = ledger.map(|log| (log.log, log.epoch)).collect();
    epochs.sort();
    let [(log, first), (_, second)] = epochs[..] else { panic!("{epochs:?}") };
    let found = |hub: &Hub<MemoryStore>, epoch| {
        hub.verify_log(log, epoch, None).expect("reads").wrong.map(|(_, why)| why)
    };
    assert_eq!([first, second].map(|epoch| found(&hub, epoch)), [None, None]);
    let (mut heads, prefix) = (Vec::new(), epoch_key(log, first));
    hub.rows()
        .scan::<HeadRow>(&prefix, &prefix, &mut |_, HeadRow(head)| {
            heads.push(head);
            Ok(ControlFlow::Continue(()))
        })
        .expect("reads");
    let rotation = heads.last().expect("is signed").head.position.seq;
    let with = |seq: u64, head: Option<SignedHead>| {
        let mut hub = hub.restart(Now::default());
        let mut rows = hub.rows();
        match head {
            Some(head) => rows.put(&(log, first, seq), &HeadRow(head)),
            None => rows.delete::<HeadRow>(&(log, first, seq)),
        }
        let changes = rows.into_changes();
        hub.store.commit(changes).expect("commits");
        found(&hub, first)
    };
    let SignedHead { head, signature } = heads[0];
    let (seq, other) =
        (head.position.seq, Signer::from_seed(&[66; 32]).sign_head(hub.tenant(), head));
    let forged = Some("a head's signature or hash".to_owned());
    assert_eq!(with(seq, Some(SignedHead { head, signature })), None);
    assert_eq!(with(seq, Some(other)), forged, "by another key");
    let told = with(rotation, None).expect("is found");
    assert!(told.contains("without the old or the new one's word"), "{told}");

    let mut rows = hub.rows();
    rows.delete::<BatchRow>(&(log, first, rotation));
    rows.delete::<HeadRow>(&(log, first, rotation));
    let changes = rows.into_changes();
    hub.store.commit(changes).expect("commits");
    let told = found(&hub, second).expect("is found");
    assert!(told.contains("hangs on") && told.contains("not here"), "{told}");
}
