//! The people behind the aliases: names in memory, and who is one person.
//!
//! Invariant: a name that is equal at two devices is one subject, minted when the
//! name is first seen; a link that exists is never changed. Names come from
//! [`sealed`] rows that are durable, live in memory only and enter no log.

pub mod sealed;

use sealed::DirectoryKey;
use std::collections::BTreeMap;
use tallyroll_engine::device::Now;
use tallyroll_engine::hub::Hub;
use tallyroll_engine::store::Store;
use tallyroll_engine::{Error, Result};
use tallyroll_schema::{DeviceId, SubjectId, UserAlias};
use tracing::warn;

/// Links in one batch: far below what a batch holds.
const LINKS_MAX: usize = 1000;

/// Who minted an alias, and the alias.
pub type AliasOf = (DeviceId, UserAlias);

/// The directory, opened.
pub struct People {
    key: DirectoryKey,
    names: BTreeMap<AliasOf, String>,
    subjects: BTreeMap<String, SubjectId>,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "People({} aliases)", self.names.len())
    }
}

impl People {
    /// A directory that nobody is in yet.
    pub fn new(key: DirectoryKey) -> Self {
        Self { key, names: BTreeMap::new(), subjects: BTreeMap::new() }
    }

    /// The name behind an alias.
    pub fn name(&self, device: DeviceId, alias: UserAlias) -> Option<&str> {
        self.names.get(&(device, alias)).map(String::as_str)
    }

    /// The person of a name that some device has seen.
    pub fn subject(&self, name: &str) -> Option<SubjectId> {
        self.subjects.get(name).copied()
    }

    /// The names of persons.
    pub fn by_subject(&self) -> BTreeMap<SubjectId, String> {
        self.subjects.iter().map(|(name, subject)| (*subject, name.clone())).collect()
    }

    fn open(&self, (device, alias): AliasOf, sealed: &[u8]) -> Option<String> {
        match self.key.open(device.as_bytes(), alias.as_bytes(), sealed) {
            Ok(name) => Some(name),
            Err(why) => {
                warn!(%device, alias = alias.short(), %why, "a sealed name does not open; it is shown as its alias");
                None
            }
        }
    }
}

/// Opens names that are durable, and links their aliases where they are not.
///
/// # Errors
/// No room: what is not linked yet is to be brought again. Storage failed, or the system gave
/// no entropy.
pub fn take_in<S: Store>(
    hub: &mut Hub<S>,
    people: &mut People,
    now: Now,
    stored: impl IntoIterator<Item = (AliasOf, Vec<u8>)>,
) -> Result<()> {
    let mut unlinked = BTreeMap::new();
    for (of, sealed) in stored {
        if people.names.contains_key(&of) {
            continue;
        }
        let Some(name) = people.open(of, &sealed) else { continue };
        match hub.counts().subject(of.0, of.1) {
            // What is linked says who a name is; so all of it comes first.
            Some(subject) => {
                people.subjects.entry(name.clone()).or_insert(subject);
                people.names.insert(of, name);
            }
            None => drop(unlinked.entry(of).or_insert(name)),
        }
    }
    let unlinked: Vec<_> = unlinked.into_iter().collect();
    for unlinked in unlinked.chunks(LINKS_MAX) {
        let (mut links, mut subjects) = (Vec::new(), BTreeMap::new());
        for ((device, alias), name) in unlinked {
            let known = people.subjects.get(name).or_else(|| subjects.get(name)).copied();
            let subject = known.map_or_else(mint, Ok)?;
            subjects.insert(name.clone(), subject);
            links.push((*device, *alias, subject));
        }
        hub.link(now, links)?;
        // Known only once it is durable: without room it is tried again, as if never heard of.
        people.subjects.extend(subjects);
        people.names.extend(unlinked.iter().cloned());
    }
    Ok(())
}

