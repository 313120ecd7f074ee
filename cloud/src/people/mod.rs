//! The people behind the aliases: names in memory, and who is one person.
//!
//! Invariant: a name that is equal at two devices is one subject, minted when the
//! name is first seen; a link that exists is changed by an administrator's word alone. Names come
//! from [`sealed`] rows that are durable, live in memory only and enter no log. Names entered here
//! ([`entering`]) go before those that devices brought. Who is forgotten is not taken in again.

pub mod entering;
pub mod sealed;

use sealed::DirectoryKey;
use std::collections::BTreeMap;
use tallyroll_engine::counts::Counts;
use tallyroll_engine::device::Now;
use tallyroll_engine::hub::{CLOUD, Hub};
use tallyroll_engine::store::Store;
use tallyroll_engine::store::rows::DirectoryRow;
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
    mails: BTreeMap<UserAlias, String>,
    /// What follows from names and links: who has a name, and how a subject is shown.
    users: BTreeMap<String, SubjectId>,
    groups: BTreeMap<String, SubjectId>,
    titles: BTreeMap<SubjectId, String>,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "People({} aliases)", self.names.len())
    }
}

impl People {
    /// A directory that nobody is in yet.
    pub fn new(key: DirectoryKey) -> Self {
        let (names, mails) = (BTreeMap::new(), BTreeMap::new());
        let (users, groups, titles) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { key, names, mails, users, groups, titles }
    }

    /// The name behind an alias.
    pub fn name(&self, device: DeviceId, alias: UserAlias) -> Option<&str> {
        self.names.get(&(device, alias)).map(String::as_str)
    }

    /// The name that whoever has an alias is shown by.
    pub fn shown(&self, counts: &Counts, device: DeviceId, alias: UserAlias) -> Option<&str> {
        let title = counts.subject(device, alias).and_then(|subject| self.title(subject));
        title.or_else(|| self.name(device, alias))
    }

    /// The name that a person or group is shown by.
    pub fn title(&self, subject: SubjectId) -> Option<&str> {
        self.titles.get(&subject).map(String::as_str)
    }

    /// The person of a name that some device has seen, or that was entered here.
    pub fn subject(&self, name: &str) -> Option<SubjectId> {
        self.users.get(name).copied()
    }

