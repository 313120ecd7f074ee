//! Devices that are turned away though this cloud enrolled them: for a person to look at.
//!
//! Invariant: only those that proved that they were enrolled, by this cloud's signature or by a
//! certificate that was theirs; so there are at most as many as devices. This process's knowledge:
//! who still comes is noted again after a restart, who has stayed away is forgotten.

use core::time::Duration;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tallyroll_schema::DeviceId;

/// A device that runs comes again within seconds; one that did not for so long is away.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// Why a device is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The accounts do not know it any more: they are older than its enrolment.
    Unknown,
    /// The accounts do not know its certificate: they are older than its change of keys.
    KeysLost,
    /// It has keys from before they were changed: a copy, or put back from an older backup.
    OldKeys,
}

/// A device that is turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Which.
    pub device: DeviceId,
    /// Its name, as it was enrolled.
    pub name: String,
    /// Why.
    pub reason: Reason,
    /// When it came last.
    pub seconds_ago: u64,
}

type Seen = BTreeMap<(DeviceId, Reason), (String, Instant)>;

/// The devices that were turned away of late.
#[derive(Debug, Clone, Default)]
pub struct TurnedAway {
    seen: Arc<Mutex<Seen>>,
}

impl TurnedAway {
    /// Those that came of late.
    pub fn list(&self) -> Vec<Entry> {
        self.list_at(Instant::now())
    }

    fn list_at(&self, now: Instant) -> Vec<Entry> {
        let ago = |last: &Instant| now.saturating_duration_since(*last);
        let mut seen = self.lock();
        seen.retain(|_, (_, last)| ago(last) < FORGOTTEN_AFTER);
        let entry =
            |((device, reason), (name, last)): (&(DeviceId, Reason), &(String, Instant))| {
                let seconds_ago = ago(last).as_secs();
                Entry { device: *device, name: name.clone(), reason: *reason, seconds_ago }
            };
        seen.iter().map(entry).collect()
    }

    /// One was turned away.
    pub(super) fn note(&self, device: DeviceId, name: String, reason: Reason) {
        self.lock().insert((device, reason), (name, Instant::now()));
    }

    /// One was let in: this cloud knows it, by this certificate. A copy of it may be turned away still.
    pub(super) fn let_in(&self, device: DeviceId) {
        self.lock().retain(|(of, reason), _| *of != device || *reason == Reason::OldKeys);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A map that a panicking thread held is still a map.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in_or_stays_away_is_forgotten_but_not_its_copy() {
        let away = TurnedAway::default();
        let [one, other] = [DeviceId([1; 16]), DeviceId([2; 16])];
        for reason in [Reason::Unknown, Reason::KeysLost, Reason::OldKeys] {
            away.note(one, "one".into(), reason);
        }
        away.note(other, "other".into(), Reason::Unknown);
        let shown = || -> Vec<_> {
            away.list().into_iter().map(|entry| (entry.device, entry.reason)).collect()
        };
        assert_eq!(shown().len(), 4);
        away.let_in(one);
        assert_eq!(shown(), [(one, Reason::OldKeys), (other, Reason::Unknown)]);
        let later = Instant::now() + FORGOTTEN_AFTER / 2;
        assert_eq!(away.list_at(later).len(), 2);
        assert_eq!(away.list_at(later + FORGOTTEN_AFTER / 2), []);
        assert_eq!(shown(), []);
    }
}
