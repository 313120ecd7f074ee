//! What is counted about the process itself, for Prometheus.
//!
//! Invariant: figures of the process, never of people or devices by name; nothing
//! is decided by them. Text form: OpenMetrics 1.0.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::AtomicU64;

/// The figures.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
    /// Devices connected.
    pub(crate) sessions: Gauge,
    /// Devices enrolled since the start.
    pub(crate) enrolments: Counter,
    /// Enrolments refused since the start.
    pub(crate) enrolments_refused: Counter,
    /// Connections refused since the start.
    pub(crate) refused: Counter,
    /// Batches accepted: the index of the newest commit.
    pub(crate) commits: Gauge,
    /// Events held.
    pub(crate) events: Gauge,
    /// 1 while there is no room for more.
    pub(crate) disk_full: Gauge,
    /// Entries open in quarantine.
    pub(crate) quarantine: Gauge,
    /// Bursts that found a quarantine full since the start.
    pub(crate) quarantine_overflow: Gauge,
    /// Credits that devices may spend.
    pub(crate) credits_leased: Gauge<f64, AtomicU64>,
    /// Credits that devices were lent and nobody may spend.
    pub(crate) credits_frozen: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self::default();
        let registry = metrics.registry.sub_registry_with_prefix("tallyroll");
        registry.register("sessions", "Devices connected", metrics.sessions.clone());
        registry.register("enrolments", "Devices enrolled", metrics.enrolments.clone());
        let refused = metrics.enrolments_refused.clone();
        registry.register("enrolments_refused", "Enrolments refused", refused);
        registry.register("connections_refused", "Connections refused", metrics.refused.clone());
        registry.register("commits", "Number of the newest accepted batch in its commit epoch, which begins anew with each process", metrics.commits.clone());
        registry.register("events_held", "Events held", metrics.events.clone());
        let full = metrics.disk_full.clone();
        registry.register("disk_full", "1 while nothing can be stored for want of room", full);
        let open = metrics.quarantine.clone();
        registry.register("quarantine_open", "Entries in quarantine, to be decided", open);
        let overflow = metrics.quarantine_overflow.clone();
        let what = "Bursts not kept, for a quarantine was full";
        registry.register("quarantine_overflow", what, overflow);
        let leased = metrics.credits_leased.clone();
        registry.register("credits_leased", "Credits that devices may spend", leased);
        let what = "Credits lent to devices that nobody may spend, to be written off";
        registry.register("credits_frozen", what, metrics.credits_frozen.clone());
        metrics
    }

    /// Their text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
