//! The keeper forgets: whom the cloud's log about this device names is erased here, everywhere.
//!
//! Invariant: the reject file goes before the name goes from the table, all of it, for the name may stand in
//! any of its lines, also at a device that never had it. It is confirmed to the cloud when its bytes are
//! gone. What finds no room, or a file that cannot be written, is tried again. Names are not logged.

use super::Keeping;
use super::room::unless_full;
use crate::counts::erase_rejects;
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
        if let Err(why) = erase_rejects(&self.dir.rejects()) {
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