fn mint() -> Result<SubjectId> {
    let mut id = [0; SubjectId::LEN];
    let failed =
        |why: getrandom::Error| Error::Storage { doing: "asking for entropy", source: why.into() };
    getrandom::fill(&mut id).map_err(failed)?;
    Ok(SubjectId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_engine::hub::{HubConfig, Invitation, pin_hash};
    use tallyroll_engine::keys::Signer;
    use tallyroll_engine::store::MemoryStore;
    use tallyroll_engine::sync::Effect;
    use tallyroll_schema::enrol::JoinRequest;
    use tallyroll_schema::wire::DirectoryEntry;
    use tallyroll_schema::{Hash, PublicKey, TenantId};

    const ADA_HERE: AliasOf = (DeviceId([1; 16]), UserAlias([1; 16]));
    const ADA_THERE: AliasOf = (DeviceId([2; 16]), UserAlias([2; 16]));
    const BOB: AliasOf = (DeviceId([2; 16]), UserAlias([3; 16]));

    fn cloud() -> (tempfile::TempDir, Hub<MemoryStore>, People) {
        let root = tempfile::tempdir().unwrap();
        let key = DirectoryKey::open_or_create(root.path()).unwrap();
        let config = HubConfig {
            tenant: TenantId([7; 16]),
            signer: Signer::from_seed(&[8; 32]),
            directory_key: PublicKey(key.public()),
            anchor: None,
        };
        let hub = Hub::open(config, MemoryStore::default(), Now::default(), [9; 32]).unwrap();
        (root, hub, People::new(key))
    }

    fn enrol(hub: &mut Hub<MemoryStore>, number: u8) -> DeviceId {
        let (name, salt) = (format!("branch-{number}"), Hash([5; 32]));
        let pin_hash = pin_hash(&salt, "ABCD-EFGH");
        hub.invite(Now::default(), Invitation { name: name.clone(), pin_hash, salt }).unwrap();
        let (signer, tls) = (Signer::from_seed(&[number; 32]), [number; 32]);
        let proof = signer.sign_enrolment(&name, &tls);
        let (pin, signing_key) = ("abcdefgh".into(), signer.public_key());
        let request = JoinRequest { proof, name, pin, signing_key, agent: String::new() };
        hub.join(Now::default(), &request, Hash(tls), [number; 16]).unwrap();
        DeviceId::of_key(TenantId([7; 16]), &signer.public_key())
    }

    fn sealed(people: &People, (device, alias): AliasOf, name: &str) -> (AliasOf, Vec<u8>) {
        let sealed = sealed::seal_for_test(&people.key, device.as_bytes(), alias.as_bytes(), name);
        ((device, alias), sealed)
    }

    #[test]
    fn a_name_seen_at_two_devices_is_one_person() {
        let (_root, mut hub, mut people) = cloud();
        let rows = [(ADA_HERE, "ada"), (ADA_THERE, "ada"), (BOB, "bob")];
        let rows = rows.map(|(of, name)| sealed(&people, of, name));
        for row in rows {
            take_in(&mut hub, &mut people, Now::default(), [row.clone()]).unwrap();
            let before = hub.last_commit();
            take_in(&mut hub, &mut people, Now::default(), [row]).unwrap();
            assert_eq!(hub.last_commit(), before, "what is linked is not linked again");
        }
        let subject = |of: AliasOf| hub.counts().subject(of.0, of.1).unwrap();
        assert_eq!(subject(ADA_HERE), subject(ADA_THERE));
        assert_ne!(subject(ADA_HERE), subject(BOB));
        assert_eq!(people.subject("ada"), Some(subject(ADA_HERE)));
        assert_eq!(people.name(BOB.0, BOB.1), Some("bob"));
        assert_eq!(people.subject("eve"), None);
    }

    #[test]
    fn a_crash_between_storing_and_linking_is_made_good_at_the_next_start() {
        let (root, mut hub, mut people) = cloud();
        let now = Now::default();
        let [here, there] = [1, 2].map(|number| (enrol(&mut hub, number), UserAlias([number; 16])));
        let (ada, again) = (sealed(&people, here, "ada"), sealed(&people, there, "ada"));
        let store = |hub: &mut Hub<MemoryStore>, (of, sealed): (AliasOf, Vec<u8>)| {
            let entry = DirectoryEntry { alias: of.1, sealed };
            hub.perform(now, vec![(of.0, Effect::StoreDirectory(vec![entry]))]).unwrap();
        };
        store(&mut hub, again.clone());
        take_in(&mut hub, &mut people, now, [again]).unwrap();
        let known = people.subject("ada");
        store(&mut hub, ada);

        let mut people = People::new(DirectoryKey::open_or_create(root.path()).unwrap());
        let stored = hub.directory().unwrap();
        take_in(&mut hub, &mut people, now, stored).unwrap();
        assert_eq!(people.subject("ada"), known);
        assert_eq!(hub.counts().subject(here.0, here.1), known);
    }

    #[test]
    fn a_name_that_does_not_open_keeps_no_other_one_out() {
        let (_root, mut hub, mut people) = cloud();
        let rows = [(ADA_HERE, vec![0; 80]), sealed(&people, BOB, "bob")];
        take_in(&mut hub, &mut people, Now::default(), rows).unwrap();
        assert_eq!(people.name(ADA_HERE.0, ADA_HERE.1), None);
        assert!(people.subject("bob").is_some());
    }
}
