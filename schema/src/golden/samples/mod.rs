//! One value of every event kind, chosen once: what the golden files hold.
//!
//! Owns the values, one file a domain. Invariant: a kind's first sample sets every
//! optional field, so that its bytes show every key; a kind with optional fields
//! has a second one, `NAME.minimal`, without them. Comparing them with the files
//! is left to the tests beside.

mod alerts;
mod balances;
mod counts;
mod fleet;
mod leases;
mod log;
mod people;
mod printing;
mod services;
mod uploads;

pub(super) use counts::{finer_price, which_pages};
pub(super) use leases::BACKING;
pub(super) use people::LAPSING;

use crate::{
    DeviceId, EpochId, Event, Hash, JobId, LogId, Position, SubjectId, TenantId, UserAlias, Wall,
};

pub(super) const TENANT: TenantId = TenantId([0x11; 16]);
pub(super) const DEVICE: DeviceId = DeviceId([0x22; 16]);
pub(super) const LOG: LogId = LogId([0x33; 32]);
pub(super) const EPOCH: EpochId = EpochId { counter: 2, nonce: [0x44; 16] };
pub(super) const POSITION: Position = Position { log: LOG, epoch: EPOCH, seq: 4_821 };
pub(super) const HASH: Hash = Hash([0x55; 32]);
pub(super) const ALIAS: UserAlias = UserAlias([0x66; 16]);
pub(super) const SUBJECT: SubjectId = SubjectId([0x77; 16]);
pub(super) const JOB: JobId = JobId([0x88; 8]);
/// 2026-03-14 15:09:26.535 UTC.
pub(super) const WALL: Wall = Wall(1_773_500_966_535);

/// Every kind, with every field.
pub(super) fn samples() -> Vec<Event> {
    let domains = [
        log::samples(),
        counts::samples(),
        leases::samples(),
        balances::samples(),
        uploads::samples(),
        services::samples(),
        printing::samples(),
        alerts::samples(),
        people::samples(),
        fleet::samples(),
    ];
    domains.into_iter().flatten().collect()
}

/// Every kind that has optional fields, without them.
pub(super) fn minimal_samples() -> Vec<Event> {
    let domains = [
        log::minimal_samples(),
        counts::minimal_samples(),
        leases::minimal_samples(),
        uploads::minimal_samples(),
        services::minimal_samples(),
        printing::minimal_samples(),
        people::minimal_samples(),
        fleet::minimal_samples(),
    ];
    domains.into_iter().flatten().collect()
}

/// Both, each under the name of its files.
pub(super) fn named_samples() -> Vec<(String, Event)> {
    let full = samples().into_iter().map(|event| (event.name().to_owned(), event));
    let minimal = minimal_samples().into_iter();
    full.chain(minimal.map(|event| (format!("{}.minimal", event.name()), event))).collect()
}
