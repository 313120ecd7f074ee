//! Events of the quarantine: what the cloud keeps apart, and what became of it.
//!
//! Invariant: in the accounts log alone. What was kept is named by its hash, so that the
//! record stands when the bytes are gone; one entry is open for a device's epoch at a time.

use super::body;
use crate::{DeviceId, EpochId, Hash, Head, LogId, QuarantineId};

body! {
    /// Batches that a device brought were not taken in but kept apart: they do not verify, are not
    /// its to bring, or came from it after it was revoked. Nothing of them is in any view.
    pub struct QuarantineOpened {
        /// The entry.
        #[n(0)]
        pub id: QuarantineId,
        /// The device that brought them.
        #[n(1)]
        pub device: DeviceId,
        /// The log they say they are of.
        #[n(2)]
        pub log: LogId,
        /// Its epoch.
        #[n(3)]
        pub epoch: EpochId,
        /// The first seq they claim.
        #[n(4)]
        pub first_seq: u64,
        /// The events they claim. A revoked device's further bursts join the entry.
        #[n(5)]
        pub count: u64,
        /// BLAKE3 of what is kept.
        #[n(6)]
        pub hash: Hash,
        /// Why, at most 1 KiB.
        #[n(7)]
        pub reason: String,
    }

    /// An administrator lets batches in quarantine be taken in, up to a head and no further.
    pub struct QuarantineReleased {
        /// The entry.
        #[n(0)]
        pub id: QuarantineId,
        /// The device that brought them.
        #[n(1)]
        pub device: DeviceId,
        /// Where they end.
        #[n(2)]
        pub head: Head,
        /// The events in them.
        #[n(3)]
        pub count: u64,
        /// BLAKE3 of what was kept.
        #[n(4)]
        pub hash: Hash,
        /// The administrator's reason.
        #[n(5)]
        pub reason: String,
    }

    /// An administrator had batches in quarantine deleted; the device may send others in their place.
    pub struct QuarantineDiscarded {
        /// The entry.
        #[n(0)]
        pub id: QuarantineId,
        /// The device that brought them.
        #[n(1)]
        pub device: DeviceId,
        /// The log they said they were of.
        #[n(2)]
        pub log: LogId,
        /// Its epoch.
        #[n(3)]
        pub epoch: EpochId,
        /// The first seq they claimed.
        #[n(4)]
        pub first_seq: u64,
        /// The events they claimed.
        #[n(5)]
        pub count: u64,
        /// BLAKE3 of what was kept.
        #[n(6)]
        pub hash: Hash,
        /// The administrator's reason.
        #[n(7)]
        pub reason: String,
    }
}
