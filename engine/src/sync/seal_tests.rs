//! When what a device recorded is sealed: at once, after a while, or only when it is much.
//!
//! Invariant: times are the monotonic clock's, in seconds of [`now`]. How a tail is sealed is tested with
//! everything else that talks.

use super::pair::{capture, enrol, hub, now};
use crate::device::Now;
use core::time::Duration;
use tallyroll_schema::Event;
use tallyroll_schema::event::alerts::HeartbeatSent;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::event::{Bytes, UnknownEvent};
use tallyroll_schema::limits::SEAL_BYTES;

fn seconds(at: u64) -> Option<Duration> {
    Some(Duration::from_secs(at))
}

#[test]
fn a_linked_device_seals_at_once_or_a_second_after_the_last_time_and_another_hourly() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "one", 11);
    device.seal(now(100)).expect("seals");
    assert_eq!((device.seal_due(true), device.seal_due(false)), (None, None), "nothing to seal");

    capture(&mut device, 1, 200);
    capture(&mut device, 1, 205);
    assert_eq!(device.seal_due(true), seconds(200), "idle until then");
    assert_eq!(device.seal_due(false), seconds(200 + 3600), "from its oldest event on");
    assert!(device.seal(now(210)).expect("seals"));
    assert!(!device.seal(now(210)).expect("has nothing to seal"));

    capture(&mut device, 1, 210);
    assert_eq!(device.seal_due(true), seconds(211), "busy");
    let beat = Event::from(HeartbeatSent { uptime_seconds: 1 });
    let before = Now { monotonic: Duration::from_secs(208), ..now(211) };
    device.commit(before, &[(LogClass::Telemetry, beat)]).expect("commits");
    assert_eq!(device.seal_due(false), seconds(208 + 3600), "the older of both logs");
    assert!(device.seal(now(212)).expect("seals"));
    assert_eq!(device.seal_due(false), None);
}

#[test]
fn a_tail_as_long_as_a_batch_is_sealed_without_a_link_too() {
    let mut hub = hub();
    let mut device = enrol(&mut hub, "one", 11);
    device.seal(now(100)).expect("seals");
    let quarter = Event::Unknown(UnknownEvent {
        code: 0x7fff,
        version: 9,
        body: Bytes(vec![7; SEAL_BYTES / 4]),
    });
    for (at, due) in [(1, 3601), (2, 3601), (3, 3601), (4, 1)] {
        device.commit(now(at), &[(LogClass::Telemetry, quarter.clone())]).expect("commits");
        assert_eq!(device.seal_due(false), seconds(due), "after {at}");
    }
}
