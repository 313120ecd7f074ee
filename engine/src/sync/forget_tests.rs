//! Forgetting between devices and their cloud: told, done, confirmed, and told again.
//!
//! Invariant: a person's charges stay theirs, a device confirms only what it did, and a name of theirs that
//! comes late is theirs and is not kept.

use super::pair::{TestDevice, capture, enrol, hub, now, talk_at};
use crate::hub::{Forgetting, Hub};
use crate::store::MemoryStore;
use crate::sync::Effect;
use tallyroll_schema::event::counts::{JobBegun, SettlementPolicy};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::DirectoryEntry;
use tallyroll_schema::{Hash, JobId, SubjectId, UserAlias};

const SUBJECT: SubjectId = SubjectId([7; 16]);
/// As [`capture`] calls its user.
const ALIAS: UserAlias = UserAlias([8; 16]);
const LATE: UserAlias = UserAlias([9; 16]);
const KNOWN_BY: Hash = Hash([1; 32]);

pub(super) fn mint(device: &mut TestDevice, name: &str, alias: UserAlias) {
    let entry = DirectoryEntry { alias, sealed: vec![1; 80] };
    device.mint(vec![(name.into(), entry)]).expect("mints");
}

/// As the device's rim does it; the store in memory keeps no bytes of what is deleted.
fn forget(device: &mut TestDevice, at: u64) {
    let names = device.names_to_forget().expect("reads");
    if !names.is_empty() {
        device.forget_names(&names).expect("deletes");
        assert!(device.needs_scrub());
    }
    if device.needs_scrub() {
        device.confirm_forgotten(now(at)).expect("waits");
        assert!(device.is_forgetting(), "not before its bytes are gone");
        let copy = device.store().clone();
        device.move_to(copy, None, || Ok(())).expect("moves");
    }
    device.confirm_forgotten(now(at)).expect("confirms");
}

#[test]
fn a_name_stays_as_it_came_first() {
    let mut hub = hub();
    let one = enrol(&mut hub, "one", 31);
    for sealed in [1, 2] {
        let entry = DirectoryEntry { alias: ALIAS, sealed: vec![sealed; 80] };
        let store = vec![(one.id(), Effect::StoreDirectory(vec![entry]))];
        hub.perform(now(4), store).expect("stores");
    }
    let names = hub.directory().expect("reads");
    assert_eq!(names.into_iter().map(|(_, row)| row.sealed).collect::<Vec<_>>(), [vec![1; 80]]);
}

/// A fresh copy of a store is another file: the device and the cloud that go on in it are no copies.
#[test]
fn who_goes_on_in_a_fresh_copy_is_taken_for_no_copy() {
    let mut hub = hub();
    let mut one = enrol(&mut hub, "one", 31);
    let (copy, there) = (one.store().clone(), Some(Hash([55; 32])));
    one.move_to(copy, there, || Ok(())).expect("moves");
    let one = one.restart(now(5));
    assert!(!one.is_unconfirmed().expect("reads"));
    assert_eq!(one.status().expect("reads").logs.len(), 2, "and no new epochs");
    assert!(one.moved_copy(now(6), Hash([56; 32])).is_unconfirmed().expect("reads"));
}

/// Names travel beside the logs.
fn bring_names(hub: &mut Hub<MemoryStore>, device: &mut TestDevice, at: u64) {
    let entries = device.unstored_directory().expect("reads");
    let aliases: Vec<_> = entries.iter().map(|entry| entry.alias).collect();
    if !aliases.is_empty() {
        let store = vec![(device.id(), Effect::StoreDirectory(entries))];
        hub.perform(now(at), store).expect("stores");
        device.perform(now(at), Effect::DirectoryStored(aliases)).expect("notes it");
    }
}

fn meet(hub: &mut Hub<MemoryStore>, device: &mut TestDevice, at: u64) {
    for _ in 0..3 {
        device.seal(now(at)).expect("seals");
        talk_at(device, hub, at);
        bring_names(hub, device, at);
        forget(device, at);
    }
}

fn state(hub: &Hub<MemoryStore>, device: &TestDevice) -> Option<Forgetting> {
    let states = hub.forgetting(SUBJECT);
    states.iter().find(|(of, _)| *of == device.id()).map(|(_, state)| *state)
}

