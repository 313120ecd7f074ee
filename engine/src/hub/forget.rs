//! Forgetting: a person's names are erased here and at every device; what they did stays.
//!
//! Invariant: that somebody is forgotten is decided once, in the accounts, and told in the log of every
//! device that may know a name of theirs, in one commit with the end of the names held here. A name that a
//! device brings late is recognised until that device has confirmed. What is left to do follows from what
//! is stored, so a crash, a restore or a device that comes years later changes nothing. That the bytes
//! leave the file is the rim's, by [`Hub::move_to`].

use super::people::erase_name;
use super::{Hub, Standing};
use crate::device::Now;
use crate::store::rows::CloudErasure;
use crate::store::{Rows, Store};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use tallyroll_schema::event::people::SubjectForgotten;
use tallyroll_schema::{DeviceId, Event, Hash, Position, SubjectId, UserAlias};

/// What became of a person's names at a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgetting {
    /// It says that they are erased.
    Erased,
    /// It was told, or will be when it comes.
    Pending,
    /// It is retired, and told; once its logs are closed it cannot confirm.
    Retired,
    /// It is revoked and hears nothing any more.
    OutOfReach,
}

impl<S: Store> Hub<S> {
    /// Forgets a person. `known_by` is what their names are recognised by, keyed hashes of them.
    ///
    /// # Errors
    /// It is a group; not now, while the devices' logs are frozen; storage failed.
    pub fn forget(
        &mut self,
        now: Now,
        subject: SubjectId,
        known_by: Vec<Hash>,
    ) -> Result<Position> {
        self.refuse_if_closed()?;
        if self.counts().accounts().is_group(subject) {
            return Err(Error::Rejected("this is a group, which is nobody's name".into()));
        }
        if self.recovery.frozen_since.is_some() {
            let why = "this cloud's own logs are frozen, devices cannot be told; `tallyroll doctor` says what would thaw them";
            return Err(Error::NotYet(why.into()));
        }
        let (mut rows, mut staged) = (self.rows(), self.stage());
        let decided = SubjectForgotten { subject, aliases: None, device: None };
        let accounts = self.logs.accounts;
        let position =
            self.stage_events(&mut rows, &mut staged, now, accounts, &[decided.into()])?;
        let mut erasure = self.erasure.clone();
        erasure.names.extend(known_by.into_iter().map(|known_by| (known_by, subject)));
        for (device, place) in self.device_logs.clone() {
            if self.is_revoked(device) {
                continue;
            }
            let told = self.telling(device, subject);
            self.stage_events(&mut rows, &mut staged, now, place, &[told])?;
        }
        let aliases: Vec<_> = self.aliases_of(subject).collect();
        self.erase_rows(&mut rows, &mut erasure, &aliases)?;
        rows.put(&(), &erasure);
        let changes = rows.into_changes();
        self.finish(changes, staged)?;
        self.erasure = erasure;
        Ok(position)
    }

    /// Whose name it is that a device brings, if they are forgotten and the device has not confirmed.
    pub fn forgotten_name(&self, device: DeviceId, known_by: Hash) -> Option<SubjectId> {
        let accounts = self.counts().accounts();
        let named = self.erasure.names.iter().filter(|(hash, _)| *hash == known_by);
        let mut subjects = named.map(|(_, subject)| *subject);
        subjects.find(|subject| accounts.is_pending(device, *subject))
    }

    /// Whether names of forgotten people may still be brought.
    pub fn awaits_forgotten_names(&self) -> bool {
        !self.erasure.names.is_empty()
    }

    /// Whether an alias is a forgotten person's.
    pub fn is_forgotten(&self, device: DeviceId, alias: UserAlias) -> bool {
        let subject = self.counts().subject(device, alias);
        subject.is_some_and(|subject| self.counts().accounts().is_forgotten(subject))
    }

