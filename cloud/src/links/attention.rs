//! Devices that are turned away though this cloud enrolled them, or are there twice: for a person to look at.
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
    /// It took its own place again and again: there are two of it.
    Twice,
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

/// A device that took its own place so often, each time within [`SOON`], is there twice: one restarts less often.
const TWICE_FROM: u32 = 5;
const SOON: Duration = Duration::from_secs(60);

/// Of a device, by reason.
type Seen = BTreeMap<(DeviceId, Reason), Noted>;

#[derive(Debug)]
struct Noted {
    name: String,
    last: Instant,
    /// How often, never long after the time before.
    times: u32,
}

impl Noted {
    fn counts(&self, reason: Reason) -> bool {
        reason != Reason::Twice || self.times >= TWICE_FROM
    }
}

/// The devices that were turned away of late.
#[derive(Debug, Clone, Default)]
pub struct Attention {
    seen: Arc<Mutex<Seen>>,
}

impl Attention {
    /// Those that came of late.
    pub fn list(&self) -> Vec<Entry> {
        self.list_at(Instant::now())
    }

    fn list_at(&self, now: Instant) -> Vec<Entry> {
        let ago = |last: &Instant| now.saturating_duration_since(*last);
        let mut seen = self.lock();
        seen.retain(|_, noted| ago(&noted.last) < FORGOTTEN_AFTER);
        let counts = seen.iter().filter(|((_, reason), noted)| noted.counts(*reason));
        let entry = |((device, reason), noted): (&(DeviceId, Reason), &Noted)| {
            let seconds_ago = ago(&noted.last).as_secs();
            Entry { device: *device, name: noted.name.clone(), reason: *reason, seconds_ago }
        };
        counts.map(entry).collect()
    }

    /// One was turned away.
    pub(super) fn note(&self, device: DeviceId, name: String, reason: Reason) {
        self.note_at(device, name, reason, Instant::now());
    }

    fn note_at(&self, device: DeviceId, name: String, reason: Reason, now: Instant) {
        let mut seen = self.lock();
        let before = seen.get(&(device, reason));
        let before = before.filter(|noted| now.saturating_duration_since(noted.last) < SOON);
        let times = before.map_or(1, |noted| noted.times.saturating_add(1));
        seen.insert((device, reason), Noted { name, last: now, times });
    }

    /// One was let in: this cloud knows it, by this certificate. A copy of it may be turned away still.
    pub(super) fn let_in(&self, device: DeviceId) {
        let of_a_copy = |reason| matches!(reason, Reason::OldKeys | Reason::Twice);
        self.lock().retain(|(of, reason), _| *of != device || of_a_copy(*reason));
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
        let away = Attention::default();
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

    #[test]
    fn who_takes_its_own_place_again_and_again_is_there_twice() {
        let (away, device, began) = (Attention::default(), DeviceId([1; 16]), Instant::now());
        let take = |seconds| {
            let now = began + Duration::from_secs(seconds);
            away.note_at(device, "one".into(), Reason::Twice, now);
            away.list_at(now).len()
        };
        assert_eq!([0, 59, 118, 177].map(take), [0, 0, 0, 0], "it restarts");
        assert_eq!([237, 296, 355, 414].map(take), [0, 0, 0, 0], "after a quiet minute, anew");
        assert_eq!(take(473), 1);
        away.let_in(device);
        assert_eq!(take(474), 1);
    }
}
