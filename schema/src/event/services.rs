//! Events of services: contracts, activation, what a device reports (mission 3).
//!
//! Invariant: nothing is erased; a cancelled contract is an event of its own.
//! The device's setting table is a jointly edited document, so its changes are
//! `document.changed`.

use super::body;
use crate::DeviceId;

body! {
    /// A service came under contract; its row is inactive.
    pub struct ServiceContracted {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// Application id.
        #[n(1)]
        pub application: String,
        /// Service id.
        #[n(2)]
        pub service: String,
        /// Provider.
        #[n(3)]
        pub provider: String,
        /// Outline, for people.
        #[n(4)]
        pub outline: String,
    }

    /// A contract was cancelled.
    pub struct ServiceCancelled {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// Application id.
        #[n(1)]
        pub application: String,
    }

    /// An activation: a notice when the device writes it, its confirmation when the cloud does.
    pub struct ServiceActivated {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// Application id.
        #[n(1)]
        pub application: String,
    }

    /// A deactivation, likewise.
    pub struct ServiceDeactivated {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// Application id.
        #[n(1)]
        pub application: String,
    }

    /// The data types the device now sends.
    pub struct ReportingChanged {
        /// Their names.
        #[n(0)]
        pub data_types: Vec<String>,
    }

    /// A consumable's level.
    pub struct SupplyRead {
        /// Supply index (RFC 3805, prtMarkerSuppliesIndex).
        #[n(0)]
        pub supply: u16,
        /// Colorant or description.
        #[n(1)]
        pub colorant: String,
        /// Remaining, per cent.
        #[n(2)]
        pub level_percent: u8,
    }

    /// A consumable was replaced.
    pub struct SupplyReplaced {
        /// Supply index.
        #[n(0)]
        pub supply: u16,
        /// Model of the new one, if it says.
        #[n(1)]
        pub model: Option<String>,
    }

    /// A delivery was ordered.
    pub struct DeliveryOrdered {
        /// The printer.
        #[n(0)]
        pub device: DeviceId,
        /// Supply index.
        #[n(1)]
        pub supply: u16,
        /// Provider.
        #[n(2)]
        pub provider: String,
        /// Application id.
        #[n(3)]
        pub application: String,
    }
}
