//! Events of the fleet: which devices belong to it, by which keys.
//!
//! Invariant: a device is what its `device.enrolled` says until `device.retired`
//! or `device.revoked`; both are final for it. Its keys are those of its last
//! `device.keys-rotated`, if there is one. That it is enrolled or retired is told in its
//! own log, too, so that it can show it to a cloud that lost its accounts.

use super::body;
use crate::{DeviceId, Hash, Position, PublicKey};

body! {
    /// A device joined.
    pub struct DeviceEnrolled {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// The name an administrator gave it.
        #[n(1)]
        pub name: String,
        /// Signs its heads.
        #[n(2)]
        pub signing_key: PublicKey,
        /// Fingerprint of its TLS certificate.
        #[n(3)]
        pub tls_fingerprint: Hash,
        /// Where the enrolment stood that this one stands in for: the accounts were lost, and the
        /// device brought it back.
        #[n(4)]
        pub readmitted: Option<Position>,
        /// Whether it is a processing server: it may ask for acts in other devices' jobs.
        #[n(5)]
        pub processing: Option<bool>,
        /// As one that stands in for another: whether these are not its first keys. Its ledger brings the changes up
        /// to them again, which are no news.
        #[n(6)]
        pub renewed: Option<bool>,
    }

    /// A device may deliver what it has and take no more rights.
    pub struct DeviceRetired {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Why.
        #[n(1)]
        pub reason: String,
    }

    /// Nothing from a device is believed beyond its last receipt.
    pub struct DeviceRevoked {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Why.
        #[n(1)]
        pub reason: String,
    }

    /// The cloud took in that a device changed its keys.
    pub struct DeviceKeysRotated {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Signs its heads from now on.
        #[n(1)]
        pub signing_key: PublicKey,
        /// Fingerprint of the TLS certificate that is accepted from now on, if that changed too.
        #[n(2)]
        pub tls_fingerprint: Option<Hash>,
        /// Where the device said so.
        #[n(3)]
        pub rotation: Position,
    }

    /// A device showed its newest TLS certificate: none from before is accepted any more.
    pub struct DeviceCertificateUsed {
        /// The device.
        #[n(0)]
        pub device: DeviceId,
        /// Fingerprint of the certificate.
        #[n(1)]
        pub tls_fingerprint: Hash,
    }
}
