//! Samples of the events of services.
//!
//! Invariant: the first sample of a kind sets every field; a minimal one sets no
//! optional one. Which files they become is left to the tests above.

use super::DEVICE;
use crate::Event;
use crate::event::services::*;

pub(super) fn samples() -> Vec<Event> {
    let application = || "toner-supply".to_owned();
    vec![
        ServiceContracted {
            device: DEVICE,
            application: application(),
            service: "delivery".into(),
            provider: "Example Supplies".into(),
            outline: "Toner before it runs out.".into(),
        }
        .into(),
        ServiceCancelled { device: DEVICE, application: application() }.into(),
        ServiceActivated { device: DEVICE, application: application() }.into(),
        ServiceDeactivated { device: DEVICE, application: application() }.into(),
        ReportingChanged { data_types: vec!["supply-levels".into(), "faults".into()] }.into(),
        SupplyRead { supply: 4, colorant: "black".into(), level_percent: 17 }.into(),
        SupplyReplaced { supply: 4, model: Some("TK-5440K".into()) }.into(),
        DeliveryOrdered {
            device: DEVICE,
            supply: 4,
            provider: "Example Supplies".into(),
            application: application(),
        }
        .into(),
    ]
}

pub(super) fn minimal_samples() -> Vec<Event> {
    vec![SupplyReplaced { supply: 1, model: None }.into()]
}
