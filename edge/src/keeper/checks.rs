//! What a client may have recorded as it is, and what stands for what it left out.
//!
//! Invariant: what only the cloud or the engine writes is never recorded for a client.
//! What is recorded how is left to [`super::recording`].

use tallyroll_engine::Error;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::local::EVENT_BYTES_MAX;
use tallyroll_schema::limits::{METER_READING_MAX, NAME_BYTES_MAX};
use tallyroll_schema::{Act, Event, JobId, Writer};

/// Levels and heartbeats go into the telemetry, all else into the ledger.
pub(super) fn class_of(event: &Event) -> LogClass {
    match event {
        Event::SupplyRead(_) | Event::HeartbeatSent(_) | Event::PrinterStatusChanged(_) => {
            LogClass::Telemetry
        }
        _ => LogClass::Ledger,
    }
}

/// The kinds that the engine itself writes into a device's logs.
const ENGINES: [&str; 8] = [
    "log.opened",
    "epoch.opened",
    "key.rotated",
    "event.resubmitted",
    "log.closed",
    "subject.erased",
    "lease.requested",
    "lease.closed",
];

/// Whether events of a kind, which so and so writes, may be recorded for a client.
pub(crate) fn is_recorded(kind: &str, writer: Writer) -> bool {
    writer != Writer::Cloud && !ENGINES.contains(&kind)
}

pub(super) fn check_event(event: Event) -> Result<Event, Error> {
    let rejected = |why: String| Err(Error::Rejected(why));
    if event.writer() == Writer::Cloud {
        return rejected(format!("{} is written by the cloud, not by a device", event.name()));
    }
    if ENGINES.contains(&event.name()) {
        return rejected(format!("{} is written by the engine itself", event.name()));
    }
    if let Event::MeterRead(read) = &event
        && read.impressions.max(read.sheets.unwrap_or(0)) > METER_READING_MAX
    {
        return rejected(format!("a meter shows at most {METER_READING_MAX}; read it again"));
    }
    if matches!(event, Event::Unknown(_)) {
        return rejected(
            "an event of an unknown kind; see `schema/golden/event.schema.json`".into(),
        );
    }
    let len = event.encode_body().len();
    if len > EVENT_BYTES_MAX {
        return rejected(format!("an event of {len} bytes; {EVENT_BYTES_MAX} are allowed"));
    }
    Ok(event)
}

/// Whether an act may be of somebody of that name. What is printed is counted whoever says they are
/// who; for all else it is a name as the cloud would enter it.
pub(super) fn may_be_of(act: &Act, name: &str) -> bool {
    match act {
        Act::Print { .. } => (1..=NAME_BYTES_MAX).contains(&name.len()),
        _ => is_name(name),
    }
}

/// Whether it is a name that somebody may log in by.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

/// What is said of one that is none.
pub fn no_name() -> String {
    format!("a user's name has 1 to {NAME_BYTES_MAX} bytes, none of them a control character")
}

pub(super) fn random_job() -> Result<JobId, Error> {
    let mut job = JobId([0; 8]);
    getrandom::fill(&mut job.0).map_err(|why| Error::Storage {
        doing: "asking for entropy",
        source: std::io::Error::other(why),
    })?;
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallyroll_schema::event::counts::MeterRead;

    #[test]
    fn a_meter_shows_no_more_than_twelve_digits() {
        let read = |impressions, sheets| check_event(MeterRead { impressions, sheets }.into());
        read(METER_READING_MAX, Some(METER_READING_MAX)).expect("is a reading");
        for (impressions, sheets) in [(METER_READING_MAX + 1, None), (1, Some(u64::MAX))] {
            let told = read(impressions, sheets).expect_err("is none").to_string();
            assert!(told.contains("at most 999999999999"), "{told}");
        }
    }

    #[test]
    fn what_the_engine_writes_are_kinds_of_a_device() {
        for kind in ENGINES {
            let (_, _, writer) = Event::KINDS.iter().find(|(_, name, _)| *name == kind).unwrap();
            assert!(*writer != Writer::Cloud && !is_recorded(kind, *writer), "{kind}");
        }
        assert!(is_recorded("meter.read", Writer::Device));
        assert!(!is_recorded("credits.granted", Writer::Cloud));
    }
}
