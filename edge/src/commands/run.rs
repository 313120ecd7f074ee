//! `run`: what the agent is told to keep, for how long, and where its panel is.
//!
//! Owns the words for durations and sizes. Invariant: a value that means nothing, or less than a
//! device needs, is refused before anything runs. What is pruned when is the engine's.

use core::time::Duration;
use jiff::{Span, SpanRelativeTo};
use std::net::SocketAddr;
use tallyroll_edge::keeper::LEASE_IDLE;
use tallyroll_edge::panel::PanelOptions;
use tallyroll_engine::device::Retention;

/// Less than this and a device could keep nothing but its reserve.
const LIMIT_MIN: u64 = 4 * 1024 * 1024;

/// The arguments of `run`.
#[derive(clap::Args)]
pub(crate) struct RunArguments {
    /// How long telemetry is kept here after the cloud confirmed it, to heal a cloud that loses it;
    /// as `90d` or `12h`. The ledger is kept for as long as there is room.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = parse_duration)]
    retain: Duration,
    /// The size of the store from which on it is pruned of what the cloud confirmed: telemetry
    /// first, oldest first, then the ledger; as `64MiB`. Counted is what is in use in its file,
    /// which may be up to twice as long. Without it only a full disk is a limit.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    disk_limit: Option<u64>,
    /// A user's lease that nobody spent from for so many seconds goes back to the cloud, so that it
    /// can be spent elsewhere.
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE_IDLE.as_secs())]
    lease_idle: u64,
    /// Serve the panel by HTTP on loopback, too, as `127.0.0.1:8631`; `tallyroll-edge panel` prints
    /// the address to open. Without it there is only the socket `panel.sock` in the data directory.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_loopback)]
    panel: Option<SocketAddr>,
    /// How long a job may be left undecided until it counts as discarded, as `24h`.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_some_time)]
    undecided_after: Duration,
}

impl RunArguments {
    /// As the engine wants it.
    pub(crate) fn retention(&self) -> Retention {
        Retention { keep: self.retain, limit: self.disk_limit }
    }

    /// How long a lease may lie unused.
    pub(crate) fn lease_idle(&self) -> Duration {
        Duration::from_secs(self.lease_idle)
    }

    /// As the panel wants it.
    pub(crate) fn panel(&self) -> PanelOptions {
        PanelOptions { address: self.panel, undecided_after: self.undecided_after }
    }
}

/// An address that only this machine reaches.
fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    let wrong = |_| format!("`{text}` is no address; write it as `127.0.0.1:8631` or `[::1]:8631`");
    let address: SocketAddr = text.parse().map_err(wrong)?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!(
            "the panel is for this machine alone, and {} is not: use `127.0.0.1:{}`",
            address.ip(),
            address.port()
        )),
    }
}

fn parse_some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => {
            Err("no time at all: no job could ever be sent; write it as `24h`".into())
        }
        some => Ok(some),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write it as `90d`, `12h` or `30m`");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write it as `64MiB`, `2GiB` or in bytes");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(unit).ok_or_else(wrong)?;
    if bytes < LIMIT_MIN {
        return Err(format!("{text} is too little; a device needs 4 MiB at least"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_and_nonsense_is_told() {
        let day = Duration::from_secs(86_400);
        assert_eq!(parse_duration("90d"), Ok(day * 90));
        assert_eq!(parse_duration("2w 12h"), Ok(day * 14 + day / 2));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "90", "-1d", "1 month", "soon"] {
            assert!(parse_duration(wrong).is_err_and(|told| told.contains("90d")), "{wrong}");
        }
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("4194304"), Ok(4 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        for wrong in ["", "MiB", "-5M", "1.5GiB", "64MB", "99999999999GiB", "18446744073709551616"]
        {
            assert!(parse_bytes(wrong).is_err_and(|told| told.contains("64MiB")), "{wrong}");
        }
        assert!(parse_some_time("0s").is_err_and(|told| told.contains("24h")));
        assert_eq!(parse_some_time("24h"), Ok(day));
        for here in ["127.0.0.1:8631", "[::1]:0", "127.9.9.9:1"] {
            assert!(parse_loopback(here).is_ok(), "{here}");
        }
        for there in ["0.0.0.0:8631", "[::]:8631", "192.0.2.1:80", "localhost:80", "127.0.0.1"] {
            assert!(
                parse_loopback(there).is_err_and(|told| told.contains("127.0.0.1:")),
                "{there}"
            );
        }
        assert!(parse_bytes("4095KiB").is_err_and(|told| told.contains("too little")));
    }
}
