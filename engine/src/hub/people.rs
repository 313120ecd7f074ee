//! Names: those that devices bring, and those that are entered at the cloud, of people whom no device has seen and
//! of groups.
//!
//! Invariant: the first name stays, an alias means one person for ever; of which aliases of a device there are names,
//! stands beside them. A name that is entered lies where all others do, sealed in the directory, under an alias that this
//! cloud minted; the link of that alias makes the person known to every view. In one commit, both or
//! neither. Sealing, and who has which name, is left to the rim.

use super::Hub;
use crate::Result;
use crate::device::Now;
use crate::store::rows::{DirectoryRow, NamesRow};
use crate::store::{Rows, Store};
use crate::sync::Reply;
use core::ops::ControlFlow;
use tallyroll_schema::event::people::{GroupFounded, SubjectLinked};
use tallyroll_schema::wire::{DirectoryEntry, names_digest};
use tallyroll_schema::{DeviceId, Event, Position, SubjectId, UserAlias};

/// Stands for this cloud where a device minted an alias: no device has this id.
pub const CLOUD: DeviceId = DeviceId([0; DeviceId::LEN]);

/// A name, sealed, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whose.
    pub subject: SubjectId,
    /// The alias it is sealed for, this cloud's.
    pub alias: UserAlias,
    /// The name, sealed to the directory key.
    pub sealed: Vec<u8>,
    /// A mail address, sealed likewise.
    pub mail: Option<Vec<u8>>,
    /// Whether it is a new group's.
    pub founds_group: bool,
}

impl<S: Store> Hub<S> {
    /// Takes in the names that a device brings.
    pub(super) fn store_names(
        &self,
        rows: &mut Rows<'_, S>,
        device: DeviceId,
        entries: Vec<DirectoryEntry>,
    ) -> Result<Reply> {
        let aliases = entries.iter().map(|entry| entry.alias).collect();
        let mut digest = names_of(rows, device)?;
        for DirectoryEntry { alias, sealed } in entries {
            let forgotten = self.is_forgotten(device, alias);
            if !forgotten && rows.get::<DirectoryRow>(&(device, alias))?.is_none() {
                rows.put(&(device, alias), &DirectoryRow { sealed, mail: None });
                digest = digest.wrapping_add(names_digest([alias]));
                rows.put(&device, &NamesRow { digest });
            }
        }
        Ok(Reply::DirectoryStored(aliases, digest))
    }

    /// Enters names, and joins aliases of devices to subjects, in one commit.
    ///
    /// # Errors
    /// Storage failed.
    pub fn name(
        &mut self,
        now: Now,
        named: Vec<Named>,
        links: Vec<(DeviceId, UserAlias, SubjectId)>,
    ) -> Result<Position> {
        self.refuse_if_closed()?;
        let (mut rows, mut staged) = (self.rows(), self.stage());
        let mut events: Vec<Event> = Vec::new();
        for Named { subject, alias, sealed, mail, founds_group } in named {
            let mail = mail.map(Into::into);
            rows.put(&(CLOUD, alias), &DirectoryRow { sealed, mail });
            events.push(SubjectLinked { device: CLOUD, alias, subject }.into());
            if founds_group {
                events.push(GroupFounded { group: subject }.into());
            }
        }
        let linked = |(device, alias, subject)| SubjectLinked { device, alias, subject }.into();
        events.extend(links.into_iter().map(linked));
        let accounts = self.logs.accounts;
        let position = self.stage_events(&mut rows, &mut staged, now, accounts, &events)?;
        let changes = rows.into_changes();
        self.finish(changes, staged)?;
        Ok(position)
    }
}

/// Of which aliases of a device there are names, by their digest.
pub(super) fn names_of<S: Store>(rows: &Rows<'_, S>, device: DeviceId) -> Result<u64> {
    if let Some(NamesRow { digest }) = rows.get(&device)? {
        return Ok(digest);
    }
    let mut aliases = Vec::new();
    rows.scan::<DirectoryRow>(device.as_bytes(), device.as_bytes(), &mut |key, _| {
        aliases.extend(DirectoryRow::split_key(key).map(|(_, alias)| alias));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(names_digest(aliases))
}

/// Takes a name away; returns whether it was there.
pub(super) fn erase_name<S: Store>(
    rows: &mut Rows<'_, S>,
    (device, alias): (DeviceId, UserAlias),
) -> Result<bool> {
    if rows.get::<DirectoryRow>(&(device, alias))?.is_none() {
        return Ok(false);
    }
    let digest = names_of(rows, device)?.wrapping_sub(names_digest([alias]));
    rows.delete::<DirectoryRow>(&(device, alias));
    rows.put(&device, &NamesRow { digest });
    Ok(true)
}