    /// Does what is left: names of forgotten people that are here all the same (of a backup, or of
    /// an alias that was linked since), devices that were not told of an alias, and what names are
    /// recognised by once nobody can bring them any more.
    ///
    /// # Errors
    /// Storage failed.
    pub fn erase_forgotten(&mut self, now: Now) -> Result<()> {
        let forgotten = self.counts().accounts().forgotten();
        if forgotten.is_empty() || self.recovery.frozen_since.is_some() {
            return Ok(()); // once it thaws
        }
        let (mut aliases, mut untold) = (Vec::new(), BTreeMap::<_, Vec<SubjectId>>::new());
        for ((device, alias), subject) in self.counts().links() {
            if !forgotten.contains(&subject) {
                continue;
            }
            aliases.push((device, alias));
            let told = self.counts().accounts().was_told(device, alias);
            if !told && self.device_logs.contains_key(&device) && !self.is_revoked(device) {
                let subjects = untold.entry(device).or_default();
                subjects.extend(Some(subject).filter(|subject| !subjects.contains(subject)));
            }
        }
        let (mut rows, mut staged) = (self.rows(), self.stage());
        for (device, subjects) in untold {
            let Some(place) = self.device_logs.get(&device).copied() else { continue };
            let told: Vec<Event> =
                subjects.into_iter().map(|subject| self.telling(device, subject)).collect();
            self.stage_events(&mut rows, &mut staged, now, place, &told)?;
        }
        let mut erasure = self.erasure.clone();
        self.erase_rows(&mut rows, &mut erasure, &aliases)?;
        erasure.names.retain(|(_, subject)| self.may_be_brought(*subject));
        if erasure != self.erasure {
            rows.put(&(), &erasure);
        }
        let changes = rows.into_changes();
        if !changes.is_empty() {
            self.finish(changes, staged)?;
            self.erasure = erasure;
        }
        Ok(())
    }

    /// How far a person is forgotten, by device.
    pub fn forgetting(&self, subject: SubjectId) -> Vec<(DeviceId, Forgetting)> {
        let accounts = self.counts().accounts();
        let standing = |device| self.fleet().device(device).map(|record| record.standing);
        let of = |device: DeviceId| match standing(device) {
            _ if !accounts.is_pending(device, subject) => Forgetting::Erased,
            Some(Standing::Active) => Forgetting::Pending,
            Some(Standing::Retired) => Forgetting::Retired,
            Some(Standing::Revoked) | None => Forgetting::OutOfReach,
        };
        accounts.told(subject).map(|device| (device, of(device))).collect()
    }

    /// Whether bytes of deleted names may still lie in the store's file.
    pub fn needs_scrub(&self) -> bool {
        self.erasure.unscrubbed
    }

    /// Goes on with a fresh copy of the store, in which nothing of what was deleted is; `put_in_place`
    /// has its file take the old one's name. `anchor` is that of the new file.
    ///
    /// # Errors
    /// Storage failed: it is then unknown which of the two is there.
    pub fn move_to(
        &mut self,
        mut copy: S,
        anchor: Option<Hash>,
        put_in_place: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<()> {
        let anchor = anchor.or(self.recovery.anchor);
        let erasure = CloudErasure { unscrubbed: false, ..self.erasure.clone() };
        let recovery = crate::store::rows::CloudRecovery { anchor, ..self.recovery.clone() };
        let mut rows = Rows::new(self.config.tenant, &copy);
        rows.put(&(), &erasure);
        rows.put(&(), &recovery);
        let changes = rows.into_changes();
        copy.commit(changes)?;
        let placed = put_in_place().map_err(|why| Error::storage("moving the store", why));
        self.closing(placed)?;
        self.store = copy;
        self.config.anchor = anchor;
        (self.erasure, self.recovery) = (erasure, recovery);
        Ok(())
    }

    fn may_be_brought(&self, subject: SubjectId) -> bool {
        let devices = self.forgetting(subject);
        devices.iter().any(|(_, state)| matches!(state, Forgetting::Pending | Forgetting::Retired))
    }

    fn telling(&self, device: DeviceId, subject: SubjectId) -> Event {
        let aliases = self.aliases_of(subject).filter(|(of, _)| *of == device);
        let aliases = Some(aliases.map(|(_, alias)| alias).collect());
        SubjectForgotten { subject, aliases, device: Some(device) }.into()
    }

    fn aliases_of(&self, subject: SubjectId) -> impl Iterator<Item = (DeviceId, UserAlias)> {
        let links = self.counts().links();
        links.filter(move |(_, linked)| *linked == subject).map(|(alias, _)| alias)
    }

    fn erase_rows(
        &self,
        rows: &mut Rows<'_, S>,
        erasure: &mut CloudErasure,
        aliases: &[(DeviceId, UserAlias)],
    ) -> Result<()> {
        for alias in aliases {
            erasure.unscrubbed |= erase_name(rows, *alias)?;
        }
        Ok(())
    }
}
