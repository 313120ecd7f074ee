//! For tests: a device on a copy of another one's disk, and one whose software knows no better.
//!
//! Invariant: a copy has the same files and keys, and entropy of its own, as each start of a process has.
//! What becomes of a copy at contact is tested with the sync.

use super::{Device, DeviceConfig, Now};
use crate::counts::Counts;
use crate::keys::Signer;
use crate::log::journal::JournalFile;
use crate::store::{Rows, Store};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Event, Hash};

impl<F: JournalFile + Clone, S: Store + Clone> Device<F, S> {
    /// The device that a copy of this one's disk starts, where it stands or elsewhere.
    pub(crate) fn copy(&self, now: Now) -> Self {
        self.copy_at(now, self.config.anchor)
    }

    pub(crate) fn moved_copy(&self, now: Now, anchor: Hash) -> Self {
        self.copy_at(now, Some(anchor))
    }

    pub(crate) fn restart(self, now: Now) -> Self {
        self.copy(now)
    }

    /// Its views are folded anew.
    pub(crate) fn without_snapshots(mut self, now: Now) -> Self {
        let mut rows = Rows::new(self.config.tenant, &self.store);
        rows.delete::<crate::store::rows::SnapshotRow>(&<Counts as crate::fold::View>::NAME.into());
        let changes = rows.into_changes();
        self.store.commit(changes).expect("commits");
        self.restart(now)
    }

    /// As software would that does not know that the device is retired.
    pub(crate) fn write_anyway(&mut self, now: Now, event: Event) {
        self.write(now, &[(LogClass::Ledger, event)]).expect("commits");
    }

    fn copy_at(&self, now: Now, anchor: Option<Hash>) -> Self {
        let again = |signer: &Signer| Signer::from_seed(&signer.seed());
        let (signer, next_signer) =
            (again(&self.config.signer), self.config.next_signer.as_ref().map(again));
        let config = DeviceConfig { signer, next_signer, anchor, ..self.config };
        let file = self.journal.file().clone();
        // Entropy of its own, as each start of a process has.
        let nonces = crate::log::journal::test_entropy();
        Self::open(config, file, self.store.clone(), now, nonces).expect("opens")
    }
}
