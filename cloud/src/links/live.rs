//! Which devices are connected.
//!
//! Invariant: a device has at most one live connection. A new one takes the place
//! of the old, which is closed: the device has restarted, or its address changed,
//! and the old one would only die of silence later.

use super::Ending;
use prometheus_client::metrics::gauge::Gauge;
use quinn::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_schema::DeviceId;

/// The live connections.
#[derive(Debug, Clone, Default)]
pub struct Live {
    connections: Arc<Mutex<BTreeMap<DeviceId, Connection>>>,
    count: Gauge,
}

/// A device's place among the live, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place {
    live: Live,
    device: DeviceId,
    connection: usize,
}

impl Live {
    /// Nobody yet; `count` shows how many there are.
    pub fn new(count: Gauge) -> Self {
        Self { count, ..Self::default() }
    }

    /// Whether a device is connected.
    pub fn has(&self, device: DeviceId) -> bool {
        self.lock().contains_key(&device)
    }

    /// Takes a device's place, from an older connection if need be.
    pub(super) fn enter(&self, device: DeviceId, connection: &Connection) -> Place {
        let mut connections = self.lock();
        if let Some(old) = connections.insert(device, connection.clone()) {
            Ending::Replaced.close(&old, "this device has connected again");
        }
        self.show(&connections);
        Place { live: self.clone(), device, connection: connection.stable_id() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Connection>> {
        // A map that a panicking thread held is still a map.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, connections: &BTreeMap<DeviceId, Connection>) {
        self.count.set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.live.lock();
        let is_ours = |held: &Connection| held.stable_id() == self.connection;
        if connections.get(&self.device).is_some_and(is_ours) {
            connections.remove(&self.device);
        }
        self.live.show(&connections);
    }
}
