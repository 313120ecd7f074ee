//! Forgetting at a device: the names that the cloud's log about it says are erased here.
//!
//! Invariant: what there is to do follows from that log and from what was confirmed, so a device that was
//! away, crashed or was put back from a backup does it when it is there again. It is confirmed when the
//! rows are deleted, their bytes are gone from the store's file, and no name that the cloud has not seen
//! could be one of those meant. Files beside the store are the rim's.

use super::{Device, Now};
use crate::log::journal::JournalFile;
use crate::store::rows::{AliasRow, DeviceErasure, DeviceHistory};
use crate::store::{Rows, Store};
use crate::{Error, Result};
use std::collections::BTreeSet;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::event::people::SubjectErased;
use tallyroll_schema::{Event, Hash};

impl<F: JournalFile, S: Store> Device<F, S> {
    /// Whether it was told to forget somebody and has not confirmed it.
    pub fn is_forgetting(&self) -> bool {
        // What is confirmed was told.
        self.decided.view().forgotten.len() > self.erasure.confirmed.len()
            || self.erasure.unscrubbed
    }

    /// The names that it is to erase and still has.
    ///
    /// # Errors
    /// Storage failed.
    pub fn names_to_forget(&self) -> Result<Vec<String>> {
        let told = self.decided.view().forgotten.values();
        let aliases: BTreeSet<_> = told.flat_map(|(_, aliases)| aliases).copied().collect();
        let named = self.names()?.into_iter().filter(|(_, alias)| aliases.contains(alias));
        Ok(named.map(|(name, _)| name).collect())
    }

    /// Deletes names and their aliases; who comes again gets another alias.
    ///
    /// # Errors
    /// Storage failed.
    pub fn forget_names(&mut self, names: &[String]) -> Result<()> {
        self.refuse_if_closed()?;
        let erasure = DeviceErasure { unscrubbed: true, ..self.erasure.clone() };
        let mut rows = Rows::new(self.config.tenant, &self.store);
        names.iter().for_each(|name| rows.delete::<AliasRow>(name));
        rows.put(&(), &erasure);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.erasure = erasure;
        Ok(())
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
        let history = self.history()?;
        let anchor = anchor.or(history.anchor);
        let erasure = DeviceErasure { unscrubbed: false, ..self.erasure.clone() };
        let mut rows = Rows::new(self.config.tenant, &copy);
        rows.put(&(), &erasure);
        rows.put(&(), &DeviceHistory { anchor, ..history });
        let changes = rows.into_changes();
        copy.commit(changes)?;
        let placed = put_in_place().map_err(|why| Error::storage("moving the store", why));
        self.closing(placed)?;
        self.store = copy;
        self.config.anchor = anchor;
        self.erasure = erasure;
        Ok(())
    }

    /// Confirms what is erased; not yet while the cloud has to see names that may be meant, too.
    ///
    /// # Errors
    /// No room; storage failed.
    pub fn confirm_forgotten(&mut self, now: Now) -> Result<()> {
        if self.erasure.unscrubbed
            || !self.unstored_directory()?.is_empty()
            || !self.names_to_forget()?.is_empty()
        {
            return Ok(());
        }
        let forgotten = &self.decided.view().forgotten;
        let open = forgotten.iter().filter(|(at, _)| !self.erasure.confirmed.contains(at));
        let open: Vec<_> = open.map(|(decision, (subject, _))| (*decision, *subject)).collect();
        if open.is_empty() {
            return Ok(());
        }
        if !self.ledger.closed {
            let erased = open.iter().map(|(decision, subject)| {
                let erased = SubjectErased { subject: *subject, decision: *decision };
                (LogClass::Ledger, Event::from(erased))
            });
            let erased: Vec<_> = erased.collect();
            self.write(now, &erased)?;
        }
        let mut erasure = self.erasure.clone();
        erasure.confirmed.extend(open.into_iter().map(|(decision, _)| decision));
        let mut rows = Rows::new(self.config.tenant, &self.store);
        rows.put(&(), &erasure);
        let changes = rows.into_changes();
        self.commit_changes(changes)?;
        self.erasure = erasure;
        Ok(())
    }
}
