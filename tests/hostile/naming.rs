//! Who may bring names, and gets any: every standing of who speaks, with an alias of every owner.
//!
//! Invariant shown here: a device names aliases as its own, each once; nobody else's name is replaced, whatever alias
//! it says, no name comes back over a session, and nothing but that one row changes.
//! The rule stands in [`may`] and nowhere else; the cells are made from it. Who can open a name is tested in `tests/it`,
//! names of people who are forgotten beside the engine.

use super::matrix::{MINE, OTHER, Standing, THEIRS, World, hello};
use std::collections::BTreeMap;
use tallyroll_engine::keys::Signer;
use tallyroll_engine::store::rows::{DirectoryRow, NamesRow};
use tallyroll_engine::store::{Row, Rows, Store};
use tallyroll_schema::wire::{DirectoryEntry, Message, StreamKind};
use tallyroll_schema::{DeviceId, UserAlias};
use tallyroll_tests::hostile::place::Party;

/// Which alias a name is brought for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alias {
    /// One that nobody has named.
    New,
    /// The speaker's, named before.
    Named,
    /// One that another device of the tenant has named.
    Tenant,
    /// One that a device of the other tenant has named.
    Foreign,
}

impl Alias {
    const ALL: [Self; 4] = [Self::New, Self::Named, Self::Tenant, Self::Foreign];

    fn id(self) -> UserAlias {
        UserAlias([0x40 + self as u8; 16])
    }
}

/// The rule: whether the name is kept, as the speaker's. An alias is a device's own, so that one which another has,
/// too, is another person.
fn may(standing: Standing, alias: Alias) -> bool {
    matches!(standing, Standing::Active | Standing::Retired) && alias != Alias::Named
}

/// Each owner's alias has its name.
fn named(standing: Standing) -> World {
    let world = World::new(standing);
    let owned: [(Party, Alias); 3] =
        [(MINE, Alias::Named), (OTHER, Alias::Tenant), (THEIRS, Alias::Foreign)];
    for (party, alias) in owned {
        let device = DeviceId::of_key(party.tenant, &Signer::from_seed(&party.device).public_key());
        let mut rows = Rows::new(party.tenant, &world.store);
        let sealed = vec![alias as u8; 80];
        rows.put(&(device, alias.id()), &DirectoryRow { sealed, mail: None });
        let changes = rows.into_changes();
        world.store.clone().commit(changes).unwrap();
    }
    world
}

#[test]
fn a_device_names_its_own_aliases_and_is_told_no_names() {
    let (mut allowed, mut denied) = (0, 0);
    for standing in [Standing::Active, Standing::Retired, Standing::Revoked, Standing::Stranger] {
        for alias in Alias::ALL {
            let cell = format!("{standing:?}, {alias:?}");
            let mut world = named(standing);
            let before = [MINE, THEIRS].map(|party| world.rows(party.tenant));
            let entry = DirectoryEntry { alias: alias.id(), sealed: vec![0xee; 80] };
            let brings = (StreamKind::Control, Message::Directory(vec![entry.clone()]));
            let said = world.say(vec![hello(MINE.tenant, world.device), brings]);
            let names = said.iter().any(|(_, message)| matches!(message, Message::Directory(_)));
            assert!(!names, "{cell}: it is told names");

            let key = DirectoryRow::key(&(world.device, alias.id()));
            let key = (DirectoryRow::TABLE, [MINE.tenant.as_bytes(), &key[..]].concat());
            let [mut mine, theirs] = [MINE, THEIRS].map(|party| world.rows(party.tenant));
            let kept = DirectoryRow { sealed: entry.sealed, mail: None }.encode();
            let done = mine.get(&key) == Some(&kept);
            assert_eq!(done, may(standing, alias), "{cell}");
            if done {
                assert_eq!(mine.remove(&key), Some(kept));
                let of_device = NamesRow::key(&world.device);
                let which = [MINE.tenant.as_bytes(), &of_device[..]].concat();
                assert!(mine.remove(&(NamesRow::TABLE, which)).is_some(), "{cell}");
            }
            let differ = differing(&before[0], &mine);
            assert!(differ.is_empty(), "{cell}: other rows changed: {differ:?}");
            assert_eq!(theirs, before[1], "{cell}: the other tenant's rows");
            *(if done { &mut allowed } else { &mut denied }) += 1;
        }
    }
    assert_eq!((allowed, denied), (6, 10));
}

/// The keys of two tables whose rows are not the same.
fn differing<K: Ord + Clone, V: PartialEq>(a: &BTreeMap<K, V>, b: &BTreeMap<K, V>) -> Vec<K> {
    a.keys().chain(b.keys()).filter(|key| a.get(key) != b.get(key)).cloned().collect()
}
