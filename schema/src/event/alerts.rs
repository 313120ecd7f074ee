//! Events of alerts: faults, reports, dispatches, consent (mission 5).
//!
//! Invariant: a fault has one id from raise to clear; everything that follows
//! from it names that id, so a repeat is the same alert.

use super::{body, words};
use crate::{DeviceId, JobId};

words! {
    /// What a fault leaves of a device's functions.
    pub enum FaultClass {
        /// None.
        #[n(0)]
        Fatal,
        /// Some.
        #[n(1)]
        Partial,
        /// All; a failure is coming.
        #[n(2)]
        Sign,
    }

    /// A function of a device.
    pub enum Function {
        /// Printing.
        #[n(0)]
        Print,
        /// Scanning.
        #[n(1)]
        Scan,
        /// Copying.
        #[n(2)]
        Copy,
        /// Faxing.
        #[n(3)]
        Fax,
    }
}

body! {
    /// A fault appeared.
    pub struct FaultRaised {
        /// The fault's own id, unique within the device.
        #[n(0)]
        pub fault: JobId,
        /// The device's code for it.
        #[n(1)]
        pub code: String,
        /// What it leaves.
        #[n(2)]
        pub class: FaultClass,
        /// The functions it takes away.
        #[n(3)]
        pub lost: Vec<Function>,
        /// What failed and what to do, for people.
        #[n(4)]
        pub text: String,
    }

    /// A fault is gone.
    pub struct FaultCleared {
        /// Which.
        #[n(0)]
        pub fault: JobId,
    }

    /// A fault's report was confirmed.
    pub struct AlertReported {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Which fault.
        #[n(1)]
        pub fault: JobId,
    }

    /// A technician was asked for.
    pub struct DispatchRequested {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Which fault.
        #[n(1)]
        pub fault: JobId,
        /// A visit before anything is lost.
        #[n(2)]
        pub preventive: bool,
    }

    /// No technician was asked for.
    pub struct DispatchWithheld {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Which fault.
        #[n(1)]
        pub fault: JobId,
        /// Why, as `already called`.
        #[n(2)]
        pub reason: String,
    }

    /// Somebody called in.
    pub struct CallMarked {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Which fault.
        #[n(1)]
        pub fault: JobId,
    }

    /// Consent to monitoring.
    pub struct ConsentChanged {
        /// The service.
        #[n(0)]
        pub service: String,
        /// Given or withdrawn.
        #[n(1)]
        pub given: bool,
    }

    /// A device is alive.
    pub struct HeartbeatSent {
        /// Seconds since it started.
        #[n(0)]
        pub uptime_seconds: u64,
    }
}
