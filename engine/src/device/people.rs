//! Names at a device: each has a random alias, minted before its first event.
//!
//! Invariant: a name never enters an event. The name stays in this table until
//! it is forgotten; its sealed copy travels outside the logs.

use super::Device;
use crate::log::journal::JournalFile;
use crate::store::rows::{AliasRow, DeviceHistory};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use core::ops::ControlFlow;
use tallyroll_schema::UserAlias;
use tallyroll_schema::limits::NAME_BYTES_MAX;
use tallyroll_schema::wire::DirectoryEntry;

impl<F: JournalFile, S: Store> Device<F, S> {
    /// A name's alias, if it has one.
    ///
    /// # Errors
    /// Storage failed.
    pub fn alias(&self, name: &str) -> Result<Option<UserAlias>> {
        Ok(self.rows().get::<AliasRow>(&name.to_owned())?.map(|row| row.alias))
    }

    /// Gives names their aliases, durably. The rim minted and sealed them.
    ///
    /// # Errors
    /// [`Error::Rejected`] for an empty, over-long or taken name; storage failed.
    pub fn mint(&mut self, names: Vec<(String, DirectoryEntry)>) -> Result<()> {
        self.refuse_if_closed()?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        for (name, entry) in names {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                let why = format!("a user's name has 1 to {NAME_BYTES_MAX} bytes");
                return Err(Error::Rejected(why));
            }
            if rows.get::<AliasRow>(&name)?.is_some() {
                return Err(Error::Rejected("this name has an alias already".into()));
            }
            let row = AliasRow { alias: entry.alias, sealed: entry.sealed, stored: false };
            rows.put(&name, &row);
        }
        let changes = rows.into_changes();
        self.commit_changes(changes)
    }

    /// Every name and its alias.
    ///
    /// # Errors
    /// Storage failed.
    pub fn names(&self) -> Result<Vec<(String, UserAlias)>> {
        let mut names = Vec::new();
        self.each_alias(&mut |name, row| names.push((name, row.alias)))?;
        Ok(names)
    }

    /// The sealed names that the cloud has not confirmed.
    ///
    /// # Errors
    /// Storage failed.
    pub fn unstored_directory(&self) -> Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        self.each_alias(&mut |_, row| {
            if !row.stored {
                entries.push(DirectoryEntry { alias: row.alias, sealed: row.sealed });
            }
        })?;
        Ok(entries)
    }

    /// Notes that the cloud has these names.
    pub(super) fn directory_stored(&mut self, aliases: &[UserAlias]) -> Result<()> {
        let mut confirmed = Vec::new();
        self.each_alias(&mut |name, row| {
            if !row.stored && aliases.contains(&row.alias) {
                confirmed.push((name, AliasRow { stored: true, ..row }));
            }
        })?;
        let mut rows = Rows::new(self.config.tenant, &self.store);
        for (name, row) in &confirmed {
            rows.put(name, row);
        }
        let history = self.history()?;
        if !confirmed.is_empty() && history.names.is_some() {
            rows.put(&(), &DeviceHistory { names: None, ..history }); // until it tells them
        }
        let changes = rows.into_changes();
        self.commit_changes(changes)
    }

    /// The cloud is to have every name again.
    pub(super) fn unstore_names(&self, rows: &mut Rows<'_, S>) -> Result<()> {
        let mut names = Vec::new();
        self.each_alias(&mut |name, row| names.push((name, AliasRow { stored: false, ..row })))?;
        names.iter().for_each(|(name, row)| rows.put(name, row));
        Ok(())
    }

    /// Whose names the cloud confirmed that it has.
    pub(super) fn confirmed_names(&self) -> Result<Vec<UserAlias>> {
        let mut confirmed = Vec::new();
        self.each_alias(&mut |_, row| confirmed.extend(row.stored.then_some(row.alias)))?;
        Ok(confirmed)
    }

    /// Whether it is somebody's alias here, by a name that was not forgotten.
    pub(super) fn is_named(&self, alias: UserAlias) -> Result<bool> {
        let mut named = false;
        self.each_alias(&mut |_, row| named |= row.alias == alias)?;
        Ok(named)
    }

    fn each_alias(&self, visit: &mut dyn FnMut(String, AliasRow)) -> Result<()> {
        self.rows().scan::<AliasRow>(&[], &[], &mut |key, row| {
            let name =
                String::from_utf8(key.to_vec()).map_err(|why| Error::corrupt("alias row", why))?;
            visit(name, row);
            Ok(ControlFlow::Continue(()))
        })
    }
}
