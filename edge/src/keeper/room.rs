//! The keeper on a full disk: the reserve is spent on what runs, then made again.
//!
//! Invariant: no room ends nothing here. What could not be done is said to whoever
//! asked, and done when there is room; whether there is, is tried every few seconds
//! by sealing and pruning, and told to those who watch [`Progress`](super::Progress).

use super::Keeping;
use tallyroll_engine::device::Now;
use tallyroll_engine::{Error, Kind};
use tracing::{info, warn};

impl Keeping {
    /// Seals what there is, if there is room.
    pub(super) fn seal(&mut self, now: Now) -> Result<(), Error> {
        if unless_full(self.device.seal(now))? == Some(true) {
            self.progress.send_modify(|progress| progress.sealed += 1);
        }
        Ok(())
    }

    /// Prunes what need not be kept; on a full disk that makes room for the reserve.
    pub(super) fn prune(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        let pruned = unless_full(self.device.prune(now))?.unwrap_or(0);
        if pruned > 0 {
            info!(bytes = pruned, "pruned what the cloud confirmed; it has it");
        }
        if pruned > 0 && !self.device.has_room() {
            self.reserve.restore()?;
            self.seal(now)?;
            self.mind_room()?;
        }
        Ok(())
    }

    /// After whatever may have found the disk full.
    pub(super) fn mind_room(&mut self) -> Result<(), Error> {
        if self.device.is_full() && self.reserve.spend() {
            warn!("the disk is full; the reserve goes to what runs, new work is refused");
            self.device.set_reserve(false);
            self.seal(self.clock.now())?;
        }
        self.device.set_reserve(self.reserve.is_whole());
        let full = !self.device.has_room();
        let changed = self.progress.send_if_modified(|progress| {
            let changed = progress.full != full;
            progress.full = full;
            changed
        });
        match (changed, full) {
            (true, true) => warn!("new work is refused until there is room on the disk"),
            (true, false) => info!("there is room on the disk again"),
            (false, _) => {}
        }
        Ok(())
    }
}

/// `None` where there was no room, and so nothing was done.
pub(super) fn unless_full<T>(done: Result<T, Error>) -> Result<Option<T>, Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == Kind::Full => Ok(None),
        Err(error) => Err(error),
    }
}
