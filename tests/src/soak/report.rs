//! What a soak did and what it took, as figures and as text for people.
//! Owns both forms. Invariant: figures are noted as they were measured; whether they are good is said by violations
//! alone. Measuring is left to the soak.

use std::fmt;
use std::time::Duration;

use crate::drill::Audit;
use crate::proxy::ProxyStats;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// What a soak did, and what did not hold.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How long it went on, without the audit.
    pub length: Duration,
    /// Kills of the cloud.
    pub cloud_kills: u64,
    /// Kills of each branch's agent.
    pub branch_kills: Vec<u64>,
    /// Branches that were parted from the cloud, each time counted.
    pub partitions: u64,
    /// For how long, all of them together.
    pub parted: Duration,
    /// The longest time from healing to everything being at the cloud.
    pub longest_sync: Duration,
    /// Of each branch's line.
    pub traffic: Vec<Traffic>,
    /// The most bytes the cloud had in memory at once.
    pub cloud_memory: u64,
    /// The most bytes each branch's agent had.
    pub branch_memory: Vec<u64>,
    /// Bytes of the cloud's files.
    pub disk_cloud: u64,
    /// Bytes of each branch's files.
    pub disk_branches: Vec<u64>,
    /// What was written and what became of it.
    pub audit: Audit,
}

/// The packets of a line, both ways together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that came in.
    pub packets: u64,
    /// Lost by their fate.
    pub lost: u64,
    /// Dropped because the line was cut.
    pub cut: u64,
}

impl Traffic {
    /// That of a line so far.
    #[must_use]
    pub fn of(stats: &ProxyStats) -> Self {
        let both = |of: fn(&crate::proxy::DirectionStats) -> u64| of(&stats.up) + of(&stats.down);
        Self {
            packets: both(|way| way.received),
            lost: both(|way| way.lost),
            cut: both(|way| way.cut),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Audit { acknowledged, unanswered, recorded_unanswered, events, violations } =
            &self.audit;
        writeln!(
            to,
            "acts        {acknowledged} acknowledged in {:.0} s; {unanswered} more lost their answer, {recorded_unanswered} of them recorded",
            self.length.as_secs_f64()
        )?;
        writeln!(to, "events      {events} at the cloud")?;
        writeln!(
            to,
            "kill -9     {} of the cloud, {:?} of each agent",
            self.cloud_kills, self.branch_kills
        )?;
        writeln!(
            to,
            "partitions  {}, {:.0} s together",
            self.partitions,
            self.parted.as_secs_f64()
        )?;
        writeln!(to, "in sync     at most {:.1} s after healing", self.longest_sync.as_secs_f64())?;
        for (branch, Traffic { packets, lost, cut }) in self.traffic.iter().enumerate() {
            let percent = *lost as f64 * 100.0 / (*packets - *cut).max(1) as f64;
            writeln!(
                to,
                "line {branch}      {packets} packets, {percent:.1} % of them lost, {cut} cut off"
            )?;
        }
        let mebibytes = |bytes: &u64| format!("{:.1} MiB", *bytes as f64 / MEBIBYTE);
        let each = |bytes: &[u64]| bytes.iter().map(mebibytes).collect::<Vec<_>>().join(", ");
        writeln!(
            to,
            "memory      {} the cloud at most, {} each agent",
            mebibytes(&self.cloud_memory),
            each(&self.branch_memory)
        )?;
        writeln!(
            to,
            "disk        {} the cloud, {} each branch",
            mebibytes(&self.disk_cloud),
            each(&self.disk_branches)
        )?;
        write!(to, "violations  {}", violations.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_lost_packets_is_of_those_that_were_not_cut_off() {
        let traffic = Traffic { packets: 300, lost: 20, cut: 200 };
        let report = Report { traffic: vec![traffic], ..Report::default() };
        let told = report.to_string();
        assert!(told.contains("300 packets, 20.0 % of them lost, 200 cut off"), "{told}");
    }
}
