//! The keeper forgets: whom the cloud's log about this device names is erased here, everywhere.
//!
//! Invariant: a name goes from the reject file before it goes from the table, for the table alone tells
//! what to look for; of a name that was never in it any entry may be, so all go. It is confirmed to the
//! cloud when its bytes are gone. What finds no room, or a file that cannot be written, is tried again.
//! Names are not logged.

use super::Keeping;
use super::room::unless_full;
use crate::counts::{Erase, erase_from_rejects};
use crate::scrub::scrub_if_needed;
use core::time::Duration;
use tallyroll_engine::Error;
use tracing::{info, warn};

/// After a failure it is tried again so much later: writing the store anew is work.
const AGAIN: Duration = Duration::from_secs(60);

impl Keeping {
    /// Erases what is to be erased, and confirms it.
    pub(super) fn forget(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        if !self.device.is_forgetting() || now.monotonic < self.forget_after {
            return Ok(());
        }
        let names = self.device.names_to_forget()?;
        let which = match self.device.forgets_strangers() {
            true => Erase::All,
            false => Erase::Naming(&names),
        };
        if let Err(why) = erase_from_rejects(&self.dir.rejects(), which) {
            warn!(%why, "the reject file cannot be written; who is to be forgotten waits");
            self.forget_after = now.monotonic.saturating_add(AGAIN);
            return Ok(());
        }
        self.recorder.forget(&names);
        let erased = if names.is_empty() { Ok(()) } else { self.device.forget_names(&names) };
        let erased = erased.and_then(|()| scrub_if_needed(&self.dir, &mut self.device));
        let done = erased.and_then(|()| self.device.confirm_forgotten(now));
        match unless_full(done)? {
            Some(()) if !names.is_empty() => {
                info!(names = names.len(), "erased, as the cloud told");
                self.rights_changed(); // the panel looks again who is there
            }
            Some(()) => {}
            None => {
                warn!("who is to be forgotten waits for room on the disk");
                self.forget_after = now.monotonic.saturating_add(AGAIN);
            }
        }
        Ok(())
    }
}
