//! Which devices are connected.
//!
//! Invariant: a device has at most one live connection, by whichever way. A new one
//! takes the place of the old, which is told to end: the device has restarted, or its
//! address or its way has changed, and the old one would only die of silence later.

use super::line::Ending;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tallyroll_schema::DeviceId;
use tokio::sync::oneshot;

/// What the older of two connections of one device is told.
const REPLACED: &str = "this device has connected again; if nobody started it anew, a copy of its data directory runs \
    elsewhere: find it and end it";

/// Why a connection is to end.
pub(super) type Told = (Ending, &'static str);

/// The live connections.
#[derive(Debug, Clone, Default)]
pub struct Live {
    places: Arc<Mutex<Places>>,
    count: Gauge,
}

#[derive(Debug, Default)]
struct Places {
    taken: BTreeMap<DeviceId, (u64, oneshot::Sender<Told>)>,
    /// Of the next one: no two have the same.
    number: u64,
}

/// A device's place among the live, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place {
    live: Live,
    device: DeviceId,
    number: u64,
}

impl Live {
    /// Nobody yet; `count` shows how many there are.
    pub fn new(count: Gauge) -> Self {
        Self { count, ..Self::default() }
    }

    /// Whether a device is connected.
    pub fn has(&self, device: DeviceId) -> bool {
        self.lock().taken.contains_key(&device)
    }

    /// All that are connected.
    pub fn devices(&self) -> BTreeSet<DeviceId> {
        self.lock().taken.keys().copied().collect()
    }

    /// Takes a device's place, from an older connection if need be, and tells whether it was. The receiver hears
    /// when it is lost or the cloud stops.
    pub(super) fn enter(&self, device: DeviceId) -> (Place, oneshot::Receiver<Told>, bool) {
        let (tell, told) = oneshot::channel();
        let mut places = self.lock();
        let number = places.number;
        places.number += 1;
        let old = places.taken.insert(device, (number, tell));
        let took = old.is_some();
        if let Some((_, old)) = old {
            let _ = old.send((Ending::Replaced, REPLACED)); // it may be ending
        }
        self.show(&places);
        (Place { live: self.clone(), device, number }, told, took)
    }

    /// Tells everybody to end.
    pub(super) fn stop(&self) {
        let mut places = self.lock();
        for (_, (_, tell)) in std::mem::take(&mut places.taken) {
            let _ = tell.send((Ending::Stopped, "the cloud stops; come again"));
        }
        self.show(&places);
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // A map that a panicking thread held is still a map.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, places: &Places) {
        self.count.set(i64::try_from(places.taken.len()).unwrap_or(i64::MAX));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.live.lock();
        if places.taken.get(&self.device).is_some_and(|(number, _)| *number == self.number) {
            places.taken.remove(&self.device);
        }
        self.live.show(&places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_connection_takes_the_place_and_the_older_is_told() {
        let live = Live::default();
        let device = DeviceId([1; 16]);
        let (old, mut told_old, took) = live.enter(device);
        assert!(!took, "nobody was there");
        let (new, mut told_new, took) = live.enter(device);
        assert!(took);
        assert_eq!(told_old.try_recv().map(|(ending, _)| ending), Ok(Ending::Replaced));
        told_new.try_recv().unwrap_err();
        drop(old);
        assert!(live.has(device), "what ends late takes nothing from the newer");
        assert_eq!(live.devices(), BTreeSet::from([device]));
        live.stop();
        assert_eq!(told_new.try_recv().map(|(ending, _)| ending), Ok(Ending::Stopped));
        drop(new);
        assert!(!live.has(device));
    }
}