    /// The group of a name.
    pub fn group(&self, name: &str) -> Option<SubjectId> {
        self.groups.get(name).copied()
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

    /// After names or links changed. This cloud's own aliases come first in order, so a name that was
    /// entered here is its person's, whatever devices call whom.
    fn index(&mut self, counts: &Counts) {
        (self.users, self.groups) = (BTreeMap::new(), BTreeMap::new());
        self.titles.clear();
        for ((device, alias), subject) in counts.links() {
            let Some(name) = self.names.get(&(device, alias)) else { continue };
            self.titles.entry(subject).or_insert_with(|| name.clone());
            let group = counts.accounts().is_group(subject);
            let names = if group { &mut self.groups } else { &mut self.users };
            names.entry(name.clone()).or_insert(subject);
        }
    }

    /// Knows the names of who is forgotten no more.
    pub fn drop_forgotten(&mut self, counts: &Counts) {
        let forgotten = |of: &AliasOf| {
            let subject = counts.subject(of.0, of.1);
            subject.is_some_and(|subject| counts.accounts().is_forgotten(subject))
        };
        self.names.retain(|of, _| !forgotten(of));
        self.mails.retain(|alias, _| !forgotten(&(CLOUD, *alias)));
        self.index(counts);
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
    stored: impl IntoIterator<Item = (AliasOf, DirectoryRow)>,
) -> Result<()> {
    let mut unlinked = BTreeMap::new();
    let known = people.names.len();
    for (of, row) in stored {
        if people.names.contains_key(&of) || hub.is_forgotten(of.0, of.1) {
            continue;
        }
        let Some(name) = people.open(of, &row.sealed) else { continue };
        match hub.counts().subject(of.0, of.1) {
            // What is linked says who a name is; so all of it comes first.
            Some(_) => drop(people.names.insert(of, name)),
            None => drop(unlinked.entry(of).or_insert(name)),
        }
        if let (CLOUD, Some(mail)) = (of.0, row.mail) {
            people.mails.extend(people.open_mail(of.1, &mail).map(|mail| (of.1, mail)));
        }
    }
    if people.names.len() > known {
        people.index(hub.counts());
    }
    let late = take_out_forgotten(hub, people, &mut unlinked);
    if !late.is_empty() {
        hub.link(now, late)?;
        hub.erase_forgotten(now)?;
    }
    let unlinked: Vec<_> = unlinked.into_iter().collect();
    for unlinked in unlinked.chunks(LINKS_MAX) {
        let (mut links, mut subjects) = (Vec::new(), BTreeMap::new());
        for ((device, alias), name) in unlinked {
            let known = people.users.get(name).or_else(|| subjects.get(name)).copied();
            let subject = known.map_or_else(mint, Ok)?;
            subjects.insert(name.clone(), subject);
            links.push((*device, *alias, subject));
        }
        hub.link(now, links)?;
        // Known only once it is durable: without room it is tried again, as if never heard of.
        for (of, name) in unlinked {
            let Some(subject) = subjects.get(name).copied() else { continue };
            people.titles.entry(subject).or_insert_with(|| name.clone());
            people.users.entry(name.clone()).or_insert(subject);
            people.names.insert(*of, name.clone());
        }
    }
    Ok(())
}

/// Of new names, those of people who were forgotten before their device heard of it: they are who
/// they were, and their names stay unknown.
fn take_out_forgotten<S: Store>(
    hub: &Hub<S>,
    people: &People,
    unlinked: &mut BTreeMap<AliasOf, String>,
) -> Vec<(DeviceId, UserAlias, SubjectId)> {
    let mut late = Vec::new();
    if hub.awaits_forgotten_names() {
        unlinked.retain(|(device, alias), name| {
            let forgotten = hub.forgotten_name(*device, people.key.known_by(name));
            late.extend(forgotten.map(|subject| (*device, *alias, subject)));
            forgotten.is_none()
        });
    }
    late
}

fn mint() -> Result<SubjectId> {
    random().map(SubjectId)
}

fn random() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    let failed =
        |why: getrandom::Error| Error::Storage { doing: "asking for entropy", source: why.into() };
    getrandom::fill(&mut id).map_err(failed)?;
    Ok(id)
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
        hub.invite(
            Now::default(),
            Invitation { name: name.clone(), pin_hash, salt, processing: false },
        )
        .unwrap();
        let (signer, tls) = (Signer::from_seed(&[number; 32]), [number; 32]);
        let proof = signer.sign_enrolment(&name, &tls);
        let (pin, signing_key) = ("abcdefgh".into(), signer.public_key());
        let request = JoinRequest { proof, name, pin, signing_key, agent: String::new() };
        hub.join(Now::default(), &request, Hash(tls), [number; 16]).unwrap();
        DeviceId::of_key(TenantId([7; 16]), &signer.public_key())
    }

    fn sealed(people: &People, (device, alias): AliasOf, name: &str) -> (AliasOf, DirectoryRow) {
        let sealed = people.key.seal(device.as_bytes(), alias.as_bytes(), name).unwrap();
        ((device, alias), DirectoryRow { sealed, mail: None })
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
        let store = |hub: &mut Hub<MemoryStore>, (of, row): (AliasOf, DirectoryRow)| {
            let entry = DirectoryEntry { alias: of.1, sealed: row.sealed };
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
        let rows = [
            (ADA_HERE, DirectoryRow { sealed: vec![0; 80], mail: None }),
            sealed(&people, BOB, "bob"),
        ];
        take_in(&mut hub, &mut people, Now::default(), rows).unwrap();
        assert_eq!(people.name(ADA_HERE.0, ADA_HERE.1), None);
        assert!(people.subject("bob").is_some());
    }
}
