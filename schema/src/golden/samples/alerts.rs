//! Samples of the events of alerts.
//!
//! Invariant: the sample of a kind sets every field; no kind here has an optional
//! one. Which files they become is left to the tests above.

use super::{DEVICE, JOB};
use crate::Event;
use crate::event::alerts::*;

pub(super) fn samples() -> Vec<Event> {
    vec![
        FaultRaised {
            fault: JOB,
            code: "C-2557".into(),
            class: FaultClass::Partial,
            lost: vec![Function::Scan, Function::Copy],
            text: "the scanner lamp does not light; call service".into(),
        }
        .into(),
        FaultCleared { fault: JOB }.into(),
        AlertReported { device: DEVICE, fault: JOB }.into(),
        DispatchRequested { device: DEVICE, fault: JOB, preventive: true }.into(),
        DispatchWithheld { device: DEVICE, fault: JOB, reason: "already called".into() }.into(),
        CallMarked { device: DEVICE, fault: JOB }.into(),
        ConsentChanged { service: "remote-monitoring".into(), given: false }.into(),
        HeartbeatSent { uptime_seconds: 86_400 }.into(),
    ]
}