#[test]
fn a_device_erases_confirms_and_does_it_again_after_a_restore() {
    let mut hub = hub();
    let (mut one, mut away) = (enrol(&mut hub, "one", 31), enrol(&mut hub, "away", 32));
    mint(&mut one, "ada", ALIAS);
    capture(&mut one, 5, 4);
    meet(&mut hub, &mut one, 4);
    hub.link(now(4), vec![(one.id(), ALIAS, SUBJECT)]).expect("links");
    assert_eq!(hub.directory().expect("reads").len(), 1);
    let backup = one.moved_copy(now(5), Hash([77; 32]));
    let before = hub.counts().usage().clone();

    hub.forget(now(5), SUBJECT, vec![KNOWN_BY]).expect("forgets");
    assert!(hub.directory().expect("reads").is_empty() && hub.needs_scrub());
    assert_eq!(state(&hub, &one), Some(Forgetting::Pending));
    // A cloud that ends here goes on where it was.
    let mut hub = hub.restart(now(5));
    assert!(hub.needs_scrub());
    let copy = hub.store().clone();
    hub.move_to(copy, None, || Ok(())).expect("moves");
    assert!(!hub.needs_scrub());
    // The device brings a name again that it has yet to forget.
    let entry = DirectoryEntry { alias: ALIAS, sealed: vec![2; 80] };
    hub.perform(now(5), vec![(one.id(), Effect::StoreDirectory(vec![entry]))]).expect("stores");
    assert!(hub.directory().expect("reads").is_empty() && !hub.needs_scrub());
    meet(&mut hub, &mut one, 6);
    assert!(one.names().expect("reads").is_empty() && !one.is_forgetting());
    assert_eq!(state(&hub, &one), Some(Forgetting::Erased));
    assert_eq!(hub.counts().usage(), &before, "what they did stays");

    // The one that was away has a name that nobody has seen: it does not confirm before that is known.
    mint(&mut away, "ada", LATE);
    meet(&mut hub, &mut away, 7);
    assert_eq!(
        hub.forgotten_name(away.id(), KNOWN_BY),
        None,
        "it brought its names, and confirmed"
    );
    let late = hub.counts().subject(away.id(), LATE);
    assert_eq!(late, None, "whose it is, is the rim's to say");

    // Put back from before: it is told by the same log, and does it again.
    let mut restored = backup;
    assert_eq!(restored.names().expect("reads").len(), 1);
    meet(&mut hub, &mut restored, 8);
    assert!(restored.names().expect("reads").is_empty());
    assert!(hub.directory().expect("reads").iter().all(|((device, _), _)| *device == away.id()));
}

#[test]
fn a_name_that_comes_late_is_recognised_until_its_device_confirms() {
    let mut hub = hub();
    let mut away = enrol(&mut hub, "away", 33);
    meet(&mut hub, &mut away, 3);
    hub.link(now(3), vec![(crate::hub::CLOUD, ALIAS, SUBJECT)]).expect("links");
    hub.forget(now(4), SUBJECT, vec![KNOWN_BY]).expect("forgets");
    assert_eq!(hub.forgotten_name(away.id(), KNOWN_BY), Some(SUBJECT));
    assert!(hub.awaits_forgotten_names());
    assert_eq!(hub.forgotten_name(away.id(), Hash([2; 32])), None);
    // As the cloud's rim does when it meets the name: the alias is theirs, and is to be erased, too.
    mint(&mut away, "ada", LATE);
    away.seal(now(5)).expect("seals");
    talk_at(&mut away, &mut hub, 5);
    forget(&mut away, 5);
    assert!(away.is_forgetting(), "not before the cloud has seen every name");
    bring_names(&mut hub, &mut away, 5);
    hub.link(now(5), vec![(away.id(), LATE, SUBJECT)]).expect("links");
    let mut frozen = hub.restart(now(5));
    frozen.await_devices(now(5)).expect("freezes");
    let commit = frozen.last_commit();
    frozen.erase_forgotten(now(5)).expect("once it thaws");
    assert_eq!(frozen.last_commit(), commit);
    hub.erase_forgotten(now(5)).expect("erases");
    assert_eq!(hub.forgotten_name(away.id(), KNOWN_BY), Some(SUBJECT), "it may bring more");
    let commit = hub.last_commit();
    hub.erase_forgotten(now(5)).expect("has nothing to do");
    assert_eq!(hub.last_commit(), commit, "a device is told of an alias once");
    assert!(hub.directory().expect("reads").is_empty());
    meet(&mut hub, &mut away, 6);
    assert!(away.names().expect("reads").is_empty());
    assert_eq!(state(&hub, &away), Some(Forgetting::Erased));
    hub.erase_forgotten(now(7)).expect("tidies");
    assert!(!hub.awaits_forgotten_names(), "nobody can bring them any more");
}

/// Who has no name any more may be the one who acts now, under another alias.
#[test]
fn a_job_is_its_users_as_long_as_they_have_a_name_here() {
    let mut hub = hub();
    let mut one = enrol(&mut hub, "one", 31);
    mint(&mut one, "ada", ALIAS);
    mint(&mut one, "bert", LATE);
    let (job, policy) = (JobId([1; 8]), SettlementPolicy::ServerSettles);
    let begun = JobBegun { job, user: ALIAS, policy };
    one.commit(now(4), &[(LogClass::Ledger, begun.into())]).expect("commits");
    let others = |one: &TestDevice, user: Option<UserAlias>| {
        one.terms_for(job, user).expect("reads").job.expect("has begun").user
    };
    assert_eq!(others(&one, Some(LATE)), Some(ALIAS));
    assert_eq!([Some(ALIAS), None].map(|user| others(&one, user)), [None, None]);
    one.forget_names(&["ada".into()]).expect("deletes");
    assert_eq!(others(&one, Some(LATE)), None);
}
