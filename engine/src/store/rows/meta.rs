//! Singletons of a store: which logs are its own, where its journal stands.
//!
//! Invariant: a store belongs to one device or one cloud, named here. The
//! journal's generation is raised in the commit that seals its content, so that
//! what was sealed is never replayed.

use super::cbor_row;
use minicbor::{Decode, Encode};
use tallyroll_schema::event::Bytes;
use tallyroll_schema::{DeviceId, EpochId, Hash, LogId, Position, SubjectId, Wall};

/// Which singleton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MetaKey {
    /// [`DeviceLogs`].
    DeviceLogs = 1,
    /// [`CloudLogs`].
    CloudLogs = 2,
    /// [`JournalState`].
    JournalState = 3,
    /// [`DeviceHistory`].
    DeviceHistory = 4,
    /// [`CloudRecovery`].
    CloudRecovery = 5,
    /// [`DeviceErasure`].
    DeviceErasure = 6,
    /// [`CloudErasure`].
    CloudErasure = 7,
    /// [`CloudRole`].
    CloudRole = 8,
    /// [`RoomProbe`].
    RoomProbe = 9,
}

/// The logs this store's device writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceLogs {
    /// Its ledger and the open epoch.
    #[n(0)]
    pub ledger: (LogId, EpochId),
    /// Its telemetry and the open epoch.
    #[n(1)]
    pub telemetry: (LogId, EpochId),
}

/// The logs this store's cloud writes, but for the device logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CloudLogs {
    /// The public log and the open epoch.
    #[n(0)]
    pub public: (LogId, EpochId),
    /// The accounts log and the open epoch.
    #[n(1)]
    pub accounts: (LogId, EpochId),
    /// The open commit epoch.
    #[n(2)]
    pub commit_epoch: u32,
}

/// What makes a journal's entries valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JournalState {
    /// Counts the times the journal was emptied; older entries are sealed and void.
    #[n(0)]
    pub generation: u64,
    /// Keys the entries' checksums; secret, so that no content can pass for an entry.
    #[n(1)]
    pub key: Hash,
}

/// What a device knows of itself, so that it notices that it is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct DeviceHistory {
    /// What stands outside the store and does not come along when it is copied.
    #[n(0)]
    pub anchor: Option<Hash>,
    /// Whether the cloud may know more of this device than it does itself.
    #[n(1)]
    pub unconfirmed: bool,
    /// The epoch of the cloud's accounts when it was last heard of.
    #[n(2)]
    pub accounts: Option<EpochId>,
    /// Where the batch begins in which the cloud last wrote that this device is enrolled, by its keys then.
    #[n(3)]
    pub enrolled: Option<Position>,
    /// The digest of the names that the cloud has of this device, when it was last heard of.
    #[n(4)]
    pub names: Option<u64>,
}

/// Whether a cloud may have lost the end of its own logs, and who told what they hold of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct CloudRecovery {
    /// What stands outside the store and does not come along when it is copied.
    #[n(0)]
    pub anchor: Option<Hash>,
    /// Since when, by the cloud's clock; zero until its first start.
    #[n(1)]
    pub frozen_since: Option<Wall>,
    /// Why, for people.
    #[n(2)]
    pub why: String,
    /// The devices that told of all they hold.
    #[n(3)]
    pub reported: Vec<DeviceId>,
    /// Whether devices are awaited that nobody can name: only an administrator's word thaws then.
    #[n(4)]
    pub awaiting: Option<bool>,
    /// When the store was made of the cloud's identity alone: what was granted before is lost.
    #[n(5)]
    pub rebuilt: Option<Wall>,
}

/// How far a device has erased the names that it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct DeviceErasure {
    /// Whether rows were deleted whose bytes may still lie in the store's file.
    #[n(0)]
    pub unscrubbed: bool,
    /// The decisions that are carried out and confirmed.
    #[n(1)]
    pub confirmed: Vec<Position>,
}

/// What a cloud has yet to erase of people who are forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct CloudErasure {
    /// Whether rows were deleted whose bytes may still lie in the store's file.
    #[n(0)]
    pub unscrubbed: bool,
    /// By what their names are recognised that devices may yet bring: keyed hashes, kept until every
    /// device has confirmed.
    #[n(1)]
    pub names: Vec<(Hash, SubjectId)>,
}

/// What a cloud is for, if not for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct CloudRole {
    /// Whether it only holds the accounts: processing servers ask it for acts by their sessions.
    #[n(0)]
    pub accounts_only: bool,
}

/// Nothing: put and taken away again, to see whether there is room for so many bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct RoomProbe(#[n(0)] pub Bytes);

cbor_row!(RoomProbe, Meta, (), |()| vec![MetaKey::RoomProbe as u8]);
cbor_row!(CloudRole, Meta, (), |()| vec![MetaKey::CloudRole as u8]);
cbor_row!(CloudErasure, Meta, (), |()| vec![MetaKey::CloudErasure as u8]);
cbor_row!(DeviceErasure, Meta, (), |()| vec![MetaKey::DeviceErasure as u8]);
cbor_row!(CloudRecovery, Meta, (), |()| vec![MetaKey::CloudRecovery as u8]);
cbor_row!(DeviceHistory, Meta, (), |()| vec![MetaKey::DeviceHistory as u8]);
cbor_row!(DeviceLogs, Meta, (), |()| vec![MetaKey::DeviceLogs as u8]);
cbor_row!(CloudLogs, Meta, (), |()| vec![MetaKey::CloudLogs as u8]);
cbor_row!(JournalState, Meta, (), |()| vec![MetaKey::JournalState as u8]);

#[cfg(test)]
mod tests {
    use super::super::assert_reads_back;
    use super::*;

    #[test]
    fn read_back() {
        let of = |byte| (LogId([byte; 32]), EpochId { counter: 0, nonce: [byte; 16] });
        assert_reads_back(&DeviceLogs { ledger: of(1), telemetry: of(2) });
        assert_reads_back(&CloudLogs { public: of(3), accounts: of(4), commit_epoch: 1 });
        assert_reads_back(&DeviceHistory {
            anchor: Some(Hash([9; 32])),
            unconfirmed: true,
            accounts: Some(of(7).1),
            enrolled: Some(Position { log: of(5).0, epoch: of(5).1, seq: 3 }),
            names: Some(8),
        });
        assert_reads_back(&CloudRecovery {
            anchor: None,
            frozen_since: Some(Wall(7)),
            why: "restored".into(),
            reported: vec![DeviceId([6; 16])],
            awaiting: Some(true),
            rebuilt: Some(Wall(8)),
        });
        let (log, epoch) = of(5);
        assert_reads_back(&DeviceErasure {
            unscrubbed: true,
            confirmed: vec![Position { log, epoch, seq: 6 }],
        });
        assert_reads_back(&CloudErasure {
            unscrubbed: true,
            names: vec![(Hash([7; 32]), SubjectId([8; 16]))],
        });
        assert_reads_back(&CloudRole { accounts_only: true });
        assert_reads_back(&JournalState { generation: 7, key: Hash([8; 32]) });
    }
}
