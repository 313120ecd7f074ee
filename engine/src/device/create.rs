//! How a log begins: its genesis, as its first batch; and a device's own two.
//!
//! Invariant: a log's name is its genesis' hash, so nothing of it changes later. Times of records never
//! go back, whatever the clock does.

use super::{DeviceConfig, Now};
use crate::Result;
use crate::keys::Signer;
use crate::log::{genesis, seal as seal_batch};
use crate::planted::{Bug, planted};
use crate::store::rows::{BatchRow, DeviceLogs, JournalState, LogRow, TipRow};
use crate::store::{Rows, Store};
use tallyroll_schema::event::log::{LogClass, LogOpened};
use tallyroll_schema::{DeviceId, EpochId, Hash, HybridTime, LogId, Timestamp};

/// Makes the two logs of a new device: each one's first batch is its genesis.
pub(super) fn create_logs<S: Store>(
    config: &DeviceConfig,
    store: &mut S,
    now: Now,
    nonces: [u8; 32],
) -> Result<DeviceLogs> {
    let mut rows = Rows::new(config.tenant, store);
    let (ledger_nonce, telemetry_nonce) = nonces.split_at(16);
    let mut create = |class, nonce: &[u8]| {
        let nonce = nonce.try_into().unwrap_or_default();
        let time = timestamp(HybridTime::default(), now);
        create_log(&mut rows, &config.signer, class, None, time, nonce)
    };
    let ledger = create(LogClass::Ledger, ledger_nonce)?;
    let telemetry = create(LogClass::Telemetry, telemetry_nonce)?;
    let logs = DeviceLogs { ledger, telemetry };
    rows.put(&(), &logs);
    let key = Hash(config.signer.derive_secret("tallyroll journal key v1", &nonces));
    rows.put(&(), &JournalState { generation: 0, key });
    let changes = rows.into_changes();
    store.commit(changes)?;
    Ok(logs)
}

/// The time of a record that comes after one at `last`.
pub(crate) fn timestamp(last: HybridTime, now: Now) -> Timestamp {
    let last = if planted(Bug::HybridTimeIsRaw) { HybridTime::default() } else { last };
    Timestamp { wall: now.wall, hybrid: last.next(now.wall), quality: now.quality }
}

/// Writes a new log's genesis as its first batch.
pub(crate) fn create_log<S: Store>(
    rows: &mut Rows<'_, S>,
    signer: &Signer,
    class: LogClass,
    about: Option<DeviceId>,
    time: Timestamp,
    nonce: [u8; 16],
) -> Result<(LogId, EpochId)> {
    let epoch = EpochId { counter: 0, nonce };
    let (tenant, writer) = (rows.tenant(), signer.public_key());
    let opened = LogOpened { tenant, class, writer, about, epoch };
    let (log, record) = genesis(&opened, time)?;
    let batch = seal_batch(log, epoch, 0, 1, &record)?;
    let tip = crate::log::Tip::START
        .advance(tenant, &batch, &record)
        .unwrap_or_else(|| unreachable!("a first batch begins at the start"));
    rows.put(&log, &LogRow(opened));
    rows.put(&(log, epoch, 0), &BatchRow { hash: tip.hash, batch });
    rows.put(&(log, epoch), &TipRow::from(tip));
    Ok((log, epoch))
}
