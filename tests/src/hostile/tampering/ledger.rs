//! The log that is tampered with: a device's ledger of two epochs, in bursts of several batches.
//!
//! Invariant: the cloud's replica stays open over a store that is written beneath it, as by somebody
//! with access to the disk; [`Ledger::restore`] puts back what was there.

use crate::hostile::image::Image;
use crate::hostile::place::{enrol, now, open_device, open_hub, talk, work};
use crate::hostile::shared::Shared;
use tallyroll_engine::hub::Hub;
use tallyroll_engine::store::MemoryStore;
use tallyroll_schema::Receipt;
use tallyroll_schema::event::log::LogClass;

/// A device's ledger at the cloud.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) hub: Hub<Shared>,
    pub(super) store: Shared,
    /// What was there before anybody tampered.
    pub(super) original: MemoryStore,
    /// Given out for it over time, of both epochs.
    pub(super) receipts: Vec<Receipt>,
}

impl Ledger {
    /// A device works with and without a line, is moved to another machine, and works on.
    pub(super) fn write() -> Self {
        let (store, disk, journal) = (Shared::default(), Shared::default(), Image::default());
        let mut hub = open_hub(store.clone()).expect("opens");
        enrol(&mut hub);
        let mut receipts = Vec::new();
        for anchor in [1, 2] {
            let device = open_device(hub.public_log(), anchor, journal.clone(), disk.clone());
            let mut device = device.expect("opens");
            for number in 0..24 {
                work(&mut device, u32::from(anchor) * 100 + number);
                if number % 2 == 1 {
                    device.seal(now(400)).expect("seals");
                }
                if number % 6 == 5 {
                    talk(&mut device, &mut hub);
                    let logs = device.status().expect("reads").logs;
                    let open = logs.iter().filter(|log| log.open && log.class == LogClass::Ledger);
                    receipts.extend(open.filter_map(|log| log.receipt));
                }
            }
        }
        let original = store.copy();
        Self { hub, store, original, receipts }
    }

    /// Puts back what was there.
    pub(super) fn restore(&self) {
        self.store.replace(self.original.clone());
    }
}
