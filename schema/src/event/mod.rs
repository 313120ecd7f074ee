//! Every kind of event, its number, its name and who may write it.
//!
//! Owns the one table that pairs them ([`Event`]). Invariant: a number is never
//! reused and never changes its meaning; a new meaning gets a new number, a new
//! field a new integer key. Kinds not in the table are kept as
//! [`Event::Unknown`], untouched. What an event *does* is left to the folds.

pub mod alerts;
pub mod allotments;
pub mod balances;
mod bytes;
pub mod counts;
pub mod document;
pub mod fleet;
pub mod leases;
pub mod log;
pub mod people;
pub mod printing;
pub mod quarantine;
pub mod services;
pub mod uploads;

use crate::DecodeError;
use crate::cbor::{from_cbor, to_cbor};
use alerts::*;
use allotments::*;
use balances::*;
pub use bytes::Bytes;
use counts::*;
use document::*;
use fleet::*;
use leases::*;
use log::*;
use people::*;
use printing::*;
use quarantine::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::*;
use uploads::*;

/// Whose log a kind belongs in. A fold ignores, and counts, what stands elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A device, in its ledger or telemetry.
    Device,
    /// The cloud, in its public, accounts or device logs.
    Cloud,
    /// Either.
    Both,
}

macro_rules! events {
    ($($(#[$doc:meta])* $kind:literal $name:literal v $version:literal $writer:ident $variant:ident;)*) => {
        /// An event of a known kind, or the bytes of an unknown one.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind")]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $name)] $variant($variant),)*
            /// A kind this build does not know.
            #[serde(rename = "unknown")]
            Unknown(UnknownEvent),
        }

        impl Event {
            /// All kinds: number, name, who writes them.
            pub const KINDS: &[(u16, &str, Writer)] = &[$(($kind, $name, Writer::$writer),)*];

            /// The kind's number.
            pub fn kind(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $kind,)*
                    Self::Unknown(unknown) => unknown.code,
                }
            }

            /// The kind's name, as in JSON.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The version this build writes of the kind.
            pub fn version(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => $version,)*
                    Self::Unknown(unknown) => unknown.version,
                }
            }

            /// Who may write the kind.
            pub fn writer(&self) -> Writer {
                match self {
                    $(Self::$variant(_) => Writer::$writer,)*
                    Self::Unknown(_) => Writer::Both,
                }
            }

            /// The CBOR body.
            pub fn encode_body(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(body) => to_cbor(body),)*
                    Self::Unknown(unknown) => unknown.body.0.clone(),
                }
            }

            /// Reads a body. A later version of a known kind reads as this one:
            /// bodies only grow by keys.
            ///
            /// # Errors
            /// When the kind is known and the body does not fit it.
            pub fn decode(kind: u16, version: u8, body: &[u8]) -> Result<Self, DecodeError> {
                Ok(match kind {
                    $($kind => Self::$variant(from_cbor(body)?),)*
                    code => Self::Unknown(UnknownEvent { code, version, body: Bytes(body.to_vec()) }),
                })
            }
        }

        $(impl From<$variant> for Event {
            fn from(event: $variant) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

events! {
    /// A log begins.
    0x0001 "log.opened" v 1 Both LogOpened;
    /// A log's next epoch begins.
    0x0002 "epoch.opened" v 1 Both EpochOpened;
    /// A writer changed its signing key.
    0x0003 "key.rotated" v 1 Both KeyRotated;
    /// An event that was set aside is recorded again.
    0x0004 "event.resubmitted" v 1 Device EventResubmitted;
    /// A log's last event.
    0x0005 "log.closed" v 1 Device LogClosed;

    /// A rate card came into force.
    0x0101 "rate-card.published" v 1 Cloud RateCardPublished;
    /// A user was given credits.
    0x0102 "credits.granted" v 1 Cloud CreditsGranted;
    /// How jobs settle was laid down.
    0x0103 "settlement-policy.published" v 1 Cloud SettlementPolicyPublished;
    /// Pages came out of a printer.
    0x0110 "pages.printed" v 1 Device PagesPrinted;
    /// Pages were scanned.
    0x0111 "pages.captured" v 1 Device PagesCaptured;
    /// Pages were converted.
    0x0112 "pages.converted" v 1 Both PagesConverted;
    /// A document was sent outside.
    0x0113 "document.sent" v 1 Both DocumentSent;
    /// A document was saved in the server's own store.
    0x0114 "document.saved" v 1 Both DocumentSaved;
    /// A document was deleted undelivered.
    0x0115 "document.discarded" v 1 Both DocumentDiscarded;
    /// A job began.
    0x0118 "job.begun" v 1 Both JobBegun;
    /// A job ended.
    0x0119 "job.ended" v 1 Both JobEnded;
    /// Credits moved from a balance to a device's lease.
    0x0120 "lease.granted" v 1 Cloud LeaseGranted;
    /// A device gave a lease back.
    0x0121 "lease.closed" v 1 Device LeaseClosed;
    /// A lease that will not come back was taken off the books.
    0x0122 "lease.written-off" v 1 Cloud LeaseWrittenOff;
    /// A device needs rights.
    0x0124 "lease.requested" v 1 Device LeaseRequested;
    /// A request for rights is not met.
    0x0125 "lease.refused" v 1 Cloud LeaseRefused;
    /// A device is to give back what it does not need.
    0x0126 "lease.recalled" v 1 Cloud LeaseRecalled;
    /// What a device does that is cut off came into force.
    0x0127 "offline-policy.published" v 1 Cloud OfflinePolicyPublished;
    /// A device wants to know a user's balance.
    0x012A "balance.asked" v 1 Device BalanceAsked;
    /// A device was told a user's balance.
    0x012B "balance.told" v 1 Cloud BalanceTold;
    /// A device is to ask for a user's balance after its job.
    0x012C "balance.sync-requested" v 1 Cloud BalanceSyncRequested;
    /// How busy devices come by new balances was laid down.
    0x012D "sync-mode.published" v 1 Cloud SyncModePublished;
    /// A charge was corrected.
    0x0123 "charge.corrected" v 1 Cloud ChargeCorrected;
    /// A device read its own meter.
    0x0130 "meter.read" v 1 Device MeterRead;
    /// A month's figures were fixed at a cut.
    0x0131 "period.closed" v 1 Cloud PeriodClosed;
    /// A device's clock was judged for a stretch of its log.
    0x0132 "clock.assessed" v 1 Cloud ClockAssessed;
    /// What an account is given each month was laid down.
    0x0135 "allotment.laid-down" v 1 Cloud AllotmentLaidDown;
    /// An account was given a month's allotment, or what was left of one lapsed.
    0x0136 "allotment.given" v 1 Cloud AllotmentGiven;

    /// A scan ticket was issued.
    0x0201 "ticket.issued" v 1 Both TicketIssued;
    /// A scan ticket was refused.
    0x0202 "ticket.refused" v 1 Both TicketRefused;
    /// A ticket's document was read.
    0x0203 "document.read" v 1 Device DocumentRead;
    /// A step of a ticket could not be carried out.
    0x0204 "step.failed" v 1 Both StepFailed;
    /// An upload was tried.
    0x0205 "upload.attempted" v 1 Both UploadAttempted;
    /// An upload arrived.
    0x0206 "upload.completed" v 1 Both UploadCompleted;
    /// An upload's data was kept for later.
    0x0207 "upload.kept" v 1 Both UploadKept;
    /// Kept data was removed with the user's consent.
    0x0208 "upload.removed" v 1 Both UploadRemoved;

    /// A service came under contract.
    0x0301 "service.contracted" v 1 Cloud ServiceContracted;
    /// A contract was cancelled.
    0x0302 "service.cancelled" v 1 Cloud ServiceCancelled;
    /// A service was activated.
    0x0303 "service.activated" v 1 Both ServiceActivated;
    /// A service was deactivated.
    0x0304 "service.deactivated" v 1 Both ServiceDeactivated;
    /// A device changed which data it reports.
    0x0305 "reporting.changed" v 1 Device ReportingChanged;
    /// A consumable's level was read.
    0x0306 "supply.read" v 1 Device SupplyRead;
    /// A consumable was replaced.
    0x0307 "supply.replaced" v 1 Device SupplyReplaced;
    /// A delivery was ordered.
    0x0308 "delivery.ordered" v 1 Cloud DeliveryOrdered;

    /// A printer was registered.
    0x0401 "printer.registered" v 1 Cloud PrinterRegistered;
    /// A printer's service was switched.
    0x0402 "printer.switched" v 1 Device PrinterSwitched;
    /// Whether the server accepts jobs for a printer changed.
    0x0403 "accepting-jobs.changed" v 1 Both AcceptingJobsChanged;
    /// A printer's status changed.
    0x0404 "printer.status-changed" v 1 Device PrinterStatusChanged;
    /// A print job was made.
    0x0405 "print-job.created" v 1 Cloud PrintJobCreated;
    /// A print job was fetched by its printer.
    0x0406 "print-job.fetched" v 1 Device PrintJobFetched;
    /// A print job was handed to the mechanism.
    0x0407 "print-job.submitted" v 1 Device PrintJobSubmitted;
    /// A print job ended.
    0x0408 "print-job.ended" v 1 Both PrintJobEnded;

    /// A fault appeared.
    0x0501 "fault.raised" v 1 Device FaultRaised;
    /// A fault is gone.
    0x0502 "fault.cleared" v 1 Device FaultCleared;
    /// A report of a fault was confirmed by the monitoring server.
    0x0503 "alert.reported" v 1 Both AlertReported;
    /// A technician was asked for.
    0x0504 "dispatch.requested" v 1 Cloud DispatchRequested;
    /// No technician was asked for, and why.
    0x0505 "dispatch.withheld" v 1 Cloud DispatchWithheld;
    /// Somebody called in.
    0x0506 "call.marked" v 1 Both CallMarked;
    /// Consent to monitoring was given or withdrawn.
    0x0507 "consent.changed" v 1 Device ConsentChanged;
    /// A device is alive.
    0x0508 "heartbeat.sent" v 1 Device HeartbeatSent;

    /// Aliases were joined to a person.
    0x0601 "subject.linked" v 1 Cloud SubjectLinked;
    /// A person was forgotten.
    0x0602 "subject.forgotten" v 1 Cloud SubjectForgotten;
    /// A device has erased a person's names.
    0x0603 "subject.erased" v 1 Device SubjectErased;
    /// An account that several people share came to be.
    0x0604 "group.founded" v 1 Cloud GroupFounded;
    /// A person's account counts as a group's.
    0x0605 "group.joined" v 1 Cloud GroupJoined;
    /// A person's account is their own again.
    0x0606 "group.left" v 1 Cloud GroupLeft;

    /// A device joined the fleet.
    0x0701 "device.enrolled" v 1 Cloud DeviceEnrolled;
    /// A device is to drain and leave.
    0x0702 "device.retired" v 1 Cloud DeviceRetired;
    /// A device is no longer trusted.
    0x0703 "device.revoked" v 1 Cloud DeviceRevoked;
    /// A device changed its keys.
    0x0704 "device.keys-rotated" v 1 Cloud DeviceKeysRotated;
    /// A device showed its newest certificate.
    0x0705 "device.certificate-used" v 1 Cloud DeviceCertificateUsed;
    /// Something a device brought was put into quarantine.
    0x0710 "quarantine.opened" v 1 Cloud QuarantineOpened;
    /// What was in quarantine is to be taken in.
    0x0711 "quarantine.released" v 1 Cloud QuarantineReleased;
    /// What was in quarantine was deleted.
    0x0712 "quarantine.discarded" v 1 Cloud QuarantineDiscarded;

    /// A jointly edited document changed.
    0x0801 "document.changed" v 1 Both DocumentChanged;
}

/// An event of a kind this build does not know, kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnknownEvent {
    /// The kind's number.
    #[serde(deserialize_with = "unknown_code")]
    pub code: u16,
    /// The kind's version.
    pub version: u8,
    /// The CBOR body.
    pub body: Bytes,
}

/// JSON must not dress a kind this build knows as an unknown one: it would pass unread.
fn unknown_code<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let code = u16::deserialize(deserializer)?;
    match Event::KINDS.iter().find(|(known, _, _)| *known == code) {
        Some((_, name, _)) => {
            let why = format!("code {code} is the kind `{name}`: write its fields, not its bytes");
            Err(serde::de::Error::custom(why))
        }
        None => Ok(code),
    }
}

/// Defines an event's body: a CBOR map with integer keys, a JSON object.
macro_rules! body {
    ($($(#[$doc:meta])* pub struct $name:ident { $($fields:tt)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[cbor(map)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name { $($fields)* })*
    };
}

/// Defines a field's enumeration: an index in CBOR, a kebab-case word in JSON. An index this
/// build does not know makes the whole body unreadable here, even in an optional field: to
/// leave it out would change what the event says. (minicbor's derived decoder leaves it out,
/// and loses its place in the map while doing so.)
macro_rules! words {
    ($($(#[doc = $doc:literal])* pub enum $name:ident {
        $($(#[doc = $variant_doc:literal])* #[n($index:literal)] $variant:ident,)*
    })*) => {
        $($(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[cbor(index_only)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[doc = $variant_doc])* #[n($index)] $variant,)* }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                match d.u32()? {
                    $($index => Ok(Self::$variant),)*
                    found => Err(minicbor::decode::Error::message(format!(
                        concat!("unknown ", stringify!($name), " {}; a newer Tallyroll may have written it"),
                        found,
                    ))),
                }
            }
        })*
    };
}

pub(crate) use {body, words};
