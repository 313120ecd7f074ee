//! Events about the logs themselves: genesis, epochs, keys, the end.
//!
//! Invariant: `log.opened` is the first record of a log's epoch 0 and its hash
//! is the log's id; `epoch.opened` is the first record of every later epoch;
//! `log.closed` is the last record of a log.

use super::{Bytes, body, words};
use crate::{DeviceId, EpochId, Hash, Head, LogId, Position, PublicKey, Signature, TenantId};

words! {
    /// What a log is for, and so who writes it and where it goes.
    pub enum LogClass {
        /// A device's usage, contracts, errors; kept for ever.
        #[n(0)]
        Ledger,
        /// A device's levels and heartbeats; kept for a time.
        #[n(1)]
        Telemetry,
        /// The cloud's word to every device of the tenant.
        #[n(2)]
        Public,
        /// The cloud's own books; stays there.
        #[n(3)]
        Accounts,
        /// The cloud's word to one device.
        #[n(4)]
        Device,
    }

    /// Why an epoch was opened.
    pub enum EpochReason {
        /// Restored from a backup.
        #[n(0)]
        Restored,
        /// Found to be a copy.
        #[n(1)]
        Cloned,
        /// The anchor outside the data directory differs.
        #[n(2)]
        AnchorMismatch,
        /// The cloud lost its tail.
        #[n(3)]
        TailLost,
    }
}

body! {
    /// A log begins. The writer's key in it verifies the log's heads.
    pub struct LogOpened {
        /// The tenant.
        #[n(0)]
        pub tenant: TenantId,
        /// What the log is for.
        #[n(1)]
        pub class: LogClass,
        /// The writer's signing key.
        #[n(2)]
        pub writer: PublicKey,
        /// The device a cloud's device log is about.
        #[n(3)]
        pub about: Option<DeviceId>,
        /// Epoch 0.
        #[n(4)]
        pub epoch: EpochId,
    }

    /// The next epoch of a log begins. Its parent is closed by it.
    pub struct EpochOpened {
        /// The new epoch.
        #[n(0)]
        pub epoch: EpochId,
        /// The last epoch it continues.
        #[n(1)]
        pub parent: EpochId,
        /// The last seq of the parent that it continues.
        #[n(2)]
        pub parent_seq: u64,
        /// The chain's value there.
        #[n(3)]
        pub parent_hash: Hash,
        /// Why.
        #[n(4)]
        pub reason: EpochReason,
        /// Where the history ended that the writer set aside, if there was one. What it held and
        /// the parent does not is recorded again in this epoch.
        #[n(5)]
        pub divergent: Option<Head>,
    }

    /// An event of a history that was set aside, recorded again. Its charge is not backed by any
    /// lease. One event may be recorded again by several copies of a device: it counts once.
    pub struct EventResubmitted {
        /// Where it stood.
        #[n(0)]
        pub resubmitted_from: Position,
        /// Its record, header and body, as it was written.
        #[n(1)]
        pub record: Bytes,
    }

    /// The log ends here: its writer was retired and has written all it had. Nothing is taken into
    /// the log after it, in this epoch or another.
    pub struct LogClosed {
        /// The decision it acted under.
        #[n(0)]
        pub decision: Position,
    }

    /// The writer's key changes. It closes its batch and its burst: the head there is signed by the
    /// old key, every later one by the new.
    pub struct KeyRotated {
        /// The new signing key.
        #[n(0)]
        pub writer: PublicKey,
        /// By the new key, over [`KeyRotated::consent_bytes`]: it agreed to take over.
        #[n(1)]
        pub consent: Signature,
        /// In a ledger: fingerprint of the TLS certificate that its device shows from now on.
        #[n(2)]
        pub tls_fingerprint: Option<Hash>,
    }
}

impl EventResubmitted {
    /// Its kind's number: what was recorded again is told without reading other bodies.
    pub const KIND: u16 = 0x0004;
}

impl LogClosed {
    /// Its kind's number: a log's end is told without reading its body.
    pub const KIND: u16 = 0x0005;
}

impl KeyRotated {
    /// Its kind's number: a change of keys is told without reading other bodies.
    pub const KIND: u16 = 0x0003;

    /// The bytes that a log's next key signs to take over from its `old` one.
    pub fn consent_bytes(
        tenant: TenantId,
        log: LogId,
        old: &PublicKey,
        new: &PublicKey,
    ) -> Vec<u8> {
        [
            b"tallyroll key v1".as_slice(),
            tenant.as_bytes(),
            log.as_bytes(),
            old.as_bytes(),
            new.as_bytes(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;

    #[test]
    fn logs_are_closed_and_keys_rotated_by_the_kinds_that_say_so() {
        for (kind, name) in [(LogClosed::KIND, "log.closed"), (KeyRotated::KIND, "key.rotated")] {
            let named = Event::KINDS.iter().find(|(_, known, _)| *known == name);
            assert_eq!(named.map(|(kind, _, _)| *kind), Some(kind));
        }
    }
}
