//! The counts of pruned batches, as they are kept for ever.
//!
//! Invariant: what a device's own ledger can add to the view is in here, and is read back as it
//! was; a later build adds keys, and reads these. What only the cloud writes (grants, links, cards)
//! is never pruned at a device; which names a device erased, it knows without its ledger.

use super::balances::Balances;
use super::job::Job;
use super::rights::Rights;
use super::state::Counts;
use super::usage::{Usage, UsageKey};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;
use tallyroll_schema::{DecodeError, DeviceId, Hash, JobId, Position, UserAlias};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Base {
    #[n(0)]
    usage: Vec<BaseUsage>,
    #[n(1)]
    resubmitted: Vec<(Position, Hash)>,
    #[n(2)]
    incomplete: u64,
    #[n(3)]
    misplaced: u64,
    /// Absent in what was kept before jobs settled.
    #[n(4)]
    jobs: Option<Vec<BaseJob>>,
    /// Absent in what was kept before there were leases.
    #[n(5)]
    rights: Option<Rights>,
    /// Absent in what was kept before balances were told.
    #[n(6)]
    balances: Option<Balances>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct BaseJob {
    #[n(0)]
    device: DeviceId,
    #[n(1)]
    job: JobId,
    #[n(2)]
    state: Job,
}

type Jobs = BTreeMap<(DeviceId, JobId), Job>;

fn base_jobs(jobs: &Jobs) -> Vec<BaseJob> {
    let row = |((device, job), state): (&(DeviceId, JobId), &Job)| BaseJob {
        device: *device,
        job: *job,
        state: state.clone(),
    };
    jobs.iter().map(row).collect()
}

fn jobs_of(rows: Vec<BaseJob>) -> Jobs {
    rows.into_iter().map(|row| ((row.device, row.job), row.state)).collect()
}

/// What has no columns in a snapshot: jobs, rights, balances told, requests, books and accounts.
pub(super) fn encode_nested(counts: &Counts) -> Vec<u8> {
    let Counts { jobs, rights, balances, requests, books, accounts, .. } = counts;
    write((base_jobs(jobs), rights, balances, requests, books, accounts))
}

/// Those back.
pub(super) fn decode_nested(bytes: &[u8], counts: &mut Counts) -> Result<(), DecodeError> {
    let jobs;
    (jobs, counts.rights, counts.balances, counts.requests, counts.books, counts.accounts) =
        minicbor::decode(bytes)?;
    counts.jobs = jobs_of(jobs);
    Ok(())
}

fn write(value: impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(value).unwrap_or_else(|never| unreachable!("writing to memory: {never}"))
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct BaseUsage {
    #[n(0)]
    device: DeviceId,
    #[n(1)]
    user: UserAlias,
    #[n(2)]
    month: u32,
    #[n(3)]
    impressions: u64,
    #[n(4)]
    sheets: u64,
    #[n(5)]
    captured: u64,
    #[n(6)]
    converted: u64,
    #[n(7)]
    sent: u64,
    #[n(8)]
    saved: u64,
    /// Thousandths of a credit, big-endian, as is the next.
    #[cbor(n(9), with = "minicbor::bytes")]
    charged: [u8; 16],
    #[cbor(n(10), with = "minicbor::bytes")]
    unbacked: [u8; 16],
}

pub(super) fn encode(counts: &Counts) -> Vec<u8> {
    let usage = counts.usage.iter().map(|(key, usage)| BaseUsage {
        device: key.device,
        user: key.user,
        month: key.month,
        impressions: usage.impressions,
        sheets: usage.sheets,
        captured: usage.captured,
        converted: usage.converted,
        sent: usage.sent,
        saved: usage.saved,
        charged: usage.charged.to_be_bytes(),
        unbacked: usage.unbacked.to_be_bytes(),
    });
    let base = Base {
        usage: usage.collect(),
        resubmitted: counts.resubmitted.iter().copied().collect(),
        incomplete: counts.incomplete,
        misplaced: counts.misplaced,
        jobs: Some(base_jobs(&counts.jobs)).filter(|jobs| !jobs.is_empty()),
        rights: Some(counts.rights.clone()).filter(|rights| *rights != Rights::default()),
        balances: Some(counts.balances.clone()).filter(|told| *told != Balances::default()),
    };
    write(base)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Counts, DecodeError> {
    let Base { usage, resubmitted, incomplete, misplaced, jobs, rights, balances } =
        minicbor::decode(bytes)?;
    let usage = usage.into_iter().map(|row| {
        let key = UsageKey { device: row.device, user: row.user, month: row.month };
        let usage = Usage {
            impressions: row.impressions,
            sheets: row.sheets,
            captured: row.captured,
            converted: row.converted,
            sent: row.sent,
            saved: row.saved,
            charged: i128::from_be_bytes(row.charged),
            unbacked: i128::from_be_bytes(row.unbacked),
            held: 0,
        };
        (key, usage)
    });
    let (usage, resubmitted) = (usage.collect(), resubmitted.into_iter().collect());
    let jobs = jobs_of(jobs.unwrap_or_default());
    let rights = rights.unwrap_or_default();
    let balances = balances.unwrap_or_default();
    let mut counts = Counts {
        usage,
        resubmitted,
        incomplete,
        misplaced,
        jobs,
        rights,
        balances,
        ..Counts::default()
    };
    counts.hold_again();
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::job::Payer;
    use tallyroll_schema::{Credits, EpochId, LogId};

    #[test]
    fn reads_back_and_damage_is_no_panic() {
        let key = UsageKey { device: DeviceId([1; 16]), user: UserAlias([2; 16]), month: 24_322 };
        let usage = Usage {
            impressions: 3,
            sheets: 4,
            captured: 5,
            converted: 6,
            sent: 7,
            saved: 8,
            charged: 1 << 90,
            unbacked: -9,
            held: 500,
        };
        let mut job = Job::default();
        let payer = Payer { again: false, user: key.user, month: key.month };
        job.hold(payer, Credits::from_thousandths(500));
        let epoch = EpochId { counter: 1, nonce: [6; 16] };
        let position = Position { log: LogId([5; 32]), epoch, seq: 9 };
        let mut rights = Rights::default();
        rights.lease_mut(key.device, epoch, key.user).spent = -(1 << 100);
        let counts = Counts {
            rights,
            usage: [(key, usage)].into(),
            jobs: [((key.device, JobId([8; 8])), job)].into(),
            resubmitted: [(position, Hash([7; 32]))].into(),
            incomplete: 10,
            misplaced: 11,
            ..Counts::default()
        };
        let bytes = encode(&counts);
        assert_eq!(decode(&bytes), Ok(counts));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err());
        }
    }

    /// What was pruned before jobs settled has no key for them.
    #[test]
    fn a_base_without_jobs_is_as_it_was() {
        let counts = Counts { misplaced: 3, ..Counts::default() };
        let bytes = encode(&counts);
        assert_eq!(bytes[0], 0xa4, "four keys");
        assert_eq!(decode(&bytes), Ok(counts));
    }
}
